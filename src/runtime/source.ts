/**
 * Bytes at offsets: one small interface over a file in Node, an address, a Blob and memory. Nothing reads a whole checkpoint.
 *
 * Not here: what the bytes mean (safetensors.ts).
 */
import { importByName, isNode } from './dynamic-import.ts';
import { messageOf, SoraError } from './error.ts';

/** The part of Blob and File that is used. */
export interface BlobLike {
  readonly size: number;
  slice(start?: number, end?: number): BlobLike;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/**
 * Where bytes come from. A string is a path in Node, unless it starts with `http:`, `https:` or `file:`; elsewhere it is an
 * address.
 */
export type SourceInput = string | { readonly href: string } | BlobLike | ArrayBuffer | ArrayBufferView;

export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /**
   * `length` bytes from `offset`; throws SORA7007 when there are fewer. They may be a view of the source's memory, or lie at the
   * beginning of `room`, which has that many bytes: a file that is read piece by piece then leaves no garbage.
   */
  read(offset: number, length: number, room?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

export async function openSource(input: SourceInput, signal?: AbortSignal): Promise<ByteSource> {
  if (typeof input === 'string') return openText(input, signal);
  if (input instanceof ArrayBuffer) return memorySource(new Uint8Array(input));
  if (ArrayBuffer.isView(input)) return memorySource(new Uint8Array(input.buffer, input.byteOffset, input.byteLength));
  if ('href' in input) return openText(input.href, signal);
  if (typeof input.slice === 'function') return blobSource(input);
  throw new SoraError('SORA7001', 'weights must be a path, an address, a Blob or bytes');
}

async function openText(text: string, signal: AbortSignal | undefined): Promise<ByteSource> {
  if (/^https?:/i.test(text)) return openAddress(text, signal);
  if (!isNode()) return openAddress(text, signal);
  if (!/^file:/i.test(text)) return openFile(text);
  const { fileURLToPath } = await importByName<typeof import('node:url')>('node:url');
  return openFile(fileURLToPath(text));
}

function cutShort(name: string): SoraError {
  return new SoraError('SORA7007', `\`${name}\` ended while it was read`, { help: 'fetch the file again' });
}

export function memorySource(bytes: Uint8Array, name = 'weights'): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      if (offset + length > bytes.byteLength) throw cutShort(name);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}

function blobSource(blob: BlobLike): ByteSource {
  const name = 'name' in blob && typeof blob.name === 'string' ? blob.name : 'weights';
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.byteLength !== length) throw cutShort(name);
      return bytes;
    },
    async close() {},
  };
}

async function openFile(path: string): Promise<ByteSource> {
  const { open, stat } = await importByName<typeof import('node:fs/promises')>('node:fs/promises');
  const refuse = (why: string, cause?: unknown): SoraError =>
    new SoraError('SORA7001', `cannot read \`${path}\`: ${why}`, { cause });
  // Asked before opening: opening a pipe would wait for a writer.
  const info = await stat(path).catch((error: unknown) => {
    const why = messageOf(error);
    throw refuse(/^ENOENT/.test(why) ? 'there is no such file' : why, error);
  });
  if (!info.isFile()) throw refuse(info.isDirectory() ? 'it is a folder' : 'it is not a regular file');
  const file = await open(path, 'r').catch((error: unknown) => {
    throw refuse(messageOf(error), error);
  });
  return {
    name: path,
    size: (await file.stat()).size,
    async read(offset, length, room) {
      const bytes = room?.subarray(0, length) ?? new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await file
          .read(bytes, filled, length - filled, offset + filled)
          .catch((error: unknown) => Promise.reject(refuse(messageOf(error), error)));
        if (bytesRead === 0) throw cutShort(path);
        filled += bytesRead;
      }
      return bytes;
    },
    close: () => file.close(),
  };
}

/** One request serves many small reads. */
const BLOCK_BYTES = 8 * 1024 * 1024;

/** Reads by ranges when the server can, else fetches the whole body once. */
async function openAddress(address: string, signal: AbortSignal | undefined): Promise<ByteSource> {
  const request = async (first: number, last: number): Promise<Response> => {
    const options = { headers: { range: `bytes=${first}-${last}` }, signal: signal ?? null };
    const response = await fetch(address, options).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new SoraError('SORA7001', `cannot fetch \`${address}\`: ${messageOf(error)}`, { cause: error });
    });
    if (response.ok) return response;
    await response.body?.cancel();
    throw new SoraError('SORA7001', `cannot fetch \`${address}\`: status ${response.status}`);
  };
  const body = async (response: Response): Promise<Uint8Array> => {
    const buffer = await response.arrayBuffer().catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new SoraError('SORA7007', `\`${address}\` was cut off: ${messageOf(error)}`, { cause: error });
    });
    return new Uint8Array(buffer);
  };
  const first = await request(0, BLOCK_BYTES - 1);
  const total = /\/(\d+)$/.exec(first.headers.get('content-range') ?? '')?.[1];
  if (first.status !== 206 || total === undefined) return memorySource(await body(first), address);

  let block = { start: 0, bytes: await body(first) };
  const size = Number(total);
  const readBlock = async (start: number, length: number): Promise<Uint8Array> => {
    const last = Math.min(size, start + Math.max(length, BLOCK_BYTES)) - 1;
    const response = await request(start, last);
    if (response.status !== 206) throw new SoraError('SORA7001', `\`${address}\` stopped answering ranges`);
    block = { start, bytes: await body(response) };
    return block.bytes;
  };
  return {
    name: address,
    size,
    async read(offset, length) {
      if (offset + length > size) throw cutShort(address);
      const from = offset - block.start;
      if (from >= 0 && from + length <= block.bytes.byteLength) return block.bytes.subarray(from, from + length);
      const bytes = await readBlock(offset, length);
      if (bytes.byteLength < length) throw cutShort(address);
      return bytes.subarray(0, length);
    },
    async close() {},
  };
}
