/**
 * Attention for CPU drivers, where only a part of the keys is visible: a lane takes a few queries of one head and walks over
 * the keys that any query of its workgroup may see. Where there are few queries, lanes share out the keys instead
 * (attention-splits.ts). No barriers and no memory between lanes; scores and mixture are registers with names. Softmax is
 * streamed as in attention.ts.
 */
import type { Node } from '../../ir/graph.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim } from '../../ir/symbolic.ts';
import { finishFour } from './attention-columns.ts';
import { finishScore, keyBounds, masked, perHead, positionConditions, scoreMapper } from './attention-scores.ts';
import { type Geometry, geometryOf, last, openWork, workGroups } from './attention-shape.ts';
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
import { checkUpdates, updatedResults, writeUpdates } from './attention-update.ts';
import { range } from './columns.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import type { Draft, KernelRequest, Written } from './kernel.ts';
import { operandOf } from './regions.ts';
import { finisher, type Target } from './results.ts';
import { fourth, type IndexVector } from './values.ts';

const lanes = 8;
/**
 * Keys per step. Two are a tenth quicker and take twice as long to compile (lavapipe, heads of 64, window of 128 over 2,048
 * keys: 1 key 113 ms after 1.3 s, 2 keys 98 ms after 2.8 s, 4 keys 127 ms after 5.7 s).
 */
const step = 1;
/** Vectors of the mixture that a lane keeps: of many queries, and of the heads of few, which read the same keys. */
const mostVectors = { queries: 32, heads: 64 } as const;

/** What a lane computes beside each other: its queries of one head, or the heads of one query. */
interface Row {
  readonly i: Index;
  readonly head: Index;
  readonly conditions: readonly string[];
}

interface Parts {
  readonly draft: Draft;
  readonly node: Node;
  readonly geometry: Geometry;
  readonly batch: readonly Index[];
  readonly rows: readonly Row[];
  /** Head of key and value. */
  readonly group: Index;
}

/** How many rows a lane takes whose mixtures are so many vectors together. */
function mostRows({ valueWidth }: Geometry, vectors: number): number {
  return Math.max(1, Math.min(4, Math.floor((4 * vectors) / valueWidth)));
}

/** A lane per few queries of a head. */
export function writeLanes(draft: Draft, node: Node, targets: readonly Target[]): Written {
  const { writer, walker } = draft;
  const geometry = geometryOf(node);
  const perLane = mostRows(geometry, mostVectors.queries);
  const perGroup = lanes * perLane;
  reserveNames(draft, geometry, perLane);
  const { batch, head } = openWork(draft, geometry, perGroup);
  const base = writer.let('first_query', `query_block * ${perGroup}u + lane * ${perLane}u`);
  /** The queries' numbers, past the end for the last lanes. */
  const wanted = range(perLane).map((row) => (row === 0 ? base : writer.let(`query_${row}`, `${base} + ${row}u`)));
  const rows = wanted.map((text, row): Row => {
    const i = writer.variable(`i_${row}`, geometry.queries, `min(${text}, ${last(draft, geometry.queries)})`);
    return { i, head, conditions: positionConditions(draft, node, { batch, head }, i) };
  });
  const group = walker.algebra.quotient(head, constantDim(geometry.headsPerGroup));
  const end = `query_block * ${perGroup}u + ${perGroup - 1}u`;
  const stretch = { first: `query_block * ${perGroup}u`, last: `min(${end}, ${last(draft, geometry.queries)})` };
  const bounds = keyBounds(draft, node, { batch, heads: [head] }, stretch, geometry.keys);
  writeStream({ draft, node, geometry, batch, rows, group }, bounds.first, bounds.end, step);

  const sink = perHead(draft, node, 'sinks', head);
  const finish = finisher(draft, node, targets);
  rows.forEach(({ i }, row) => {
    writer.open(`if (${wanted[row]} < ${writer.dim(geometry.queries)})`);
    if (sink === undefined) writer.line(`let normalizer = select(0.0f, 1.0f / sum_${row}, sum_${row} > 0.0f);`);
    else {
      writer.line(`let top = max(greatest_${row}, ${sink});`);
      writer.line(`let seen = exp(greatest_${row} - top);`);
      const total = `(sum_${row} * seen + exp(${sink} - top))`;
      writer.line(`let normalizer = select(0.0f, seen / ${total}, sum_${row} > 0.0f);`);
    }
    for (const column of range(geometry.valueWidth / 4)) {
      const first = addIndices(scaleIndex(head, geometry.valueWidth), constantIndex(4 * column));
      const index: IndexVector = [...batch, i, addIndices(first, fourth)];
      finish(index, { text: `mixed_${row}_${column} * normalizer`, lanes: 4, dtype: 'f32' });
    }
    writer.close();
  });
  writer.close();
  return {
    workgroup: lanes,
    groups: workGroups(geometry, perGroup),
    note: `attention: ${perLane} queries per lane, the keys that they may see`,
  };
}

/** Few queries: how their keys are split, a lane per split. */
export function laneSplit(request: KernelRequest, node: Node): Split | undefined {
  return splitOf(request, node, (geometry) => mostRows(geometry, mostVectors.heads));
}

/**
 * Opens the body of a lane that takes every so-manieth key for some heads, and streams them.
 *
 * @param begin written before anything is read
 */
function streamSplit(draft: Draft, node: Node, split: Split, begin?: (work: SplitWork) => void) {
  const { writer } = draft;
  const { geometry, count } = split;
  const pieces = count / lanes;
  reserveNames(draft, geometry, split.heads);
  const work = openSplit(draft, split, pieces);
  begin?.(work);
  const { batch, query, heads, group } = work;
  const number = writer.let('number', `piece * ${lanes}u + lane`);
  const rows = heads.map(
    (head): Row => ({ i: query, head, conditions: positionConditions(draft, node, { batch, head }, query) }),
  );
  const here = writer.index(query);
  const bounds = keyBounds(draft, node, { batch, heads }, { first: here, last: here }, geometry.keys);
  writeStream({ draft, node, geometry, batch, rows, group }, `${bounds.first} + ${number}`, bounds.end, count);
  return { pieces, work, number, rows };
}

/** A lane per split of the keys, which takes every so-manieth key, and some heads; it gives partials. */
export function writeLanePartials(draft: Draft, node: Node, split: Split): Written {
  const { writer } = draft;
  const { geometry, count } = split;
  const { pieces, work, number, rows } = streamSplit(draft, node, split);
  const partials = bindPartials(draft, 'w');
  rows.forEach(({ head }, row) => {
    const place = writer.let('place', partialPlace(draft, split, work, head, number));
    writer.line(`${partials}[${place}] = vec4f(greatest_${row}, sum_${row}, 0.0f, 0.0f);`);
    for (const column of range(geometry.valueWidth / 4)) {
      writer.line(`${partials}[${place} + ${1 + column}u] = mixed_${row}_${column};`);
    }
  });
  writer.close();
  return {
    workgroup: lanes,
    groups: splitGroups(split, pieces),
    note: `attention of few queries: ${split.heads} heads per lane, the keys that they may see in ${count} splits`,
    variant: 'split',
    scratch: partialBytes(split),
  };
}

/** Workgroup memory that every device has (16 KiB), in vectors. */
const memory = 1024;

/** Whether the splits of a query are the lanes of one workgroup, which can put them together itself. */
export function isOneWorkgroup({ count, heads, geometry }: Split): boolean {
  return count === lanes && lanes * heads * (1 + geometry.valueWidth / 4) <= memory;
}

/** The same with the sums of all splits put together by the workgroup: one kernel. */
export function writeLanesTogether(draft: Draft, node: Node, targets: readonly Target[], split: Split): Written {
  const { writer } = draft;
  const { geometry } = split;
  const value4 = geometry.valueWidth / 4;
  const stride = 1 + value4;
  const hasUpdates = updatedResults(draft.region).length > 0;
  const stored = lanes * split.heads * stride;
  if (hasUpdates) checkUpdates(node, split, memory - stored);
  const begin = hasUpdates ? (own: SplitWork) => writeUpdates(draft, node, split, own, lanes) : undefined;
  const { work, rows, pieces } = streamSplit(draft, node, split, begin);
  const partials = writer.workgroupVariable('partials', `array<vec4f, ${lanes * rows.length * stride}>`);
  for (const row of rows.keys()) {
    const place = writer.let('place', `(${row * lanes}u + lane) * ${stride}u`);
    writer.line(`${partials}[${place}] = vec4f(greatest_${row}, sum_${row}, 0.0f, 0.0f);`);
    for (const column of range(value4)) writer.line(`${partials}[${place} + ${1 + column}u] = mixed_${row}_${column};`);
  }
  writer.line('workgroupBarrier();');
  const finish = finisher(draft, node, targets);
  rows.forEach(({ head }, row) => {
    const sink = perHead(draft, node, 'sinks', head);
    const [top, sum, part, column] = ['all_top', 'all_sum', 'part', 'column4'].map((name) => writer.fresh(name));
    const first = `${row * lanes * stride}u`;
    const lanesLoop = `for (var ${part} = 0u; ${part} < ${lanes}u; ${part}++)`;
    const at = `${partials}[${first} + ${part} * ${stride}u`;
    writer.line(`var ${top} = ${sink ?? masked};`);
    writer.open(lanesLoop);
    writer.line(`${top} = max(${top}, ${at}].x);`);
    writer.close();
    writer.line(`var ${sum} = 0.0f;`);
    writer.open(lanesLoop);
    writer.line(`${sum} = fma(${at}].y, exp(${at}].x - ${top}), ${sum});`);
    writer.close();
    const total = sink === undefined ? sum : `(${sum} + exp(${sink} - ${top}))`;
    const normalizer = writer.let('normalizer', `select(0.0f, 1.0f / ${total}, ${sum} > 0.0f)`);
    writer.open(`for (var ${column} = lane; ${column} < ${value4}u; ${column} += ${lanes}u)`);
    const column4 = writer.variable(column ?? '', constantDim(value4));
    const mixed = writer.fresh('mixed');
    writer.line(`var ${mixed} = vec4f(0);`);
    writer.open(lanesLoop);
    writer.line(`${mixed} = fma(${at} + 1u + ${writer.operand(column4)}], vec4f(exp(${at}].x - ${top})), ${mixed});`);
    writer.close();
    const index = (place: Index) => [
      ...work.batch,
      work.query,
      addIndices(scaleIndex(head, geometry.valueWidth), place),
    ];
    finishFour(draft, finish, { index, column4, width: geometry.valueWidth, text: `${mixed} * ${normalizer}` });
    writer.close();
  });
  writer.close();
  return {
    workgroup: lanes,
    groups: splitGroups(split, pieces),
    note: `attention of few queries: ${split.heads} heads, a lane for every ${lanes}th of the keys that they may see`,
  };
}

function reserveNames({ writer }: Draft, { valueWidth }: Geometry, rows: number): void {
  for (const row of range(rows)) {
    writer.reserve(['greatest', 'sum', 'top', 'shrink'].map((name) => `${name}_${row}`));
    writer.reserve(range(valueWidth / 4).map((column) => `mixed_${row}_${column}`));
    for (const name of ['products', 'score', 'weight']) writer.reserve(range(step).map((at) => `${name}_${row}_${at}`));
  }
  writer.reserve(['vectors', 'key']);
}

/** Streams the keys from `first` on, `stride` further every time: `greatest_ROW`, `sum_ROW`, `mixed_ROW_COLUMN`. */
function writeStream(parts: Parts, first: string, end: string, stride: number): void {
  const { draft, node, geometry, rows } = parts;
  const { writer } = draft;
  const columns = range(geometry.valueWidth / 4);
  for (const row of rows.keys()) {
    writer.line(`var greatest_${row} = ${masked};`);
    writer.line(`var sum_${row} = 0.0f;`);
    for (const column of columns) writer.line(`var mixed_${row}_${column} = vec4f(0);`);
  }
  const map = scoreMapper(draft, node);
  // A number that the driver does not know: it would unroll the loop over a head, and compile for many seconds.
  writer.line(`let vectors = select(0u, ${geometry.width / 4}u, ${writer.dim(geometry.keys)} > 0u);`);
  writer.open(`for (var key = ${first}; key < ${end}; key += ${stride}u)`);
  const keys = range(step).map((at) => {
    const text = `min(key${at === 0 ? '' : ` + ${at}u`}, ${last(draft, geometry.keys)})`;
    return writer.variable(`j_${at}`, geometry.keys, text);
  });
  writeProducts(parts, keys);
  writeScores(parts, keys, map);
  writeMixture(parts, keys, columns);
  writer.close();
}

/** Sums of products of every query of the lane with the keys at hand, `products_ROW_KEY`. */
function writeProducts({ draft, node, geometry, batch, group, rows }: Parts, keys: readonly Index[]): void {
  const { writer, walker } = draft;
  for (const row of rows.keys()) for (const at of keys.keys()) writer.line(`var products_${row}_${at} = vec4f(0);`);
  const name = writer.fresh('d');
  writer.open(`for (var ${name} = 0u; ${name} < vectors; ${name}++)`);
  const four = writer.variable(name, constantDim(geometry.width / 4));
  const column = addIndices(scaleIndex(four, 4), fourth);
  const read = (operand: number, row: Index, of: Index) => {
    const index: IndexVector = [...batch, row, addIndices(scaleIndex(of, geometry.width), column)];
    return walker.named(walker.as(walker.at(operandOf(node, operand), index), 4), operand === 0 ? 'q' : 'k').text;
  };
  const queries = rows.map(({ i, head }) => read(0, i, head));
  keys.forEach((j, at) => {
    const key = read(1, j, group);
    queries.forEach((query, row) => {
      writer.line(`products_${row}_${at} = fma(${query}, ${key}, products_${row}_${at});`);
    });
  });
  writer.close();
}

/** Scaled, mapped and masked: `score_ROW_KEY`. */
function writeScores(
  { draft, node, geometry, batch, rows }: Parts,
  keys: readonly Index[],
  map: ReturnType<typeof scoreMapper>,
): void {
  const { writer } = draft;
  const scale = numberOf(node.attributes, 'scale');
  rows.forEach(({ i, head, conditions }, row) => {
    keys.forEach((j, at) => {
      writer.line(`var score_${row}_${at} = 0.0f;`);
      writer.open('');
      const sum = ['x', 'y', 'z', 'w'].map((part) => `products_${row}_${at}.${part}`).join(' + ');
      writer.line(`var score = (${sum}) * f32(${scale});`);
      writer.line(`let wanted_key = key + ${at}u;`);
      const inside = `wanted_key < ${writer.dim(geometry.keys)}`;
      finishScore(draft, node, [...batch, head, i, j], map, [inside, ...conditions]);
      writer.line(`score_${row}_${at} = score;`);
      writer.close();
    });
  });
}

/** Takes the keys at hand into the mixture. */
function writeMixture(
  { draft, node, geometry, batch, group, rows }: Parts,
  keys: readonly Index[],
  columns: readonly number[],
): void {
  const { writer, walker } = draft;
  for (const row of rows.keys()) {
    const scores = keys.map((_, at) => `score_${row}_${at}`);
    const top = scores.reduce((left, right) => `max(${left}, ${right})`, `greatest_${row}`);
    writer.line(`let top_${row} = ${top};`);
    writer.line(`let shrink_${row} = exp(greatest_${row} - top_${row});`);
    writer.line(`greatest_${row} = top_${row};`);
    scores.forEach((score, at) => {
      writer.line(`let weight_${row}_${at} = select(0.0f, exp(${score} - top_${row}), ${score} > ${masked});`);
    });
    const weights = keys.map((_, at) => `weight_${row}_${at}`).join(' + ');
    writer.line(`sum_${row} = fma(sum_${row}, shrink_${row}, ${weights});`);
  }
  for (const column of columns) {
    const at = addIndices(scaleIndex(group, geometry.valueWidth), constantIndex(4 * column));
    const values = keys.map((j) => {
      const index: IndexVector = [...batch, j, addIndices(at, fourth)];
      return walker.named(walker.as(walker.at(operandOf(node, 2), index), 4), 'v').text;
    });
    for (const row of rows.keys()) {
      const mixed = `mixed_${row}_${column}`;
      const sum = values.reduce(
        (total, value, key) => `fma(vec4f(weight_${row}_${key}), ${value}, ${total})`,
        `${mixed} * shrink_${row}`,
      );
      writer.line(`${mixed} = ${sum};`);
    }
  }
}
