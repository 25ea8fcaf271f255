/**
 * Where the greatest element of each slice stands. torch: `argmax`.
 *
 * Of equal elements the first counts; NaN is greater than every number (see order.ts).
 */
import type { OpDefinition } from '../op.ts';
import { constantDim, constantValue } from '../symbolic.ts';
import { newTensor, offsetsOf, stridesOf } from '../tensor.ts';
import { isFloat } from '../types.ts';
import { broadcastTo, fillLike, reduceKeeping, reshapeTo } from './build.ts';
import { descending } from './order.ts';
import { reducedShape } from './reduce.ts';
import { boolOf, fail, normalAxis, numberOf, quoteType } from './shared.ts';

/** Greater than every index. */
const nowhere = 2147483647;

export const argmax: OpDefinition = {
  name: 'argmax',
  level: 'model',
  doc: 'The index of the greatest element along one axis, the lowest of equals. NaN is the greatest.',
  operands: ['x'],
  attributes: {
    axis: { kind: 'int', doc: 'which axis; negative counts from the end' },
    keep: { kind: 'bool', doc: 'the axis stays, with size 1' },
  },
  traits: [],
  skeleton: 'row',
  infer([x], attributes) {
    if (!x || x.dtype === 'bool') return fail(`\`argmax\` takes numbers${x ? `, not ${quoteType(x)}` : ''}`, 0);
    const given = numberOf(attributes, 'axis');
    const axis = normalAxis(given, x.shape.length);
    if (axis === undefined) return fail(`${quoteType(x)} has no axis ${given}`, 0);
    const size = x.shape[axis];
    if (size && constantValue(size) === 0) return fail(`axis ${given} of ${quoteType(x)} has no element`, 0);
    return [{ dtype: 'i32', shape: reducedShape(x.shape, [axis], boolOf(attributes, 'keep')) }];
  },
  interpret([x], attributes, context) {
    const axis = x && normalAxis(numberOf(attributes, 'axis'), x.shape.length);
    if (!x || axis === undefined) return [];
    const strides = stridesOf(x.shape);
    const others = <Item>(list: readonly Item[]) => list.filter((_, at) => at !== axis);
    const starts = offsetsOf(others(x.shape), others(strides));
    const [size = 0, step = 1] = [x.shape[axis], strides[axis]];
    const result = newTensor('i32', context.outputShapes[0] ?? [], context.precision);
    starts.forEach((start, row) => {
      let best = 0;
      for (let i = 1; i < size; i++) {
        const order = descending(x.data[start + i * step] as number, x.data[start + best * step] as number);
        if (order < 0) best = i;
      }
      result.data[row] = best;
    });
    return [result];
  },
  decompose(emitter, [x], attributes) {
    if (!x) throw new RangeError('`argmax` without operands');
    const { shape } = x.type;
    const axis = normalAxis(numberOf(attributes, 'axis'), shape.length) ?? 0;
    const keys = isFloat(x.type.dtype) ? emitter.emit('order_key', [x]) : x;
    const isBest = emitter.emit('equal', [
      keys,
      broadcastTo(emitter, reduceKeeping(emitter, 'max', keys, axis), shape),
    ]);
    const size = shape[axis] ?? constantDim(1);
    const counted = emitter.emit('iota', [], { length: size, dtype: 'i32' });
    const along = shape.map((dim, at) => (at === axis ? dim : constantDim(1)));
    const places = broadcastTo(emitter, reshapeTo(emitter, counted, along), shape);
    const candidates = emitter.emit('select', [isBest, places, fillLike(emitter, nowhere, places)]);
    const keep = boolOf(attributes, 'keep');
    return emitter.emit('reduce', [candidates], { kind: 'min', axes: [axis], keep });
  },
};
