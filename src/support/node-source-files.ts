/**
 * Source files from disk, in Node. A project's root is the nearest folder above a file with a `package.json` or `.git` (the
 * file's own folder when there is none); paths in diagnostics and generated files are relative to it, so they do not depend on
 * where the command was started.
 */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SoraError } from './error.ts';
import { limits } from './limits.ts';
import type { SourceFile } from './source.ts';

/** Text of an imported file, by path relative to the root. */
export interface FileHost {
  readFile(path: string): string | undefined;
}

/** Every UTF-16 unit takes at most three bytes: a longer file is over the limit of sources for certain. */
export const mostSourceBytes = limits.sourceLength * 3;

export function projectRoot(path: string): string {
  const start = dirname(resolve(path));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json')) || existsSync(join(folder, '.git'))) return folder;
    if (dirname(folder) === folder) return start;
  }
}

/** Bytes that are no UTF-8 become U+FFFD, which the lexer reports with its place; a byte order mark is dropped. */
export function readText(path: string): string {
  const bytes = readFileSync(path);
  return new TextDecoder('utf-8').decode(bytes);
}

/** Reads imported files inside the root only, links followed first. */
export function fileHost(root: string): FileHost {
  return {
    readFile(path) {
      const absolute = resolve(root, path);
      if (!existsSync(absolute)) return undefined;
      const real = realpathSync(absolute);
      if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
      const stats = statSync(real);
      return stats.isFile() && stats.size <= mostSourceBytes ? readText(real) : undefined;
    },
  };
}

/** A file that exists, with what it may import. */
export function openSource(path: string): { readonly file: SourceFile; readonly host: FileHost } {
  const absolute = resolve(path);
  const root = realpathSync(projectRoot(absolute));
  const shown = relative(root, realpathSync(absolute));
  return {
    file: { path: sep === '/' ? shown : shown.split(sep).join('/'), text: readText(absolute) },
    host: fileHost(root),
  };
}

/** @errors SORA7001 for what is not a file that can be read */
export function openSourceAt(url: URL): ReturnType<typeof openSource> {
  const path = fileURLToPath(url);
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats?.isFile()) throw new SoraError('SORA7001', `\`${url.href}\` is not a file`);
  if (stats.size > mostSourceBytes)
    throw new SoraError('SORA7001', `\`${url.href}\` has ${stats.size} bytes: too long for a model`);
  try {
    return openSource(path);
  } catch (cause) {
    throw new SoraError('SORA7001', `\`${url.href}\` cannot be read`, { cause });
  }
}
