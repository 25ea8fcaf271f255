/**
 * Elements of each slice by index. torch: `gather(x, axis, indices)`.
 *
 *   y[i, j, k] = table[i, indices[i, j, k], k]      for axis 1
 */
import type { OpDefinition } from '../op.ts';
import { sameDim } from '../symbolic.ts';
import { elementCount, newTensor, stridesOf } from '../tensor.ts';
import { fail, normalAxis, numberOf, quoteType } from './shared.ts';

export const takeAlong: OpDefinition = {
  name: 'take_along',
  level: 'tensor',
  doc:
    'Elements of `table` along one axis at `indices`, which have the size of the table on all other axes. An index outside of ' +
    'the axis gives 0; entry inputs that are used as indices are checked on the host before anything runs.',
  operands: ['table', 'indices'],
  attributes: { axis: { kind: 'int', doc: 'which axis; negative counts from the end' } },
  traits: [],
  skeleton: 'indexed',
  indexedExtent([table], attributes) {
    const axis = table && normalAxis(numberOf(attributes, 'axis'), table.shape.length);
    return axis === undefined ? undefined : table?.shape[axis];
  },
  infer([table, indices], attributes) {
    if (!table || !indices) return fail('`take_along` takes a table and indices');
    if (indices.dtype !== 'i32' && indices.dtype !== 'u32') {
      return fail(`indices must be \`i32\` or \`u32\`, not ${quoteType(indices)}`, 1);
    }
    const given = numberOf(attributes, 'axis');
    const axis = normalAxis(given, table.shape.length);
    if (axis === undefined) return fail(`${quoteType(table)} has no axis ${given}`, 0);
    const fits =
      indices.shape.length === table.shape.length &&
      indices.shape.every((dim, at) => at === axis || sameDim(dim, table.shape[at] ?? dim));
    if (!fits) {
      return fail(`indices ${quoteType(indices)} differ from ${quoteType(table)} on other axes than ${axis}`, 1);
    }
    return [{ dtype: table.dtype, shape: indices.shape }];
  },
  interpret([table, indices], attributes, context) {
    const axis = table && normalAxis(numberOf(attributes, 'axis'), table.shape.length);
    if (!table || !indices || axis === undefined) return [];
    const result = newTensor(table.dtype, context.outputShapes[0] ?? [], context.precision);
    const inner = stridesOf(table.shape)[axis] ?? 1;
    const [size = 0, count = 0] = [table.shape[axis], indices.shape[axis]];
    for (let at = 0; at < result.data.length; at++) {
      const index = indices.data[at] as number;
      const outer = Math.floor(at / (inner * count));
      if (index >= 0 && index < size) {
        result.data[at] = table.data[(outer * size + index) * inner + (at % inner)] as number;
      }
    }
    return [result];
  },
  flops: () => 0,
  elementsRead: ([, indices = []], [out = []]) => [elementCount(out), elementCount(indices)],
};
