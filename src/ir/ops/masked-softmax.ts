/**
 * Softmax over the last axis of what is allowed, with sinks: the weights of attention.
 *
 *   y[.., s] = exp(x[.., s] - m) / (sum of exp(x - m) over what is allowed + exp(sink - m))
 *
 * What is not allowed is 0, and so are rows without anything allowed. Attention sinks (Xiao et al. 2024; GPT-OSS) take part
 * of the sum and give nothing.
 */
import type { Value } from '../graph.ts';
import type { Emitter, OpDefinition } from '../op.ts';
import { constantDim, constantValue, sameDim } from '../symbolic.ts';
import { isFloat, type Shape, sameShape } from '../types.ts';
import { alongside } from './axes.ts';
import { broadcastTo, combine, fillLike, reduceKeeping } from './build.ts';
import { calculus, unbroadcast } from './calculus.ts';
import { boolOf, fail, quoteType } from './shared.ts';

/** Far below every score and still finite: infinities are not dependable in WGSL. */
export const maskedScore = -1e30;
/** A row with anything allowed has a sum of at least 1, so this only guards the division of empty rows. */
const leastSum = 1e-30;

interface Operands {
  readonly scores: Value;
  readonly allowed: Value | undefined;
  readonly sinks: Value | undefined;
}

function operandsOf(inputs: readonly Value[], isMasked: boolean): Operands | undefined {
  const [scores, second, third] = inputs;
  return scores && { scores, allowed: isMasked ? second : undefined, sinks: isMasked ? third : second };
}

/** Scores far below all others where nothing is allowed. */
export function visibleOf(emitter: Emitter, scores: Value, allowed: Value | undefined): Value {
  return allowed ? emitter.emit('select', [allowed, scores, fillLike(emitter, maskedScore, scores)]) : scores;
}

function rowsOf(shape: Shape): Shape {
  return [...shape.slice(0, -1), constantDim(1)];
}

export const maskedSoftmax: OpDefinition = {
  name: 'masked_softmax',
  level: 'model',
  doc: 'Softmax of scores [.., S] over what is allowed, bool [.., S]; sinks, of the rank of the scores with a last axis of 1, join the sum.',
  operands: ['scores', 'allowed?', 'sinks?'],
  attributes: { masked: { kind: 'bool', doc: 'whether the second operand says what is allowed' } },
  traits: [],
  skeleton: 'row',
  infer(types, attributes) {
    const isMasked = boolOf(attributes, 'masked');
    const [scores] = types;
    const allowed = isMasked ? types[1] : undefined;
    const sinks = types[isMasked ? 2 : 1];
    if (!scores || !isFloat(scores.dtype) || scores.shape.length === 0)
      return fail(`\`masked_softmax\` takes floats${scores ? `, not ${quoteType(scores)}` : ''}`, 0);
    if (isMasked && (allowed?.dtype !== 'bool' || !sameShape(allowed.shape, scores.shape)))
      return fail('what is allowed is `bool` of the shape of the scores', 1);
    const fits = sinks?.shape.every(
      (dim, axis) => constantValue(dim) === 1 || sameDim(dim, rowsOf(scores.shape)[axis] ?? constantDim(0)),
    );
    if (sinks && (sinks.dtype !== scores.dtype || sinks.shape.length !== scores.shape.length || !fits))
      return fail(`sinks ${quoteType(sinks)} do not belong to rows of ${quoteType(scores)}`, isMasked ? 2 : 1);
    return [scores];
  },
  axes: (inputs, outputs) => alongside(inputs, outputs, [(outputs[0]?.shape.length ?? 1) - 1]),
  gradient(emitter, { inputs, output: y, attributes, cotangent: g }) {
    const isMasked = boolOf(attributes, 'masked');
    const operands = operandsOf(inputs, isMasked);
    if (!operands) return [];
    const c = calculus(emitter);
    const axis = y.type.shape.length - 1;
    const mean = reduceKeeping(emitter, 'sum', c.mul(g, y), axis);
    const ofScores = c.mul(y, combine(emitter, 'sub', g, mean));
    if (!operands.sinks) return [ofScores];
    const share = c.sub(c.fill(1, mean), reduceKeeping(emitter, 'sum', y, axis));
    const ofSinks = unbroadcast(emitter, c.apply('neg', c.mul(share, mean)), operands.sinks);
    return isMasked ? [ofScores, undefined, ofSinks] : [ofScores, ofSinks];
  },
  decompose(emitter, inputs, attributes) {
    const operands = operandsOf(inputs, boolOf(attributes, 'masked'));
    if (!operands) throw new RangeError('`masked_softmax` without operands');
    const { scores, allowed } = operands;
    const axis = scores.type.shape.length - 1;
    const sinks = operands.sinks && broadcastTo(emitter, operands.sinks, rowsOf(scores.type.shape));
    const visible = visibleOf(emitter, scores, allowed);
    const greatest = reduceKeeping(emitter, 'max', visible, axis);
    const top = sinks ? emitter.emit('max', [greatest, sinks]) : greatest;
    const powers = emitter.emit('exp', [combine(emitter, 'sub', visible, top)]);
    const kept = allowed ? emitter.emit('select', [allowed, powers, fillLike(emitter, 0, powers)]) : powers;
    const seen = reduceKeeping(emitter, 'sum', kept, axis);
    const sunk = sinks && emitter.emit('exp', [emitter.emit('sub', [sinks, top])]);
    const sum = sunk ? emitter.emit('add', [seen, sunk]) : seen;
    return combine(emitter, 'div', kept, emitter.emit('max', [sum, fillLike(emitter, leastSum, sum)]));
  },
};
