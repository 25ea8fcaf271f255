/**
 * `attention` in tensor-level ops: products, score map, masks, normalizer, mixture. This is the reference semantics of the
 * op and what CPU drivers run.
 *
 * Heads are two axes here, [batch…, groups, heads per group, T, S], so that keys of a group are not repeated.
 */
import type { Attributes, Graph, Value } from '../graph.ts';
import type { Emitter } from '../op.ts';
import { constantDim, constantValue, multiplyDims } from '../symbolic.ts';
import type { Shape } from '../types.ts';
import {
  type AttentionGeometry,
  attentionGeometry,
  capturedOf,
  dropoutOf,
  extraOf,
  isCausal,
  normalizerOf,
  scoreShape,
  windowOf,
} from './attention-geometry.ts';
import { broadcastTo, castTo, fillLike, reshapeTo, widened } from './build.ts';
import { maskedScore, visibleOf } from './masked-softmax.ts';
import { numberOf } from './shared.ts';

/** The head axis of [batch…, heads, T, S] in two; sizes of 1 stay. */
function grouped(emitter: Emitter, value: Value, geometry: AttentionGeometry): Value {
  const { shape } = value.type;
  const rank = geometry.batch.length;
  const isShared = constantValue(shape[rank] ?? constantDim(1)) === 1;
  const heads = isShared ? [1, 1] : [geometry.groups, geometry.headsPerGroup];
  return reshapeTo(emitter, value, [...shape.slice(0, rank), ...heads.map(constantDim), ...shape.slice(rank + 1)]);
}

/** One number per head under the rank of the grouped scores. */
function perHead(emitter: Emitter, value: Value, geometry: AttentionGeometry): Value {
  const one = constantDim(1);
  const heads = [geometry.groups, geometry.headsPerGroup].map(constantDim);
  return reshapeTo(emitter, value, [...geometry.batch.map(() => one), ...heads, one, one]);
}

/** A binary op on values of one rank whose axes are equal or 1. */
function together(emitter: Emitter, op: string, left: Value, right: Value): Value {
  const shape: Shape = left.type.shape.map((dim, axis) =>
    constantValue(dim) === 1 ? (right.type.shape[axis] ?? dim) : dim,
  );
  return emitter.emit(op, [broadcastTo(emitter, left, shape), broadcastTo(emitter, right, shape)]);
}

/** What causality, window and reach say, each of the rank of the grouped scores. */
function positionMasks(
  emitter: Emitter,
  inputs: readonly Value[],
  attributes: Attributes,
  geometry: AttentionGeometry,
): readonly Value[] {
  const window = windowOf(attributes);
  const reach = extraOf(inputs, attributes, 'reach');
  const causal = isCausal(attributes);
  if (!causal && window === 0 && !reach) return [];
  const one = constantDim(1);
  const ones = geometry.batch.map(() => one);
  const counted = (length: Shape[number]) => emitter.emit('iota', [], { length, dtype: 'i32' });
  const place = reshapeTo(emitter, counted(geometry.queries), [...ones, one, one, geometry.queries, one]);
  const offsets = extraOf(inputs, attributes, 'offsets');
  const start = offsets && reshapeTo(emitter, offsets, [...geometry.batch, one, one, one, one]);
  const query = start ? together(emitter, 'add', start, place) : place;
  const key = reshapeTo(emitter, counted(geometry.keys), [...ones, one, one, one, geometry.keys]);
  const masks: Value[] = causal ? [together(emitter, 'less_equal', key, query)] : [];
  if (window === 0 && !reach) return masks;
  const behind = together(emitter, 'sub', query, key);
  const distance = emitter.emit('abs', [behind]);
  if (window > 0) {
    const far = causal ? behind : distance;
    masks.push(emitter.emit('less', [far, fillLike(emitter, window, far)]));
  }
  if (reach) {
    const numbers = castTo(emitter, distance, 'f32');
    masks.push(together(emitter, 'less_equal', numbers, perHead(emitter, reach, geometry)));
  }
  return masks;
}

/** Writes the nodes of a region where its inputs have these values. */
function inlineRegion(emitter: Emitter, region: Graph, inputs: readonly Value[]): Value {
  const values = new Map<Value, Value>();
  const at = (value: Value): Value => {
    const found = values.get(value);
    if (!found) throw new RangeError('a region reads a value that is not its own');
    return found;
  };
  for (const [index, input] of region.inputs.entries()) {
    const [output] = input.outputs;
    const value = inputs[index];
    if (output && value) values.set(output, value);
  }
  for (const node of region.nodes) {
    if (node.op === 'input') continue;
    const [output] = node.outputs;
    if (output) values.set(output, emitter.emit(node.op, node.inputs.map(at), node.attributes, node.region));
  }
  const [result] = region.results;
  if (!result) throw new RangeError('a score map without a result');
  return at(result.value);
}

/** The mapped scores, in the axes of the grouped ones. */
function mapScores(
  emitter: Emitter,
  scores: Value,
  captured: readonly Value[],
  region: Graph,
  geometry: AttentionGeometry,
): Value {
  const byHead = reshapeTo(emitter, scores, scoreShape(geometry));
  return grouped(emitter, inlineRegion(emitter, region, [byHead, ...captured]), geometry);
}

/** Entmax over the last axis of what is allowed; rows without anything are zero. */
function entmaxOf(emitter: Emitter, scores: Value, allowed: Value | undefined, alpha: Value | undefined): Value {
  const rows = alpha && broadcastTo(emitter, alpha, [...scores.type.shape.slice(0, -1), constantDim(1)]);
  const visible = visibleOf(emitter, scores, allowed);
  const weights = emitter.emit('entmax', rows ? [visible, rows] : [visible]);
  return allowed ? emitter.emit('select', [allowed, weights, fillLike(emitter, 0, weights)]) : weights;
}

/** Softmax over the last axis of what is allowed; rows without anything are zero. */
function softmaxOf(emitter: Emitter, scores: Value, allowed: Value | undefined, sinks: Value | undefined): Value {
  const operands = [scores, ...(allowed ? [allowed] : []), ...(sinks ? [sinks] : [])];
  return emitter.emit('masked_softmax', operands, { masked: allowed !== undefined });
}

export function decomposeAttention(
  emitter: Emitter,
  inputs: readonly Value[],
  attributes: Attributes,
  region?: Graph,
): Value {
  const [query, key, value] = inputs;
  if (!query || !key || !value) throw new RangeError('`attention` without operands');
  const types = inputs.map((input) => input.type);
  const geometry = attentionGeometry(types, attributes);
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
  const scaled = emitter.emit('mul', [products, fillLike(emitter, numberOf(attributes, 'scale'), products)]);
  const scores = region ? mapScores(emitter, scaled, capturedOf(inputs, attributes), region, geometry) : scaled;
  const mask = extraOf(inputs, attributes, 'mask');
  const masks = [
    ...(mask ? [grouped(emitter, mask, geometry)] : []),
    ...positionMasks(emitter, inputs, attributes, geometry),
    ...(region ? [emitter.emit('greater', [scores, fillLike(emitter, maskedScore, scores)])] : []),
  ];
  const both = masks.reduce<Value | undefined>(
    (all, one) => (all ? together(emitter, 'and', all, one) : one),
    undefined,
  );
  const allowed = both && broadcastTo(emitter, both, scores.type.shape);
  const ofHead = (role: 'sinks' | 'alpha') => {
    const value = extraOf(inputs, attributes, role);
    return value && perHead(emitter, value, geometry);
  };
  const weights =
    normalizerOf(attributes) === 'softmax'
      ? softmaxOf(emitter, scores, allowed, ofHead('sinks'))
      : entmaxOf(emitter, scores, allowed, ofHead('alpha'));

  const dropped = dropoutOf(attributes);
  const kept = dropped ? emitter.emit('dropout', [weights], dropped) : weights;

  const mixed = emitter.emit('dot_general', [kept, v], {
    lhs_batch: at(0),
    rhs_batch: at(1),
    lhs_contract: [rank + 3],
    rhs_contract: [rank],
  });
  const byPosition = emitter.emit('transpose', [mixed], { permutation: at(2, 0, 1, 3) });
  const width = multiplyDims(constantDim(geometry.heads), valueWidth);
  return castTo(emitter, reshapeTo(emitter, byPosition, [...batch, queries, width]), query.type.dtype);
}
