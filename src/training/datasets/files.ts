/**
 * Files read at any place and from end to end. Reads are synchronous: a row is small, and its bytes are nearly always in the
 * page cache.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { SoraError } from '../../support/error.ts';
import { dataFault } from './dataset.ts';

export interface RandomFile {
  readonly name: string;
  readonly size: number;
  /** `length` bytes from `offset`; SORA7007 when there are fewer. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
  close(): void;
}

/** @errors SORA7001 when there is no such file, or it cannot be read */
export function openRandomFile(path: string): RandomFile {
  const refuse = (why: string, cause?: unknown): SoraError =>
    new SoraError('SORA7001', `cannot read \`${path}\`: ${why}`, { cause });
  const attempt = <Result>(step: () => Result): Result => {
    try {
      return step();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw refuse(why.startsWith('ENOENT') ? 'there is no such file' : why, error);
    }
  };
  // Asked before opening: opening a pipe would wait for a writer.
  const info = attempt(() => statSync(path));
  if (!info.isFile()) throw refuse(info.isDirectory() ? 'it is a folder' : 'it is not a regular file');
  const handle = attempt(() => openSync(path, 'r'));
  let isOpen = true;
  return {
    name: path,
    size: fstatSync(handle).size,
    read(offset, length) {
      if (offset < 0 || length < 0) throw new SoraError('SORA7007', `\`${path}\` has no bytes at ${offset}`);
      const bytes = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const count = attempt(() => readSync(handle, bytes, filled, length - filled, offset + filled));
        if (count === 0) throw new SoraError('SORA7007', `\`${path}\` ended while it was read`);
        filled += count;
      }
      return bytes;
    },
    close() {
      if (isOpen) closeSync(handle);
      isOpen = false;
    },
  };
}

export function memoryFile(name: string, bytes: Uint8Array): RandomFile {
  return {
    name,
    size: bytes.byteLength,
    read(offset, length) {
      if (offset < 0 || offset + length > bytes.byteLength)
        throw new SoraError('SORA7007', `\`${name}\` ended while it was read`);
      // Not `slice`: that of a Buffer shares its memory.
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
    close() {},
  };
}

const chunkBytes = 1024 * 1024;

/** The file from its beginning to its end. */
export function* chunksOf(file: RandomFile): Iterable<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < file.size; at += chunkBytes) yield file.read(at, Math.min(chunkBytes, file.size - at));
}

export function readWhole(path: string, maximumBytes: number, code: string): Uint8Array<ArrayBuffer> {
  const file = openRandomFile(path);
  try {
    if (file.size > maximumBytes) throw dataFault(code, path, `${file.size} bytes, at most ${maximumBytes} allowed`);
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}

/** Passes chunks on while they are UTF-8 without zero bytes; names the line of the first that is not. */
export function textGuard(name: string): { check(chunk: Uint8Array): void; end(): void } {
  let decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let lines = 1;
  let isFirst = true;
  const refuse = (line: number, what: string): SoraError => {
    const help = 'text files are read as UTF-8: convert the file';
    return dataFault('SORA7037', name, what, { line, help });
  };
  const countLines = (bytes: Uint8Array): number => {
    let count = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
    return count;
  };
  return {
    check(chunk) {
      if (isFirst && chunk[0] === 0xff && chunk[1] === 0xfe) throw refuse(1, 'it is UTF-16');
      if (isFirst && chunk[0] === 0xfe && chunk[1] === 0xff) throw refuse(1, 'it is UTF-16');
      isFirst = false;
      const zero = chunk.indexOf(0);
      if (zero >= 0) throw refuse(lines + countLines(chunk.subarray(0, zero)), 'a zero byte: this is no text');
      try {
        decoder.decode(chunk, { stream: true });
      } catch {
        throw refuse(lines + countLines(chunk.subarray(0, badByte(chunk))), 'bytes that are not UTF-8');
      }
      lines += countLines(chunk);
    },
    end() {
      try {
        decoder.decode();
      } catch {
        throw refuse(lines, 'it ends inside of a character');
      }
      decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    },
  };
}

/** The first place where a chunk stops being UTF-8; its beginning may be the rest of a character. */
function badByte(chunk: Uint8Array): number {
  let start = 0;
  while (start < 3 && ((chunk[start] ?? 0) & 0xc0) === 0x80) start++;
  // A whole line never ends inside of a character, so lines can be tried one by one.
  for (let from = start; from < chunk.length; ) {
    const found = chunk.indexOf(10, from);
    const end = found < 0 ? chunk.length : found + 1;
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(chunk.subarray(from, end));
    } catch {
      return from;
    }
    from = end;
  }
  return 0;
}

/** Below the greatest length of a string. */
const maximumTextBytes = 256 * 1024 * 1024;

/** A whole file of text, without a byte order mark; SORA7037 when it is none. */
export function readText(path: string): string {
  const bytes = readWhole(path, maximumTextBytes, 'SORA7037');
  const guard = textGuard(path);
  guard.check(bytes);
  guard.end();
  return new TextDecoder().decode(bytes);
}

/** Numbers up to 2^53 in eight bytes each, however many. */
export class NumberList {
  #values = new Float64Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const wider = new Float64Array(this.#values.length * 2);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values[this.#length++] = value;
  }

  at(index: number): number {
    const value = index < this.#length ? this.#values[index] : undefined;
    if (value === undefined) throw new RangeError(`row ${index} of ${this.#length}`);
    return value;
  }
}
