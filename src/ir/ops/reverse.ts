/**
 * Axes read from the end. torch: `flip`.
 */
import type { OpDefinition } from '../op.ts';
import { copyStrided, stridesOf } from '../tensor.ts';
import { alongside } from './axes.ts';
import { fail, normalAxes, numbersOf } from './shared.ts';

export const reverse: OpDefinition = {
  name: 'reverse',
  level: 'tensor',
  doc: 'The same elements with the order along some axes turned around.',
  operands: ['x'],
  attributes: { axes: { kind: 'ints', doc: 'which axes, counted from the front' } },
  traits: ['movement', 'view'],
  skeleton: 'view',
  infer([x], attributes) {
    if (!x) return fail('`reverse` takes one operand');
    const axes = normalAxes(numbersOf(attributes, 'axes'), x.shape.length);
    if ('failure' in axes) return axes;
    if (numbersOf(attributes, 'axes').some((axis) => axis < 0)) return fail('axes count from the front', 0);
    return [x];
  },
  axes: (inputs, outputs, attributes) => alongside(inputs, outputs, numbersOf(attributes, 'axes')),
  gradient: (emitter, { attributes, cotangent }) => [
    emitter.emit('reverse', [cotangent], { axes: numbersOf(attributes, 'axes') }),
  ],
  interpret([x], attributes) {
    if (!x) return [];
    const axes = numbersOf(attributes, 'axes');
    const strides = stridesOf(x.shape);
    const turned = strides.map((stride, axis) => (axes.includes(axis) ? -stride : stride));
    const last = axes.reduce((sum, axis) => sum + (strides[axis] ?? 0) * ((x.shape[axis] ?? 1) - 1), 0);
    return [copyStrided(x, x.shape, turned, last)];
  },
};
