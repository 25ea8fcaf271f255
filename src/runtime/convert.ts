/**
 * Elements of a checkpoint to elements of a kernel. Floats go to floats, whole numbers to whole numbers with a range check;
 * anything else is an error rather than a guess. Hosts are little-endian, like WebGPU and the file format.
 */
import type { ElementType } from './artifact.ts';
import { SoraError } from './error.ts';
import { halfValues, singleToHalf } from './half.ts';

/** Element types of safetensors files; the 8-bit floats can be listed but not converted yet. */
const fileTypes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

export type FileType = keyof typeof fileTypes;

export function isFileType(text: string): text is FileType {
  return Object.hasOwn(fileTypes, text);
}

export function fileTypeBytes(type: FileType): number {
  return fileTypes[type];
}

/** f16 as raw bits, bool as one u32 each: the form in which kernels see them. */
export type ElementArray<Type extends ElementType = ElementType> = Type extends 'f32'
  ? Float32Array<ArrayBuffer>
  : Type extends 'i32'
    ? Int32Array<ArrayBuffer>
    : Type extends 'f16'
      ? Uint16Array<ArrayBuffer>
      : Uint32Array<ArrayBuffer>;

export function elementBytes(dtype: ElementType): number {
  return dtype === 'f16' ? 2 : 4;
}

/** Views `length` elements of a buffer, or new zeros. */
export function newElements<Type extends ElementType>(
  dtype: Type,
  length: number,
  buffer: ArrayBuffer = new ArrayBuffer(Math.ceil((length * elementBytes(dtype)) / 4) * 4),
): ElementArray<Type> {
  const make = (): Float32Array | Int32Array | Uint16Array | Uint32Array => {
    if (dtype === 'f32') return new Float32Array(buffer, 0, length);
    if (dtype === 'i32') return new Int32Array(buffer, 0, length);
    if (dtype === 'f16') return new Uint16Array(buffer, 0, length);
    return new Uint32Array(buffer, 0, length);
  };
  return make() as ElementArray<Type>;
}

type NumberArray = { readonly length: number; [index: number]: number };

interface Named {
  readonly name: string;
  readonly dtype: FileType;
}

/**
 * A matrix in panels: its element n*K + k, with `base` added, lies at [floor(n / width)][k][n % width]. `base` is where the
 * tensor begins in the matrix, a multiple of `columns` (K) that may be negative.
 */
export interface Panels {
  readonly base: number;
  readonly columns: number;
  readonly width: number;
}

/**
 * Converts a run of raw elements into `target`, from `first` on; with panels, `first` is the index of the run's first element
 * in its tensor.
 *
 * @errors SORA7203 when the file's type does not convert to `dtype`, SORA7204 when a value does not fit.
 */
export function convertElements(
  tensor: Named,
  bytes: Uint8Array,
  target: ElementArray,
  dtype: ElementType,
  first: number,
  panels?: Panels,
): void {
  const values = decodeRun(tensor, bytes, dtype);
  if (panels) placeInPanels(values, target, first, panels);
  else target.set(values as ArrayLike<number>, first);
}

/** Row by row: every element of a checkpoint passes here. */
function placeInPanels(values: NumberArray, target: ElementArray, first: number, panels: Panels): void {
  const { base, columns, width } = panels;
  for (let at = 0; at < values.length; ) {
    const index = base + first + at;
    const row = Math.floor(index / columns);
    const column = index - row * columns;
    const lane = row % width;
    const end = Math.min(values.length, at + columns - column);
    let place = (row - lane) * columns + column * width + lane;
    for (; at < end; at++, place += width) target[place] = values[at] ?? 0;
  }
}

/** The run as numbers of the wanted type, without copying where the bytes already are those numbers. */
function decodeRun(tensor: Named, bytes: Uint8Array, dtype: ElementType): NumberArray {
  const source = numbersOf(tensor.dtype, bytes);
  if (dtype === 'f32' || dtype === 'f16') {
    if (dtype === 'f16' && tensor.dtype === 'F16') return source as NumberArray;
    const floats = floatsOf(tensor, source, dtype);
    if (dtype === 'f32') return floats;
    const halves = new Uint16Array(floats.length);
    for (let i = 0; i < halves.length; i++) halves[i] = singleToHalf(floats[i] ?? 0);
    return halves;
  }
  if (tensor.dtype.startsWith('F') || tensor.dtype === 'BF16') throw notConvertible(tensor, dtype);
  return wholeOf(tensor, source, dtype);
}

function floatsOf(tensor: Named, source: ReturnType<typeof numbersOf>, dtype: ElementType): NumberArray {
  if (tensor.dtype === 'F32' || tensor.dtype === 'F64') return source as NumberArray;
  // One array type per loop: these loops see every element of a checkpoint.
  const halves = source as Uint16Array;
  const floats = new Float32Array(source.length);
  if (tensor.dtype === 'F16') {
    const table = halfValues();
    for (let i = 0; i < floats.length; i++) floats[i] = table[halves[i] ?? 0] ?? 0;
    return floats;
  }
  if (tensor.dtype !== 'BF16') throw notConvertible(tensor, dtype);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = (halves[i] ?? 0) << 16;
  return floats;
}

const wholeRanges = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1], bool: [0, 1] } as const;

function wholeOf(tensor: Named, source: ReturnType<typeof numbersOf>, dtype: 'i32' | 'u32' | 'bool'): NumberArray {
  const [least, greatest] = wholeRanges[dtype];
  const whole = newElements(dtype, source.length);
  for (let i = 0; i < whole.length; i++) {
    // Compared before narrowing: Number(bigint) rounds only far outside of the range.
    const value = Number(source[i]);
    if (value < least || value > greatest) {
      throw new SoraError('SORA7204', `tensor \`${tensor.name}\` holds ${source[i]}, which is no ${dtype}`);
    }
    whole[i] = value;
  }
  return whole;
}

function notConvertible(tensor: Named, dtype: ElementType): SoraError {
  return new SoraError('SORA7203', `tensor \`${tensor.name}\` is ${tensor.dtype}, which does not convert to ${dtype}`);
}

function numbersOf(type: FileType, bytes: Uint8Array) {
  // Tensors may start anywhere in a file; typed arrays may not.
  const aligned = bytes.byteOffset % fileTypes[type] === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  const length = aligned.byteLength / fileTypes[type];
  switch (type) {
    case 'F64':
      return new Float64Array(buffer, byteOffset, length);
    case 'F32':
      return new Float32Array(buffer, byteOffset, length);
    case 'I64':
      return new BigInt64Array(buffer, byteOffset, length);
    case 'U64':
      return new BigUint64Array(buffer, byteOffset, length);
    case 'I32':
      return new Int32Array(buffer, byteOffset, length);
    case 'U32':
      return new Uint32Array(buffer, byteOffset, length);
    case 'I16':
      return new Int16Array(buffer, byteOffset, length);
    case 'F16':
    case 'BF16':
    case 'U16':
      return new Uint16Array(buffer, byteOffset, length);
    case 'I8':
      return new Int8Array(buffer, byteOffset, length);
    default:
      return aligned;
  }
}
