/**
 * More elements around a tensor and between its elements, all of one value.
 *
 *   y[low + i * (1 + interior)] = x[i] along every axis, `value` elsewhere
 *
 * Source: XLA's Pad. Codegen reads it in place, with a test whether the index lies in the operand.
 */

import type { Attributes } from '../graph.ts';
import type { OpDefinition } from '../op.ts';
import { addDims, constantDim, type Dim, dimBounds, multiplyDims, sameDim } from '../symbolic.ts';
import { elementCount, newTensor, offsetsOf, stridesOf } from '../tensor.ts';
import { alongside } from './axes.ts';
import { fail, numberOf, numbersOf, quoteType } from './shared.ts';

/** Elements before the first one, after the last one and between two neighbours, per axis. */
export interface Padding {
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly interior: readonly number[];
}

export function paddingOf(attributes: Attributes): Padding {
  return {
    low: numbersOf(attributes, 'low'),
    high: numbersOf(attributes, 'high'),
    interior: numbersOf(attributes, 'interior'),
  };
}

function paddedDim(dim: Dim, low: number, high: number, interior: number): Dim {
  return addDims(multiplyDims(dim, constantDim(1 + interior)), constantDim(low + high - interior));
}

export const pad: OpDefinition = {
  name: 'pad',
  level: 'tensor',
  doc: 'Elements of one value before, after and between the elements of `x`.',
  operands: ['x'],
  attributes: {
    low: { kind: 'ints', doc: 'per axis, how many before the first element' },
    high: { kind: 'ints', doc: 'per axis, how many after the last element' },
    interior: { kind: 'ints', doc: 'per axis, how many between two neighbours' },
    value: { kind: 'float', doc: 'what the new elements are' },
  },
  traits: ['movement', 'view', 'filling'],
  skeleton: 'view',
  infer([x], attributes, context) {
    if (!x) return fail('`pad` takes one operand');
    const { low, high, interior } = paddingOf(attributes);
    const rank = x.shape.length;
    if ([low, high, interior].some((list) => list.length !== rank)) {
      return fail(`\`pad\` of ${quoteType(x)} needs ${rank} numbers for each side`, 0);
    }
    const negative = [...low, ...high, ...interior].find((count) => count < 0);
    if (negative !== undefined) return fail(`\`pad\` adds elements, so ${negative} is no count`, 0, 'slice instead');
    // An empty axis has no gap between its elements.
    const empty = x.shape.find((dim, axis) => interior[axis] !== 0 && dimBounds(dim, context.ranges).minimum < 1);
    if (empty) return fail(`cannot pad between the elements of an axis of \`${empty.key}\`, which may be empty`, 0);
    const shape = x.shape.map((dim, axis) => paddedDim(dim, low[axis] ?? 0, high[axis] ?? 0, interior[axis] ?? 0));
    return [{ dtype: x.dtype, shape }];
  },
  axes(inputs, outputs, attributes) {
    const amounts = ['low', 'high', 'interior'].map((name) => numbersOf(attributes, name));
    const padded = amounts.flatMap((counts) => counts.flatMap((count, axis) => (count === 0 ? [] : [axis])));
    return alongside(inputs, outputs, padded);
  },
  gradient(emitter, { inputs: [x], attributes, cotangent }) {
    if (!x) return [];
    const { low, interior } = paddingOf(attributes);
    let g = cotangent;
    x.type.shape.forEach((dim, axis) => {
      const step = 1 + (interior[axis] ?? 0);
      const size = addDims(multiplyDims(dim, constantDim(step)), constantDim(1 - step));
      if (!sameDim(size, g.type.shape[axis] ?? size))
        g = emitter.emit('slice', [g], { axis, start: constantDim(low[axis] ?? 0), size });
      if (step === 1) return;
      const every = emitter.emit('window', [g], { axes: [axis], sizes: [1], strides: [step], dilations: [1] });
      g = emitter.emit('reshape', [every], { shape: every.type.shape.slice(0, -1) });
    });
    return [g];
  },
  interpret([x], attributes, context) {
    if (!x) return [];
    const { low, interior } = paddingOf(attributes);
    const result = newTensor(x.dtype, context.outputShapes[0] ?? [], context.precision);
    result.data.fill(numberOf(attributes, 'value'));
    const strides = stridesOf(result.shape);
    const start = strides.reduce((sum, stride, axis) => sum + stride * (low[axis] ?? 0), 0);
    const steps = strides.map((stride, axis) => stride * (1 + (interior[axis] ?? 0)));
    if (elementCount(x.shape) === 0) return [result];
    offsetsOf(x.shape, steps).forEach((offset, at) => {
      result.data[start + offset] = x.data[at] as number;
    });
    return [result];
  },
};
