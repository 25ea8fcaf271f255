/**
 * IDX, the format of MNIST: two zero bytes, a byte for the element type, one for the rank, big-endian lengths, then the
 * elements. Images and labels are two files that are found by their names.
 *
 * Source: the page of the MNIST database, yann.lecun.com/exdb/mnist.
 */
import { createReadStream, existsSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { SoraError } from '../../support/error.ts';
import { type Dataset, dataFault, emptyFault, place, type Row, type TensorValue } from './dataset.ts';
import { memoryFile, openRandomFile, type RandomFile } from './files.ts';
import { type ImageOptions, imageTensor } from './images.ts';

/** Names of IDX files, also with `.idx3` for `-idx3` and zipped. */
export const idxName = /[-.]idx\d-(?:ubyte|byte|short|int|float|double)(?:\.gz)?$|\.idx\d?(?:\.gz)?$/i;

const maximumBytes = 4 * 1024 * 1024 * 1024 - 1;

interface ElementType {
  readonly bytes: number;
  readonly isWhole: boolean;
  read(view: DataView, at: number): number;
}

const elementTypes: ReadonlyMap<number, ElementType> = new Map([
  [0x08, { bytes: 1, isWhole: true, read: (view: DataView, at: number) => view.getUint8(at) }],
  [0x09, { bytes: 1, isWhole: true, read: (view: DataView, at: number) => view.getInt8(at) }],
  [0x0b, { bytes: 2, isWhole: true, read: (view: DataView, at: number) => view.getInt16(at) }],
  [0x0c, { bytes: 4, isWhole: true, read: (view: DataView, at: number) => view.getInt32(at) }],
  [0x0d, { bytes: 4, isWhole: false, read: (view: DataView, at: number) => view.getFloat32(at) }],
  [0x0e, { bytes: 8, isWhole: false, read: (view: DataView, at: number) => view.getFloat64(at) }],
]);

interface IdxFile {
  readonly shape: readonly number[];
  readonly type: ElementType;
  /** Elements of item `index` along the first axis. */
  item(index: number): Float32Array | Int32Array;
  close(): void;
}

/**
 * Columns: `image` [1, height, width] of f32 for items with two axes of bytes, else `data`; `label` where the file of
 * labels lies beside it.
 *
 * @param path the images; their labels have `labels` for `images` and `idx1` for `idx3` in their name
 * @errors SORA7034 malformed, SORA7038 no items, SORA7001 unreadable
 */
export async function openIdx(path: string, images: ImageOptions = {}): Promise<Dataset> {
  const items = await readIdx(path);
  const labelPath = labelsBeside(path);
  const labels = labelPath === undefined ? undefined : await readIdx(labelPath);
  const [length = 0, ...itemShape] = items.shape;
  const fault = (what: string): SoraError => dataFault('SORA7034', path, what);
  const close = (): void => {
    items.close();
    labels?.close();
  };
  try {
    if (length === 0) throw emptyFault(path, 'the file has no items');
    if (labels && (labels.shape.length !== 1 || labels.shape[0] !== length || !labels.type.isWhole)) {
      throw fault(`${length} items, but \`${labelPath}\` has labels of the shape [${labels.shape.join(', ')}]`);
    }
  } catch (error) {
    close();
    throw error;
  }
  const isImage = itemShape.length === 2 && items.type.bytes === 1;
  const isNumber = itemShape.length === 0;
  const name = isImage ? 'image' : isNumber && items.type.isWhole ? 'label' : 'data';
  const valueAt = (index: number): TensorValue | number => {
    const numbers = items.item(index);
    if (!items.type.isWhole && !numbers.every((number) => Number.isFinite(number)))
      throw fault(`item ${index + 1} has NaN or infinity`);
    if (isNumber) return numbers[0] ?? 0;
    if (!isImage) return { shape: itemShape, data: numbers };
    const grey = { shape: [1, ...itemShape], data: new Float32Array(numbers).map((value) => value / 255) };
    return imageTensor(images.channels === 3 ? threeTimes(grey) : grey, images);
  };
  const kind = isNumber ? (items.type.isWhole ? 'integer' : 'number') : 'tensor';
  return {
    name: path,
    length,
    columns: new Map([[name, kind] as const, ...(labels ? [['label', 'integer'] as const] : [])]),
    isStream: false,
    where: (index) => `${place(path)} item ${index + 1}`,
    async row(index, only): Promise<Row> {
      if (!(index >= 0 && index < length)) throw new RangeError(`item ${index} of ${length}`);
      const row = new Map<string, TensorValue | number>();
      if (only?.has(name) !== false) row.set(name, valueAt(index));
      if (labels) row.set('label', labels.item(index)[0] ?? 0);
      return row;
    },
    async close() {
      close();
    },
  };
}

function threeTimes({ shape, data }: TensorValue): TensorValue {
  const [, height = 0, width = 0] = shape;
  const values = new Float32Array(3 * data.length);
  for (let channel = 0; channel < 3; channel++) values.set(data, channel * data.length);
  return { shape: [3, height, width], data: values };
}

function labelsBeside(path: string): string | undefined {
  const other = path.replace(/images([-.])idx3(?=[^/\\]*$)/i, 'labels$1idx1');
  if (other === path) return undefined;
  return [other, `${other}.gz`, other.replace(/\.gz$/, '')].find((candidate) => existsSync(candidate));
}

async function readIdx(path: string): Promise<IdxFile> {
  const file = /\.gz$/i.test(path) ? memoryFile(path, await gunzip(path)) : openRandomFile(path);
  try {
    const { shape, type, dataStart, expected } = readHeader(file.read(0, Math.min(file.size, 4 + 4 * 8)), path);
    if (file.size !== expected) {
      throw dataFault('SORA7034', path, `${file.size} bytes, its header asks for ${expected}`);
    }
    return idxFile(file, shape, type, dataStart);
  } catch (error) {
    file.close();
    throw error;
  }
}

function idxFile(file: RandomFile, shape: readonly number[], type: ElementType, dataStart: number): IdxFile {
  const elements = shape.slice(1).reduce((product, dim) => product * dim, 1);
  return {
    shape,
    type,
    item(index) {
      const bytes = file.read(dataStart + index * elements * type.bytes, elements * type.bytes);
      const view = new DataView(bytes.buffer);
      const numbers = type.isWhole ? new Int32Array(elements) : new Float32Array(elements);
      for (let at = 0; at < elements; at++) numbers[at] = type.read(view, at * type.bytes);
      return numbers;
    },
    close: () => file.close(),
  };
}

function readHeader(
  bytes: Uint8Array,
  path: string,
): {
  readonly shape: readonly number[];
  readonly type: ElementType;
  readonly dataStart: number;
  readonly expected: number;
} {
  const fault = (what: string): SoraError => dataFault('SORA7034', path, `no usable IDX file: ${what}`);
  const type = elementTypes.get(bytes[2] ?? 0);
  const rank = bytes[3] ?? 0;
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0 || !type)
    throw fault('its first bytes are not those of IDX');
  if (rank < 1 || rank > 8) throw fault(`${rank} axes`);
  const dataStart = 4 + 4 * rank;
  if (bytes.length < dataStart) throw fault('it ends inside of its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const expected = shape.reduce((product, dim) => product * dim, type.bytes) + dataStart;
  if (expected > maximumBytes) throw fault(`[${shape.join(', ')}] takes ${expected} bytes, at most 4 GiB allowed`);
  return { shape, type, dataStart, expected };
}

/** Stops as soon as more comes out than the header says. */
async function gunzip(path: string): Promise<Uint8Array> {
  // Says why a path cannot be read.
  openRandomFile(path).close();
  const parts: Buffer[] = [];
  let bytes = 0;
  let expected: number | undefined;
  // What the pipeline rejects with when its end throws is about the pipeline.
  let failure: unknown;
  const take = (part: Buffer): void => {
    parts.push(part);
    bytes += part.length;
    if (expected === undefined && bytes >= 4 + 4 * 8) expected = readHeader(Buffer.concat(parts), path).expected;
    if (expected !== undefined && bytes > expected) {
      throw dataFault('SORA7034', path, `it unpacks to more than the ${expected} bytes of its header`);
    }
  };
  const collect = async (unpacked: AsyncIterable<Buffer>): Promise<void> => {
    try {
      for await (const part of unpacked) take(part);
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  try {
    await pipeline(createReadStream(path), createGunzip(), collect);
  } catch (cause) {
    if (failure instanceof SoraError) throw failure;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw dataFault('SORA7034', path, `it cannot be unpacked: ${why}`, { cause });
  }
  return Buffer.concat(parts);
}
