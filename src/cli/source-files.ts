/**
 * Source files from disk. A project's root is the nearest folder above a file with a `package.json` or `.git` (the file's own folder when
 * there is none); paths in diagnostics and generated files are relative to it, so they do not depend on where the
 * command was started.
 */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import type { CompileHost } from '../compile.ts';
import { limits } from '../support/limits.ts';
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

export function projectRoot(path: string): string {
  const start = dirname(resolve(path));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json')) || existsSync(join(folder, '.git'))) return folder;
    if (dirname(folder) === folder) return start;
  }
}

/** Bytes that are no UTF-8 become U+FFFD, which the lexer reports with its place; a byte order mark is dropped. */
function readText(path: string): string {
  const bytes = readFileSync(path);
  return new TextDecoder('utf-8').decode(bytes);
}

export function loadSource(path: string): LoadedSource {
  const absolute = resolve(path);
  const stats = statSync(absolute, { throwIfNoEntry: false });
  if (stats === undefined) throw usageError(`\`${path}\` does not exist`);
  if (!stats.isFile()) throw usageError(`\`${path}\` is not a file`, 'name one .sora file');
  // Every UTF-16 unit takes at most three bytes: a longer file is over the limit for certain and need not be read.
  if (stats.size > limits.sourceLength * 3)
    throw usageError(`\`${path}\` has ${stats.size} bytes: too long for a model`);
  const root = realpathSync(projectRoot(absolute));
  const file: SourceFile = { path: toPosix(relative(root, realpathSync(absolute))), text: readText(absolute) };
  return { file, host: fileHost(root), path: absolute, name: basename(absolute).replace(/\.sora$/, '') };
}

/** Reads imported files inside the root only, links followed first. */
export function fileHost(root: string): CompileHost {
  return {
    readFile(path) {
      const absolute = resolve(root, path);
      if (!existsSync(absolute)) return undefined;
      const real = realpathSync(absolute);
      if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
      const stats = statSync(real);
      return stats.isFile() && stats.size <= limits.sourceLength * 3 ? readText(real) : undefined;
    },
  };
}

function toPosix(path: string): string {
  return sep === '/' ? path : path.split(sep).join('/');
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
