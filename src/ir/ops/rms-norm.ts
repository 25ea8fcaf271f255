/**
 * Root-mean-square normalisation over the last axis.
 *
 *   y[..., d] = x[..., d] / sqrt(mean_d(x^2) + eps) * gain[d]
 *
 * Statistics in f32 even when x is f16: a few thousand values near 8 overflow f16 (greatest 65504).
 * Source: Zhang & Sennrich 2019, eq. 4. torch: nn.functional.rms_norm.
 */
import type { OpDefinition } from '../op.ts';
import { castTo, combine, fillLike, meanOf, widened } from './build.ts';
import { checkNorm } from './layer-norm.ts';
import { numberOf } from './shared.ts';

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
  decompose(emitter, [x, gain], attributes) {
    if (!x) throw new RangeError('`rms_norm` without operands');
    const wide = widened(emitter, x);
    const square = meanOf(emitter, emitter.emit('mul', [wide, wide]), [wide.type.shape.length - 1], true);
    const shifted = emitter.emit('add', [square, fillLike(emitter, numberOf(attributes, 'eps'), square)]);
    let y = combine(emitter, 'mul', wide, emitter.emit('rsqrt', [shifted]));
    if (gain) y = combine(emitter, 'mul', y, widened(emitter, gain));
    return castTo(emitter, y, x.type.dtype);
  },
};
