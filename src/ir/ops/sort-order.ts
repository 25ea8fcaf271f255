/**
 * The order that sorts a list of integers: `y[r]` is the place of the r-th smallest, the lower place first among equals.
 * torch: `argsort(x, stable=True)`.
 */
import type { OpDefinition } from '../op.ts';
import { tensorOf } from '../tensor.ts';
import { fail, quoteType } from './shared.ts';

export const sortOrder: OpDefinition = {
  name: 'sort_order',
  level: 'tensor',
  doc: 'Places of the elements of `x` [N] from the smallest to the greatest, i32[N]; the lower place first among equals.',
  operands: ['x'],
  attributes: {},
  traits: ['flat'],
  skeleton: 'ordering',
  infer([x]) {
    if (!x) return fail('`sort_order` takes a list of integers');
    const isList = x.shape.length === 1 && (x.dtype === 'i32' || x.dtype === 'u32');
    return isList
      ? [{ dtype: 'i32', shape: x.shape }]
      : fail(`\`x\` must be a list of integers, not ${quoteType(x)}`, 0);
  },
  interpret([x], _attributes, context) {
    if (!x) return [];
    const places = Array.from(x.data, (_, at) => at);
    places.sort((a, b) => (x.data[a] as number) - (x.data[b] as number) || a - b);
    return [tensorOf('i32', x.shape, places, context.precision)];
  },
  // Every element is compared with every other one.
  flops: ([[count = 0] = []]) => count * count,
};
