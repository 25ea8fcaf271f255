/**
 * Sums of rows with one index, where the order that sorts the indices is known: then the rows of an index stand side by side,
 * are found by a binary search and added in the order in which they came. What `scatter_add` is made of.
 */
import type { OpDefinition } from '../op.ts';
import { sameDim } from '../symbolic.ts';
import { elementCount, newTensor } from '../tensor.ts';
import { isFloat } from '../types.ts';
import { dimOf, fail, quoteType } from './shared.ts';

export const segmentSum: OpDefinition = {
  name: 'segment_sum',
  level: 'tensor',
  doc: 'Row `r` of [rows, D…] is the sum of the rows of `updates` [N, D…] whose index is `r`; `order` [N] sorts `indices` [N].',
  operands: ['indices', 'order', 'updates'],
  attributes: { rows: { kind: 'dim', doc: 'rows of the result; an index outside of 0..rows-1 adds nothing' } },
  traits: [],
  skeleton: 'segments',
  // Indices and their order are searched, each update is read once.
  tileOperands: 2,
  infer([indices, order, updates], attributes) {
    if (!indices || !order || !updates) return fail('`segment_sum` takes indices, their order, and updates');
    const [count] = indices.shape;
    if (count === undefined || indices.shape.length !== 1 || (indices.dtype !== 'i32' && indices.dtype !== 'u32'))
      return fail(`indices must be a list of \`i32\` or \`u32\`, not ${quoteType(indices)}`, 0);
    const isOrder = order.dtype === 'i32' && order.shape.length === 1 && sameDim(order.shape[0] ?? count, count);
    if (!isOrder) return fail(`the order is ${quoteType(order)}, the indices are ${quoteType(indices)}`, 1);
    const [first, ...rest] = updates.shape;
    if (!isFloat(updates.dtype)) return fail(`updates must be floats, not ${quoteType(updates)}`, 2);
    if (!first || !sameDim(first, count))
      return fail(`there are updates ${quoteType(updates)} for indices ${quoteType(indices)}`, 2);
    return [{ dtype: updates.dtype, shape: [dimOf(attributes, 'rows'), ...rest] }];
  },
  interpret([indices, order, updates], _attributes, context) {
    if (!indices || !order || !updates) return [];
    const result = newTensor(updates.dtype, context.outputShapes[0] ?? [], 'f64');
    const width = elementCount(result.shape.slice(1));
    const rows = result.shape[0] ?? 0;
    order.data.forEach((at) => {
      const row = indices.data[at] ?? -1;
      if (row < 0 || row >= rows) return;
      for (let i = 0; i < width; i++) {
        const place = row * width + i;
        result.data[place] = (result.data[place] as number) + (updates.data[at * width + i] as number);
      }
    });
    return context.precision === 'f64' ? [result] : [{ ...result, data: Float32Array.from(result.data) }];
  },
  flops: ([, , updates = []]) => elementCount(updates),
};
