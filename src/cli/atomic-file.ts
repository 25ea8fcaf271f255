/**
 * Whole files or none: written beside the target under a temporary name, then renamed over it.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { environmentError } from './exit-codes.ts';

/**
 * Writes the parts one after the other; a crash leaves the old file.
 *
 * @errors SORA0002 with the path that was asked for, not that of the temporary file
 */
export function writeFileAtomic(path: string, parts: Iterable<Uint8Array | string>): void {
  try {
    write(path, parts);
  } catch (cause) {
    if (!(cause instanceof Error) || !('syscall' in cause)) throw cause;
    // `EACCES: permission denied, open '/folder/.name.0123.tmp'`
    const why = cause.message.replace(/, \w+(?: '.*)?$/s, '');
    throw environmentError(`\`${path}\` cannot be written: ${why}`, undefined, cause);
  }
}

function write(path: string, parts: Iterable<Uint8Array | string>): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  // `wx`: never follow or reuse something that is already there.
  const handle = openSync(temporary, 'wx', 0o666);
  let isOpen = true;
  try {
    for (const part of parts) writeAll(handle, typeof part === 'string' ? Buffer.from(part, 'utf8') : part);
    fsyncSync(handle);
    closeSync(handle);
    isOpen = false;
    renameSync(temporary, path);
  } catch (error) {
    if (isOpen) closeSync(handle);
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** `write` may take fewer bytes than offered (2 GiB at most on Linux). */
function writeAll(handle: number, bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.byteLength) offset += writeSync(handle, bytes, offset, bytes.byteLength - offset);
}
