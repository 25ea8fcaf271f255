/**
 * Arithmetic mean along axes; the sum is taken in f32 even when x is f16.
 */
import type { InferFailure, OpDefinition } from '../op.ts';
import { isFloat } from '../types.ts';
import { besideReduced } from './axes.ts';
import { castTo, meanOf, widened } from './build.ts';
import { checkReduction, reducedShape } from './reduce.ts';
import { boolOf, fail, normalAxes, numbersOf, quoteType } from './shared.ts';

export const mean: OpDefinition = {
  name: 'mean',
  level: 'model',
  doc: 'The mean of all elements along axes.',
  operands: ['x'],
  attributes: {
    axes: { kind: 'ints', doc: 'which axes, at least one' },
    keep: { kind: 'bool', doc: 'reduced axes stay, with size 1' },
  },
  traits: ['reduction'],
  skeleton: 'row',
  infer([x], attributes) {
    const axes = checkReduction('mean', x, numbersOf(attributes, 'axes'));
    if ('failure' in axes || !x) return axes as InferFailure;
    if (!isFloat(x.dtype)) return fail(`\`mean\` takes floats, not ${quoteType(x)}`, 0, 'write `cast` to convert it');
    return [{ dtype: x.dtype, shape: reducedShape(x.shape, axes, boolOf(attributes, 'keep')) }];
  },
  axes([x], _outputs, attributes) {
    const axes = x && normalAxes(numbersOf(attributes, 'axes'), x.shape.length);
    return !x || !axes || 'failure' in axes ? [] : besideReduced(x.shape.length, axes, boolOf(attributes, 'keep'));
  },
  decompose(emitter, [x], attributes) {
    if (!x) throw new RangeError('`mean` without operands');
    const axes = normalAxes(numbersOf(attributes, 'axes'), x.type.shape.length);
    if ('failure' in axes) throw new RangeError(axes.failure);
    return castTo(emitter, meanOf(emitter, widened(emitter, x), axes, boolOf(attributes, 'keep')), x.type.dtype);
  },
};
