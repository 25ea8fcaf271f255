/**
 * Choice per element.
 */
import type { Value } from '../graph.ts';
import type { OpDefinition } from '../op.ts';
import { newTensor } from '../tensor.ts';
import { fillLike } from './build.ts';
import { differingShape, fail, quoteType } from './shared.ts';

export const select: OpDefinition = {
  name: 'select',
  level: 'tensor',
  doc: '`a` where `condition` holds, else `b`. Both sides are computed.',
  operands: ['condition', 'a', 'b'],
  attributes: {},
  traits: ['elementwise'],
  skeleton: 'map',
  infer(inputs) {
    const [condition, a, b] = inputs;
    if (!condition || !a || !b) return fail('`select` takes a condition and two values');
    if (condition.dtype !== 'bool') return fail(`the condition must be \`bool\`, not ${quoteType(condition)}`, 0);
    if (a.dtype !== b.dtype) {
      return fail(`\`select\` needs values of one element type, got \`${a.dtype}\` and \`${b.dtype}\``, 2);
    }
    return differingShape(inputs) ?? [a];
  },
  interpret([condition, a, b], _attributes, context) {
    if (!condition || !a || !b) return [];
    const result = newTensor(a.dtype, a.shape, context.precision);
    const to = result.data;
    const test = condition.data;
    const yes = a.data;
    const no = b.data;
    for (let i = 0; i < to.length; i++) to[i] = (test[i] === 0 ? no[i] : yes[i]) as number;
    return [result];
  },
  gradient(emitter, { inputs: [condition], cotangent }) {
    if (!condition) return [];
    const nothing = fillLike(emitter, 0, cotangent);
    const given = (yes: Value, no: Value) => emitter.emit('select', [condition, yes, no]);
    return [undefined, given(cotangent, nothing), given(nothing, cotangent)];
  },
  scalar: ([condition = 0, a = 0, b = 0]) => (condition === 0 ? b : a),
  wgsl: ([condition = '', a = '', b = '']) => `select(${b}, ${a}, ${condition})`,
};
