/**
 * Reduction over axes.
 *
 * Sums of floats are taken in f64 by the interpreter and rounded once, so that they are an oracle for every order of
 * summation. An empty sum is 0, an empty product 1; an empty maximum is -inf (integers: the least value), a minimum +inf.
 */
import type { Value } from '../graph.ts';
import type { GradientRule, InferFailure, OpDefinition } from '../op.ts';
import { constantDim } from '../symbolic.ts';
import { newTensor, offsetsOf, stridesOf, type TensorData } from '../tensor.ts';
import { type DType, isFloat, type Shape, type TensorType } from '../types.ts';
import { besideReduced } from './axes.ts';
import { calculus, respread } from './calculus.ts';
import { boolOf, fail, normalAxes, numbersOf, quoteType, stringOf } from './shared.ts';

const kinds = ['sum', 'max', 'min', 'prod'] as const;
type Kind = (typeof kinds)[number];

/** The shape after reducing normal `axes`. */
export function reducedShape(shape: Shape, axes: readonly number[], keep: boolean): Shape {
  const dims = shape.map((dim, axis) => (axes.includes(axis) ? constantDim(1) : dim));
  return keep ? dims : dims.filter((_, axis) => !axes.includes(axis));
}

/** Checks the operand and the axes of a reduction; the axes come back sorted. */
export function checkReduction(
  name: string,
  x: TensorType | undefined,
  axes: readonly number[],
): readonly number[] | InferFailure {
  if (!x) return fail(`\`${name}\` takes one operand`);
  if (axes.length === 0) return fail(`\`${name}\` needs at least one axis`, 0);
  return normalAxes(axes, x.shape.length);
}

function least(dtype: DType): number {
  return isFloat(dtype) ? Number.NEGATIVE_INFINITY : dtype === 'i32' ? -2147483648 : 0;
}

function greatest(dtype: DType): number {
  if (isFloat(dtype)) return Number.POSITIVE_INFINITY;
  return dtype === 'i32' ? 2147483647 : dtype === 'u32' ? 4294967295 : 1;
}

/** Values of one group stand at `base + inner[i]`. */
function reduceGroup(kind: Kind, data: TensorData, base: number, inner: Int32Array, dtype: DType): number {
  if (kind === 'sum') {
    let sum = 0;
    for (let i = 0; i < inner.length; i++) sum += data[base + (inner[i] as number)] as number;
    return sum;
  }
  if (kind === 'prod') {
    const multiply = isFloat(dtype) ? (a: number, b: number) => a * b : Math.imul;
    let product = 1;
    for (let i = 0; i < inner.length; i++) product = multiply(product, data[base + (inner[i] as number)] as number);
    return product;
  }
  const choose = kind === 'max' ? Math.max : Math.min;
  let best = kind === 'max' ? least(dtype) : greatest(dtype);
  for (let i = 0; i < inner.length; i++) best = choose(best, data[base + (inner[i] as number)] as number);
  return best;
}

/** Of several equal extremes each gets its share, as in torch's `amax`. */
const gradientOfReduce: GradientRule = (emitter, { inputs: [x], output, attributes, cotangent }) => {
  if (!x) return [];
  const axes = normalAxes(numbersOf(attributes, 'axes'), x.type.shape.length);
  if ('failure' in axes) return [];
  const keep = boolOf(attributes, 'keep');
  const kind = stringOf(attributes, 'kind');
  const spread = (value: Value) => respread(emitter, value, x, axes, keep);
  if (kind === 'sum') return [spread(cotangent)];
  const c = calculus(emitter);
  if (kind === 'prod') return [c.div(c.mul(spread(cotangent), spread(output)), x)];
  const one = c.fill(1, x);
  const best = c.where('equal', x, spread(output), one, c.fill(0, x));
  const count = emitter.emit('reduce', [best], { kind: 'sum', axes, keep });
  return [c.mul(best, spread(c.div(cotangent, count)))];
};

export const reduce: OpDefinition = {
  name: 'reduce',
  level: 'tensor',
  doc: 'Combines all elements along axes. `max` and `min` of booleans are "any" and "all".',
  operands: ['x'],
  attributes: {
    kind: { kind: 'string', doc: '`sum`, `max`, `min` or `prod`' },
    axes: { kind: 'ints', doc: 'which axes, at least one' },
    keep: { kind: 'bool', doc: 'reduced axes stay, with size 1' },
  },
  traits: ['reduction'],
  skeleton: 'row',
  infer([x], attributes) {
    const axes = checkReduction('reduce', x, numbersOf(attributes, 'axes'));
    if ('failure' in axes || !x) return axes as InferFailure;
    const kind = stringOf(attributes, 'kind');
    if (!kinds.some((known) => known === kind))
      return fail(`\`${kind}\` is no reduction; there are ${kinds.join(', ')}`);
    if (x.dtype === 'bool' && kind !== 'max' && kind !== 'min')
      return fail(`cannot take the ${kind} of ${quoteType(x)}`, 0);
    return [{ dtype: x.dtype, shape: reducedShape(x.shape, axes, boolOf(attributes, 'keep')) }];
  },
  axes([x], _outputs, attributes) {
    const axes = x && normalAxes(numbersOf(attributes, 'axes'), x.shape.length);
    return !x || !axes || 'failure' in axes ? [] : besideReduced(x.shape.length, axes, boolOf(attributes, 'keep'));
  },
  gradient: gradientOfReduce,
  interpret([x], attributes, context) {
    if (!x) return [];
    const axes = normalAxes(numbersOf(attributes, 'axes'), x.shape.length);
    if ('failure' in axes) return [];
    const kind = kinds.find((known) => known === stringOf(attributes, 'kind')) ?? 'sum';
    const strides = stridesOf(x.shape);
    const isKept = (axis: number) => !axes.includes(axis);
    const pick = (list: readonly number[], kept: boolean) => list.filter((_, axis) => isKept(axis) === kept);
    const outer = offsetsOf(pick(x.shape, true), pick(strides, true));
    const inner = offsetsOf(pick(x.shape, false), pick(strides, false));
    const result = newTensor(x.dtype, context.outputShapes[0] ?? [], context.precision);
    for (let i = 0; i < outer.length; i++) {
      result.data[i] = reduceGroup(kind, x.data, outer[i] as number, inner, x.dtype);
    }
    return [result];
  },
};
