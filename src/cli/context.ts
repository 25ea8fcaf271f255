/**
 * What a command may touch of the outside: two streams and colour. Data goes to stdout, everything said about it to
 * stderr; with `--json` stdout carries exactly one document. Reporters for programs (`json`, `github`, `sarif`) take stdout
 * for themselves: what else there is to say goes to stderr then.
 */
import picocolors from 'picocolors';
import type { Diagnostic } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import { type Reporter, renderDiagnostics, reporters } from '../support/render.ts';
import { version } from '../version.ts';
import { type ExitCode, usageError } from './exit-codes.ts';

export type ColorChoice = 'auto' | 'always' | 'never';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface Context {
  readonly json: boolean;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly reporter: Reporter;
  /** Diagnostics shown before the rest is counted; 0: all. */
  readonly maximumErrors: number;
  /** Colours for stderr. */
  readonly colors: ReturnType<typeof picocolors.createColors>;
}

export interface GlobalOptions {
  readonly json?: boolean;
  readonly color?: string;
  readonly reporter?: unknown;
  readonly maxErrors?: unknown;
}

/** Written to stdout: programs read them. */
const forPrograms: ReadonlySet<Reporter> = new Set<Reporter>(['json', 'github', 'sarif']);

export function isForPrograms(context: Context): boolean {
  return forPrograms.has(context.reporter);
}

/** The last thing a command says: its exit code, its `--json` document and what a person reads on stdout instead. */
export interface CommandResult {
  readonly exitCode: ExitCode;
  readonly document: Readonly<Record<string, unknown>>;
  readonly text?: string;
}

/** https://no-color.org: any value that is not empty switches colour off. */
export function colorEnabled(choice: ColorChoice, stream: Output, environment: NodeJS.ProcessEnv): boolean {
  if (choice !== 'auto') return choice === 'always';
  if (environment.NO_COLOR !== undefined && environment.NO_COLOR !== '') return false;
  return stream.isTTY === true && environment.TERM !== 'dumb';
}

export function createContext(
  options: GlobalOptions,
  stdout: Output,
  stderr: Output,
  environment: NodeJS.ProcessEnv,
): Context {
  const choice = options.color ?? 'auto';
  if (choice !== 'auto' && choice !== 'always' && choice !== 'never') {
    throw usageError(`\`--color ${choice}\` is not known`, 'use --color auto, always or never');
  }
  const reporter = reporters.find((known) => known === options.reporter) ?? 'pretty';
  const json = options.json === true;
  if (json && forPrograms.has(reporter)) {
    throw usageError(`\`--json\` and \`--reporter ${reporter}\` both want stdout`, 'use one of them');
  }
  return {
    json,
    reporter,
    maximumErrors: maximumErrors(options.maxErrors),
    stdout,
    stderr,
    colors: picocolors.createColors(colorEnabled(choice, stderr, environment)),
  };
}

function maximumErrors(value: unknown): number {
  if (value === undefined) return limits.diagnosticsShown;
  const count = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : undefined;
  if (count === undefined) throw usageError(`\`--max-errors ${String(value)}\` is no count`, '0 shows all of them');
  return count;
}

/** Progress and remarks, for people. */
export function say(context: Context, line: string): void {
  context.stderr.write(`${line}\n`);
}

/** A remark that is no error: something was ignored or assumed. */
export function note(context: Context, text: string): void {
  say(context, `${context.colors.cyan('note')}: ${text}`);
}

/** Called once by each command, without diagnostics too: some reporters write a document in any case. */
export function showDiagnostics(context: Context, diagnostics: readonly Diagnostic[]): void {
  const text = renderDiagnostics(diagnostics, {
    format: context.reporter,
    color: context.colors.isColorSupported,
    maximum: context.maximumErrors,
    version,
  });
  if (text !== '') (isForPrograms(context) ? context.stdout : context.stderr).write(text);
  const explained = [...new Set(diagnostics.map((diagnostic) => diagnostic.code))].slice(0, 3);
  if (context.reporter === 'pretty' && explained.length > 0) {
    say(context, `\n${context.colors.dim(`more: ${explained.map((code) => `sorac explain ${code}`).join(', ')}`)}`);
  }
}

/** Diagnostics as plain data for `--json` documents. */
export function diagnosticsDocument(diagnostics: readonly Diagnostic[]): unknown {
  const document: unknown = JSON.parse(renderDiagnostics(diagnostics, { format: 'json', color: false }));
  return (document as { readonly diagnostics: unknown }).diagnostics;
}

/** Writes a command's result to stdout and returns its exit code. */
export function finish(context: Context, result: CommandResult): ExitCode {
  if (context.json) context.stdout.write(`${JSON.stringify({ schema: 1, ...result.document }, null, 2)}\n`);
  else if (result.text !== undefined && result.text !== '') {
    const stream = isForPrograms(context) ? context.stderr : context.stdout;
    stream.write(result.text.endsWith('\n') ? result.text : `${result.text}\n`);
  }
  return result.exitCode;
}
