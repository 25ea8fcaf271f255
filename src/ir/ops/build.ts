/**
 * Small pieces of graph that decompositions and lowering share.
 */
import type { Attributes, Value } from '../graph.ts';
import type { Emitter } from '../op.ts';
import { addDims, constantDim, constantValue, type Dim, productOfDims } from '../symbolic.ts';
import { type DType, isFloat, type Shape, sameShape } from '../types.ts';

/** The value under this shape; nothing is emitted when it has it already. */
export function broadcastTo(emitter: Emitter, value: Value, shape: Shape): Value {
  return sameShape(value.type.shape, shape) ? value : emitter.emit('broadcast', [value], { shape });
}

export function reshapeTo(emitter: Emitter, value: Value, shape: Shape): Value {
  return sameShape(value.type.shape, shape) ? value : emitter.emit('reshape', [value], { shape });
}

/** A scalar constant. */
export function scalarConstant(emitter: Emitter, value: number, dtype: DType): Value {
  return emitter.emit('constant', [], { values: [value], dtype, shape: [] });
}

/** A constant that fills a tensor of the shape and element type of `like`. */
export function fillLike(emitter: Emitter, value: number, like: Value): Value {
  return broadcastTo(emitter, scalarConstant(emitter, value, like.type.dtype), like.type.shape);
}

export function castTo(emitter: Emitter, value: Value, dtype: DType): Value {
  return value.type.dtype === dtype ? value : emitter.emit('cast', [value], { dtype });
}

/** Statistics of norms and softmax are taken in f32 even when the activations are f16. */
export function widened(emitter: Emitter, value: Value): Value {
  return isFloat(value.type.dtype) ? castTo(emitter, value, 'f32') : value;
}

/** `binary(value, other)` with `other` broadcast to the shape of `value`. */
export function combine(emitter: Emitter, op: string, value: Value, other: Value): Value {
  return emitter.emit(op, [value, broadcastTo(emitter, other, value.type.shape)]);
}

/** An integer that depends on runtime dims, as a scalar of `dtype`; a constant when it does not. */
export function dimScalar(emitter: Emitter, dim: Dim, dtype: DType): Value {
  const fixed = constantValue(dim);
  if (fixed !== undefined) return scalarConstant(emitter, fixed, dtype);
  return castTo(emitter, emitter.emit('dim_value', [], { value: dim }), dtype);
}

/** The mean of a float tensor along normal `axes`. */
export function meanOf(emitter: Emitter, x: Value, axes: readonly number[], keep: boolean): Value {
  const sum = emitter.emit('reduce', [x], { kind: 'sum', axes, keep });
  const count = productOfDims(axes.map((axis) => x.type.shape[axis] ?? constantDim(1)));
  return combine(emitter, 'div', sum, dimScalar(emitter, count, x.type.dtype));
}

export function reduceKeeping(emitter: Emitter, kind: string, x: Value, axis: number): Value {
  const attributes: Attributes = { kind, axes: [axis], keep: true };
  return emitter.emit('reduce', [x], attributes);
}

/** For each part of whole rows the row of the whole that it begins with. */
export function firstRows(parts: readonly Value[]): readonly Dim[] {
  let first = constantDim(0);
  return parts.map((part) => {
    const own = first;
    first = addDims(first, part.type.shape[0] ?? constantDim(1));
    return own;
  });
}

export function sumOf(emitter: Emitter, values: readonly Value[]): Value | undefined {
  const [first, ...others] = values;
  return first && others.reduce((sum, value) => emitter.emit('add', [sum, value]), first);
}
