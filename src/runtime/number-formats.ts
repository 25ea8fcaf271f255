/**
 * Number formats of fewer bits: how numbers become whole numbers with scales and back, and the form that they have in files. The
 * loader, `sorac compress` and the tests share these functions, which define the formats (docs/decisions/0009-compression.md).
 *
 * A format sees a weight as a matrix of rows, one per output: what a row holds is summed over by what reads it. Each group of a
 * row has a scale, and a zero point where the format is asymmetric. All arithmetic is in f32, and rounding goes to the nearest,
 * halves to the even one.
 *
 * Not here: f16, which files and devices hold as it is (half.ts), and how a device holds these numbers (packed-weights.ts).
 */
import type { FileType } from './convert.ts';
import { SoraError } from './error.ts';
import { singleToHalf } from './half.ts';

export interface NumberFormat {
  /** `int8`: -127..127. `int4`: -7..7, or 0..15 when asymmetric. `f16`: halves, without scales. */
  readonly kind: 'int8' | 'int4' | 'f16';
  /** Neighbours in a row that share a scale, the last ones of a row may be fewer; undefined: the whole row. */
  readonly group?: number;
  /** With a zero point per group: numbers that do not lie about 0. */
  readonly asymmetric?: boolean;
  /** The matrix lies [inputs, outputs] in checkpoints, so its rows are the columns there. */
  readonly transposed?: boolean;
}

/** Rows one after another, groups within. */
export interface Encoded {
  readonly values: Int8Array;
  readonly scales: Float32Array;
  readonly zeros: Uint8Array | undefined;
}

/** Rows and what each holds; axes behind the first count as one. */
export function matrixOf(shape: readonly number[], format: NumberFormat): { rows: number; columns: number } {
  const [first = 1, ...rest] = shape;
  const others = rest.reduce((product, size) => product * size, 1);
  return format.transposed ? { rows: others, columns: first } : { rows: first, columns: others };
}

export function groupsOf(columns: number, { group }: NumberFormat): number {
  return group === undefined ? 1 : Math.max(1, Math.ceil(columns / group));
}

/** `Math.fround` is the rounding of f32; this is that of whole numbers. */
export function roundEven(value: number): number {
  const rounded = Math.round(value);
  // Math.round takes halves up.
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const clamp = (value: number, least: number, greatest: number) => Math.min(Math.max(value, least), greatest);

const limits = { int8: 127, int4: 7, f16: 0 } as const;

function encodeGroup(
  source: Float32Array,
  from: number,
  to: number,
  format: NumberFormat,
  values: Int8Array,
): { readonly scale: number; readonly zero: number } {
  let low = 0;
  let high = 0;
  for (let at = from; at < to; at++) {
    const value = source[at] ?? 0;
    if (!Number.isFinite(value)) throw new SoraError('SORA7204', `${value} has no place in ${format.kind}`);
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  const { fround } = Math;
  if (format.asymmetric) {
    const scale = fround(fround(high - low) / 15) || 1;
    const zero = clamp(roundEven(fround(-low / scale)), 0, 15);
    for (let at = from; at < to; at++) values[at] = clamp(roundEven(fround((source[at] ?? 0) / scale)) + zero, 0, 15);
    return { scale, zero };
  }
  const limit = limits[format.kind];
  const scale = fround(Math.max(-low, high) / limit) || 1;
  for (let at = from; at < to; at++) values[at] = clamp(roundEven(fround((source[at] ?? 0) / scale)), -limit, limit);
  return { scale, zero: 0 };
}

/**
 * Whole rows of `columns` numbers.
 *
 * @errors SORA7204 when one is infinite or not a number.
 */
export function encodeRows(source: Float32Array, columns: number, format: NumberFormat): Encoded {
  const { group = columns } = format;
  const groups = groupsOf(columns, format);
  const rows = columns === 0 ? 0 : source.length / columns;
  const values = new Int8Array(source.length);
  const scales = new Float32Array(rows * groups);
  const zeros = format.asymmetric ? new Uint8Array(rows * groups) : undefined;
  for (let row = 0, place = 0; row < rows; row++) {
    for (let at = 0; at < groups; at++, place++) {
      const from = row * columns + at * group;
      const to = Math.min(from + group, (row + 1) * columns);
      const { scale, zero } = encodeGroup(source, from, to, format, values);
      scales[place] = scale;
      if (zeros) zeros[place] = zero;
    }
  }
  return { values, scales, zeros };
}

/** The numbers that kernels compute with. */
export function decodeRows({ values, scales, zeros }: Encoded, columns: number, format: NumberFormat): Float32Array {
  const { group = columns } = format;
  const groups = groupsOf(columns, format);
  const numbers = new Float32Array(values.length);
  for (let at = 0, place = 0; at < numbers.length; place++) {
    const scale = scales[place] ?? 0;
    const zero = zeros?.[place] ?? 0;
    const end = Math.min(at + group, (Math.floor(place / groups) + 1) * columns);
    // The product of two f32 is rounded once, by the array.
    for (; at < end; at++) numbers[at] = ((values[at] ?? 0) - zero) * scale;
  }
  return numbers;
}

/** Two to a byte, the first in the lower half; every row begins with a byte. Below 0 there is nothing: symmetric ones plus 8. */
export function packNibbles(values: Int8Array, columns: number, { asymmetric }: NumberFormat): Uint8Array {
  const offset = asymmetric ? 0 : 8;
  const width = Math.ceil(columns / 2);
  const bytes = new Uint8Array(columns === 0 ? 0 : (values.length / columns) * width);
  for (let at = 0, row = 0; at < values.length; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const place = row * width + (column >> 1);
      bytes[place] = (bytes[place] ?? 0) | (((values[at] ?? 0) + offset) << (4 * (column & 1)));
    }
  }
  return bytes;
}

export function unpackNibbles(bytes: Uint8Array, columns: number, { asymmetric }: NumberFormat): Int8Array {
  const offset = asymmetric ? 0 : 8;
  const width = Math.ceil(columns / 2);
  const values = new Int8Array(width === 0 ? 0 : (bytes.length / width) * columns);
  for (let at = 0, row = 0; at < values.length; row++) {
    for (let column = 0; column < columns; column++, at++) {
      values[at] = (((bytes[row * width + (column >> 1)] ?? 0) >> (4 * (column & 1))) & 15) - offset;
    }
  }
  return values;
}

/** A matrix [rows, columns] as [columns, rows]. */
export function transpose(source: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const target = new Float32Array(source.length);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) target[column * rows + row] = source[at] ?? 0;
  }
  return target;
}

/** A tensor as it stands in a file; `encodeSafetensors` takes it. */
export interface FileTensor {
  readonly name: string;
  readonly dtype: FileType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint8Array;
}

/** Names of what stands beside a packed tensor. */
export const scaleName = (name: string): string => `${name}.scale`;
export const zeroName = (name: string): string => `${name}.zero`;

/** Element type and shape of the packed numbers in a file. */
export function packedHead(
  shape: readonly number[],
  format: NumberFormat,
): { readonly dtype: FileType; readonly shape: readonly number[] } {
  if (format.kind === 'f16') return { dtype: 'F16', shape };
  const { rows, columns } = matrixOf(shape, format);
  return format.kind === 'int8'
    ? { dtype: 'I8', shape: [rows, columns] }
    : { dtype: 'U8', shape: [rows, Math.ceil(columns / 2)] };
}

/** What a packed weight is in a file: numbers, scales, zero points. `source` lies as in the checkpoint. */
export function packTensor(
  name: string,
  source: Float32Array,
  shape: readonly number[],
  format: NumberFormat,
): readonly FileTensor[] {
  const head = packedHead(shape, format);
  if (format.kind === 'f16') {
    const halves = Uint16Array.from(source, singleToHalf);
    return [{ name, ...head, data: new Uint8Array(halves.buffer) }];
  }
  const { rows, columns } = matrixOf(shape, format);
  const matrix = format.transposed ? transpose(source, columns, rows) : source;
  return packEncoded(name, encodeRows(matrix, columns, format), shape, format);
}

/** As `packTensor`, of numbers that have their scales already. `shape` is that of the weight in the checkpoint. */
export function packEncoded(
  name: string,
  { values, scales, zeros }: Encoded,
  shape: readonly number[],
  format: NumberFormat,
): readonly FileTensor[] {
  const head = packedHead(shape, format);
  const { rows, columns } = matrixOf(shape, format);
  const data = format.kind === 'int8' ? new Uint8Array(values.buffer) : packNibbles(values, columns, format);
  const groups = format.group === undefined ? [] : [groupsOf(columns, format)];
  return [
    { name, ...head, data },
    { name: scaleName(name), dtype: 'F32', shape: [rows, ...groups], data: scales },
    ...(zeros ? [{ name: zeroName(name), dtype: 'U8' as const, shape: [rows, ...groups], data: zeros }] : []),
  ];
}

/** Under this key the metadata of a file say how the tensor of the name is packed. */
export const formatKey = (name: string): string => `format:${name}`;

/** `int4 group 32 asymmetric [64, 96]`: with the shape of the weight, which the packed form does not tell. */
export function describeFormat(format: NumberFormat, shape: readonly number[]): string {
  const { kind, group, asymmetric, transposed } = format;
  const words = [kind, ...(group === undefined ? [] : [`group ${group}`])];
  if (asymmetric) words.push('asymmetric');
  if (transposed) words.push('transposed');
  return `${words.join(' ')} [${shape.join(', ')}]`;
}

/** Reads what `describeFormat` wrote; undefined for any other text. */
export function readFormat(
  text: string,
): { readonly format: NumberFormat; readonly shape: readonly number[] } | undefined {
  const match = /^(int8|int4)(?: group (\d{1,9}))?( asymmetric)?( transposed)? \[(\d+(?:, \d+)*)\]$/.exec(text);
  if (!match) return undefined;
  const [, kind, group, asymmetric, transposed, sizes = ''] = match;
  const shape = sizes.split(', ').map(Number);
  if (group !== undefined && Number(group) === 0) return undefined;
  if (asymmetric !== undefined && kind !== 'int4') return undefined;
  return {
    shape,
    format: {
      kind: kind as 'int8' | 'int4',
      ...(group === undefined ? {} : { group: Number(group) }),
      ...(asymmetric === undefined ? {} : { asymmetric: true }),
      ...(transposed === undefined ? {} : { transposed: true }),
    },
  };
}
