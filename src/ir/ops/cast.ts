/**
 * Conversion of the element type.
 */
import type { OpDefinition } from '../op.ts';
import { halfRound } from '../tensor.ts';
import { type DType, isFloat } from '../types.ts';
import { castTo } from './build.ts';
import { applyUnary, type UnaryFunction } from './elementwise.ts';
import { dtypeAttribute, dtypeNamed, fail, stringOf, wgslType } from './shared.ts';

const limits = { i32: [-2147483648, 2147483647], u32: [0, 4294967295] } as const;

function conversion(from: DType, to: DType): UnaryFunction {
  if (to === 'bool') return (x) => (x === 0 ? 0 : 1);
  if (to === 'f32') return (x) => x;
  if (to === 'f16') return (x) => x;
  if (!isFloat(from)) return to === 'i32' ? (x) => x | 0 : (x) => x >>> 0;
  const [low, high] = limits[to];
  return (x) => (Number.isNaN(x) ? 0 : Math.trunc(Math.min(Math.max(x, low), high)));
}

export const cast: OpDefinition = {
  name: 'cast',
  level: 'tensor',
  doc:
    'The same values in another element type. Floats become integers by truncation toward zero, clamped to the range; ' +
    'between i32 and u32 the bits stay; anything but 0 is true.',
  operands: ['x'],
  attributes: { dtype: { kind: 'string', doc: 'the element type of the result' } },
  traits: ['elementwise', 'conversion'],
  skeleton: 'map',
  infer([x], attributes) {
    const dtype = dtypeAttribute(attributes);
    if (typeof dtype !== 'string') return dtype;
    return x ? [{ dtype, shape: x.shape }] : fail('`cast` takes one operand');
  },
  interpret([x], attributes, context) {
    const dtype = dtypeNamed(stringOf(attributes, 'dtype'));
    if (!x || !dtype) return [];
    if (x.dtype === dtype || (dtype === 'f32' && isFloat(x.dtype))) return [{ ...x, dtype }];
    return [applyUnary(conversion(x.dtype, dtype), x, dtype, context)];
  },
  gradient(emitter, { inputs: [x], cotangent }) {
    return x && isFloat(x.type.dtype) && isFloat(cotangent.type.dtype)
      ? [castTo(emitter, cotangent, x.type.dtype)]
      : [];
  },
  scalar: ([x = 0], attributes, [from = 'f32']) => {
    const to = dtypeNamed(stringOf(attributes, 'dtype')) ?? 'f32';
    return to === 'f16' ? halfRound(x) : conversion(from, to)(x);
  },
  wgsl: ([x = ''], attributes, _dtypes, lanes = 1) =>
    `${wgslType(dtypeNamed(stringOf(attributes, 'dtype')) ?? 'f32', lanes)}(${x})`,
};
