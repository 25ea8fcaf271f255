/**
 * The `k` greatest elements of each row, by index. torch: `topk(x, k, sorted=True).indices`, with a fixed order of equals.
 *
 * The values are read with `take_along`: one row, a few elements.
 */
import type { OpDefinition } from '../op.ts';
import { constantDim, constantValue, dimBounds } from '../symbolic.ts';
import { newTensor } from '../tensor.ts';
import { descending } from './order.ts';
import { fail, lastDim, numberOf, quoteType } from './shared.ts';

/** Winners of a row are sorted in workgroup memory, one invocation each. */
export const greatestTopK = 256;

export const topK: OpDefinition = {
  name: 'top_k',
  level: 'tensor',
  doc: 'Indices of the `k` greatest elements of the last axis, greatest first, lower index first among equals. NaN is the greatest.',
  operands: ['x'],
  attributes: { k: { kind: 'int', doc: 'how many, 1 to 256, not more than a row has' } },
  traits: ['flat'],
  skeleton: 'selection',
  infer([x], attributes, context) {
    if (!x || x.dtype === 'bool') return fail(`\`top_k\` takes numbers${x ? `, not ${quoteType(x)}` : ''}`, 0);
    const k = numberOf(attributes, 'k');
    if (!(k >= 1 && k <= greatestTopK)) return fail(`\`k\` must be 1 to ${greatestTopK}, not ${k}`);
    const row = lastDim(x.shape);
    if (!row) return fail(`\`top_k\` needs an axis, ${quoteType(x)} has none`, 0);
    const least = constantValue(row) ?? dimBounds(row, context.ranges).minimum;
    if (least < k) return fail(`a row of ${quoteType(x)} may have ${least} elements, fewer than ${k}`, 0);
    return [{ dtype: 'i32', shape: [...x.shape.slice(0, -1), constantDim(k)] }];
  },
  interpret([x], attributes, context) {
    if (!x) return [];
    const k = numberOf(attributes, 'k');
    const width = x.shape[x.shape.length - 1] ?? 0;
    const result = newTensor('i32', context.outputShapes[0] ?? [], context.precision);
    for (let row = 0; row * k < result.data.length; row++) {
      const values = x.data.subarray(row * width, (row + 1) * width);
      const places = Array.from(values, (_, at) => at);
      places.sort((a, b) => descending(values[a] as number, values[b] as number) || a - b);
      for (let at = 0; at < k; at++) result.data[row * k + at] = places[at] ?? 0;
    }
    return [result];
  },
};
