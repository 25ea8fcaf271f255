/**
 * Layer normalisation over the last axis.
 *
 *   y[..., d] = (x[..., d] - mean_d(x)) / sqrt(var_d(x) + eps) * gain[d] + bias[d]
 *
 * The variance is biased and taken in a second pass over the centred values: one pass over squares cancels badly.
 * Source: Ba, Kiros & Hinton 2016. torch: nn.functional.layer_norm over one axis.
 */
import type { Attributes, Value } from '../graph.ts';
import type { Emitter, InferFailure, OpDefinition } from '../op.ts';
import { type Dim, sameDim } from '../symbolic.ts';
import { isFloat, type TensorType } from '../types.ts';
import { alongside } from './axes.ts';
import { castTo, combine, fillLike, meanOf, widened } from './build.ts';
import { calculus, unbroadcast } from './calculus.ts';
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

/** Rows with mean 0 and variance 1, and what they were multiplied with, [.., 1]. */
function normalized(
  emitter: Emitter,
  x: Value,
  attributes: Attributes,
): { readonly unit: Value; readonly scale: Value } {
  const axis = x.type.shape.length - 1;
  const centred = combine(emitter, 'sub', x, meanOf(emitter, x, [axis], true));
  const variance = meanOf(emitter, emitter.emit('mul', [centred, centred]), [axis], true);
  const shifted = emitter.emit('add', [variance, fillLike(emitter, numberOf(attributes, 'eps'), variance)]);
  const scale = emitter.emit('rsqrt', [shifted]);
  return { unit: combine(emitter, 'mul', centred, scale), scale };
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
  axes: (inputs, outputs) => alongside(inputs, outputs, [(outputs[0]?.shape.length ?? 1) - 1]),
  gradient(emitter, { inputs: [x, gain, bias], attributes, cotangent }) {
    if (!x) return [];
    const c = calculus(emitter);
    const g = widened(emitter, cotangent);
    const { unit, scale } = normalized(emitter, emitter.emit('barrier', [widened(emitter, x)]), attributes);
    const wide = gain && widened(emitter, gain);
    const inner = wide ? combine(emitter, 'mul', g, wide) : g;
    const axis = inner.type.shape.length - 1;
    // What changes the mean or the variance of the row is taken out.
    const shift = meanOf(emitter, inner, [axis], true);
    const stretch = meanOf(emitter, c.mul(inner, unit), [axis], true);
    const straight = c.sub(combine(emitter, 'sub', inner, shift), combine(emitter, 'mul', unit, stretch));
    const ofX = castTo(emitter, combine(emitter, 'mul', straight, scale), x.type.dtype);
    return [
      ofX,
      gain && castTo(emitter, unbroadcast(emitter, c.mul(g, unit), gain), gain.type.dtype),
      bias && castTo(emitter, unbroadcast(emitter, g, bias), bias.type.dtype),
    ];
  },
  decompose(emitter, [x, gain, bias], attributes): Value {
    if (!x) throw new RangeError('`layer_norm` without operands');
    let y = normalized(emitter, widened(emitter, x), attributes).unit;
    if (gain) y = combine(emitter, 'mul', y, widened(emitter, gain));
    if (bias) y = combine(emitter, 'add', y, widened(emitter, bias));
    return castTo(emitter, y, x.type.dtype);
  },
};
