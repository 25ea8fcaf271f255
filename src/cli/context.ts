/**
 * What a command may touch of the outside: two streams and colour. Data goes to stdout, everything said about it to
 * stderr; with `--json` stdout carries exactly one document.
 */
import picocolors from 'picocolors';
import type { Diagnostic } from '../support/diagnostic.ts';
import { renderDiagnostics } from '../support/render.ts';
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
  /** Colours for stderr. */
  readonly colors: ReturnType<typeof picocolors.createColors>;
}

export interface GlobalOptions {
  readonly json?: boolean;
  readonly color?: string;
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
  return {
    json: options.json === true,
    stdout,
    stderr,
    colors: picocolors.createColors(colorEnabled(choice, stderr, environment)),
  };
}

/** Progress and remarks, for people. */
export function say(context: Context, line: string): void {
  context.stderr.write(`${line}\n`);
}

/** A remark that is no error: something was ignored or assumed. */
export function note(context: Context, text: string): void {
  say(context, `${context.colors.cyan('note')}: ${text}`);
}

export function showDiagnostics(context: Context, diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length === 0) return;
  const text = renderDiagnostics(diagnostics, { format: 'pretty', color: context.colors.isColorSupported });
  context.stderr.write(text.endsWith('\n') ? text : `${text}\n`);
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
    context.stdout.write(result.text.endsWith('\n') ? result.text : `${result.text}\n`);
  }
  return result.exitCode;
}
