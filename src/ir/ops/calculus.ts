/**
 * Arithmetic on graph values of one shape, for gradient rules.
 */
import type { Value } from '../graph.ts';
import type { Emitter } from '../op.ts';
import { constantDim, constantValue } from '../symbolic.ts';
import { broadcastTo, fillLike, reshapeTo } from './build.ts';

const constantOne = constantDim(1);

export interface Calculus {
  add(a: Value, b: Value): Value;
  sub(a: Value, b: Value): Value;
  mul(a: Value, b: Value): Value;
  div(a: Value, b: Value): Value;
  /** Times a number. */
  scale(x: Value, factor: number): Value;
  /** An elementwise op of one operand. */
  apply(op: string, x: Value): Value;
  /** A tensor like `x` filled with a number. */
  fill(value: number, like: Value): Value;
  /** `yes` where `a op b`, else `no`. */
  where(op: string, a: Value, b: Value, yes: Value, no: Value): Value;
}

export function calculus(emitter: Emitter): Calculus {
  const binary = (op: string) => (a: Value, b: Value) => emitter.emit(op, [a, b]);
  return {
    add: binary('add'),
    sub: binary('sub'),
    mul: binary('mul'),
    div: binary('div'),
    scale: (x, factor) => emitter.emit('mul', [x, fillLike(emitter, factor, x)]),
    apply: (op, x) => emitter.emit(op, [x]),
    fill: (value, like) => fillLike(emitter, value, like),
    where: (op, a, b, yes, no) => emitter.emit('select', [emitter.emit(op, [a, b]), yes, no]),
  };
}

/** The sum over what a broadcast of `like` repeated: undoes it for gradients. */
export function unbroadcast(emitter: Emitter, value: Value, like: Value): Value {
  const added = value.type.shape.length - like.type.shape.length;
  const axes = value.type.shape.flatMap((dim, axis) => {
    const own = like.type.shape[axis - added];
    const isRepeated = own === undefined || (constantValue(own) === 1 && constantValue(dim) !== 1);
    return isRepeated ? [axis] : [];
  });
  const summed = axes.length === 0 ? value : emitter.emit('reduce', [value], { kind: 'sum', axes, keep: false });
  return reshapeTo(emitter, summed, like.type.shape);
}

/** A value without the axes of a reduction, with them again, at the shape of the reduction's operand. */
export function respread(emitter: Emitter, value: Value, x: Value, axes: readonly number[], keep: boolean): Value {
  const shape = x.type.shape;
  const ones = shape.map((dim, axis) => (axes.includes(axis) ? constantOne : dim));
  return broadcastTo(emitter, keep ? value : reshapeTo(emitter, value, ones), shape);
}
