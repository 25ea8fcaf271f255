/**
 * Softmax along one axis.
 *
 *   y = exp(x - max(x)) / sum(exp(x - max(x)))
 *
 * The maximum is subtracted so that exp cannot overflow. A slice that is -inf throughout has no softmax (NaN, as in
 * torch); `attention` masks without infinities.
 */
import type { OpDefinition } from '../op.ts';
import { isFloat } from '../types.ts';
import { alongside } from './axes.ts';
import { castTo, combine, reduceKeeping, widened } from './build.ts';
import { calculus } from './calculus.ts';
import { fail, normalAxis, numberOf, quoteType } from './shared.ts';

export const softmax: OpDefinition = {
  name: 'softmax',
  level: 'model',
  doc: 'Exponentials that sum to 1 along one axis.',
  operands: ['x'],
  attributes: { axis: { kind: 'int', doc: 'which axis; negative counts from the end' } },
  traits: [],
  skeleton: 'row',
  infer([x], attributes) {
    if (!x || !isFloat(x.dtype)) return fail(`\`softmax\` takes floats${x ? `, not ${quoteType(x)}` : ''}`, 0);
    const axis = numberOf(attributes, 'axis');
    if (normalAxis(axis, x.shape.length) === undefined) return fail(`${quoteType(x)} has no axis ${axis}`, 0);
    return [x];
  },
  axes: (inputs, outputs, attributes) =>
    alongside(inputs, outputs, [normalAxis(numberOf(attributes, 'axis'), outputs[0]?.shape.length ?? 1) ?? 0]),
  gradient(emitter, { inputs: [x], output, attributes, cotangent }) {
    if (!x) return [];
    const c = calculus(emitter);
    const y = widened(emitter, output);
    const g = widened(emitter, cotangent);
    const axis = normalAxis(numberOf(attributes, 'axis'), x.type.shape.length) ?? 0;
    const mean = reduceKeeping(emitter, 'sum', c.mul(g, y), axis);
    return [castTo(emitter, c.mul(y, combine(emitter, 'sub', g, mean)), x.type.dtype)];
  },
  decompose(emitter, [x], attributes) {
    if (!x) throw new RangeError('`softmax` without operands');
    const wide = widened(emitter, x);
    const axis = normalAxis(numberOf(attributes, 'axis'), wide.type.shape.length) ?? 0;
    const shifted = combine(emitter, 'sub', wide, reduceKeeping(emitter, 'max', wide, axis));
    const powers = emitter.emit('exp', [shifted]);
    const y = combine(emitter, 'div', powers, reduceKeeping(emitter, 'sum', powers, axis));
    return castTo(emitter, y, x.type.dtype);
  },
};
