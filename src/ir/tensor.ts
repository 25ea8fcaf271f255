/**
 * Concrete tensors of the interpreter: making, converting and copying row-major data.
 *
 * Data is never written after the op that made it has returned, so reshapes share it.
 */
import type { InterpretContext, Tensor } from './op.ts';
import type { DType } from './types.ts';
import { isFloat } from './types.ts';

export type TensorData = Tensor['data'];
export type Precision = InterpretContext['precision'];

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Row-major strides in elements, outermost first. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return strides;
}

export function newData(dtype: DType, length: number, precision: Precision): TensorData {
  if (isFloat(dtype)) return precision === 'f64' ? new Float64Array(length) : new Float32Array(length);
  if (dtype === 'i32') return new Int32Array(length);
  if (dtype === 'u32') return new Uint32Array(length);
  return new Uint8Array(length);
}

export function newTensor(dtype: DType, shape: readonly number[], precision: Precision): Tensor {
  return { dtype, shape, data: newData(dtype, elementCount(shape), precision) };
}

/** A tensor of given numbers; booleans are 0 and 1. Values are rounded to the element type. */
export function tensorOf(
  dtype: DType,
  shape: readonly number[],
  values: ArrayLike<number>,
  precision: Precision = 'f32',
): Tensor {
  const data = newData(dtype, elementCount(shape), precision);
  if (values.length !== data.length) {
    throw new RangeError(`shape [${shape.join(', ')}] holds ${data.length} elements, ${values.length} given`);
  }
  data.set(values);
  const tensor = { dtype, shape, data };
  return dtype === 'f16' && precision === 'f32' ? roundToHalf(tensor) : tensor;
}

/** The same tensor with float data of the precision's array type; shares data when nothing changes. */
export function toPrecision(tensor: Tensor, precision: Precision): Tensor {
  if (!isFloat(tensor.dtype)) return tensor;
  const wanted = precision === 'f64' ? Float64Array : Float32Array;
  return tensor.data instanceof wanted ? tensor : { ...tensor, data: new wanted(tensor.data) };
}

/**
 * A view of `data` copied to row-major order: element `index` comes from `offset + sum(index[a] * strides[a])`.
 * Strides may be 0 (broadcast).
 */
export function copyStrided(
  source: Tensor,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): Tensor {
  const from = source.data;
  const count = elementCount(shape);
  const to = new (from.constructor as new (length: number) => TensorData)(count);
  if (count === 0) return { dtype: source.dtype, shape, data: to };
  const rank = shape.length;
  const inner = rank === 0 ? 1 : (shape[rank - 1] ?? 1);
  const step = rank === 0 ? 1 : (strides[rank - 1] ?? 1);
  const index = new Array<number>(Math.max(0, rank - 1)).fill(0);
  let read = offset;
  for (let write = 0; write < count; write += inner) {
    if (step === 0) to.fill(from[read] ?? 0, write, write + inner);
    else if (step === 1 && inner >= 16) to.set(from.subarray(read, read + inner), write);
    else copyRow(from, to, read, write, step, inner);
    for (let axis = rank - 2; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      const stride = strides[axis] ?? 0;
      if (next < (shape[axis] ?? 1)) {
        index[axis] = next;
        read += stride;
        break;
      }
      index[axis] = 0;
      read -= stride * (next - 1);
    }
  }
  return { dtype: source.dtype, shape, data: to };
}

function copyRow(from: TensorData, to: TensorData, read: number, write: number, step: number, count: number): void {
  for (let i = 0; i < count; i++) to[write + i] = from[read + i * step] as number;
}

/** Offsets of every index of a sub-space, in row-major order. */
export function offsetsOf(shape: readonly number[], strides: readonly number[]): Int32Array {
  const offsets = new Int32Array(elementCount(shape));
  let filled = 1;
  shape.forEach((size, axis) => {
    const stride = strides[axis] ?? 0;
    for (let block = filled - 1; block >= 0; block--) {
      const base = offsets[block] ?? 0;
      for (let i = 0; i < size; i++) offsets[block * size + i] = base + i * stride;
    }
    filled *= size;
  });
  return offsets;
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** Nearest value of IEEE 754 binary16, ties to even; overflow gives an infinity. */
export function halfRound(value: number): number {
  const magnitude = Math.abs(value);
  // Also NaN and the infinities. 65520 is half way between the greatest half and the next power of two.
  if (!(magnitude < 65520)) return Number.isNaN(value) ? value : value < 0 ? -Infinity : Infinity;
  if (magnitude === 0) return value;
  // The spacing of halves around the value; 2^-24 among subnormals.
  const spacing = 2 ** Math.max(exponentOf(magnitude) - 10, -24);
  return Math.sign(value) * roundHalfEven(magnitude / spacing) * spacing;
}

function exponentOf(magnitude: number): number {
  scratchFloat[0] = magnitude;
  // Rounding to f32 may reach the next power of two; then the value rounds there in f16 too.
  return ((scratchBits[0] ?? 0) >>> 23) - 127;
}

/** Nearest integer, ties to the even one, as WGSL `round` and torch do. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  const result = up ? floor + 1 : floor;
  return result === 0 && (value < 0 || Object.is(value, -0)) ? -0 : result;
}

export function roundToHalf(tensor: Tensor): Tensor {
  const { data } = tensor;
  const rounded = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) rounded[i] = halfRound(data[i] as number);
  return { ...tensor, data: rounded };
}
