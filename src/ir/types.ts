/**
 * Tensor types of the IR.
 */
import { constantDim, type Dim, sameDim } from './symbolic.ts';

/**
 * Element types. `bool` is stored as one u32 (0 or 1) per element on a device, as one byte in interpreter tensors.
 */
export type DType = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';

export const dtypes: readonly DType[] = ['f32', 'f16', 'i32', 'u32', 'bool'];

export function isFloat(dtype: DType): boolean {
  return dtype === 'f32' || dtype === 'f16';
}

/** Row-major, outermost first. */
export type Shape = readonly Dim[];

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

export function tensorType(dtype: DType, shape: readonly (Dim | number)[]): TensorType {
  return { dtype, shape: shape.map((dim) => (typeof dim === 'number' ? constantDim(dim) : dim)) };
}

export function sameShape(left: Shape, right: Shape): boolean {
  return left.length === right.length && left.every((dim, axis) => sameDim(dim, right[axis] as Dim));
}

export function sameType(left: TensorType, right: TensorType): boolean {
  return left.dtype === right.dtype && sameShape(left.shape, right.shape);
}

/** `[B, T, 384]` */
export function printShape(shape: Shape): string {
  return `[${shape.map((dim) => dim.key).join(', ')}]`;
}

/** `f32[B, T, 384]`; rank 0 prints as `f32`. */
export function printType(type: TensorType): string {
  return type.shape.length === 0 ? type.dtype : `${type.dtype}${printShape(type.shape)}`;
}
