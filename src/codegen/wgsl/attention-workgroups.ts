/**
 * Attention of few queries on GPUs: a workgroup takes some heads of one group and one split of the keys (attention-splits.ts).
 *
 * Its lanes have a key each for the scores, all heads beside each other; for the mixture they share out the columns of the
 * value, and the keys where columns are few. Keys and values are read once and not staged. Every block of keys ends
 * in one exchange of scores and one of weights; sums stay with their lanes until the end.
 */
import type { Node } from '../../ir/graph.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim } from '../../ir/symbolic.ts';
import { readFour } from './attention-columns.ts';
import { finishScore, keyBounds, masked, positionConditions, scoreMapper } from './attention-scores.ts';
import { type Geometry, last } from './attention-shape.ts';
import {
  bindPartials,
  openSplit,
  partialBytes,
  partialPlace,
  type Split,
  type SplitWork,
  splitGroups,
  splitOf,
} from './attention-splits.ts';
import { range } from './columns.ts';
import { addIndices, type Index, scaleIndex } from './index-algebra.ts';
import type { Draft, KernelRequest, Written } from './kernel.ts';
import { operandOf } from './regions.ts';
import type { IndexVector } from './values.ts';

/** Invocations of a workgroup, and keys of a block. */
const lanes = 64;
/** Workgroup memory that every device has (16 KiB), in f32. */
const memory = 4096;
/** What the last sums over lanes take of it. */
const exchange = 5 * lanes;
/** Heads that a lane keeps scores and mixtures of. */
const mostHeads = 8;

function padded(width: number): number {
  return 4 * Math.ceil(width / 4);
}

/** How the keys of few queries are split, a workgroup per split. */
export function workgroupSplit(request: KernelRequest, node: Node): Split | undefined {
  const fitting = ({ width }: Geometry) => Math.floor((memory - exchange) / (2 * lanes + padded(width)));
  return splitOf(request, node, (geometry) => Math.min(mostHeads, fitting(geometry)));
}

interface Parts {
  readonly draft: Draft;
  readonly node: Node;
  readonly split: Split;
  readonly work: SplitWork;
  /** Vectors of a head of the query and of the value. */
  readonly width4: number;
  readonly value4: number;
  /** Lanes beside each other along the columns of the value, and what each of them has. */
  readonly columnLanes: number;
  readonly columns: readonly number[];
  /** In workgroup memory. */
  readonly queries: string;
  readonly scores: string;
  readonly weights: string;
}

/** The least power of two that is no less, up to the lanes of a workgroup. */
function lanesFor(vectors: number): number {
  return Math.min(lanes, 2 ** Math.ceil(Math.log2(vectors)));
}

export function writeWorkgroupPartials(draft: Draft, node: Node, split: Split): Written {
  const { writer } = draft;
  const { geometry, count } = split;
  const width4 = Math.ceil(geometry.width / 4);
  const value4 = Math.ceil(geometry.valueWidth / 4);
  const columnLanes = lanesFor(value4);
  const columns = range(Math.ceil(value4 / columnLanes));
  for (const row of range(split.heads)) {
    writer.reserve(['greatest', 'sum', 'products', 'score', 'top', 'shrink', 'weight'].map((name) => `${name}_${row}`));
    writer.reserve(columns.map((at) => `mixed_${row}_${at}`));
  }
  writer.reserve([
    'block',
    'd',
    'own_part',
    'own_column',
    'here',
    'total',
    'part',
    'visible_keys',
    'share',
    'begin',
    'stop',
  ]);
  const work = openSplit(draft, split, count);
  const parts: Parts = {
    draft,
    node,
    split,
    work,
    width4,
    value4,
    columnLanes,
    columns,
    queries: writer.workgroupVariable('query_tile', `array<vec4f, ${split.heads * width4}>`),
    scores: writer.workgroupVariable('scores', `array<f32, ${split.heads * lanes}>`),
    weights: writer.workgroupVariable('weights', `array<f32, ${split.heads * lanes}>`),
  };
  copyQueries(parts);
  for (const row of range(split.heads)) {
    writer.line(`var greatest_${row} = ${masked};`);
    writer.line(`var sum_${row} = 0.0f;`);
    for (const at of columns) writer.line(`var mixed_${row}_${at} = vec4f(0);`);
  }
  writer.line(`let own_part = lane / ${columnLanes}u;`);
  writer.line(`let own_column = lane % ${columnLanes}u;`);
  const conditions = work.heads.map((head) => positionConditions(draft, node, { batch: work.batch, head }, work.query));
  const map = scoreMapper(draft, node);
  const here = writer.index(work.query);
  const bounds = keyBounds(draft, node, work, { first: here, last: here }, geometry.keys);
  // Whole blocks, so that few keys are the work of few workgroups.
  writer.line(`let visible_keys = max(${bounds.end}, ${bounds.first}) - ${bounds.first};`);
  writer.line(`let share = (visible_keys + ${count * lanes - 1}u) / ${count * lanes}u * ${lanes}u;`);
  writer.line(`let begin = ${bounds.first} + piece * share;`);
  writer.line(`let stop = min(begin + share, ${bounds.end});`);
  writer.line('workgroupBarrier();');
  writer.open(`for (var block = begin; block < stop; block += ${lanes}u)`);
  writeScores(parts, conditions, map);
  writer.line('workgroupBarrier();');
  writeWeights(parts);
  writer.line('workgroupBarrier();');
  writeMixture(parts);
  writer.close();
  writePartials(parts);
  writer.close();
  return {
    workgroup: lanes,
    groups: splitGroups(split, count),
    note: `attention of few queries: ${split.heads} heads per workgroup, the keys that they may see in ${count} splits`,
    variant: 'split',
    scratch: partialBytes(split),
  };
}

/** The query's heads to workgroup memory. */
function copyQueries({ draft, node, split, work, width4, queries }: Parts): void {
  const { writer, walker } = draft;
  const { width } = split.geometry;
  writer.open(`for (var copied = lane; copied < ${split.heads * width4}u; copied += ${lanes}u)`);
  const copied = writer.variable('copied', constantDim(split.heads * width4));
  const row = walker.algebra.quotient(copied, constantDim(width4));
  const [first] = work.heads;
  const head = first ? addIndices(first, row) : row;
  const column4 = walker.algebra.remainder(copied, constantDim(width4));
  const index = (column: Index): IndexVector => [
    ...work.batch,
    work.query,
    addIndices(scaleIndex(head, width), column),
  ];
  writer.line(`${queries}[copied] = ${readFour(draft, operandOf(node, 0), { index, column4, width })};`);
  writer.close();
}

/** The scores of all heads with the lane's key of the block: `score_ROW`, and for the other lanes in memory. */
function writeScores(
  { draft, node, split, work, width4, queries, scores }: Parts,
  conditions: readonly (readonly string[])[],
  map: ReturnType<typeof scoreMapper>,
): void {
  const { writer } = draft;
  const { geometry } = split;
  const rows = range(split.heads);
  writer.line('let wanted_key = block + lane;');
  const j = writer.variable('j', geometry.keys, `min(wanted_key, ${last(draft, geometry.keys)})`);
  for (const row of rows) writer.line(`var products_${row} = vec4f(0);`);
  writer.open(`for (var d = 0u; d < ${width4}u; d++)`);
  const column4 = writer.variable('d', constantDim(width4));
  const index = (column: Index): IndexVector => [
    ...work.batch,
    j,
    addIndices(scaleIndex(work.group, geometry.width), column),
  ];
  const key = writer.let('k', readFour(draft, operandOf(node, 1), { index, column4, width: geometry.width }));
  for (const row of rows) {
    writer.line(
      `products_${row} = fma(${queries}[${row * width4}u + ${writer.index(column4)}], vec4f(${key}), products_${row});`,
    );
  }
  writer.close();
  const scale = numberOf(node.attributes, 'scale');
  work.heads.forEach((head, row) => {
    writer.line(`var score_${row} = 0.0f;`);
    writer.open('');
    const sum = ['x', 'y', 'z', 'w'].map((part) => `products_${row}.${part}`).join(' + ');
    writer.line(`var score = (${sum}) * f32(${scale});`);
    finishScore(draft, node, [...work.batch, head, work.query, j], map, [
      'wanted_key < stop',
      ...(conditions[row] ?? []),
    ]);
    writer.line(`score_${row} = score;`);
    writer.close();
    writer.line(`${scores}[${row * lanes}u + lane] = score_${row};`);
  });
}

/** What the lane's key weighs for each head, given the greatest score so far. */
function writeWeights({ draft, split, columns, scores, weights }: Parts): void {
  const { writer } = draft;
  const rows = range(split.heads);
  for (const row of rows) writer.line(`var top_${row} = greatest_${row};`);
  writer.open(`for (var other = 0u; other < ${lanes}u; other++)`);
  for (const row of rows) writer.line(`top_${row} = max(top_${row}, ${scores}[${row * lanes}u + other]);`);
  writer.close();
  for (const row of rows) {
    writer.line(`let shrink_${row} = exp(greatest_${row} - top_${row});`);
    writer.line(`greatest_${row} = top_${row};`);
    writer.line(`let weight_${row} = select(0.0f, exp(score_${row} - top_${row}), score_${row} > ${masked});`);
    writer.line(`${weights}[${row * lanes}u + lane] = weight_${row};`);
    writer.line(`sum_${row} = fma(sum_${row}, shrink_${row}, weight_${row});`);
    for (const at of columns) writer.line(`mixed_${row}_${at} *= shrink_${row};`);
  }
}

function writeMixture({ draft, node, split, work, value4, columnLanes, columns, weights }: Parts): void {
  const { writer } = draft;
  const { geometry } = split;
  const perKey = lanes / columnLanes;
  writer.line(`let here = min(${lanes}u, stop - block);`);
  writer.open(`for (var key = own_part; key < here; key += ${perKey}u)`);
  const j = writer.variable('mixed_key', geometry.keys, 'block + key');
  for (const at of columns) {
    // Lanes past the width of the value read its last vector and store nothing.
    const column4 = writer.variable(
      `column_${at}`,
      constantDim(value4),
      `min(own_column + ${at * columnLanes}u, ${value4 - 1}u)`,
    );
    const index = (column: Index): IndexVector => [
      ...work.batch,
      j,
      addIndices(scaleIndex(work.group, geometry.valueWidth), column),
    ];
    const value = writer.let('v', readFour(draft, operandOf(node, 2), { index, column4, width: geometry.valueWidth }));
    for (const row of range(split.heads)) {
      const weight = `vec4f(${weights}[${row * lanes}u + key])`;
      writer.line(`mixed_${row}_${at} = fma(${weight}, vec4f(${value}), mixed_${row}_${at});`);
    }
  }
  writer.close();
}

/** Sums over lanes, and the partials to memory. */
function writePartials({ draft, split, work, value4, columnLanes, columns }: Parts): void {
  const { writer } = draft;
  const sums = writer.workgroupVariable('lane_sums', `array<f32, ${lanes}>`);
  const mixtures = writer.workgroupVariable('lane_mixtures', `array<vec4f, ${lanes}>`);
  const partials = bindPartials(draft, 'w');
  work.heads.forEach((head, row) => {
    const place = writer.let('place', partialPlace(draft, split, work, head, 'piece'));
    for (const at of columns) {
      writer.line('workgroupBarrier();');
      if (at === 0) writer.line(`${sums}[lane] = sum_${row};`);
      writer.line(`${mixtures}[lane] = mixed_${row}_${at};`);
      writer.line('workgroupBarrier();');
      if (at === 0) {
        writer.open('if (lane == 0u)');
        writer.line('var total = 0.0f;');
        writer.open(`for (var other = 0u; other < ${lanes}u; other++)`);
        writer.line(`total += ${sums}[other];`);
        writer.close();
        writer.line(`${partials}[${place}] = vec4f(greatest_${row}, total, 0.0f, 0.0f);`);
        writer.close();
      }
      writer.open(`if (own_part == 0u && own_column + ${at * columnLanes}u < ${value4}u)`);
      writer.line('var total = vec4f(0);');
      writer.open(`for (var part = 0u; part < ${lanes / columnLanes}u; part++)`);
      writer.line(`total += ${mixtures}[part * ${columnLanes}u + own_column];`);
      writer.close();
      writer.line(`${partials}[${place} + ${1 + at * columnLanes}u + own_column] = total;`);
      writer.close();
    }
  });
}
