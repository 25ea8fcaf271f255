/**
 * Elements of initializers: as bytes, as numbers, and from whole numbers back to f32 by `(q - zero) * scale`.
 */
import type { FileType } from '../../../runtime/convert.ts';
import { bfloatToSingle, halfToSingle } from '../../../runtime/half.ts';
import type { ByteSource } from '../../../runtime/source.ts';
import { readRuns, readWhole } from '../conversion.ts';
import { type ElementName, elementSizes, impossible, type OnnxTensor, unsupported } from './model.ts';
import { readVarint } from './wire.ts';

/** The model's file and those beside it. */
export interface OnnxFiles {
  readonly model: ByteSource;
  /** SORA7015 for a name that is not inside the model's folder. */
  readonly open: (location: string) => Promise<ByteSource>;
}

/** The types of a safetensors file that hold an element type bit by bit. */
const fileTypes: Readonly<Record<ElementName, FileType>> = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  f64: 'F64',
  i8: 'I8',
  i16: 'I16',
  i32: 'I32',
  i64: 'I64',
  u8: 'U8',
  u16: 'U16',
  u32: 'U32',
  u64: 'U64',
  bool: 'BOOL',
};

export function fileTypeOf(type: ElementName): FileType {
  return fileTypes[type];
}

/** Bits of the elements, little-endian, in runs. */
export async function* readBits(files: OnnxFiles, tensor: OnnxTensor): AsyncIterable<Uint8Array> {
  const { data, elements, type, name } = tensor;
  const bytes = elements * elementSizes[type];
  if (data.kind === 'raw') {
    yield* readRuns(files.model, data.range.start, bytes);
  } else if (data.kind === 'external') {
    const source = await files.open(data.location);
    if (data.offset + bytes > source.size) {
      throw impossible(
        files.model,
        name,
        `ends at ${data.offset + bytes} of the ${source.size} bytes of \`${source.name}\``,
      );
    }
    yield* readRuns(source, data.offset, bytes);
  } else {
    yield await bitsFromVarints(files.model, tensor);
  }
}

export async function readAllBits(files: OnnxFiles, tensor: OnnxTensor): Promise<Uint8Array> {
  const bytes = tensor.elements * elementSizes[tensor.type];
  if (tensor.data.kind === 'raw') return readWhole(files.model, tensor.data.range.start, bytes);
  const whole = new Uint8Array(bytes);
  let at = 0;
  for await (const run of readBits(files, tensor)) {
    whole.set(run, at);
    at += run.byteLength;
  }
  return whole;
}

/** `int32_data` holds a small type as one number per element: its lowest bytes are the bits. */
async function bitsFromVarints(source: ByteSource, tensor: OnnxTensor): Promise<Uint8Array> {
  const { data, elements, type, name } = tensor;
  if (data.kind !== 'varints') return new Uint8Array();
  // Each element takes at least one byte, so the file itself bounds what is allocated.
  const available = data.loose.length + data.ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  if (available < elements) throw impossible(source, name, `has at most ${available} of its ${elements} elements`);
  const size = elementSizes[type];
  const bits = new Uint8Array(elements * size);
  let count = 0;
  const put = (value: bigint): void => {
    if (count >= elements) throw impossible(source, name, `has more than its ${elements} elements`);
    for (let byte = 0; byte < size; byte++) bits[count * size + byte] = Number((value >> BigInt(8 * byte)) & 0xffn);
    count++;
  };
  for (const value of data.loose) put(value);
  for (const { start, end } of data.ranges) {
    const bytes = await source.read(start, end - start);
    for (let at = 0; at < bytes.byteLength; ) {
      const { value, next } = readVarint(bytes, at, source);
      put(value);
      at = next;
    }
  }
  if (count !== elements) throw impossible(source, name, `has ${count} of its ${elements} elements`);
  return bits;
}

/** Elements as numbers; for types whose values a double holds. */
export async function readNumbers(files: OnnxFiles, tensor: OnnxTensor): Promise<ArrayLike<number>> {
  const { buffer } = await readAllBits(files, tensor);
  switch (tensor.type) {
    case 'f32':
      return new Float32Array(buffer);
    case 'f64':
      return new Float64Array(buffer);
    case 'f16':
      return Float32Array.from(new Uint16Array(buffer), halfToSingle);
    case 'bf16':
      return Float32Array.from(new Uint16Array(buffer), bfloatToSingle);
    case 'i8':
      return new Int8Array(buffer);
    case 'u8':
    case 'bool':
      return new Uint8Array(buffer);
    case 'i16':
      return new Int16Array(buffer);
    case 'u16':
      return new Uint16Array(buffer);
    case 'i32':
      return new Int32Array(buffer);
    case 'u32':
      return new Uint32Array(buffer);
    default:
      throw unsupported(files.model, `initializer \`${tensor.name}\` of type ${tensor.type} among its weights`);
  }
}

/** How whole numbers stand for a weight: one scale, or one per index of `axis`. */
export interface Quantization {
  readonly scale: OnnxTensor;
  readonly zero: OnnxTensor | undefined;
  readonly axis: number;
}

/** f32 values. The difference is exact and the product is rounded once, as in f32 arithmetic. */
export async function dequantize(files: OnnxFiles, tensor: OnnxTensor, how: Quantization): Promise<Float32Array> {
  const { shape, name } = tensor;
  const scales = await readNumbers(files, how.scale);
  const zeros = how.zero === undefined ? undefined : await readNumbers(files, how.zero);
  const channels = scales.length === 1 ? 1 : (shape[how.axis] ?? 0);
  if (scales.length !== channels || (zeros !== undefined && zeros.length !== channels && zeros.length !== 1)) {
    const have = `${scales.length} scales and ${zeros?.length ?? 0} zero points`;
    throw unsupported(files.model, `${have} for the ${channels} channels of \`${name}\``);
  }
  // Elements between two neighbours along the axis.
  const stride = channels === 1 ? 1 : shape.slice(how.axis + 1).reduce((product, size) => product * size, 1);
  const values = await readNumbers(files, tensor);
  const result = new Float32Array(values.length);
  for (let index = 0; index < result.length; index++) {
    const channel = channels === 1 ? 0 : Math.floor(index / stride) % channels;
    const zero = zeros === undefined ? 0 : (zeros[zeros.length === 1 ? 0 : channel] ?? 0);
    result[index] = ((values[index] ?? 0) - zero) * (scales[channel] ?? 0);
  }
  return result;
}

/** [rows, columns] to [columns, rows], for elements of 1, 2, 4 or 8 bytes. */
export function transpose(bits: Uint8Array, rows: number, columns: number): Uint8Array {
  const size = rows * columns === 0 ? 1 : bits.byteLength / (rows * columns);
  const result = new Uint8Array(bits.byteLength);
  if (size === 4) {
    // The common case by whole elements.
    const from = new Uint32Array(bits.buffer, bits.byteOffset, rows * columns);
    const to = new Uint32Array(result.buffer);
    for (let column = 0; column < columns; column++) {
      for (let row = 0; row < rows; row++) to[column * rows + row] = from[row * columns + column] ?? 0;
    }
    return result;
  }
  for (let index = 0; index < rows * columns; index++) {
    const row = Math.floor(index / columns);
    const target = ((index % columns) * rows + row) * size;
    for (let byte = 0; byte < size; byte++) result[target + byte] = bits[index * size + byte] ?? 0;
  }
  return result;
}
