/**
 * The order in which `argmax` and `top_k` see numbers, and `order_key`, which writes it into integers.
 *
 * NaN is the greatest value (as in torch) and all NaN are equal; -0 equals +0. Devices may read subnormal floats as zeros.
 */
import type { OpDefinition } from '../op.ts';
import { checkElementwise, interpretByScalar } from './elementwise.ts';

/** Negative when `a` stands before `b` in descending order, 0 when they are equal. */
export function descending(a: number, b: number): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : -1;
  if (Number.isNaN(b)) return 1;
  return a > b ? -1 : a < b ? 1 : 0;
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** A u32 that compares as the f32 next to `value` does. */
function floatKey(value: number): number {
  single[0] = value;
  const word = bits[0] ?? 0;
  const size = word & 0x7fffffff;
  if (size > 0x7f800000) return 0xffffffff;
  const isNegative = word >>> 31 === 1 && size !== 0;
  return (isNegative ? ~word : size | 0x80000000) >>> 0;
}

const scalar: NonNullable<OpDefinition['scalar']> = ([x = 0]) => floatKey(x);

export const orderKey: OpDefinition = {
  name: 'order_key',
  level: 'tensor',
  doc: 'A u32 for each float that compares as the float does: greater for greater, equal for equal. NaN is the greatest.',
  operands: ['x'],
  attributes: {},
  traits: ['elementwise', 'flat'],
  skeleton: 'map',
  infer(inputs) {
    const [x] = inputs;
    return checkElementwise('order_key', 'float', inputs) ?? (x ? [{ dtype: 'u32', shape: x.shape }] : []);
  },
  interpret([x], attributes, context) {
    return x ? [interpretByScalar(scalar, [x], attributes, 'u32', context)] : [];
  },
  scalar,
  wgsl: ([x = ''], _attributes, _dtypes, lanes = 1) => `sora_order_key${lanes === 1 ? '' : lanes}(${x})`,
  wgslHelpers: ['sora_order_key'],
};
