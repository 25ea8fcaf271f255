/**
 * Sizes of an attention node as its kernels need them, and how they are written.
 */
import type { Node } from '../../ir/graph.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim, constantValue, type Dim } from '../../ir/symbolic.ts';
import type { Index } from './index-algebra.ts';
import { type Draft, elements, type GroupCount } from './kernel.ts';
import { operandOf, UnsupportedOp } from './regions.ts';

export interface Geometry {
  readonly batch: readonly Dim[];
  readonly heads: number;
  readonly headsPerGroup: number;
  readonly queries: Dim;
  readonly keys: Dim;
  /** Width of a head of query and key; of value. */
  readonly width: number;
  readonly valueWidth: number;
}

export function geometryOf(node: Node): Geometry {
  const { shape } = operandOf(node, 0).type;
  const value = operandOf(node, 2).type.shape;
  const heads = numberOf(node.attributes, 'heads');
  const groups = numberOf(node.attributes, 'kv_heads');
  const perHead = (dims: readonly Dim[], count: number) => {
    const total = dims.at(-1);
    const width = total && constantValue(total);
    if (width === undefined) throw new UnsupportedOp(node, 'attention with heads of a width known only at run time');
    return width / count;
  };
  const keyShape = operandOf(node, 1).type.shape;
  return {
    batch: shape.slice(0, -2),
    heads,
    headsPerGroup: heads / groups,
    queries: shape.at(-2) ?? constantDim(1),
    keys: keyShape.at(-2) ?? constantDim(1),
    width: perHead(shape, heads),
    valueWidth: perHead(value, groups),
  };
}

/** `ceil(dim / by)` */
export function ceiling(draft: Draft, dim: Dim, by: number): string {
  const value = constantValue(dim);
  return value === undefined ? `((${draft.writer.dim(dim)} + ${by - 1}u) / ${by}u)` : `${Math.ceil(value / by)}u`;
}

/** `dim - 1` */
export function last(draft: Draft, dim: Dim): string {
  const value = constantValue(dim);
  return value === undefined ? `${draft.writer.dim(dim)} - 1u` : `${value - 1}u`;
}

export interface WorkPlace {
  readonly batch: readonly Index[];
  readonly head: Index;
}

/** Opens the body of a workgroup that takes one head and a block of queries, `query_block`; close it afterwards. */
export function openWork(draft: Draft, geometry: Geometry, queriesPerGroup: number): WorkPlace {
  const { writer, walker } = draft;
  writer.reserve(['query_block', 'head_of_batch', 'score', 'wanted_key', 'key', 'normalizer', 'top', 'seen']);
  const batches = elements(geometry.batch);
  const blocks = ceiling(draft, geometry.queries, queriesPerGroup);
  writer.line(`let query_block = group % ${blocks};`);
  writer.line(`let head_of_batch = group / ${blocks};`);
  const head = writer.variable('head', constantDim(geometry.heads), `head_of_batch % ${geometry.heads}u`);
  const z = writer.variable('batch', batches, `head_of_batch / ${geometry.heads}u`);
  writer.open(`if (group < ${blocks} * ${geometry.heads}u * ${writer.dim(batches)})`);
  return { batch: walker.algebra.delinearize(z, geometry.batch), head };
}

/** How many workgroups that is. */
export function workGroups(geometry: Geometry, queriesPerGroup: number): GroupCount {
  return {
    factors: [
      { size: geometry.queries, divisor: queriesPerGroup },
      { size: constantDim(geometry.heads), divisor: 1 },
      { size: elements(geometry.batch), divisor: 1 },
    ],
  };
}
