/**
 * Rows of a table by index: embeddings.
 */
import type { OpDefinition } from '../op.ts';
import { constantDim, constantValue } from '../symbolic.ts';
import { elementCount, newTensor } from '../tensor.ts';
import { operand, result } from './axes.ts';
import { combine, fillLike, firstRows, sumOf } from './build.ts';
import { fail, quoteType } from './shared.ts';

export const gather: OpDefinition = {
  name: 'gather',
  level: 'tensor',
  doc:
    'Rows of `table` [V, D…] at `indices` [I…]: [I…, D…]. An index outside 0..V-1 gives a row of zeros; entry inputs that ' +
    'are used as indices are checked on the host before anything runs.',
  operands: ['table', 'indices'],
  attributes: {},
  traits: [],
  skeleton: 'indexed',
  indexedExtent: ([table]) => table?.shape[0],
  infer([table, indices]) {
    if (!table || !indices) return fail('`gather` takes a table and indices');
    if (table.shape.length === 0) return fail(`the table must have at least one axis, not ${quoteType(table)}`, 0);
    if (indices.dtype !== 'i32' && indices.dtype !== 'u32') {
      return fail(`indices must be \`i32\` or \`u32\`, not ${quoteType(indices)}`, 1);
    }
    return [{ dtype: table.dtype, shape: [...indices.shape, ...table.shape.slice(1)] }];
  },
  axes([table, indices]) {
    const rank = indices?.shape.length ?? 0;
    const places = Array.from({ length: rank }, (_, axis) => [operand(1, axis), result(axis)]);
    const features = (table?.shape.slice(1) ?? []).map((_, at) => [operand(0, at + 1), result(rank + at)]);
    return [...places, ...features];
  },
  gradient(emitter, { inputs: [table, indices], cotangent }) {
    const [rows] = table?.type.shape ?? [];
    return table && indices && rows ? [emitter.emit('scatter_add', [cotangent, indices], { rows })] : [];
  },
  interpret([table, indices], _attributes, context) {
    if (!table || !indices) return [];
    const row = elementCount(table.shape.slice(1));
    const rows = table.shape[0] ?? 0;
    const result = newTensor(table.dtype, context.outputShapes[0] ?? [], context.precision);
    indices.data.forEach((index, at) => {
      if (index < 0 || index >= rows) return;
      result.data.set(table.data.subarray(index * row, (index + 1) * row), at * row);
    });
    return [result];
  },
  /** A row outside of a part is a row of zeros there, so the parts' rows are added. */
  byParts(emitter, [table, indices], _attributes, at, parts) {
    if (at !== 0 || !indices || table?.type.dtype === 'bool') return undefined;
    const firsts = firstRows(parts);
    const rows = parts.map((part, place) => {
      const first = constantValue(firsts[place] ?? constantDim(0)) ?? 0;
      const inPart = first === 0 ? indices : combine(emitter, 'sub', indices, fillLike(emitter, first, indices));
      return emitter.emit('gather', [part, inPart]);
    });
    return sumOf(emitter, rows);
  },
  flops: () => 0,
  elementsRead: ([, indices = []], [out = []]) => [elementCount(out), elementCount(indices)],
};
