/**
 * Diagnostics for programs that know sorac: the `json` reporter and the `diagnostics` of `--json` documents.
 */
import type { Diagnostic } from '../diagnostic.ts';
import { positionAt, type Span } from '../source.ts';

function jsonRange(span: Span): object {
  return { start: positionAt(span.file, span.start), end: positionAt(span.file, span.end) };
}

export function diagnosticJson(diagnostic: Diagnostic): object {
  return {
    code: diagnostic.code,
    severity: diagnostic.severity,
    message: diagnostic.message,
    file: diagnostic.span.file.path,
    range: jsonRange(diagnostic.span),
    labels: diagnostic.labels.map((label) => ({
      file: label.span.file.path,
      range: jsonRange(label.span),
      text: label.text,
    })),
    notes: diagnostic.notes,
    ...(diagnostic.help === undefined ? {} : { help: diagnostic.help }),
    ...(diagnostic.fixes === undefined
      ? {}
      : {
          fixes: diagnostic.fixes.map((fix) => ({
            title: fix.title,
            edits: fix.edits.map((edit) => ({
              file: edit.span.file.path,
              range: jsonRange(edit.span),
              text: edit.text,
            })),
          })),
        }),
    docs: `docs/errors/${diagnostic.code}.md`,
  };
}
