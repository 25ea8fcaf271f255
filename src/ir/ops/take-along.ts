/**
 * Elements of each slice by index. torch: `gather(x, axis, indices)`.
 *
 *   y[i, j, k] = table[i, indices[i, j, k], k]      for axis 1
 */
import type { Value } from '../graph.ts';
import type { OpDefinition } from '../op.ts';
import { constantDim, sameDim } from '../symbolic.ts';
import { elementCount, newTensor, stridesOf } from '../tensor.ts';
import { broadcastTo, fillLike, reshapeTo } from './build.ts';
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
  gradient(emitter, { inputs: [table, indices], attributes, cotangent }) {
    const axis = table && normalAxis(numberOf(attributes, 'axis'), table.type.shape.length);
    const length = axis === undefined ? undefined : table?.type.shape[axis];
    if (!table || !indices || axis === undefined || length === undefined) return [];
    // Each place of the table gets what was taken from it: [.., K, V, ..] summed over K.
    const spread = (value: Value): Value => {
      const { shape } = value.type;
      const apart = [...shape.slice(0, axis + 1), constantDim(1), ...shape.slice(axis + 1)];
      const whole = [...shape.slice(0, axis + 1), length, ...shape.slice(axis + 1)];
      return broadcastTo(emitter, reshapeTo(emitter, value, apart), whole);
    };
    const wanted = spread(indices);
    const places = emitter.emit('iota', [], { length, dtype: indices.type.dtype });
    const along = wanted.type.shape.map((_, at) => (at === axis + 1 ? length : constantDim(1)));
    const place = broadcastTo(emitter, reshapeTo(emitter, places, along), wanted.type.shape);
    const given = spread(cotangent);
    const kept = emitter.emit('select', [emitter.emit('equal', [wanted, place]), given, fillLike(emitter, 0, given)]);
    return [emitter.emit('reduce', [kept], { kind: 'sum', axes: [axis], keep: false })];
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
