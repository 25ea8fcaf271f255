/**
 * The plan of one entry under one profile: a kernel (or several, each for its range of dims) per fused node, in the order
 * of the graph, and a buffer for every value.
 */
import {
  type Entry,
  type Graph,
  GraphBuilder,
  type Node,
  onlyOutput,
  type Result,
  type Value,
} from '../../ir/graph.ts';
import { numbersOf, stringOf } from '../../ir/ops/shared.ts';
import type { Dim, DimRange } from '../../ir/symbolic.ts';
import type { BufferSpec, EntryPlan, Step } from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import { type InputLayout, type Kernel, scratchKey } from '../wgsl/kernel.ts';
import { overwrittenInput } from '../wgsl/regions.ts';
import type { StepMeaning } from './check.ts';
import { type Joins, launchesOf, valueAt } from './launches.ts';
import { withOwnRows } from './own-rows.ts';
import { bytesOf, evaluateSize, groupsOf, sizeOf } from './sizes.ts';
import { SlotAllocator } from './slots.ts';
import { type StagedRows, stagedRows } from './staged-rows.ts';
import type { WeightTable } from './weights.ts';

/** Part of an arena, in bytes. */
export type ArenaPlace = Omit<Extract<BufferSpec, { kind: 'arena' }>, 'kind'>;

export interface PlanContext {
  readonly ranges: ReadonlyMap<string, DimRange>;
  readonly weights: WeightTable;
  /** Paths of the program's states, in order. */
  readonly states: readonly string[];
  /** Where the state paths of training lie: whole arenas and pieces of them. */
  readonly arenas: ReadonlyMap<string, ArenaPlace>;
  /** Which kernels that do not wait for each other share a dispatch. */
  readonly joins: Joins;
  /** Kernels of a fused node; empty when it cannot be written (a diagnostic says why). */
  kernelsOf(node: Node, layouts: readonly InputLayout[]): readonly Kernel[];
  /**
   * The kernel of a merged node, a product of one row that computes its left operand (`staged`) or an attention that writes the rows of its
   * states; undefined when there is none.
   */
  mergedKernelOf?(node: Node, layouts: readonly InputLayout[], staged?: Value): Kernel | undefined;
  /** The name under which the kernel stands in the artifact. */
  register(kernel: Kernel): string;
}

export interface Planned {
  readonly plan: EntryPlan;
  /** For the checker (check.ts): what every step reads and writes at given dims. */
  meanings(dims: Readonly<Record<string, number>>): readonly StepMeaning[];
}

/** A fused node that copies a value: for results that no kernel computes. */
function copyOf(value: Value, name: string): Node {
  const region = new GraphBuilder();
  const input = region.input(name, value.type);
  const body = region.finish('copy', [{ name, value: input }]);
  const outer = new GraphBuilder();
  return outer.add('fused', [value], [value.type], { attributes: { skeleton: 'map' }, region: body, label: 'copy' });
}

/** The operand whose buffer a value shares: what its kernel writes into. */
function updated(value: Value): Value | undefined {
  const { region, inputs } = value.node;
  const written = region?.results[value.output]?.value;
  const source = region && written && overwrittenInput(region, written);
  return source && inputs[region.inputs.indexOf(source)];
}

/** The graph's kernels, with copies for results that are inputs, weights, constants, or stand twice. */
function kernelNodes(
  graph: Graph,
  isPiece: (name: string) => boolean,
): { nodes: readonly Node[]; results: readonly Result[] } {
  const nodes = graph.nodes.filter((node) => node.op === 'fused');
  const read = new Set(nodes.flatMap((node) => node.inputs));
  const taken = new Set<Value>();
  const copies: Node[] = [];
  const results = graph.results.map((result): Result => {
    // A kernel may not read and write one arena, so what others read lies elsewhere and is copied.
    const isShared = taken.has(result.value) || (isPiece(result.name) && read.has(result.value));
    if (result.value.node.op === 'fused' && !isShared && !updated(result.value)) {
      taken.add(result.value);
      return result;
    }
    const copy = copyOf(result.value, result.name);
    copies.push(copy);
    return { name: result.name, value: onlyOutput(copy) };
  });
  return { nodes: [...nodes, ...copies], results };
}

class BufferTable {
  readonly buffers: BufferSpec[] = [];
  readonly #given = new Map<Value, number>();
  readonly #context: PlanContext;

  constructor(context: PlanContext) {
    this.#context = context;
  }

  /** Buffers of inputs, weights and constants, made when first read. */
  given(value: Value): number | undefined {
    const known = this.#given.get(value);
    if (known !== undefined) return known;
    const spec = givenSpec(value, this.#context);
    if (!spec) return undefined;
    return this.#add(value, spec);
  }

  add(spec: BufferSpec): number {
    this.buffers.push(spec);
    return this.buffers.length - 1;
  }

  #add(value: Value, spec: BufferSpec): number {
    const index = this.add(spec);
    this.#given.set(value, index);
    return index;
  }
}

function givenSpec(value: Value, context: PlanContext): BufferSpec | undefined {
  const { node } = value;
  switch (node.op) {
    case 'input':
      return { kind: 'input', name: String(node.attributes.name) };
    case 'weight':
      return { kind: 'weight', weight: context.weights.indexOf(node) };
    case 'state': {
      const path = stringOf(node.attributes, 'path');
      const place = context.arenas.get(path);
      return place ? { kind: 'arena', ...place } : { kind: 'state', state: context.states.indexOf(path) };
    }
    case 'constant':
      return { kind: 'constant', dtype: value.type.dtype, values: numbersOf(node.attributes, 'values') };
    default:
      return undefined;
  }
}

export function layoutOf(value: Value, weights: WeightTable): InputLayout {
  if (value.node.op !== 'weight') return { panels: undefined };
  const spec = weights.specs[weights.indexOf(value.node)];
  const layout = spec?.layout;
  return {
    panels: layout?.kind === 'panels' ? layout.width : undefined,
    ...(layout?.kind === 'packed' ? { packed: layout.format } : {}),
    ...(layout?.kind === 'nm' ? { sparse: layout.format } : {}),
    ...(spec?.dtype === 'f16' ? { isHalf: true } : {}),
  };
}

/** Kernels of a node, those for one row put together with what computes their row. */
function withStagedRow(node: Node, kernels: readonly Kernel[], staged: StagedRows): readonly Kernel[] {
  const merged = staged.products.get(node);
  const when = staged.conditions.get(node);
  if (merged) return kernels.map((kernel) => (kernel.when?.maximum === 1 ? merged.kernel : kernel));
  return when ? kernels.map((kernel) => ({ ...kernel, when })) : kernels;
}

/** Launches that a value of a step's forward part is read in, at most; a layer of BERT takes nine. */
const longLife = 16;

export function planEntry(entry: Entry, context: PlanContext): Planned {
  const pieces = new Map(entry.results.flatMap(({ name, piece }) => (piece === undefined ? [] : [[name, piece]])));
  const { nodes: single, results } = kernelNodes(entry.graph, (name) => pieces.has(name));
  const table = new BufferTable(context);
  const slots = new SlotAllocator(context.ranges);
  const resultBuffers = new Map<Value, number>();
  for (const { name, value } of results) {
    const place = context.arenas.get(pieces.get(name) ?? '');
    const spec: BufferSpec = place
      ? { kind: 'arena', ...place }
      : { kind: 'result', name, bytes: sizeOf(bytesOf(value.type)) };
    resultBuffers.set(value, table.add(spec));
  }
  /** Updates are written where what they update lies. */
  const firstOf = (value: Value): Value => {
    const source = updated(value);
    return source ? firstOf(source) : value;
  };
  const layoutsOf = (node: Node) => node.inputs.map((value) => layoutOf(value, context.weights));
  const isResult = (value: Value) => resultBuffers.has(value);
  const { nodes, kernels: updating } = context.mergedKernelOf
    ? withOwnRows(single, isResult, (node) => context.mergedKernelOf?.(node, layoutsOf(node)))
    : { nodes: single, kernels: new Map<Node, Kernel>() };
  const written = new Map(
    nodes.map((node) => {
      const own = updating.get(node);
      return [node, own ? [own] : context.kernelsOf(node, layoutsOf(node))];
    }),
  );
  const kernelsOf = (node: Node) => written.get(node) ?? unreachable('a node that is no kernel');
  const staged: StagedRows = context.mergedKernelOf
    ? stagedRows(nodes, isResult, {
        of: kernelsOf,
        ofMerged: ({ node, staged }) => context.mergedKernelOf?.(node, layoutsOf(node), staged),
      })
    : { products: new Map(), conditions: new Map() };
  const launches = launchesOf(nodes, (node) => withStagedRow(node, kernelsOf(node), staged), firstOf, context.joins);
  const readsOf = (node: Node) => [...node.inputs, ...(staged.products.get(node)?.node.inputs ?? [])];
  const lastUse = new Map<Value, number>();
  launches.forEach((launch, at) => {
    for (const value of launch.nodes.flatMap(readsOf)) lastUse.set(value, at);
  });

  /** Of a step: what the backward part reads of the forward part. */
  const livesLong = (value: Value, from: number): boolean =>
    context.joins === 'all' && (lastUse.get(value) ?? from) > from + longLife;

  /** Slot of each scratch value; slots become buffers when all sizes are known. */
  const slotOf = new Map<Value, number>();
  type Place = { readonly buffer: number } | { readonly slot: number };
  const placeOf = (value: Value): Place => {
    const result = resultBuffers.get(value);
    if (result !== undefined) return { buffer: result };
    const slot = slotOf.get(value);
    if (slot !== undefined) return { slot };
    const source = updated(value);
    if (source) return placeOf(source);
    const buffer = table.given(value);
    return buffer === undefined ? unreachable(`no buffer for %${value.node.id}`) : { buffer };
  };

  interface Use {
    readonly place: Place;
    /** What lies there, for the checker. */
    readonly name: string;
    readonly bytes: Dim;
  }
  const nameOf = (value: Value) => `%${value.node.label ?? value.node.op}.${value.node.id}.${value.output}`;
  const useOf = (value: Value): Use => ({
    place: placeOf(value),
    name: nameOf(value),
    bytes: bytesOf(value.type),
  });
  interface DraftStep {
    readonly kernel: Kernel;
    readonly reads: readonly Use[];
    readonly writes: readonly (Use & { readonly over: string | undefined })[];
    readonly places: readonly Place[];
  }
  const drafts: DraftStep[] = [];
  launches.forEach((launch, at) => {
    for (const output of launch.nodes.flatMap((node) => node.outputs)) {
      if (!resultBuffers.has(output) && !updated(output))
        slotOf.set(output, slots.take(bytesOf(output.type), livesLong(output, at)));
    }
    // Memory between the kernels of this node, free again behind them.
    const bytes = launch.kernels.find((kernel) => kernel.scratch !== undefined)?.scratch;
    const scratch = bytes && { slot: slots.take(bytes) };
    for (const kernel of launch.kernels) {
      const reads: Use[] = [];
      const writes: (Use & { readonly over: string | undefined })[] = [];
      const origins = launch.bindings(kernel);
      const places = kernel.text.bindings.map(({ access }, binding) => {
        const { node, key } = origins[binding] ?? unreachable(`kernel ${kernel.name} has more bindings`);
        const merged = staged.products.get(node);
        const reader = merged?.kernel === kernel && !key.startsWith('out') ? merged.node : node;
        const value = key === scratchKey ? undefined : valueAt(reader, key);
        const between = scratch && { place: scratch, name: `%scratch.${node.id}`, bytes };
        const use = value ? useOf(value) : between || unreachable(`kernel ${kernel.name} has no scratch`);
        const source = value && updated(value);
        if (access !== 'w') reads.push(use);
        else writes.push({ ...use, over: source && nameOf(source) });
        return use.place;
      });
      drafts.push({ kernel, reads, writes, places });
    }
    if (scratch) slots.release(scratch.slot);
    for (const value of new Set(launch.nodes.flatMap((node) => [...readsOf(node), ...node.outputs]))) {
      const slot = slotOf.get(value);
      if (slot !== undefined && (lastUse.get(value) ?? at) === at) slots.release(slot);
    }
  });

  const firstSlot = table.buffers.length;
  for (const bytes of slots.sizes()) table.add({ kind: 'scratch', bytes });
  const bufferOf = (place: Place) => ('buffer' in place ? place.buffer : firstSlot + place.slot);
  const steps = drafts.map(({ kernel, places }): Step => {
    const { when } = kernel;
    return {
      kernel: context.register(kernel),
      buffers: places.map(bufferOf),
      params: kernel.text.params.map(sizeOf),
      groups: groupsOf(kernel.groups),
      ...(when ? { when: { value: sizeOf(when.value), minimum: when.minimum, maximum: when.maximum } } : {}),
    };
  });
  const meanings = (dims: Readonly<Record<string, number>>) => {
    const use = ({ place, name, bytes }: Use) => ({
      buffer: bufferOf(place),
      value: name,
      bytes: evaluateSize(sizeOf(bytes), dims),
    });
    return drafts.map(({ reads, writes }) => ({
      reads: reads.map(use),
      writes: writes.map((write) => ({ ...use(write), ...(write.over === undefined ? {} : { over: write.over }) })),
    }));
  };
  return { plan: { buffers: table.buffers, steps }, meanings };
}
