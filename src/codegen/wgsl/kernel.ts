/**
 * What every kernel of a fused node has: its writer and walker, stores into results, the comment at its head.
 *
 * A buffer has one element type in a kernel, so a kernel that reads one buffer both by four and by one is written again
 * with that buffer bound as scalars.
 */
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { opNamed } from '../../ir/ops/index.ts';
import { constantDim, constantValue, type Dim, type DimRange, productOfDims } from '../../ir/symbolic.ts';
import type { ProfileName } from '../../ir/target.ts';
import { printType } from '../../ir/types.ts';
import type { NmFormat, PackedFormat } from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import { positionAt } from '../../support/source.ts';
import { constantIndex, type Index, mentions } from './index-algebra.ts';
import { identifier, kernelName } from './names.ts';
import { packedAccess } from './packed.ts';
import { overwrittenInput, UnsupportedOp } from './regions.ts';
import { memoryFour, memoryType, packFinite, packPair, toMemory } from './scalars.ts';
import { sparseAccess } from './sparse.ts';
import { type BufferAccess, type Expression, FOURTH, type IndexVector, ValueWalker } from './values.ts';
import { type KernelText, KernelWriter, maxParams } from './writer.ts';

/** Key of the binding of the memory between the kernels of one node. */
export const scratchKey = 'scratch';

/** How an input's elements lie, when not row-major (WeightLayout). */
export interface InputLayout {
  readonly panels: number | undefined;
  /** Whole numbers with scales (PackedLayout). */
  readonly packed?: PackedFormat;
  /** Some of neighbouring numbers with their places (NmLayout). */
  readonly sparse?: NmFormat;
  /** f16 in memory, whatever the type of the value. */
  readonly isHalf?: boolean;
}

export interface KernelRequest {
  /** A `fused` node. */
  readonly node: Node;
  /** One kernel for all sizes, where there would be more for few rows: in training rows are many. */
  readonly isSingle?: boolean;
  readonly profile: ProfileName;
  readonly ranges: ReadonlyMap<string, DimRange>;
  /** For each input of the node. */
  readonly layouts: readonly InputLayout[];
  /** A value of the region, [..., K]: the row of a product of one row, which every workgroup computes first (staged-row.ts). */
  readonly staged?: Value;
}

/** Largest u32 that a condition needs: no limit. */
export const unlimited = 2 ** 32 - 1;

/** When a kernel of several for one node is the right one: `minimum <= value <= maximum`. */
export interface Condition {
  readonly value: Dim;
  readonly minimum: number;
  readonly maximum: number;
}

/** A number of workgroups: `ceil(size / divisor)` for each factor, multiplied. */
export interface GroupCount {
  readonly factors: readonly { readonly size: Dim; readonly divisor: number }[];
  /** Workgroups behind these, of kernels that were joined to the first. */
  readonly behind?: readonly GroupCount[];
}

export interface Kernel {
  readonly name: string;
  readonly text: KernelText;
  readonly groups: GroupCount;
  readonly when?: Condition;
  /** Bytes of the memory by which the kernels of one node hand numbers on; bound under `scratchKey`. */
  readonly scratch?: Dim;
}

/** A kernel being written. */
export interface Draft {
  readonly request: KernelRequest;
  readonly region: Graph;
  readonly writer: KernelWriter;
  readonly walker: ValueWalker;
  /** Writes a result's element, or four neighbours when the index mentions `fourth`. */
  store(result: number, index: IndexVector, value: Expression): void;
  /** Writes two neighbours of an f16 result, from an even place on. */
  storePair(result: number, index: IndexVector, low: Expression, high: Expression): void;
}

export interface Written {
  readonly workgroup: number;
  readonly groups: GroupCount;
  /** How the work is divided, for the head comment. */
  readonly note: string;
  readonly when?: Condition;
  readonly scratch?: Dim;
  /** Tells kernels for one node apart: `few_rows`. */
  readonly variant?: string;
}

export function regionOf(node: Node): Graph {
  return node.region ?? unreachable(`\`${node.op}\` node %${node.id} without a region`);
}

export function elements(shape: readonly Dim[]): Dim {
  return productOfDims(shape);
}

export function countUses(region: Graph): ReadonlyMap<Value, number> {
  const uses = new Map<Value, number>();
  for (const node of region.nodes)
    if (node.region) for (const [value, count] of countUses(node.region)) uses.set(value, count);
  for (const value of [
    ...region.nodes.flatMap((node) => node.inputs),
    ...region.results.map((result) => result.value),
  ]) {
    uses.set(value, (uses.get(value) ?? 0) + 1);
  }
  return uses;
}

/** The first operand position that has the same outer value: one buffer gets one binding. */
export function inputKey(node: Node, at: number): string {
  const value = node.inputs[at];
  return `in${value ? node.inputs.indexOf(value) : at}`;
}

/** Weights and inputs by the last word of their name, so that kernels of equal shape have equal text. */
function inputName(node: Node, region: Graph, at: number): string {
  const value = node.inputs[at];
  const paths = value?.node.attributes.paths;
  const label = Array.isArray(paths) ? String(paths[0]) : (value?.node.label ?? region.inputs[at]?.label);
  if (value === undefined || value.node.op === 'fused') return `x${at}`;
  const [word] = (label ?? '').split(/[^A-Za-z0-9_]+/).slice(-1);
  return identifier(word === undefined || word === '' ? `x${at}` : word);
}

function resultKey(result: number): string {
  return `out${result}`;
}

function resultName(region: Graph, result: number): string {
  return region.results.length === 1 ? 'result' : `result_${result}`;
}

function inputAccess(request: KernelRequest, region: Graph): readonly BufferAccess[] {
  return region.inputs.map((input, at) => {
    const type = input.outputs[0]?.type ?? unreachable('a region input without a type');
    // What an update overwrites is bound once, for reading and writing.
    const result = region.results.findIndex(({ value }) => overwrittenInput(region, value) === input);
    return {
      key: result < 0 ? inputKey(request.node, at) : resultKey(result),
      name: result < 0 ? inputName(request.node, region, at) : resultName(region, result),
      access: result < 0 ? 'r' : 'w',
      dtype: request.layouts[at]?.isHalf ? 'f16' : type.dtype,
      shape: type.shape,
      panels: request.layouts[at]?.panels,
      packed: packedAccess(type.shape, request.layouts[at]?.packed),
      sparse: sparseAccess(type.shape, request.layouts[at]?.sparse),
    };
  });
}

function makeDraft(request: KernelRequest, region: Graph, scalarBuffers: Set<string>, isPlain = false): Draft {
  const writer = new KernelWriter(isPlain);
  const walker = new ValueWalker({
    writer,
    ranges: request.ranges,
    inputNodes: region.inputs,
    inputs: inputAccess(request, region),
    scalarBuffers,
    uses: countUses(region),
  });
  const storePair: Draft['storePair'] = (result, index, low, high) => {
    const type = region.results[result]?.value.type ?? unreachable(`no result ${result}`);
    const position = walker.algebra.linearize(index, type.shape);
    const key = resultKey(result);
    const name = resultName(region, result);
    scalarBuffers.add(key);
    const bound = writer.bind({ key, name, element: memoryType(type.dtype), access: 'w', vector: false });
    const word = writer.index(walker.algebra.quotient(position, constantDim(2)));
    writer.line(`${bound}[${word}] = ${packPair(`vec2f(${low.text}, ${high.text})`)};`);
  };
  /** Two halves share a word, so a single one cannot be stored without its neighbour. */
  const storeHalves = (result: number, bind: (vector: boolean) => string, position: Index, value: Expression): void => {
    const aligned = mentions(position, FOURTH) ? walker.alignedFour(position) : undefined;
    if (aligned === undefined || scalarBuffers.has(resultKey(result))) {
      const node = region.results[result]?.value.node ?? unreachable(`no result ${result}`);
      throw new UnsupportedOp(node, '`f16` values that do not come in fours');
    }
    const four = walker.named(walker.as(value, 4), 'stored').text;
    const pairs = [`${four}.xy`, `${four}.zw`];
    // Rows of a state saturate, as `append` says; elsewhere what no f16 holds must be seen.
    const isState = region.results[result]?.value.node.op === 'append';
    const words = pairs.map((pair) => (isState ? packPair(pair) : packFinite(writer.let('pair', pair))));
    writer.line(`${bind(true)}[${writer.index(aligned)}] = vec2<u32>(${words.join(', ')});`);
  };
  const store: Draft['store'] = (result, index, value) => {
    const type = region.results[result]?.value.type ?? unreachable(`no result ${result}`);
    const key = resultKey(result);
    const name = resultName(region, result);
    const bind = (vector: boolean) => {
      const element = vector ? memoryFour(type.dtype) : memoryType(type.dtype);
      return writer.bind({ key, name, element, access: 'w', vector });
    };
    const position = walker.algebra.linearize(index, type.shape);
    if (type.dtype === 'f16') {
      storeHalves(result, bind, position, value);
      return;
    }
    if (!mentions(position, FOURTH)) {
      scalarBuffers.add(key);
      writer.line(`${bind(false)}[${writer.index(position)}] = ${toMemory(type.dtype, value.text, 1)};`);
      return;
    }
    const aligned = walker.alignedFour(position);
    if (aligned !== undefined && !scalarBuffers.has(key)) {
      const text = toMemory(type.dtype, walker.as(value, 4).text, 4);
      writer.line(`${bind(true)}[${writer.index(aligned)}] = ${text};`);
      return;
    }
    scalarBuffers.add(key);
    const four = walker.named(value, 'stored');
    for (let lane = 0; lane < 4; lane++) {
      const at = walker.algebra.substitute(position, FOURTH, constantIndex(lane));
      const part = four.lanes === 4 ? `${four.text}[${lane}]` : four.text;
      writer.line(`${bind(false)}[${writer.index(at)}] = ${toMemory(type.dtype, part, 1)};`);
    }
  };
  return { request, region, writer, walker, store, storePair };
}

function headComment(request: KernelRequest, region: Graph, name: string, note: string): readonly string[] {
  const { node } = request;
  const ops = region.nodes.filter((inner) => !['input', 'constant'].includes(inner.op)).map((inner) => inner.op);
  const types = (values: readonly Value[]) => values.map((value) => printType(value.type)).join(', ');
  const { span } = node;
  const place = span ? [`from ${span.file.path}:${positionAt(span.file, span.start).line}`] : [];
  return [
    `${name}: ${[...new Set(ops)].join(', ')}`,
    `${types(node.inputs)} -> ${types(node.outputs)}`,
    ...place,
    note,
  ];
}

/** Writes a kernel, again when a buffer turned out to need scalar access, or when it needs more sizes than are passed. */
export function writeKernel(request: KernelRequest, write: (draft: Draft) => Written): Kernel {
  const region = regionOf(request.node);
  const name = nameOf(request.node, region);
  const scalarBuffers = new Set<string>();
  for (let isPlain = false; ; ) {
    const draft = makeDraft(request, region, scalarBuffers, isPlain);
    const written = write(draft);
    const text = draft.writer.finish(headComment(request, region, name, written.note), written.workgroup);
    if (text.bindings.some((binding) => binding.vector && scalarBuffers.has(binding.key))) continue;
    if (text.params.length > maxParams && !isPlain) {
      isPlain = true;
      continue;
    }
    const when = written.when === undefined ? {} : { when: written.when };
    const scratch = written.scratch === undefined ? {} : { scratch: written.scratch };
    return {
      name: written.variant === undefined ? name : `${name}_${written.variant}`,
      text,
      groups: written.groups,
      ...when,
      ...scratch,
    };
  }
}

/** A throw-away draft, to ask how a value would be read. */
export function probe(request: KernelRequest): Draft {
  return makeDraft(request, regionOf(request.node), new Set());
}

/** What a kernel does, in a word: the end of its name. */
function roleOf(region: Graph): string {
  const ops = new Set(region.nodes.map((node) => node.op));
  if (ops.has('dot_general')) return 'matmul';
  if (ops.has('attention')) return 'attention';
  if (ops.has('reduce')) return ops.has('exp') ? 'softmax' : ops.has('rsqrt') ? 'norm' : 'reduce';
  if ([...ops].some((op) => opNamed(op).indexedExtent)) return 'lookup';
  const moved = new Set(['input', 'constant', 'reshape', 'transpose', 'broadcast', 'slice']);
  return region.nodes.findLast((node) => !moved.has(node.op))?.op ?? 'copy';
}

/** Label and role, without saying a word twice: `attention_output_dense_matmul`, `output_LayerNorm_norm`. */
function nameOf(node: Node, region: Graph): string {
  const role = roleOf(region);
  const label = kernelName(node.label, '');
  if (label === 'value' || label.endsWith(role)) return kernelName(node.label, role);
  return `${label}_${role}`;
}

/** Opens the body for an element per invocation; index of the element. */
export function elementIndex(draft: Draft, name: string, count: Dim, workgroup: number): Index {
  const { writer } = draft;
  const fixed = constantValue(count);
  const text = `group * ${workgroup}u + lane`;
  if (fixed === 1) {
    writer.open(`if (${text} == 0u)`);
    return constantIndex(0);
  }
  const index = writer.variable(name, count, text);
  writer.open(`if (${writer.index(index)} < ${writer.dim(count)})`);
  return index;
}
