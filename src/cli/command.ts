/**
 * The shape of a command file: it adds itself to the program and answers a call with a `CommandResult`. Parsing,
 * errors and exit codes are main.ts's business.
 */
import type { Command } from 'commander';
import type { CommandResult, Context } from './context.ts';

export interface Call {
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

export type Run = (context: Context, call: Call) => Promise<CommandResult>;

/** Turns a command's function into what commander calls. */
export type Bind = (run: Run) => (...everything: unknown[]) => Promise<void>;

export type Register = (program: Command, bind: Bind) => void;

/** The text of an option, when it was given. */
export function textOption(call: Call, name: string): string | undefined {
  const value = call.options[name];
  return typeof value === 'string' ? value : undefined;
}

/** The text of an option that commander has made sure of. */
export function requiredOption(call: Call, name: string): string {
  const value = textOption(call, name);
  if (value === undefined) throw new TypeError(`option ${name} is declared required`);
  return value;
}

/** `{ key: value }`, or nothing when the value is absent: for optional properties under `exactOptionalPropertyTypes`. */
export function optional<Key extends string, Value>(
  key: Key,
  value: Value | undefined,
): { readonly [Name in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [Name in Key]?: Value });
}
