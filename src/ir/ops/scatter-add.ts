/**
 * Adds rows up by index: what `gather` is to a table, this is to the table's gradient. torch: `index_add` on zeros.
 *
 * Rows with one index are added in the order in which they stand, so that results do not depend on who is first.
 */

import { unreachable } from '../../support/error.ts';
import type { OpDefinition } from '../op.ts';
import { constantDim, productOfDims, sameDim } from '../symbolic.ts';
import { elementCount, newTensor } from '../tensor.ts';
import { isFloat } from '../types.ts';
import { reshapeTo } from './build.ts';
import { dimOf, fail, quoteType } from './shared.ts';

export const scatterAdd: OpDefinition = {
  name: 'scatter_add',
  level: 'model',
  doc: 'A table [rows, D…] of zeros to which each row of `updates` [I…, D…] is added at its index of `indices` [I…].',
  operands: ['updates', 'indices'],
  attributes: { rows: { kind: 'dim', doc: 'rows of the table; an index outside of 0..rows-1 adds nothing' } },
  traits: [],
  skeleton: 'indexed',
  infer([updates, indices], attributes) {
    if (!updates || !indices) return fail('`scatter_add` takes updates and indices');
    if (!isFloat(updates.dtype)) return fail(`updates must be floats, not ${quoteType(updates)}`, 0);
    if (indices.dtype !== 'i32' && indices.dtype !== 'u32')
      return fail(`indices must be \`i32\` or \`u32\`, not ${quoteType(indices)}`, 1);
    const rank = indices.shape.length;
    const agrees = indices.shape.every((dim, axis) => sameDim(dim, updates.shape[axis] ?? constantDim(0)));
    if (!agrees || updates.shape.length < rank)
      return fail(`the first axes of ${quoteType(updates)} must be those of ${quoteType(indices)}`, 0);
    return [{ dtype: updates.dtype, shape: [dimOf(attributes, 'rows'), ...updates.shape.slice(rank)] }];
  },
  gradient: (emitter, { inputs: [, indices], cotangent }) =>
    indices ? [emitter.emit('gather', [cotangent, indices])] : [],
  interpret([updates, indices], _attributes, context) {
    if (!updates || !indices) return [];
    const result = newTensor(updates.dtype, context.outputShapes[0] ?? [], 'f64');
    const width = elementCount(result.shape.slice(1));
    const rows = result.shape[0] ?? 0;
    indices.data.forEach((index, at) => {
      if (index < 0 || index >= rows) return;
      for (let i = 0; i < width; i++) {
        const place = index * width + i;
        result.data[place] = (result.data[place] as number) + (updates.data[at * width + i] as number);
      }
    });
    if (context.precision === 'f64') return [result];
    return [{ ...result, data: Float32Array.from(result.data) }];
  },
  decompose(emitter, [updates, indices], attributes) {
    if (!updates || !indices) return unreachable('an op without operands');
    const count = productOfDims(indices.type.shape);
    const inner = updates.type.shape.slice(indices.type.shape.length);
    const list = reshapeTo(emitter, indices, [count]);
    const order = emitter.emit('sort_order', [list]);
    return emitter.emit('segment_sum', [list, order, reshapeTo(emitter, updates, [count, ...inner])], attributes);
  },
  flops: ([updates = []]) => elementCount(updates),
};
