/**
 * Whole files or none: written beside the target under a temporary name, then renamed over it.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SoraError } from './error.ts';

/**
 * Writes the parts one after the other; a crash leaves the old file.
 *
 * @errors SORA0002 with the path that was asked for, not that of the temporary file
 */
export function writeFileAtomic(path: string, parts: Iterable<Uint8Array | string>): void {
  const file = openAtomicFile(path);
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
  const file = openAtomicFile(path);
  try {
    for await (const part of parts) file.write(part);
    file.keep();
  } catch (error) {
    file.discard();
    throw error;
  }
}

export interface AtomicFile {
  /** Goes on where the last part ended. */
  write(part: Uint8Array | string): void;
  /** Replaces bytes that were written before. */
  rewrite(part: Uint8Array, offset: number): void;
  /** Moves the file to its place, whole and on the disk. */
  keep(): void;
  /** After a failed step; does nothing after `keep`. */
  discard(): void;
}

/** @errors SORA0002, as all its steps */
export function openAtomicFile(path: string): AtomicFile {
  const temporary = temporaryName(path);
  // `wx`: never follow or reuse something that is already there.
  const handle = whileWriting(path, () => openSync(temporary, 'wx', 0o666));
  let isOpen = true;
  let isKept = false;
  return {
    write: (part) =>
      whileWriting(path, () => writeAll(handle, typeof part === 'string' ? Buffer.from(part, 'utf8') : part)),
    rewrite: (part, offset) => whileWriting(path, () => writeAll(handle, part, offset)),
    keep() {
      whileWriting(path, () => {
        fsyncSync(handle);
        closeSync(handle);
        isOpen = false;
        renameSync(temporary, path);
        isKept = true;
        syncFolder(dirname(path));
      });
    },
    discard() {
      if (isOpen) closeSync(handle);
      isOpen = false;
      if (!isKept) rmSync(temporary, { force: true });
    },
  };
}

/**
 * Gives `path` the bytes of another file of the same folder, as a second name of it where the file system has such.
 *
 * @errors SORA0002
 */
export function copyFileAtomic(from: string, path: string): void {
  const temporary = temporaryName(path);
  try {
    whileWriting(path, () => {
      try {
        linkSync(from, temporary);
      } catch {
        copyFileSync(from, temporary, constants.COPYFILE_EXCL);
        sync(temporary, 'r+');
      }
      renameSync(temporary, path);
      syncFolder(dirname(path));
    });
  } finally {
    // A rename of one name of a file to another of the same file does nothing.
    rmSync(temporary, { force: true });
  }
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
}

/** Temporary files that a killed process left for the file `name` in a folder have names that this matches. */
export function isLeftover(entry: string, name: string): boolean {
  return entry.startsWith(`.${name}.`) && /^[0-9a-f]{12}\.tmp$/.test(entry.slice(name.length + 2));
}

/** The new name is on the disk too; not every system lets folders be opened, and then it syncs them itself. */
function syncFolder(folder: string): void {
  try {
    sync(folder, 'r');
  } catch {
    // The file is whole and has its name: what is left is up to the system.
  }
}

function sync(path: string, flags: 'r' | 'r+'): void {
  const handle = openSync(path, flags);
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/**
 * Runs one step of writing to a file or folder.
 *
 * @errors SORA0002 about `path` for what the system refuses
 */
export function whileWriting<Result>(path: string, step: () => Result): Result {
  try {
    return step();
  } catch (cause) {
    if (!(cause instanceof Error) || !('syscall' in cause)) throw cause;
    // `EACCES: permission denied, open '/folder/.name.0123.tmp'`
    const why = cause.message.replace(/, \w+(?: '.*)?$/s, '');
    throw new SoraError('SORA0002', `\`${path}\` cannot be written: ${why}`, { cause });
  }
}

/** `write` may take fewer bytes than offered (2 GiB at most on Linux). */
function writeAll(handle: number, bytes: Uint8Array, place?: number): void {
  let offset = 0;
  while (offset < bytes.byteLength) {
    const at = place === undefined ? undefined : place + offset;
    offset += writeSync(handle, bytes, offset, bytes.byteLength - offset, at);
  }
}
