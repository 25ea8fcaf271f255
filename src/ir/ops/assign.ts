/**
 * Writing a whole state:
 *
 *   y = value, and the state holds y from now on
 *
 * On a device it happens in place. The value may be computed from what the state holds at the same index (`w - rate * g`);
 * who reads the state itself reads what it held before, who reads the result reads the new value.
 */
import type { OpDefinition } from '../op.ts';
import { roundToHalf } from '../tensor.ts';
import { sameType } from '../types.ts';
import { differingShape, fail, quoteType } from './shared.ts';

export const assign: OpDefinition = {
  name: 'assign',
  level: 'tensor',
  doc: 'The value, of the type of the state, which holds it from now on; whoever owns the state keeps the result.',
  operands: ['state', 'value'],
  attributes: {},
  traits: ['effect', 'elementwise'],
  skeleton: 'map',
  updates: 0,
  infer([state, value]) {
    if (!state || !value) return fail('`assign` takes `state` and `value`');
    if (sameType(state, value)) return [state];
    const shapes = differingShape([state, value]);
    if (shapes) return shapes;
    return fail(`\`value\` is ${quoteType(value)}, the state is ${quoteType(state)}`, 1);
  },
  interpret([state, value], _attributes, context) {
    if (!state || !value) return [];
    // A tensor of its own: two states may be given one value.
    const next = value.dtype === 'f16' && context.precision === 'f32' ? roundToHalf(value) : { ...value };
    context.keep(state, next);
    return [next];
  },
  scalar: ([_state = 0, value = 0]) => value,
  wgsl: ([_state = '', value = '']) => `(${value})`,
  flops: () => 0,
  elementsRead: ([_state, value = []]) => [0, value.reduce((product, dim) => product * dim, 1)],
};
