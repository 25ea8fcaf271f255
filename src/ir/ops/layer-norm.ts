/**
 * Layer normalisation over the last axis.
 *
 *   y[..., d] = (x[..., d] - mean_d(x)) / sqrt(var_d(x) + eps) * gain[d] + bias[d]
 *
 * The variance is biased and taken in a second pass over the centred values: one pass over squares cancels badly.
 * Source: Ba, Kiros & Hinton 2016. torch: nn.functional.layer_norm over one axis.
 */
import type { Value } from '../graph.ts';
import type { InferFailure, OpDefinition } from '../op.ts';
import { type Dim, sameDim } from '../symbolic.ts';
import { isFloat, type TensorType } from '../types.ts';
import { castTo, combine, fillLike, meanOf, widened } from './build.ts';
import { fail, lastDim, numberOf, quoteType } from './shared.ts';

/** Undefined when `x` is a float tensor with a last axis and each parameter is a vector over it. */
export function checkNorm(
  x: TensorType | undefined,
  parameters: Readonly<Record<string, TensorType | undefined>>,
): InferFailure | undefined {
  if (!x) return fail('a norm takes `x`');
  const width: Dim | undefined = lastDim(x.shape);
  if (!isFloat(x.dtype) || !width)
    return fail(`\`x\` must be a float tensor with at least one axis, not ${quoteType(x)}`, 0);
  for (const [at, [name, type]] of Object.entries(parameters).entries()) {
    if (!type) continue;
    const [own] = type.shape;
    if (type.shape.length !== 1 || !own || type.dtype !== x.dtype) {
      return fail(`\`${name}\` must be \`${x.dtype}[${width.key}]\`, not ${quoteType(type)}`, at + 1);
    }
    if (!sameDim(own, width)) {
      return fail(`last dim of \`x\` is \`${width.key}\`, \`${name}\` has \`${own.key}\``, at + 1);
    }
  }
  return undefined;
}

export const layerNorm: OpDefinition = {
  name: 'layer_norm',
  level: 'model',
  doc: 'Mean 0 and variance 1 along the last axis, then `* gain + bias`: x [..., D], gain [D], bias [D].',
  operands: ['x', 'gain?', 'bias?'],
  attributes: { eps: { kind: 'float', doc: 'added to the variance; 1e-12 in BERT, 1e-5 in torch' } },
  traits: [],
  skeleton: 'row',
  infer([x, gain, bias]) {
    return checkNorm(x, { gain, bias }) ?? (x ? [x] : []);
  },
  decompose(emitter, [x, gain, bias], attributes): Value {
    if (!x) throw new RangeError('`layer_norm` without operands');
    const wide = widened(emitter, x);
    const axis = wide.type.shape.length - 1;
    const centred = combine(emitter, 'sub', wide, meanOf(emitter, wide, [axis], true));
    const variance = meanOf(emitter, emitter.emit('mul', [centred, centred]), [axis], true);
    const shifted = emitter.emit('add', [variance, fillLike(emitter, numberOf(attributes, 'eps'), variance)]);
    let y = combine(emitter, 'mul', centred, emitter.emit('rsqrt', [shifted]));
    if (gain) y = combine(emitter, 'mul', y, widened(emitter, gain));
    if (bias) y = combine(emitter, 'add', y, widened(emitter, bias));
    return castTo(emitter, y, x.type.dtype);
  },
};
