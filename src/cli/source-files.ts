/**
 * Source files and configs of the command line.
 */
import { existsSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { CompileHost } from '../compile.ts';
import { mostSourceBytes, openSource, readText } from '../support/node-source-files.ts';
import type { SourceFile } from '../support/source.ts';
import { type Context, note } from './context.ts';
import { dataError, usageError } from './exit-codes.ts';

export interface LoadedSource {
  readonly file: SourceFile;
  readonly host: CompileHost;
  /** Absolute path of the file. */
  readonly path: string;
  /** File name without folder and `.sora`. */
  readonly name: string;
}

export function loadSource(path: string): LoadedSource {
  const absolute = resolve(path);
  const stats = statSync(absolute, { throwIfNoEntry: false });
  if (stats === undefined) throw usageError(`\`${path}\` does not exist`);
  if (!stats.isFile()) throw usageError(`\`${path}\` is not a file`, 'name one .sora file');
  if (stats.size > mostSourceBytes) throw usageError(`\`${path}\` has ${stats.size} bytes: too long for a model`);
  return { ...openSource(absolute), path: absolute, name: basename(absolute).replace(/\.sora$/, '') };
}

/** The config that was asked for, or the `config.json` of the checkpoint's folder. */
export function chooseConfig(
  context: Context,
  asked: string | undefined,
  weights: string | undefined,
): string | undefined {
  if (asked !== undefined || weights === undefined) return asked;
  if (statSync(weights, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined;
  const path = join(weights, 'config.json');
  if (!existsSync(path)) return undefined;
  note(context, `config from \`${path}\``);
  return path;
}

/** A Hugging Face `config.json`: any JSON object. */
export function loadConfig(path: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readText(path);
  } catch (cause) {
    throw dataError(`the config \`${path}\` cannot be read: ${reason(cause)}`, undefined, cause);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw dataError(`the config \`${path}\` is not JSON: ${reason(cause)}`, undefined, cause);
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw dataError(`the config \`${path}\` is not a JSON object`);
  }
  return parsed as Readonly<Record<string, unknown>>;
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
