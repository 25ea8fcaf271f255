/**
 * Attention of few queries: there is not enough work in queries and heads, so the keys of a query are split too. A first kernel
 * gives, per split, the greatest score, the sum of the weights and the mixture (`partials`), a second one combines them.
 *
 *   m = max over splits of m_s,  y = sum_s exp(m_s - m) mixture_s / sum_s exp(m_s - m) l_s
 *
 * How many splits there are is known when compiling, which keys a split takes is decided at run time: the keys that causality,
 * window and reach leave over are shared out, so a split does as little as the mask allows. Splits without keys
 * give a sum of 0. The order of the sums is fixed.
 *
 * Source: Dao et al. 2023 (Flash-Decoding).
 */
import type { Node } from '../../ir/graph.ts';
import { constantDim, constantValue, type Dim, dimBounds, multiplyDims } from '../../ir/symbolic.ts';
import { type KeySplits, keySplits } from '../plan/schedules.ts';
import { finishFour } from './attention-columns.ts';
import { masked, perHead } from './attention-scores.ts';
import { type Geometry, geometryOf } from './attention-shape.ts';
import { range } from './columns.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import {
  type Draft,
  elementIndex,
  elements,
  type GroupCount,
  type KernelRequest,
  scratchKey,
  type Written,
} from './kernel.ts';
import { workgroups } from './map.ts';
import { finisher, type Target } from './results.ts';

/** How the work of few queries is cut. */
export interface Split {
  readonly geometry: Geometry;
  readonly queries: number;
  /** Splits of the keys. */
  readonly count: number;
  /** Heads of one group of keys that one lane or workgroup takes together, so that it reads the keys once; divides the group. */
  readonly heads: number;
}

/** The greatest divisor of `of` that is no greater than `most`. */
function divisorBelow(of: number, most: number): number {
  return range(Math.min(of, Math.max(1, most)))
    .map((at) => at + 1)
    .reduce((best, next) => (of % next === 0 ? next : best), 1);
}

/** How to split the keys of a node; undefined where its queries are work enough, or its keys never many. */
export function splitOf(
  request: KernelRequest,
  node: Node,
  mostHeads: (geometry: Geometry) => number,
): Split | undefined {
  const schedule: KeySplits = keySplits[request.profile];
  const geometry = geometryOf(node);
  const queries = constantValue(geometry.queries);
  if (queries === undefined || queries === 0 || queries > schedule.queries) return undefined;
  const heads = divisorBelow(geometry.headsPerGroup, mostHeads(geometry));
  const places = (queries * geometry.heads) / heads;
  const keys = dimBounds(geometry.keys, request.ranges).maximum;
  const wanted = Math.min(Math.ceil(schedule.places / places), Math.ceil(keys / schedule.keys));
  const count = Math.min(schedule.most, schedule.step * Math.ceil(wanted / schedule.step));
  return count > 1 ? { geometry, queries, count, heads } : undefined;
}

/** Vectors of a partial: greatest score and sum of weights, then the mixture. */
function vectorsOf({ geometry }: Split): number {
  return 1 + Math.ceil(geometry.valueWidth / 4);
}

/** Bytes of the partials of all splits. */
export function partialBytes(split: Split): Dim {
  const { geometry, queries, count } = split;
  return multiplyDims(elements(geometry.batch), constantDim(16 * queries * geometry.heads * count * vectorsOf(split)));
}

/** Binds the partials. */
export function bindPartials(draft: Draft, access: 'r' | 'w'): string {
  return draft.writer.bind({ key: scratchKey, name: 'partials', element: 'vec4<f32>', access, vector: true });
}

/** Place of the first vector of a partial, as WGSL; `split` is its number there. */
export function partialPlace(draft: Draft, split: Split, at: SplitPlace, head: Index, number: string): string {
  const { queries, geometry, count } = split;
  const shape = [elements(geometry.batch), constantDim(queries), constantDim(geometry.heads)];
  const row = draft.walker.algebra.linearize([at.row, at.query, head], shape);
  return `(${draft.writer.operand(row)} * ${count}u + ${number}) * ${vectorsOf(split)}u`;
}

export interface SplitPlace {
  /** Row of the batch, counted over all its axes, and as an index vector. */
  readonly row: Index;
  readonly batch: readonly Index[];
  readonly query: Index;
}

export interface SplitWork extends SplitPlace {
  readonly heads: readonly Index[];
  /** Head of key and value. */
  readonly group: Index;
}

/** Opens the body of a workgroup that takes some heads of one query, and one of `pieces` of its keys, `piece`. */
export function openSplit(draft: Draft, split: Split, pieces: number): SplitWork {
  const { writer, walker } = draft;
  const { algebra } = walker;
  const { geometry, queries, heads } = split;
  const blocks = geometry.heads / heads;
  const rows = elements(geometry.batch);
  writer.reserve(['piece', 'score', 'wanted_key', 'key', 'top']);
  writer.line(`let piece = group % ${pieces}u;`);
  const block = writer.variable('head_block', constantDim(blocks), `group / ${pieces}u % ${blocks}u`);
  const query = writer.variable('query', constantDim(queries), `group / ${pieces * blocks}u % ${queries}u`);
  const row = writer.variable('row', rows, `group / ${pieces * blocks * queries}u`);
  writer.open(`if (group < ${pieces * blocks * queries}u * ${writer.dim(rows)})`);
  return {
    row,
    query,
    batch: algebra.delinearize(row, geometry.batch),
    heads: range(heads).map((at) => addIndices(scaleIndex(block, heads), constantIndex(at))),
    group: algebra.quotient(scaleIndex(block, heads), constantDim(geometry.headsPerGroup)),
  };
}

/** How many workgroups that is. */
export function splitGroups({ geometry, queries, heads }: Split, pieces: number): GroupCount {
  return {
    factors: [
      { size: constantDim((pieces * queries * geometry.heads) / heads), divisor: 1 },
      { size: elements(geometry.batch), divisor: 1 },
    ],
  };
}

/** Adds up the partials: an invocation per four columns of the result. */
export function writeCombination(draft: Draft, node: Node, targets: readonly Target[], split: Split): Written {
  const { writer, walker } = draft;
  const { geometry, queries, count } = split;
  const value4 = Math.ceil(geometry.valueWidth / 4);
  const shape = [elements(geometry.batch), ...[queries, geometry.heads, value4].map(constantDim)];
  const size = elements(shape);
  const workgroup = workgroups[draft.request.profile];
  writer.reserve(['first', 'top', 'sum', 'mixed', 'part', 'factor', 'normalizer']);
  const element = elementIndex(draft, 'four', size, workgroup);
  const [row, query, head, column4] = walker.algebra.delinearize(element, shape);
  if (!row || !query || !head || !column4) throw new RangeError('an index has as many parts as its shape');
  const batch = walker.algebra.delinearize(row, geometry.batch);
  const partials = bindPartials(draft, 'r');
  const stride = vectorsOf(split);
  writer.line(`let first = ${partialPlace(draft, split, { row, batch, query }, head, '0u')};`);
  const sink = perHead(draft, node, 'sinks', head);
  writer.line(`var top = ${sink ?? masked};`);
  writer.open(`for (var part = 0u; part < ${count}u; part++)`);
  writer.line(`top = max(top, ${partials}[first + part * ${stride}u].x);`);
  writer.close();
  writer.line('var sum = 0.0f;');
  writer.line('var mixed = vec4f(0);');
  writer.open(`for (var part = 0u; part < ${count}u; part++)`);
  writer.line(`let at_part = first + part * ${stride}u;`);
  writer.line(`let factor = exp(${partials}[at_part].x - top);`);
  writer.line(`sum = fma(${partials}[at_part].y, factor, sum);`);
  writer.line(`mixed = fma(${partials}[at_part + 1u + ${writer.operand(column4)}], vec4f(factor), mixed);`);
  writer.close();
  const total = sink === undefined ? 'sum' : `(sum + exp(${sink} - top))`;
  writer.line(`let normalizer = select(0.0f, 1.0f / ${total}, sum > 0.0f);`);
  const finish = finisher(draft, node, targets);
  const index = (column: Index) => [...batch, query, addIndices(scaleIndex(head, geometry.valueWidth), column)];
  finishFour(draft, finish, { index, column4, width: geometry.valueWidth, text: 'mixed * normalizer' });
  writer.close();
  return {
    workgroup,
    groups: { factors: [{ size, divisor: workgroup }] },
    note: `attention: combines ${count} splits of the keys, four columns per invocation`,
    variant: 'combine',
    scratch: partialBytes(split),
  };
}
