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
  const file = openTemporary(path);
  try {
    for (const part of parts) file.write(part);
    file.keep();
  } catch (error) {
    file.discard();
    throw error;
  }
}

/** As `writeFileAtomic`, for parts that are read while the file is written. */
export async function writeFileAtomicAsync(path: string, parts: AsyncIterable<Uint8Array | string>): Promise<void> {
  const file = openTemporary(path);
  try {
    for await (const part of parts) file.write(part);
    file.keep();
  } catch (error) {
    file.discard();
    throw error;
  }
}

interface TemporaryFile {
  write(part: Uint8Array | string): void;
  /** Moves the file to its place. */
  keep(): void;
  discard(): void;
}

function openTemporary(path: string): TemporaryFile {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  // `wx`: never follow or reuse something that is already there.
  const handle = named(path, () => openSync(temporary, 'wx', 0o666));
  let isOpen = true;
  return {
    write: (part) => named(path, () => writeAll(handle, typeof part === 'string' ? Buffer.from(part, 'utf8') : part)),
    keep() {
      named(path, () => {
        fsyncSync(handle);
        closeSync(handle);
        isOpen = false;
        renameSync(temporary, path);
      });
    },
    discard() {
      if (isOpen) closeSync(handle);
      rmSync(temporary, { force: true });
    },
  };
}

/** Runs one step on the file; its errors are about `path`. */
function named<Result>(path: string, step: () => Result): Result {
  try {
    return step();
  } catch (cause) {
    if (!(cause instanceof Error) || !('syscall' in cause)) throw cause;
    // `EACCES: permission denied, open '/folder/.name.0123.tmp'`
    const why = cause.message.replace(/, \w+(?: '.*)?$/s, '');
    throw environmentError(`\`${path}\` cannot be written: ${why}`, undefined, cause);
  }
}

/** `write` may take fewer bytes than offered (2 GiB at most on Linux). */
function writeAll(handle: number, bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.byteLength) offset += writeSync(handle, bytes, offset, bytes.byteLength - offset);
}
