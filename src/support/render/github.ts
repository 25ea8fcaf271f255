/**
 * Diagnostics as workflow commands of GitHub Actions, which shows them beside the lines of a pull request.
 *
 * `::error file=…,line=…::message`; what would end a property or the command is escaped as the toolkit of GitHub does it.
 */
import type { Diagnostic } from '../diagnostic.ts';
import { positionAt } from '../source.ts';

function escapeText(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeProperty(text: string): string {
  return escapeText(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

export function renderGithub(diagnostic: Diagnostic): string {
  const { code, severity, message, span, notes, help } = diagnostic;
  const start = positionAt(span.file, span.start);
  const end = positionAt(span.file, span.end);
  const places: Record<string, string | number> = {
    file: span.file.path,
    line: start.line,
    endLine: end.line,
    // Columns of a place over several lines are refused.
    ...(start.line === end.line ? { col: start.column, endColumn: end.column } : {}),
    title: code,
  };
  const properties = Object.entries(places).map(([name, value]) => `${name}=${escapeProperty(String(value))}`);
  const text = [message, ...notes, ...(help === undefined ? [] : [`help: ${help}`])].join('\n');
  return `::${severity} ${properties.join(',')}::${escapeText(text)}`;
}
