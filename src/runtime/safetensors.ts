/**
 * Reads and writes safetensors files, tensor by tensor and in chunks. The header is treated as hostile: every size is checked
 * before anything is allocated, and the tensors must cover the data exactly, without holes and overlaps.
 *
 * Format: 8 bytes little-endian header length, that many bytes of JSON, data. Source: the safetensors format description
 * (huggingface/safetensors). Element conversions are in convert.ts.
 */

import type { ElementType } from './artifact.ts';
import {
  convertElements,
  type ElementArray,
  type FileType,
  fileTypeBytes,
  isFileType,
  newElements,
} from './convert.ts';
import { SoraError } from './error.ts';
import { type ScannedValue, scanJson } from './json-scan.ts';
import { type ByteSource, openSource, type SourceInput } from './source.ts';

export interface TensorInfo {
  readonly name: string;
  readonly dtype: FileType;
  readonly shape: readonly number[];
  readonly elements: number;
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsFile {
  /** Path or address, for messages. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  /** A whole tensor in another element type; SORA7203 and SORA7204 when the values do not fit it. */
  readTensor<Type extends ElementType>(name: string, dtype: Type): Promise<ElementArray<Type>>;
  /**
   * Calls `write` with runs of raw bytes of a tensor, or of the elements of it from `start` to before `end`, in order; each
   * run is whole elements, at most 4 MiB, and its bytes are others' when `write` is done.
   */
  readChunks(
    info: TensorInfo,
    write: (bytes: Uint8Array, firstElement: number) => void,
    start?: number,
    end?: number,
  ): Promise<void>;
  close(): Promise<void>;
}

/** As the reference implementation: nothing real comes near. */
const MAXIMUM_HEADER_BYTES = 100_000_000;
const CHUNK_BYTES = 4 * 1024 * 1024;

export async function openSafetensors(input: SourceInput, signal?: AbortSignal): Promise<SafetensorsFile> {
  const source = await openSource(input, signal);
  try {
    return safetensorsFile(source, await readHeader(source), signal);
  } catch (error) {
    await source.close();
    throw error;
  }
}

interface Header {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

function safetensorsFile(source: ByteSource, header: Header, signal: AbortSignal | undefined): SafetensorsFile {
  /** For the next tensor; whoever reads at the same time makes room of its own. */
  let idle: Uint8Array | undefined;
  const readChunks: SafetensorsFile['readChunks'] = async (info, write, start = 0, end = info.elements) => {
    const elementBytes = fileTypeBytes(info.dtype);
    const step = Math.floor(CHUNK_BYTES / elementBytes);
    const room = idle ?? new Uint8Array(CHUNK_BYTES);
    idle = undefined;
    for (let first = start; first < end; first += step) {
      signal?.throwIfAborted();
      const count = Math.min(step, end - first);
      write(await source.read(info.offset + first * elementBytes, count * elementBytes, room), first);
    }
    idle = room;
  };
  return {
    name: source.name,
    tensors: header.tensors,
    metadata: header.metadata,
    readChunks,
    async readTensor(name, dtype) {
      const info = header.tensors.get(name);
      if (!info) throw new SoraError('SORA7201', `\`${source.name}\` has no tensor \`${name}\``);
      const elements = newElements(dtype, info.elements);
      await readChunks(info, (bytes, first) => convertElements(info, bytes, elements, dtype, first));
      return elements;
    },
    close: () => source.close(),
  };
}

async function readHeader(source: ByteSource): Promise<Header> {
  const refuse = (code: string, what: string): SoraError =>
    new SoraError(code, `\`${source.name}\` is not a usable safetensors file: ${what}`);
  if (source.size < 8) throw refuse('SORA7002', `${source.size} bytes, expected at least 8`);
  const lengthBytes = await source.read(0, 8);
  const length = new DataView(lengthBytes.buffer, lengthBytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAXIMUM_HEADER_BYTES))
    throw refuse('SORA7008', `a header of ${length} bytes, at most 100 MB allowed`);
  const headerBytes = Number(length);
  if (headerBytes < 2) throw refuse('SORA7002', `a header of ${headerBytes} bytes`);
  if (8 + headerBytes > source.size) {
    throw refuse('SORA7002', `a header of ${headerBytes} bytes in a file of ${source.size}`);
  }
  const raw = await source.read(8, headerBytes);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    throw refuse('SORA7003', 'the header is not UTF-8');
  }
  if (!text.startsWith('{')) throw refuse('SORA7003', 'the header does not start with `{`');
  const root = scanJson(text, source.name);
  if (root.kind !== 'object') throw refuse('SORA7003', 'the header is not an object');

  const dataStart = 8 + headerBytes;
  const tensors: TensorInfo[] = [];
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of root.fields) {
    if (name === '__metadata__') metadata = readMetadata(value, refuse);
    else tensors.push(readEntry(name, value, dataStart, refuse));
  }
  checkCover(tensors, dataStart, source.size, refuse);
  return { tensors: new Map(tensors.map((info) => [info.name, info])), metadata };
}

type Refuse = (code: string, what: string) => SoraError;

function readMetadata(value: ScannedValue, refuse: Refuse): ReadonlyMap<string, string> {
  if (value.kind !== 'object') throw refuse('SORA7009', '`__metadata__` is not an object');
  const metadata = new Map<string, string>();
  for (const [key, item] of value.fields) {
    if (item.kind !== 'string') throw refuse('SORA7009', `\`__metadata__\` has \`${key}\`, which is not a string`);
    metadata.set(key, item.text);
  }
  return metadata;
}

function wholeNumbers(value: ScannedValue | undefined): readonly number[] | undefined {
  if (value?.kind !== 'list') return undefined;
  const numbers = value.items.map((item) => (item.kind === 'number' ? item.value : undefined));
  return numbers.every((item) => item !== undefined) ? numbers : undefined;
}

function readEntry(name: string, value: ScannedValue, dataStart: number, refuse: Refuse): TensorInfo {
  const bad = (what: string): SoraError => refuse('SORA7005', `tensor \`${name}\` ${what}`);
  if (value.kind !== 'object') throw bad('is not described by an object');
  const extra = [...value.fields.keys()].find((key) => !['dtype', 'shape', 'data_offsets'].includes(key));
  if (extra !== undefined) throw bad(`has an unknown field \`${extra}\``);
  const dtype = value.fields.get('dtype');
  if (dtype?.kind !== 'string') throw bad('has no element type');
  if (!isFileType(dtype.text)) throw bad(`has the unknown element type \`${dtype.text}\``);
  const shape = wholeNumbers(value.fields.get('shape'));
  if (!shape) throw bad('has a shape that is not a list of whole numbers');
  let bytes = fileTypeBytes(dtype.text);
  for (const dim of shape) bytes *= dim;
  if (!Number.isSafeInteger(bytes)) throw bad(`has the impossible shape [${shape.join(', ')}]`);
  const offsets = wholeNumbers(value.fields.get('data_offsets'));
  const [begin, end] = offsets ?? [];
  if (offsets?.length !== 2 || begin === undefined || end === undefined) {
    throw refuse('SORA7006', `tensor \`${name}\` has no pair of offsets`);
  }
  if (end - begin !== bytes) {
    const need = `[${shape.join(', ')}] of ${dtype.text} takes ${bytes}`;
    throw refuse('SORA7006', `tensor \`${name}\` has offsets ${begin} to ${end}, ${need} bytes`);
  }
  return {
    name,
    dtype: dtype.text,
    shape,
    elements: bytes / fileTypeBytes(dtype.text),
    offset: dataStart + begin,
    bytes,
  };
}

/** Every byte of the data belongs to exactly one tensor: no second file can hide in between. */
function checkCover(tensors: readonly TensorInfo[], dataStart: number, fileSize: number, refuse: Refuse): void {
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const info of sorted) {
    if (info.offset < end) throw refuse('SORA7006', `tensor \`${info.name}\` overlaps another`);
    if (info.offset > end)
      throw refuse('SORA7006', `${info.offset - end} bytes before tensor \`${info.name}\` belong to none`);
    end = info.offset + info.bytes;
  }
  if (end > fileSize) throw refuse('SORA7006', `its tensors need ${end} bytes, it has ${fileSize}`);
  if (end < fileSize) throw refuse('SORA7006', `${fileSize - end} bytes after the last tensor belong to none`);
}

/** A tensor to write; the length of `data` must be the product of `shape`. */
export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint32Array | Uint8Array;
  /** Element type in the file; taken from `data` when left out. `F16` and `BF16` take raw bits in a Uint8Array. */
  readonly dtype?: FileType;
}

function typeOfData(data: TensorToWrite['data']): FileType {
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Int32Array) return 'I32';
  return data instanceof Uint32Array ? 'U32' : 'U8';
}

/** What the header says of a tensor. */
export interface TensorHead {
  readonly name: string;
  readonly dtype: FileType;
  readonly shape: readonly number[];
}

const headBytes = ({ dtype, shape }: TensorHead): number =>
  shape.reduce((product, dim) => product * dim, fileTypeBytes(dtype));

/**
 * Everything before the data, and the order in which the data of the tensors must follow: by alignment and name, so that
 * equal tensors give equal bytes.
 */
export function encodeSafetensorsHeader<Head extends TensorHead>(
  tensors: readonly Head[],
  metadata: Readonly<Record<string, string>> = {},
): { readonly header: Uint8Array; readonly sorted: readonly Head[]; readonly dataBytes: number } {
  const sorted = [...tensors].sort(
    (a, b) => fileTypeBytes(b.dtype) - fileTypeBytes(a.dtype) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const entries: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    const fields = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    entries.push(`"__metadata__":{${fields.join(',')}}`);
  }
  let end = 0;
  for (const tensor of sorted) {
    const { name, dtype, shape } = tensor;
    const bytes = headBytes(tensor);
    const info = `{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${end},${end + bytes}]}`;
    entries.push(`${JSON.stringify(name)}:${info}`);
    end += bytes;
  }
  let text = new TextEncoder().encode(`{${entries.join(',')}}`);
  const padding = (8 - (text.byteLength % 8)) % 8;
  if (padding > 0) text = new TextEncoder().encode(`{${entries.join(',')}}${' '.repeat(padding)}`);
  const header = new Uint8Array(8 + text.byteLength);
  new DataView(header.buffer).setBigUint64(0, BigInt(text.byteLength), true);
  header.set(text, 8);
  return { header, sorted, dataBytes: end };
}

/** A whole file in memory. */
export function encodeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const typed = tensors.map((tensor) => ({ ...tensor, dtype: tensor.dtype ?? typeOfData(tensor.data) }));
  for (const tensor of typed) {
    const { name, shape, data } = tensor;
    const bytes = headBytes(tensor);
    if (bytes !== data.byteLength) {
      throw new SoraError(
        'SORA7005',
        `tensor \`${name}\` [${shape.join(', ')}] takes ${bytes} bytes, got ${data.byteLength}`,
      );
    }
  }
  const { header, sorted, dataBytes } = encodeSafetensorsHeader(typed, metadata);
  const file = new Uint8Array(header.byteLength + dataBytes);
  file.set(header);
  let at = header.byteLength;
  for (const { data } of sorted) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}
