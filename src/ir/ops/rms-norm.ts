/**
 * Root-mean-square normalisation over the last axis.
 *
 *   y[..., d] = x[..., d] / sqrt(mean_d(x^2) + eps) * gain[d]
 *
 * Statistics in f32 even when x is f16: a few thousand values near 8 overflow f16 (greatest 65504).
 * Source: Zhang & Sennrich 2019, eq. 4. torch: nn.functional.rms_norm.
 */
import type { Attributes, Value } from '../graph.ts';
import type { Emitter, OpDefinition } from '../op.ts';
import { alongside } from './axes.ts';
import { castTo, combine, fillLike, meanOf, widened } from './build.ts';
import { calculus, unbroadcast } from './calculus.ts';
import { checkNorm } from './layer-norm.ts';
import { numberOf } from './shared.ts';

/** Rows with root mean square 1, and what they were multiplied with, [.., 1]. */
function normalized(
  emitter: Emitter,
  x: Value,
  attributes: Attributes,
): { readonly unit: Value; readonly scale: Value } {
  const square = meanOf(emitter, emitter.emit('mul', [x, x]), [x.type.shape.length - 1], true);
  const shifted = emitter.emit('add', [square, fillLike(emitter, numberOf(attributes, 'eps'), square)]);
  const scale = emitter.emit('rsqrt', [shifted]);
  return { unit: combine(emitter, 'mul', x, scale), scale };
}

export const rmsNorm: OpDefinition = {
  name: 'rms_norm',
  level: 'model',
  doc: 'Divides by the root of the mean square along the last axis, then `* gain`: x [..., D], gain [D].',
  operands: ['x', 'gain?'],
  attributes: { eps: { kind: 'float', doc: 'added inside the root; 1e-5 in Llama 2, 1e-6 in T5' } },
  traits: [],
  skeleton: 'row',
  infer([x, gain]) {
    return checkNorm(x, { gain }) ?? (x ? [x] : []);
  },
  axes: (inputs, outputs) => alongside(inputs, outputs, [(outputs[0]?.shape.length ?? 1) - 1]),
  gradient(emitter, { inputs: [x, gain], attributes, cotangent }) {
    if (!x) return [];
    const c = calculus(emitter);
    const g = widened(emitter, cotangent);
    const { unit, scale } = normalized(emitter, emitter.emit('barrier', [widened(emitter, x)]), attributes);
    const inner = gain ? combine(emitter, 'mul', g, widened(emitter, gain)) : g;
    const stretch = meanOf(emitter, c.mul(inner, unit), [inner.type.shape.length - 1], true);
    const straight = c.sub(inner, combine(emitter, 'mul', unit, stretch));
    return [
      castTo(emitter, combine(emitter, 'mul', straight, scale), x.type.dtype),
      gain && castTo(emitter, unbroadcast(emitter, c.mul(g, unit), gain), gain.type.dtype),
    ];
  },
  decompose(emitter, [x, gain], attributes) {
    if (!x) throw new RangeError('`rms_norm` without operands');
    let y = normalized(emitter, widened(emitter, x), attributes).unit;
    if (gain) y = combine(emitter, 'mul', y, widened(emitter, gain));
    return castTo(emitter, y, x.type.dtype);
  },
};
