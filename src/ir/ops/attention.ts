/**
 * Scaled dot-product attention over heads that lie side by side in the last axis.
 *
 *   s[b, h, t, s] = scale * sum_d query[b, t, h, d] * key[b, s, g(h), d]      g(h) = h / (heads / kv_heads)
 *   p = softmax over s of the scores that `mask` lets through
 *   y[b, t, h, d] = sum_s p[b, h, t, s] * value[b, s, g(h), d]
 *
 * A row whose mask is false throughout gives zeros, not NaN. Scores and softmax are f32 whatever the operands are.
 * Source: Vaswani et al. 2017; grouped heads: Ainslie et al. 2023 (GQA).
 */
import type { Value } from '../graph.ts';
import type { InferFailure, InferResult, OpDefinition } from '../op.ts';
import { constantDim, constantValue, type Dim, divideDim, multiplyDims, sameDim } from '../symbolic.ts';
import { isFloat, type Shape, sameShape, type TensorType } from '../types.ts';
import { broadcastTo, castTo, combine, fillLike, reduceKeeping, reshapeTo, widened } from './build.ts';
import { fail, numberOf, quoteType } from './shared.ts';

/** Far below every score and still finite: infinities are not dependable in WGSL. */
const maskedScore = -1e30;
/** A row with anything unmasked has a sum of at least 1, so this only guards the division of empty rows. */
const leastSum = 1e-30;

interface Geometry {
  readonly batch: Shape;
  readonly queries: Dim;
  readonly keys: Dim;
  readonly keyWidth: Dim;
  readonly valueWidth: Dim;
  readonly groups: number;
  readonly headsPerGroup: number;
}

function checkHeads(heads: number, kvHeads: number): InferFailure | undefined {
  const positive = [heads, kvHeads].every((count) => Number.isInteger(count) && count > 0);
  if (!positive) return fail(`head counts must be positive integers, not ${heads} and ${kvHeads}`);
  return heads % kvHeads === 0
    ? undefined
    : fail(`\`heads\` is ${heads}, which is no multiple of \`kv_heads\`, ${kvHeads}`);
}

function headWidth(name: string, type: TensorType, heads: number, operand: number): Dim | InferFailure {
  const width = type.shape[type.shape.length - 1] ?? constantDim(0);
  return (
    divideDim(width, constantDim(heads)) ??
    fail(`last dim of \`${name}\` is \`${width.key}\`, which does not divide into ${heads} heads`, operand)
  );
}

function geometryOf(inputs: readonly TensorType[], heads: number, kvHeads: number): Geometry | InferFailure {
  const [query, key, value] = inputs;
  if (!query || !key || !value) return fail('`attention` takes `query`, `key`, `value` and an optional `mask`');
  const wrongHeads = checkHeads(heads, kvHeads);
  if (wrongHeads) return wrongHeads;
  for (const [operand, [name, type]] of Object.entries({ query, key, value }).entries()) {
    if (!isFloat(type.dtype) || type.dtype !== query.dtype || type.shape.length < 2) {
      return fail(
        `\`${name}\` must be \`${isFloat(query.dtype) ? query.dtype : 'f32'}[..., T, D]\`, not ${quoteType(type)}`,
        operand,
      );
    }
    if (!sameShape(type.shape.slice(0, -2), query.shape.slice(0, -2))) {
      return fail(`batch axes differ: \`query\` is ${quoteType(query)}, \`${name}\` is ${quoteType(type)}`, operand);
    }
  }
  const rank = query.shape.length;
  const keys = key.shape[rank - 2] ?? constantDim(0);
  const others = value.shape[rank - 2] ?? constantDim(0);
  if (!sameDim(keys, others)) {
    return fail(`\`key\` has \`${keys.key}\` positions, \`value\` has \`${others.key}\``, 2);
  }
  const queryWidth = headWidth('query', query, heads, 0);
  const keyWidth = headWidth('key', key, kvHeads, 1);
  const valueWidth = headWidth('value', value, kvHeads, 2);
  if ('failure' in queryWidth) return queryWidth;
  if ('failure' in keyWidth) return keyWidth;
  if ('failure' in valueWidth) return valueWidth;
  if (!sameDim(queryWidth, keyWidth)) {
    return fail(`heads of \`query\` are \`${queryWidth.key}\` wide, heads of \`key\` \`${keyWidth.key}\``, 1);
  }
  return {
    batch: query.shape.slice(0, -2),
    queries: query.shape[rank - 2] ?? constantDim(0),
    keys,
    keyWidth,
    valueWidth,
    groups: kvHeads,
    headsPerGroup: heads / kvHeads,
  };
}

function checkMask(mask: TensorType | undefined, geometry: Geometry, heads: number): InferFailure | undefined {
  if (!mask) return undefined;
  const full = [...geometry.batch, constantDim(heads), geometry.queries, geometry.keys];
  const fits =
    mask.shape.length === full.length &&
    mask.shape.every((dim, axis) => constantValue(dim) === 1 || sameDim(dim, full[axis] ?? dim));
  if (mask.dtype === 'bool' && fits) return undefined;
  return fail(
    `\`mask\` is ${quoteType(mask)}, which does not broadcast to ${quoteType({ dtype: 'bool', shape: full })}`,
    3,
    'its axes are batch, head, query position and key position; each may be 1',
  );
}

/** [batch…, heads, T, S] to [batch…, groups, heads per group, T, S], where sizes of 1 stay. */
function groupedMask(mask: Shape, batchRank: number, geometry: Geometry): Shape {
  const isShared = constantValue(mask[batchRank] ?? constantDim(1)) === 1;
  const heads = isShared ? [1, 1] : [geometry.groups, geometry.headsPerGroup];
  return [...mask.slice(0, batchRank), ...heads.map(constantDim), ...mask.slice(batchRank + 1)];
}

export const attention: OpDefinition = {
  name: 'attention',
  level: 'model',
  doc:
    'Attention of query [B…, T, heads*D] on key [B…, S, kv_heads*D] and value [B…, S, kv_heads*E]: [B…, T, heads*E]. ' +
    '`mask` bool [B…, heads, T, S], each axis possibly 1: true where a query may look.',
  operands: ['query', 'key', 'value', 'mask?'],
  attributes: {
    heads: { kind: 'int', doc: 'query heads' },
    kv_heads: { kind: 'int', doc: 'key and value heads; divides `heads`' },
    scale: { kind: 'float', doc: 'factor of the scores, usually 1/sqrt(D)' },
  },
  traits: [],
  skeleton: 'attention',
  infer(inputs, attributes): InferResult {
    const heads = numberOf(attributes, 'heads');
    const geometry = geometryOf(inputs, heads, numberOf(attributes, 'kv_heads'));
    if ('failure' in geometry) return geometry;
    const wrong = checkMask(inputs[3], geometry, heads);
    if (wrong) return wrong;
    const width = multiplyDims(constantDim(heads), geometry.valueWidth);
    return [{ dtype: inputs[0]?.dtype ?? 'f32', shape: [...geometry.batch, geometry.queries, width] }];
  },
  decompose(emitter, inputs, attributes) {
    const [query, key, value, mask] = inputs;
    if (!query || !key || !value) throw new RangeError('`attention` without operands');
    const heads = numberOf(attributes, 'heads');
    const types = inputs.map((input) => input.type);
    const geometry = geometryOf(types, heads, numberOf(attributes, 'kv_heads'));
    if ('failure' in geometry) throw new RangeError(geometry.failure);
    const { batch, queries, keys, keyWidth, valueWidth } = geometry;
    const groups = constantDim(geometry.groups);
    const perGroup = constantDim(geometry.headsPerGroup);
    const rank = batch.length;
    const batchAxes = batch.map((_, axis) => axis);
    const at = (...axes: readonly number[]) => [...batchAxes, ...axes.map((axis) => rank + axis)];

    const splitQuery = reshapeTo(emitter, widened(emitter, query), [...batch, queries, groups, perGroup, keyWidth]);
    const q = emitter.emit('transpose', [splitQuery], { permutation: at(1, 2, 0, 3) });
    const k = reshapeTo(emitter, widened(emitter, key), [...batch, keys, groups, keyWidth]);
    const v = reshapeTo(emitter, widened(emitter, value), [...batch, keys, groups, valueWidth]);

    const products = emitter.emit('dot_general', [q, k], {
      lhs_batch: at(0),
      rhs_batch: at(1),
      lhs_contract: [rank + 3],
      rhs_contract: [rank + 2],
    });
    const scores = emitter.emit('mul', [products, fillLike(emitter, numberOf(attributes, 'scale'), products)]);
    const weights = attentionWeights(
      emitter,
      scores,
      mask && reshapeTo(emitter, mask, groupedMask(mask.type.shape, rank, geometry)),
    );
    const mixed = emitter.emit('dot_general', [weights, v], {
      lhs_batch: at(0),
      rhs_batch: at(1),
      lhs_contract: [rank + 3],
      rhs_contract: [rank],
    });
    const byPosition = emitter.emit('transpose', [mixed], { permutation: at(2, 0, 1, 3) });
    const width = multiplyDims(constantDim(heads), valueWidth);
    return castTo(emitter, reshapeTo(emitter, byPosition, [...batch, queries, width]), query.type.dtype);
  },
};

/** Softmax over the last axis of what the mask lets through; rows without anything are zero. */
function attentionWeights(emitter: Parameters<typeof broadcastTo>[0], scores: Value, mask: Value | undefined): Value {
  const axis = scores.type.shape.length - 1;
  const allowed = mask && broadcastTo(emitter, mask, scores.type.shape);
  const visible = allowed ? emitter.emit('select', [allowed, scores, fillLike(emitter, maskedScore, scores)]) : scores;
  const shifted = combine(emitter, 'sub', visible, reduceKeeping(emitter, 'max', visible, axis));
  const powers = emitter.emit('exp', [shifted]);
  const kept = allowed ? emitter.emit('select', [allowed, powers, fillLike(emitter, 0, powers)]) : powers;
  const sum = reduceKeeping(emitter, 'sum', kept, axis);
  return combine(emitter, 'div', kept, emitter.emit('max', [sum, fillLike(emitter, leastSum, sum)]));
}
