/**
 * The identity that no gradient passes. torch: `x.detach()`; JAX: `stop_gradient`.
 *
 * It stands where mathematics says that a gradient cancels (the maximum that a softmax subtracts) and where a model says
 * that a value is a constant to training. Once gradients are written it is nothing, and canonicalize drops it.
 */
import type { OpDefinition } from '../op.ts';
import { applyUnary, checkElementwise } from './elementwise.ts';

export const stopGradient: OpDefinition = {
  name: 'stop_gradient',
  level: 'tensor',
  doc: '`x` itself, a constant to gradients.',
  operands: ['x'],
  attributes: {},
  traits: ['elementwise', 'flat', 'identity'],
  skeleton: 'map',
  infer: (inputs) => checkElementwise('stop_gradient', 'any', inputs) ?? inputs.slice(0, 1),
  interpret: ([x], _attributes, context) => (x ? [applyUnary((value) => value, x, x.dtype, context)] : []),
  scalar: ([x = 0]) => x,
  wgsl: ([x = '']) => `(${x})`,
};
