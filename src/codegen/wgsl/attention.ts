/**
 * The attention skeleton: softmax(scale * q k^T, masked) v without storing the scores.
 *
 * A workgroup takes one head and a block of queries and walks the keys in blocks. Several lanes share a query: for the
 * scores they share out the keys, for the mixture they share out the columns of the value. The softmax is streamed: a
 * running maximum m and sum l per query, and what was mixed so far is scaled by exp(m_old - m_new).
 *
 * A query whose keys are all masked gives zeros. Source: Milakov & Gimelshein 2018 (online softmax), Dao et al. 2022
 * (FlashAttention), without its backward pass.
 */
import type { Node } from '../../ir/graph.ts';
import { extraOf } from '../../ir/ops/attention-geometry.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim, type Dim } from '../../ir/symbolic.ts';
import type { ProfileName } from '../../ir/target.ts';
import { finishFour, readFour } from './attention-columns.ts';
import { isOneWorkgroup, laneSplit, writeLanePartials, writeLanes, writeLanesTogether } from './attention-lanes.ts';
import { finishScore, keyBounds, masked, perHead, positionConditions, scoreMapper } from './attention-scores.ts';
import { ceiling, type Geometry, geometryOf, last, openWork, workGroups } from './attention-shape.ts';
import { type Split, writeCombination } from './attention-splits.ts';
import { updatedResults } from './attention-update.ts';
import { workgroupSplit, writeWorkgroupPartials } from './attention-workgroups.ts';
import { range } from './columns.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import { type Draft, type Kernel, type KernelRequest, regionOf, type Written, writeKernel } from './kernel.ts';
import { operandOf, UnsupportedOp } from './regions.ts';
import { type Finish, finisher, type Target, targetsOf } from './results.ts';
import type { IndexVector } from './values.ts';

/** Invocations of a workgroup. */
const lanes = 64;
/** Workgroup memory that every device has (16 KiB), in f32. */
const memory = 4096;
interface Blocks {
  readonly queries: number;
  readonly keys: number;
  readonly lanesPerQuery: number;
}

/** The largest blocks whose queries, keys (or values), scores and weights fit into workgroup memory. */
function chooseBlocks(node: Node, width: number, valueWidth: number): Blocks {
  const padded = 4 * Math.ceil(width / 4);
  const widest = Math.max(padded, 4 * Math.ceil(valueWidth / 4));
  for (const [queries, keys] of [
    [16, 32],
    [16, 16],
    [16, 8],
    [8, 8],
    [8, 4],
    [4, 4],
  ] as const) {
    if (queries * padded + keys * widest + 2 * queries * keys <= memory) {
      return { queries, keys, lanesPerQuery: lanes / queries };
    }
  }
  throw new UnsupportedOp(node, `attention with heads of width ${width}`);
}

/** How the kernels of a profile are written: for many queries, and for few. */
interface Family {
  readonly whole: (draft: Draft, node: Node, targets: readonly Target[]) => Written;
  readonly split: (request: KernelRequest, node: Node) => Split | undefined;
  readonly partials: (draft: Draft, node: Node, split: Split) => Written;
}

const families: Readonly<Record<ProfileName, Family>> = {
  software: { whole: writeLanes, split: laneSplit, partials: writeLanePartials },
  gpu: { whole: writeAttention, split: workgroupSplit, partials: writeWorkgroupPartials },
};

export function attentionKernels(request: KernelRequest): readonly Kernel[] {
  const region = regionOf(request.node);
  const found = region.nodes.filter((node) => node.op === 'attention');
  const [node] = found;
  if (!node || found.length !== 1) throw new UnsupportedOp(node ?? request.node, 'several attentions in one kernel');
  const updates = updatedResults(region);
  const targets = targetsOf(region, node, updates);
  if (!targets) throw new UnsupportedOp(node, 'attention whose result is not kept whole');
  const { whole, split, partials } = families[request.profile];
  const pieces = split(request, node);
  const isTogether = request.profile === 'software' && pieces !== undefined && isOneWorkgroup(pieces);
  if (updates.length > 0 && !isTogether) throw new UnsupportedOp(node, 'attention that keeps its own keys');
  if (!pieces) return [writeKernel(request, (draft) => whole(draft, node, targets))];
  if (isTogether) {
    return [writeKernel(request, (draft) => writeLanesTogether(draft, node, targets, pieces))];
  }
  return [
    writeKernel(request, (draft) => partials(draft, node, pieces)),
    writeKernel(request, (draft) => writeCombination(draft, node, targets, pieces)),
  ];
}

/** Everything the parts of the kernel share. */
interface Parts {
  readonly draft: Draft;
  readonly node: Node;
  readonly geometry: Geometry;
  readonly blocks: Blocks;
  readonly batch: readonly Index[];
  readonly head: Index;
  readonly finish: Finish;
}

function writeAttention(draft: Draft, node: Node, targets: readonly Target[]): Written {
  const { writer } = draft;
  const geometry = geometryOf(node);
  const blocks = chooseBlocks(node, geometry.width, geometry.valueWidth);
  writer.reserve(['own', 'share', 'block', 'products', 'd', 'greatest', 'block_greatest', 'shrink', 'sum', 'weight']);
  writer.reserve(range(Math.ceil(geometry.valueWidth / 4)).map((at) => `mixed_${at}`));
  const { batch, head } = openWork(draft, geometry, blocks.queries);
  const parts: Parts = {
    draft,
    node,
    geometry,
    blocks,
    batch,
    head,
    finish: finisher(draft, node, targets),
  };
  writer.line(`let own = lane / ${blocks.lanesPerQuery}u;`);
  writer.line(`let share = lane % ${blocks.lanesPerQuery}u;`);
  writeBody(parts);
  writer.close();
  return {
    workgroup: lanes,
    groups: workGroups(geometry, blocks.queries),
    note:
      `attention: ${blocks.queries} queries per workgroup, ${blocks.lanesPerQuery} lanes per query, ` +
      `keys in blocks of ${blocks.keys}`,
  };
}

function writeBody(parts: Parts): void {
  const { draft, geometry, blocks, batch, head } = parts;
  const { writer } = draft;
  const width4 = Math.ceil(geometry.width / 4);
  const value4 = Math.ceil(geometry.valueWidth / 4);
  const tile4 = Math.max(width4, value4);
  const queryTile = writer.workgroupVariable('query_tile', `array<vec4f, ${blocks.queries * width4}>`);
  const keyTile = writer.workgroupVariable('key_tile', `array<vec4f, ${blocks.keys * tile4}>`);
  const scores = writer.workgroupVariable('scores', `array<f32, ${blocks.queries * blocks.keys}>`);
  const weights = writer.workgroupVariable('weights', `array<f32, ${blocks.queries * blocks.keys}>`);
  const query = (text: string) => `query_block * ${blocks.queries}u + ${text}`;
  const copyQueries = { tile: queryTile, rows: blocks.queries, first: query('0u'), extent: geometry.queries };
  copyTile(parts, { ...copyQueries, operand: 0, heads: parts.head, width: geometry.width });

  const mixed = range(Math.ceil(value4 / blocks.lanesPerQuery));
  for (const at of mixed) writer.line(`var mixed_${at} = vec4f(0);`);
  writer.line(`var greatest = ${masked};`);
  writer.line('var sum = 0.0f;');
  const i = writer.variable('i', geometry.queries, `min(${query('own')}, ${last(draft, geometry.queries)})`);
  const map = scoreMapper(draft, parts.node);
  const visible = positionConditions(draft, parts.node, parts, i);
  const stretch = {
    first: query('0u'),
    last: `min(${query(`${blocks.queries - 1}u`)}, ${last(draft, geometry.queries)})`,
  };
  const bounds = keyBounds(draft, parts.node, { batch, heads: [head] }, stretch, geometry.keys);
  const group = draft.walker.algebra.quotient(parts.head, constantDim(geometry.headsPerGroup));

  const isBounded = bounds.first !== '0u';
  const from = isBounded ? `${bounds.first} / ${blocks.keys}u` : '0u';
  const isLeft = isBounded
    ? `block * ${blocks.keys}u < ${bounds.end}`
    : `block < ${ceiling(draft, geometry.keys, blocks.keys)}`;
  writer.open(`for (var block = ${from}; ${isLeft}; block++)`);
  const first = `block * ${blocks.keys}u`;
  const copyKeys = { tile: keyTile, rows: blocks.keys, first, extent: geometry.keys, heads: group };
  copyTile(parts, { ...copyKeys, operand: 1, width: geometry.width });
  writer.line('workgroupBarrier();');
  writer.open(`for (var key = share; key < ${blocks.keys}u; key += ${blocks.lanesPerQuery}u)`);
  writeScore(parts, { queryTile, keyTile, scores, width4, i, first, visible, map });
  writer.close();
  writer.line('workgroupBarrier();');

  copyTile(parts, { ...copyKeys, operand: 2, width: geometry.valueWidth });
  writer.line('var block_greatest = greatest;');
  writer.open(`for (var key = 0u; key < ${blocks.keys}u; key++)`);
  writer.line(`block_greatest = max(block_greatest, ${scores}[own * ${blocks.keys}u + key]);`);
  writer.close();
  writer.line('let shrink = exp(greatest - block_greatest);');
  writer.line('greatest = block_greatest;');
  writer.open(`for (var key = share; key < ${blocks.keys}u; key += ${blocks.lanesPerQuery}u)`);
  writer.line(`let score = ${scores}[own * ${blocks.keys}u + key];`);
  writer.line(`${weights}[own * ${blocks.keys}u + key] = select(0.0f, exp(score - greatest), score > ${masked});`);
  writer.close();
  writer.line('workgroupBarrier();');

  writer.line('sum = sum * shrink;');
  for (const at of mixed) writer.line(`mixed_${at} = mixed_${at} * shrink;`);
  writer.open(`for (var key = 0u; key < ${blocks.keys}u; key++)`);
  writer.line(`let weight = ${weights}[own * ${blocks.keys}u + key];`);
  writer.line('sum += weight;');
  for (const at of mixed) {
    // Lanes past the width of the value read its last vector and store nothing.
    const column = `min(share + ${at * blocks.lanesPerQuery}u, ${value4 - 1}u)`;
    writer.line(`mixed_${at} = fma(vec4f(weight), ${keyTile}[key * ${value4}u + ${column}], mixed_${at});`);
  }
  writer.close();
  writer.line('workgroupBarrier();');
  writer.close();

  const sink = perHead(draft, parts.node, 'sinks', parts.head);
  if (sink === undefined) writer.line('let normalizer = select(0.0f, 1.0f / sum, sum > 0.0f);');
  else {
    writer.line(`let top = max(greatest, ${sink});`);
    writer.line(`let seen = exp(greatest - top);`);
    writer.line(`let normalizer = select(0.0f, seen / (sum * seen + exp(${sink} - top)), sum > 0.0f);`);
  }
  writer.open(`if (${query('own')} < ${writer.dim(geometry.queries)})`);
  for (const at of mixed) writeResult(parts, at, value4, i);
  writer.close();
}

interface Copy {
  readonly operand: number;
  readonly tile: string;
  /** How many rows the tile has, which row of the operand is its first, how many there are. */
  readonly rows: number;
  readonly first: string;
  readonly extent: Dim;
  /** The head of this operand. */
  readonly heads: Index;
  readonly width: number;
}

/** Copies rows of one head to workgroup memory, by four; rows past the end repeat the last, columns past it are 0. */
function copyTile({ draft, node, batch }: Parts, copy: Copy): void {
  const { writer } = draft;
  const operand = operandOf(node, copy.operand);
  const width4 = Math.ceil(copy.width / 4);
  const name = writer.fresh('copied');
  writer.open(`for (var ${name} = lane; ${name} < ${copy.rows * width4}u; ${name} += ${lanes}u)`);
  const place = `${copy.first} + ${name} / ${width4}u`;
  const row = writer.variable(`${name}_row`, copy.extent, `min(${place}, ${last(draft, copy.extent)})`);
  const column4 = writer.variable(`${name}_column4`, constantDim(width4), `${name} % ${width4}u`);
  const at = (column: Index): IndexVector => [...batch, row, addIndices(scaleIndex(copy.heads, copy.width), column)];
  writer.line(`${copy.tile}[${name}] = ${readFour(draft, operand, { index: at, column4, width: copy.width })};`);
  writer.close();
}

interface ScoreNames {
  readonly queryTile: string;
  readonly keyTile: string;
  readonly scores: string;
  readonly width4: number;
  readonly i: Index;
  readonly first: string;
  /** What causality, window and reach ask of `wanted_key`. */
  readonly visible: readonly string[];
  readonly map: ReturnType<typeof scoreMapper>;
}

/** The score of the lane's query and key `key` of the block; masked keys and keys past the end get the least score. */
function writeScore({ draft, node, geometry, blocks, batch, head }: Parts, names: ScoreNames): void {
  const { writer } = draft;
  writer.line('var products = vec4f(0);');
  writer.open(`for (var d = 0u; d < ${names.width4}u; d++)`);
  const left = `${names.queryTile}[own * ${names.width4}u + d]`;
  writer.line(`products = fma(${left}, ${names.keyTile}[key * ${names.width4}u + d], products);`);
  writer.close();
  const scale = numberOf(node.attributes, 'scale');
  writer.line(`var score = (products.x + products.y + products.z + products.w) * f32(${scale});`);
  writer.line(`let wanted_key = ${names.first} + key;`);
  const isPlain = node.region === undefined && extraOf(node.inputs, node.attributes, 'mask') === undefined;
  const j = isPlain
    ? constantIndex(0)
    : writer.variable('j', geometry.keys, `min(wanted_key, ${last(draft, geometry.keys)})`);
  const conditions = [`wanted_key < ${writer.dim(geometry.keys)}`, ...names.visible];
  finishScore(draft, node, [...batch, head, names.i, j], names.map, conditions);
  writer.line(`${names.scores}[own * ${blocks.keys}u + key] = score;`);
}

/** Stores the lane's vector `at` of the mixture. */
function writeResult(
  { draft, geometry, blocks, batch, head, finish }: Parts,
  at: number,
  value4: number,
  i: Index,
): void {
  const { writer } = draft;
  const text = `share + ${at * blocks.lanesPerQuery}u`;
  writer.open(`if (${text} < ${value4}u)`);
  const column4 = writer.variable(writer.fresh('column4'), constantDim(value4), text);
  const index = (column: Index): IndexVector => [
    ...batch,
    i,
    addIndices(scaleIndex(head, geometry.valueWidth), column),
  ];
  finishFour(draft, finish, { index, column4, width: geometry.valueWidth, text: `mixed_${at} * normalizer` });
  writer.close();
}
