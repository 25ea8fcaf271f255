/**
 * Scaled dot-product attention over heads that lie side by side in the last axis.
 *
 *   s[b, h, t, j] = scale * sum_d query[b, t, h, d] * key[b, j, g(h), d]      g(h) = h / (heads / kv_heads)
 *   s = map(s, captured…)                                                    the node's region, when it has one
 *   p = normalize over j of the scores that are visible
 *   y[b, t, h, d] = sum_j p[b, h, t, j] * value[b, j, g(h), d]
 *
 * Query t stands at position i = offsets[b] + t (offsets: 0), keys at their index. Key j is visible to it when the mask
 * lets it through, j <= i (`causal`), i - j < window (`window`; |i - j| when not causal), |i - j| <= reach[h], and its
 * mapped score is above -1e30. A row without any visible key gives zeros, not NaN. Sinks are one more score per head in the
 * sum of the softmax. Scores and weights are f32 whatever the operands are.
 *
 * Source: Vaswani et al. 2017; grouped heads: Ainslie et al. 2023 (GQA); why one op: docs/decisions/0005.
 */
import type { OpDefinition, RegionTypes } from '../op.ts';
import { constantDim, constantValue, dimBounds, multiplyDims } from '../symbolic.ts';
import type { TensorType } from '../types.ts';
import { decomposeAttention } from './attention-decompose.ts';
import {
  attentionGeometry,
  capturedOf,
  checkDropout,
  checkExtras,
  headAxes,
  normalizerOf,
  plainOperands,
  rolesOf,
  scoreShape,
  windowOf,
} from './attention-geometry.ts';
import { lastDim, numberOf } from './shared.ts';

/** Width of the widest head whose queries and keys fit into the workgroup memory of every device. */
const widest = 480;
/** Width of the widest value whose mixture a lane of a CPU driver keeps in registers. */
const widestInLanes = 128;
/** A window pays when there may be so many times more keys than it shows. */
const windowsToWin = 4;

export const attention: OpDefinition = {
  name: 'attention',
  level: 'model',
  doc:
    'Attention of query [B…, T, heads*D] on key [B…, S, kv_heads*D] and value [B…, S, kv_heads*E]: [B…, T, heads*E]. ' +
    'A region maps the scores f32 [B…, heads, T, S], given the captured operands.',
  operands: ['query', 'key', 'value', 'extra...'],
  attributes: {
    heads: { kind: 'int', doc: 'query heads' },
    kv_heads: { kind: 'int', doc: 'key and value heads; divides `heads`' },
    scale: { kind: 'float', doc: 'factor of the scores, usually 1/sqrt(D)' },
    extras: {
      kind: 'strings',
      optional: true,
      doc:
        'roles of the operands after the value: `mask` bool [B…, heads, T, S], each axis possibly 1: true where a query ' +
        'may look; `offsets` i32 [B…]: position of the first query; `sinks`, `reach`, `alpha` f32 [heads]; `captured`: ' +
        'broadcasts to the scores, for the region',
    },
    causal: { kind: 'bool', optional: true, doc: 'hides keys after the query' },
    window: { kind: 'int', optional: true, doc: 'keys that a query sees per direction, itself included; 0: all' },
    normalize: { kind: 'string', optional: true, doc: '`softmax`, `entmax15` or `entmax` (with `alpha`)' },
    dropout: { kind: 'float', optional: true, isForTraining: true, doc: 'probability that a weight is dropped' },
    stream: { kind: 'int', optional: true, isForTraining: true, doc: 'which random numbers decide, as in `dropout`' },
  },
  traits: [],
  skeleton: 'attention',
  tileOperands: plainOperands,
  /**
   * A streaming kernel wins on GPUs. On CPU drivers it loses against matrix products with the scores in memory, but for
   * windows and spans that leave most keys out and for single queries (measured on lavapipe: docs/attention.md). Entmax needs all scores of a row at
   * once.
   */
  staysWhole(profile, inputs, attributes, { ranges }) {
    const geometry = attentionGeometry(inputs, attributes);
    if ('failure' in geometry || normalizerOf(attributes) !== 'softmax') return false;
    const widths = [geometry.keyWidth, geometry.valueWidth].map((width) => constantValue(width) ?? widest + 1);
    if (profile === 'gpu') return widths.every((width) => width <= widest);
    const isNarrow = widths.every((width) => width % 4 === 0 && width <= widestInLanes);
    if (!isNarrow) return false;
    // One query at a time: what counts is how many kernels a step has.
    if (constantValue(geometry.queries) === 1) return true;
    const window = windowOf(attributes);
    const most = dimBounds(geometry.keys, ranges).maximum;
    return rolesOf(attributes).includes('reach') || (window > 0 && most >= windowsToWin * window);
  },
  regionTypes(inputs, attributes) {
    const geometry = attentionGeometry(inputs, attributes);
    if ('failure' in geometry) return geometry;
    const score: TensorType = { dtype: 'f32', shape: scoreShape(geometry) };
    return { inputs: [score, ...capturedOf(inputs, attributes)], results: [score] } satisfies RegionTypes;
  },
  infer(inputs, attributes) {
    const geometry = attentionGeometry(inputs, attributes);
    if ('failure' in geometry) return geometry;
    const wrong = checkExtras(inputs, attributes, geometry) ?? checkDropout(attributes);
    if (wrong) return wrong;
    const width = multiplyDims(constantDim(geometry.heads), geometry.valueWidth);
    return [{ dtype: inputs[0]?.dtype ?? 'f32', shape: [...geometry.batch, geometry.queries, width] }];
  },
  axes(inputs, _outputs, attributes) {
    const geometry = attentionGeometry(inputs, attributes);
    return 'failure' in geometry ? [] : headAxes(inputs, attributes, geometry);
  },
  resized(attributes, { before, after }) {
    const width = (types: readonly TensorType[]) =>
      constantValue(lastDim(types[0]?.shape ?? []) ?? constantDim(0)) ?? 0;
    const share = (name: string) => (numberOf(attributes, name) * width(after.inputs)) / width(before.inputs);
    return { ...attributes, heads: share('heads'), kv_heads: share('kv_heads') };
  },
  decompose: decomposeAttention,
};
