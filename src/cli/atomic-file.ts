/**
 * Whole files or none: written beside the target under a temporary name, then renamed over it.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Writes the parts one after the other; a crash leaves the old file. */
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
  const handle = openSync(temporary, 'wx', 0o666);
  let isOpen = true;
  return {
    write: (part) => writeAll(handle, typeof part === 'string' ? Buffer.from(part, 'utf8') : part),
    keep() {
      fsyncSync(handle);
      closeSync(handle);
      isOpen = false;
      renameSync(temporary, path);
    },
    discard() {
      if (isOpen) closeSync(handle);
      rmSync(temporary, { force: true });
    },
  };
}

/** `write` may take fewer bytes than offered (2 GiB at most on Linux). */
function writeAll(handle: number, bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.byteLength) offset += writeSync(handle, bytes, offset, bytes.byteLength - offset);
}
