/**
 * Affine map of the last axis.
 *
 *   y[..., n] = sum_k x[..., k] * weight[n, k] + bias[n]
 *
 * torch: nn.functional.linear, weight as in checkpoints.
 */
import type { OpDefinition } from '../op.ts';
import { constantDim, sameDim } from '../symbolic.ts';
import { isFloat } from '../types.ts';
import { operand, result } from './axes.ts';
import { combine } from './build.ts';
import { fail, lastDim, quoteType } from './shared.ts';

export const linear: OpDefinition = {
  name: 'linear',
  level: 'model',
  doc: 'Affine map of the last axis: x [..., K], weight [N, K], bias [N] to [..., N].',
  operands: ['x', 'weight', 'bias?'],
  attributes: {},
  traits: ['contraction'],
  skeleton: 'contraction',
  infer([x, weight, bias]) {
    if (!x || !weight) return fail('`linear` takes `x`, `weight` and an optional `bias`');
    if (!isFloat(x.dtype)) return fail(`\`x\` must be a float tensor, not ${quoteType(x)}`, 0);
    const inputs = lastDim(x.shape);
    if (!inputs) return fail(`\`x\` must have at least one axis, not ${quoteType(x)}`, 0);
    const [outputs, expected] = weight.shape;
    if (weight.shape.length !== 2 || !outputs || !expected) {
      return fail(`\`weight\` must have two axes, not ${quoteType(weight)}`, 1);
    }
    if (!sameDim(inputs, expected)) {
      return fail(`last dim of \`x\` is \`${inputs.key}\`, \`weight\` expects \`${expected.key}\``, 0);
    }
    if (weight.dtype !== x.dtype) return fail(`\`weight\` is ${quoteType(weight)}, \`x\` is ${quoteType(x)}`, 1);
    if (
      bias &&
      (bias.dtype !== x.dtype || bias.shape.length !== 1 || !sameDim(bias.shape[0] ?? constantDim(0), outputs))
    ) {
      return fail(`\`bias\` must be \`${x.dtype}[${outputs.key}]\`, not ${quoteType(bias)}`, 2);
    }
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, -1), outputs] }];
  },
  axes([x, weight, bias]) {
    if (!x || !weight) return [];
    const last = x.shape.length - 1;
    const others = x.shape.slice(0, last).map((_, axis) => [operand(0, axis), result(axis)]);
    const outputs = [operand(1, 0), result(last), ...(bias ? [operand(2, 0)] : [])];
    return [...others, [operand(0, last), operand(1, 1)], outputs];
  },
  mapsLastAxis: ([x], _attributes, at) => (x && at === 1 ? { x, isTransposed: false } : undefined),
  decompose(emitter, inputs) {
    const [x, weight, bias] = inputs;
    if (!x || !weight) throw new RangeError('`linear` without operands');
    const product = emitter.emit('dot_general', [x, weight], {
      lhs_batch: [],
      rhs_batch: [],
      lhs_contract: [x.type.shape.length - 1],
      rhs_contract: [1],
    });
    return bias ? combine(emitter, 'add', product, bias) : product;
  },
};
