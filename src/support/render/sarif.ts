/**
 * Diagnostics as SARIF 2.1.0 (OASIS standard), which code scanning services and editors read.
 */
import { type Code, codes } from '../codes.ts';
import type { Diagnostic, Fix } from '../diagnostic.ts';
import { positionAt, type Span } from '../source.ts';

const schema = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json';

/** Paths are relative to the project; library names (`sora:nn`) are addresses as they are. */
function artifact(path: string): object {
  if (path.startsWith('sora:')) return { uri: path };
  return { uri: path.split('/').map(encodeURIComponent).join('/'), uriBaseId: 'PROJECT' };
}

function region(span: Span): object {
  const start = positionAt(span.file, span.start);
  const end = positionAt(span.file, span.end);
  return { startLine: start.line, startColumn: start.column, endLine: end.line, endColumn: end.column };
}

function location(span: Span): object {
  return { artifactLocation: artifact(span.file.path), region: region(span) };
}

function fixObject(fix: Fix): object {
  const files = [...new Set(fix.edits.map((edit) => edit.span.file))];
  return {
    description: { text: fix.title },
    artifactChanges: files.map((file) => ({
      artifactLocation: artifact(file.path),
      replacements: fix.edits
        .filter((edit) => edit.span.file === file)
        .map((edit) => ({ deletedRegion: region(edit.span), insertedContent: { text: edit.text } })),
    })),
  };
}

function result(diagnostic: Diagnostic, rules: readonly Code[]): object {
  const { code, severity, message, span, labels, notes, help, fixes } = diagnostic;
  const text = [message, ...notes, ...(help === undefined ? [] : [`help: ${help}`])].join('\n');
  return {
    ruleId: code,
    ruleIndex: rules.indexOf(code),
    level: severity,
    message: { text },
    locations: [{ physicalLocation: location(span) }],
    ...(labels.length === 0
      ? {}
      : {
          relatedLocations: labels.map((label, index) => ({
            id: index + 1,
            physicalLocation: location(label.span),
            message: { text: label.text },
          })),
        }),
    ...(fixes === undefined ? {} : { fixes: fixes.map(fixObject) }),
  };
}

/** One log with one run; `version` is that of sorac. */
export function sarifLog(diagnostics: readonly Diagnostic[], version: string | undefined): object {
  const used = [...new Set(diagnostics.map((diagnostic) => diagnostic.code))].sort();
  const driver = {
    name: 'sorac',
    ...(version === undefined ? {} : { version }),
    rules: used.map((code) => ({
      id: code,
      shortDescription: { text: codes[code].title },
      help: { text: `sorac explain ${code}` },
      defaultConfiguration: { level: codes[code].severity },
    })),
  };
  return {
    $schema: schema,
    version: '2.1.0',
    runs: [
      {
        tool: { driver },
        columnKind: 'utf16CodeUnits',
        originalUriBaseIds: { PROJECT: { description: { text: 'the folder with package.json or .git' } } },
        results: diagnostics.map((diagnostic) => result(diagnostic, used)),
      },
    ],
  };
}
