/**
 * What a reader of foreign weights gives: tensors under the names of Hugging Face, whose bytes are made one tensor at a time
 * when the file is written, and what else the foreign file knew.
 */
import type { FileType } from '../../runtime/convert.ts';
import { encodeSafetensorsHeader } from '../../runtime/safetensors.ts';
import type { ByteSource } from '../../runtime/source.ts';
import { SoraError } from '../../support/error.ts';
import { writeFileAtomicAsync } from '../../support/node-atomic-file.ts';

export interface ConvertedTensor {
  readonly name: string;
  readonly dtype: FileType;
  readonly shape: readonly number[];
  /** The little-endian elements, in runs of any length. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
}

export interface Conversion {
  /** What was recognised, for people: `llama2.c, legacy layout`. */
  readonly format: string;
  readonly tensors: readonly ConvertedTensor[];
  /** Fields of `config.json`, as far as the file tells them. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** Further files to write beside the weights. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** What was left out or assumed. */
  readonly notes: readonly string[];
  /** Closes files that the reader has opened itself; the converted file is the caller's. */
  readonly close: () => Promise<void>;
}

/** One run at a time: reading stays far below the size of a tensor. */
const chunkBytes = 4 * 1024 * 1024;

export async function* readRuns(source: ByteSource, offset: number, bytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes; at += chunkBytes) yield await source.read(offset + at, Math.min(chunkBytes, bytes - at));
}

/** A whole tensor; the caller has compared `bytes` with the size of the file. */
export async function readWhole(source: ByteSource, offset: number, bytes: number): Promise<Uint8Array> {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for await (const run of readRuns(source, offset, bytes)) {
    whole.set(run, at);
    at += run.byteLength;
  }
  return whole;
}

/** A part of a file as a file of its own: containers hold models at an offset. */
export function partOf(source: ByteSource, start: number, end: number): ByteSource {
  return {
    name: source.name,
    size: end - start,
    async read(offset, length) {
      if (offset + length > end - start) throw new SoraError('SORA7007', `\`${source.name}\` ended while it was read`);
      return source.read(start + offset, length);
    },
    close: () => source.close(),
  };
}

/** Many small reads, few of the file: keeps the last block. */
export function withBlocks(source: ByteSource, blockBytes = 256 * 1024): ByteSource {
  let block: { start: number; bytes: Uint8Array } = { start: 0, bytes: new Uint8Array(0) };
  return {
    name: source.name,
    size: source.size,
    async read(offset, length) {
      const inBlock = offset - block.start;
      if (inBlock >= 0 && inBlock + length <= block.bytes.byteLength) {
        return block.bytes.subarray(inBlock, inBlock + length);
      }
      if (length > blockBytes) return source.read(offset, length);
      const bytes = await source.read(offset, Math.max(length, Math.min(blockBytes, source.size - offset)));
      block = { start: offset, bytes };
      return bytes.subarray(0, length);
    },
    close: () => source.close(),
  };
}

export function bytesOf(array: Float32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

export async function writeConversion(path: string, tensors: readonly ConvertedTensor[]): Promise<void> {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (seen.has(name)) throw new SoraError('SORA7017', `two tensors would be named \`${name}\``);
    seen.add(name);
  }
  const { header, sorted } = encodeSafetensorsHeader(tensors, { format: 'pt' });
  await writeFileAtomicAsync(path, parts(header, sorted));
}

async function* parts(header: Uint8Array, tensors: readonly ConvertedTensor[]): AsyncIterable<Uint8Array> {
  yield header;
  for (const tensor of tensors) yield* tensor.chunks();
}
