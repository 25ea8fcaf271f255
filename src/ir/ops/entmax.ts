/**
 * Entmax along the last axis: like softmax, but with exact zeros.
 *
 *   p = max((alpha - 1) x - tau, 0) ^ (1 / (alpha - 1)), tau such that sum(p) = 1
 *
 * alpha is 1.5, or an operand; 1 would be softmax, 2 is sparsemax. The reference is exact: for 1.5 by sorting, otherwise
 * by bisection in f64. On devices `entmax_threshold` finds tau by Newton's method from the left, where the sum is convex
 * and falls: every step stays left of the root. The last division takes out what rounding left.
 *
 * Source: Peters, Niculae & Martins 2019 (Sparse Sequence-to-Sequence Models), Correia et al. 2019 (Adaptively Sparse
 * Transformers).
 */
import type { Value } from '../graph.ts';
import type { Emitter, InferResult, OpDefinition, Tensor } from '../op.ts';
import { constantDim } from '../symbolic.ts';
import { newTensor } from '../tensor.ts';
import { isFloat, sameShape, type TensorType } from '../types.ts';
import { alongside } from './axes.ts';
import { broadcastTo, castTo, combine, fillLike, reduceKeeping, widened } from './build.ts';
import { calculus } from './calculus.ts';
import { checkReduction, reducedShape } from './reduce.ts';
import { fail, numbersOf, quoteType } from './shared.ts';

/** tau for z = x / 2, exact: the support is a prefix of the sorted values. */
function sortedThreshold(z: Float64Array): number {
  const sorted = [...z].sort((left, right) => right - left);
  let sum = 0;
  let squares = 0;
  let tau = Number.NEGATIVE_INFINITY;
  for (const [at, value] of sorted.entries()) {
    const count = at + 1;
    sum += value;
    squares += value * value;
    const mean = sum / count;
    const spread = squares - count * mean * mean;
    const candidate = mean - Math.sqrt(Math.max(0, (1 - spread) / count));
    if (candidate > value) break;
    tau = candidate;
  }
  return tau;
}

/** tau for z = (alpha - 1) x by halving an interval that holds it, to the last bit. */
function bisectedThreshold(z: Float64Array, alpha: number): number {
  const power = 1 / (alpha - 1);
  const top = z.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  let low = top - 1;
  let high = top;
  for (let round = 0; round < 128; round++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    const sum = z.reduce((total, value) => total + (value > middle ? (value - middle) ** power : 0), 0);
    if (sum >= 1) low = middle;
    else high = middle;
  }
  return low;
}

/** tau of each row of z = (alpha - 1) x. */
function thresholds(z: Tensor, alpha: Tensor | undefined): readonly number[] {
  const length = z.shape.at(-1) ?? 1;
  const rows = length === 0 ? 0 : z.data.length / length;
  return Array.from({ length: rows }, (_, row) => {
    const values = Float64Array.from(z.data.subarray(row * length, (row + 1) * length));
    // Relative to the greatest, so that nothing far below it costs digits.
    const top = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
    const shifted = values.map((value) => Math.max(value - top, -2));
    return top + (alpha ? bisectedThreshold(shifted, Number(alpha.data[row])) : sortedThreshold(shifted));
  });
}

/** Whether alpha has one number per row of x. */
function checkAlpha(name: string, x: TensorType, alpha: TensorType | undefined): InferResult | undefined {
  const wanted: TensorType = { dtype: 'f32', shape: [...x.shape.slice(0, -1), constantDim(1)] };
  if (!alpha || (alpha.dtype === 'f32' && sameShape(alpha.shape, wanted.shape))) return undefined;
  return fail(`\`alpha\` of \`${name}\` is ${quoteType(alpha)}, should be ${quoteType(wanted)}`, 1);
}

export const entmax: OpDefinition = {
  name: 'entmax',
  level: 'model',
  doc: 'Sparse softmax along the last axis, with 1.5 or one `alpha` per row in (1, 2], f32 [..., 1].',
  operands: ['x', 'alpha?'],
  attributes: {},
  traits: [],
  skeleton: 'row',
  infer([x, alpha]) {
    if (!x || !isFloat(x.dtype) || x.shape.length === 0) {
      return fail(`\`entmax\` takes floats with at least one axis${x ? `, not ${quoteType(x)}` : ''}`, 0);
    }
    return checkAlpha('entmax', x, alpha) ?? [x];
  },
  axes: (inputs, outputs) => alongside(inputs, outputs, [(outputs[0]?.shape.length ?? 1) - 1]),
  interpret([x, alpha], _attributes, context) {
    if (!x) return [];
    const length = Math.max(1, x.shape.at(-1) ?? 1);
    const row = (at: number) => Math.floor(at / length);
    const steep = (at: number) => (alpha ? Number(alpha.data[row(at)]) - 1 : 0.5);
    const tops: number[] = [];
    // Relative to the greatest first: far below zero a row has no digits left for its differences.
    x.data.forEach((value, at) => {
      tops[row(at)] = Math.max(tops[row(at)] ?? Number.NEGATIVE_INFINITY, value);
    });
    const z = newTensor('f32', x.shape, 'f64');
    for (let at = 0; at < x.data.length; at++) z.data[at] = steep(at) * (Number(x.data[at]) - (tops[row(at)] ?? 0));
    const tau = thresholds(z, alpha);
    const result = newTensor(x.dtype, x.shape, context.precision);
    for (let at = 0; at < x.data.length; at++) {
      const above = Number(z.data[at]) - (tau[row(at)] ?? 0);
      result.data[at] = above > 0 ? above ** (1 / steep(at)) : 0;
    }
    return [result];
  },
  gradient(emitter, { inputs: [x, alpha], output, cotangent }) {
    if (!x) return [];
    const [p, g] = [widened(emitter, output), widened(emitter, cotangent)];
    const c = calculus(emitter);
    const axis = p.type.shape.length - 1;
    const total = (value: Value) => reduceKeeping(emitter, 'sum', value, axis);
    const isPositive = emitter.emit('greater', [p, c.fill(0, p)]);
    const kept = (value: Value) => emitter.emit('select', [isPositive, value, c.fill(0, p)]);
    const safe = emitter.emit('select', [isPositive, p, c.fill(1, p)]);
    const rest = alpha && emitter.emit('sub', [c.fill(2, alpha), alpha]);
    // p^(2 - alpha) over its sum: Peters et al. 2019, proposition 2.
    const weight = kept(rest ? combine(emitter, 'pow', safe, rest) : c.apply('sqrt', safe));
    const share = combine(emitter, 'div', weight, total(weight));
    const slope = c.mul(weight, combine(emitter, 'sub', g, total(c.mul(share, g))));
    if (!alpha) return [castTo(emitter, slope, x.type.dtype)];
    // Correia et al. 2019, proposition 1.
    const steep = c.sub(alpha, c.fill(1, alpha));
    const surprise = c.apply('neg', kept(c.mul(p, c.apply('log', safe))));
    const moved = combine(emitter, 'div', c.sub(p, share), c.mul(steep, steep));
    const spread = c.sub(surprise, combine(emitter, 'mul', share, total(surprise)));
    const change = c.add(moved, combine(emitter, 'div', spread, steep));
    return [castTo(emitter, slope, x.type.dtype), total(c.mul(g, change))];
  },
  decompose(emitter, [x, alpha]) {
    if (!x) throw new RangeError('`entmax` without operands');
    const wide = widened(emitter, x);
    const axis = wide.type.shape.length - 1;
    const shifted = combine(emitter, 'sub', wide, reduceKeeping(emitter, 'max', wide, axis));
    const steep = alpha && emitter.emit('sub', [alpha, fillLike(emitter, 1, alpha)]);
    const z = combine(emitter, 'mul', shifted, steep ?? fillLike(emitter, 0.5, shifted));
    const tau = emitter.emit('entmax_threshold', alpha ? [z, alpha] : [z], { axes: [axis] });
    const above = emitter.emit('max', [combine(emitter, 'sub', z, tau), fillLike(emitter, 0, z)]);
    const powers = raised(emitter, above, steep);
    const y = combine(emitter, 'div', powers, reduceKeeping(emitter, 'sum', powers, axis));
    return castTo(emitter, y, x.type.dtype);
  },
};

/** `x ^ (1 / steep)`; without `steep` the square. Nothing is raised where x is 0. */
function raised(emitter: Emitter, x: Value, steep: Value | undefined): Value {
  if (!steep) return emitter.emit('mul', [x, x]);
  const power = broadcastTo(emitter, emitter.emit('reciprocal', [steep]), x.type.shape);
  const isPositive = emitter.emit('greater', [x, fillLike(emitter, 0, x)]);
  const base = emitter.emit('select', [isPositive, x, fillLike(emitter, 1, x)]);
  return emitter.emit('select', [isPositive, emitter.emit('pow', [base, power]), fillLike(emitter, 0, x)]);
}

export const entmaxThreshold: OpDefinition = {
  name: 'entmax_threshold',
  level: 'tensor',
  doc: 'The tau of `entmax` for z = (alpha - 1) x, whose greatest value is 0 in every row; size 1 along the last axis.',
  operands: ['z', 'alpha?'],
  attributes: { axes: { kind: 'ints', doc: 'the last axis' } },
  traits: ['reduction'],
  skeleton: 'row',
  infer([z, alpha], attributes) {
    const axes = checkReduction('entmax_threshold', z, numbersOf(attributes, 'axes'));
    if ('failure' in axes) return axes;
    if (z === undefined) return fail('`entmax_threshold` takes an operand');
    if (z.dtype !== 'f32' || axes.length !== 1 || axes[0] !== z.shape.length - 1) {
      return fail('`entmax_threshold` takes f32 and its last axis', 0);
    }
    return checkAlpha('entmax_threshold', z, alpha) ?? [{ dtype: z.dtype, shape: reducedShape(z.shape, axes, true) }];
  },
  interpret([z, alpha], _attributes, context) {
    if (!z) return [];
    const result = newTensor('f32', context.outputShapes[0] ?? [], context.precision);
    result.data.set(thresholds(z, alpha));
    return [result];
  },
  iterated: {
    // Newton needs about log(n) steps to come near and four to arrive.
    rounds: 24,
    start: '-1.0f',
    closeEnough: '1e-7f',
    sums(z, tau, [alpha]) {
      const above = `max(${z} - ${tau}, 0.0f)`;
      if (alpha === undefined) return [`${above} * ${above}`, `2.0f * ${above}`];
      const power = `1.0f / (${alpha} - 1.0f)`;
      const safe = `select(1.0f, ${above}, ${above} > 0.0f)`;
      const or0 = (text: string) => `select(0.0f, ${text}, ${above} > 0.0f)`;
      return [or0(`pow(${safe}, ${power})`), or0(`(${power}) * pow(${safe}, ${power} - 1.0f)`)];
    },
    step: ([sum, slope]) => `max(0.0f, (${sum} - 1.0f) / max(${slope}, 1e-30f))`,
  },
};
