/**
 * Chooses which values lie in buffers between kernels. Everything else is computed inside the kernels that read it.
 *
 *   1. Around each contraction and attention, then around each group of reductions, take in as much of what follows as
 *      post-dominance and the kernel family allow; the last node taken in is stored.
 *   2. Walk backwards over the rest: a node joins its only reader; views and cheap expressions of stored leaves are
 *      repeated in each; what must lie in a buffer or would be repeated dearly is stored.
 *   3. Updates that may share a kernel (updates.ts) count as one all along.
 *   4. Check every kernel: whatever does not fit one family, or reads more buffers than a device can bind, is split.
 *
 * All of it follows dataflow; the order of independent nodes in the graph does not matter.
 * Source of the idea of growing along post-dominators: TVM's FuseOps.
 */
import type { Graph, Node } from '../../ir/graph.ts';
import { isCheap, type Ranges } from './cheap.ts';
import { type Cone, coneOf, coneOfAll, skeletonOf, straysOf } from './cone.ts';
import { type Flow, flowOf } from './flow.ts';
import { groupOf, isBehindHeavy, seedsOf, tileSources } from './groups.ts';
import { isBijectiveView, isConversion, isHeavy, isTable, isTileOperand, overwritten, roleOf } from './roles.ts';
import { shareKernels } from './share.ts';
import { Groups, updateGroups } from './updates.ts';

/** Storage buffers that every WebGPU device can bind (`maxStorageBuffersPerShaderStage`); one is the output. */
export const maxBindings = 8;

export interface Materialized {
  /** Every other value is computed by the kernels that read it. */
  readonly stored: ReadonlySet<Node>;
  /** Stored nodes that one kernel computes together; all others have kernels of their own. */
  readonly groups: readonly (readonly Node[])[];
}

/**
 * @param phaseOf kernels of different phases stay apart (phases.ts)
 * @param ranges of the dims, to know what is small
 */
export function materialize(
  graph: Graph,
  phaseOf: (node: Node) => number = () => 0,
  ranges: Ranges | undefined = undefined,
): Materialized {
  const flow = flowOf(graph);
  const stored = new Set<Node>(graph.nodes.filter((node) => roleOf(node) === 'update'));
  const groups = new Groups(updateGroups(flow));
  const claimed = new Set<Node>();
  const anchored = new Set<Node>();
  const tiles = tileSources(flow);
  for (const seed of seedsOf(flow)) {
    if (claimed.has(seed)) continue;
    const group = groupOf(seed, { flow, stored, claimed, tiles });
    stored.add(group.root);
    if (roleOf(seed) === 'anchor') anchored.add(group.root);
    for (const node of group.nodes) if (isBehindHeavy(node, group)) claimed.add(node);
  }
  for (const result of graph.results) if (roleOf(result.value.node) !== 'stored') stored.add(result.value.node);
  storeTheRest(flow, stored, claimed, anchored, groups, ranges);
  absorbViews(flow, stored);
  split(flow, stored, groups);
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  shareKernels({ flow, groups, stored, isStored, bindings: bindingsOf, maxBindings, phaseOf });
  return { stored, groups: groups.lists() };
}

/** What is known of an unstored node from its readers. */
interface Place {
  /** Roots of the kernels that compute it. */
  readonly kernels: ReadonlySet<Node>;
  /** It stands before a tile operand of an anchor. */
  readonly tiled: boolean;
  /** Some reader asks for each of its elements many times. */
  readonly repeated: boolean;
}

function storeTheRest(
  flow: Flow,
  stored: Set<Node>,
  claimed: ReadonlySet<Node>,
  anchored: ReadonlySet<Node>,
  groups: Groups,
  ranges: Ranges | undefined,
): void {
  const places = new Map<Node, Place>();
  const placeOf = (node: Node): Place => {
    const kernels = new Set<Node>();
    let tiled = false;
    let repeated = false;
    for (const reader of flow.readers(node)) {
      const further = stored.has(reader) ? undefined : places.get(reader);
      if (further) for (const kernel of further.kernels) kernels.add(kernel);
      else kernels.add(groups.leader(reader));
      if (roleOf(reader) === 'anchor')
        tiled ||= reader.inputs.some((input, i) => input.node === node && isTileOperand(reader, i));
      else tiled ||= further?.tiled ?? false;
      // A reduction is done once per row, however often its result is read.
      if (roleOf(reader) !== 'reduction') repeated ||= enlarges(reader) || (further?.repeated ?? false);
    }
    return { kernels, tiled, repeated };
  };
  for (const node of [...flow.graph.nodes].reverse()) {
    if (!flow.isLive(node) || stored.has(node)) continue;
    const place = placeOf(node);
    places.set(node, place);
    if (claimed.has(node)) continue;
    if (mustStore(node, place, flow, anchored, stored, ranges)) stored.add(node);
  }
}

function enlarges(node: Node): boolean {
  return roleOf(node) === 'view' && node.inputs.some((input) => input.type.shape.length > 0) && !isBijectiveView(node);
}

function mustStore(
  node: Node,
  place: Place,
  flow: Flow,
  anchored: ReadonlySet<Node>,
  stored: ReadonlySet<Node>,
  ranges: Ranges | undefined,
): boolean {
  const role = roleOf(node);
  if (role === 'stored' || role === 'inline') return false;
  const isTableOf = (reader: Node) => reader.inputs.some((input, i) => input.node === node && isTable(reader, i));
  if (flow.readers(node).some(isTableOf)) return true;
  if (role === 'view') return false;
  if (place.tiled) return !isConversion(node);
  if (role === 'lookup') return place.kernels.size > 1 || [...place.kernels].some((root) => anchored.has(root));
  return (place.kernels.size > 1 || place.repeated) && !isCheap(node, stored, ranges);
}

/** A stored value that is only read through a view is stored as the view shows it: the reader's addresses stay plain. */
function absorbViews(flow: Flow, stored: Set<Node>): void {
  for (const node of flow.graph.nodes) {
    if (!stored.has(node) || flow.isResult(node) || roleOf(node) === 'stored') continue;
    const [reader, second] = flow.readers(node);
    if (!reader || second || stored.has(reader) || !isBijectiveView(reader)) continue;
    const isStored = (other: Node) => other !== node && (stored.has(other) || roleOf(other) === 'stored');
    const family = skeletonOf(coneOf(node, isStored));
    if (family !== 'map' || skeletonOf(coneOf(reader, isStored)) !== family) continue;
    stored.delete(node);
    stored.add(reader);
  }
}

/** Stores more values until every kernel fits one family and the bindings of a device. */
function split(flow: Flow, stored: Set<Node>, groups: Groups): void {
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  const pending = flow.graph.nodes.filter((node) => stored.has(node));
  for (let root = pending.pop(); root !== undefined; root = pending.pop()) {
    const roots = groups.of(root);
    const cone = coneOfAll(roots, roots.at(-1) ?? root, isStored);
    const fits = skeletonOf(cone) !== undefined && bindingsOf(cone) <= maxBindings;
    if (!fits && roots.length > 1) {
      pending.push(...groups.dissolve(root));
      continue;
    }
    const cuts = skeletonOf(cone) === undefined ? misfits(cone) : fits ? [] : halves(cone, isStored);
    for (const cut of cuts) stored.add(cut);
    if (cuts.length > 0) pending.push(root, ...cuts);
  }
}

/** Buffers that the kernel of a cone binds: what it overwrites is bound once, for reading and writing. */
export function bindingsOf(cone: Cone): number {
  const targets = cone.roots.map((root) => (roleOf(root) === 'update' ? overwritten(root) : root));
  return new Set([...cone.reads.map((read) => read.node), ...targets]).size;
}

/** Nodes to store when no family takes the cone: the heavy ones, else everything that computes, else the views. */
function misfits(cone: Cone): readonly Node[] {
  if (roleOf(cone.root) === 'update' && straysOf(cone).length > 0) return straysOf(cone);
  const others = [...cone.nodes].filter((node) => node !== cone.root && roleOf(node) !== 'inline');
  const tests = [isHeavy, (node: Node) => roleOf(node) !== 'view', () => true];
  return tests.map((test) => others.filter(test)).find((nodes) => nodes.length > 0) ?? [];
}

/** The one node whose storing saves the cone most reads. */
function halves(cone: Cone, isStored: (node: Node) => boolean): readonly Node[] {
  let best: { readonly node: Node; readonly left: number } | undefined;
  for (const node of cone.nodes) {
    if (node === cone.root || roleOf(node) === 'inline' || roleOf(node) === 'view') continue;
    if (bindingsOf(coneOf(node, isStored)) > maxBindings) continue;
    const left = bindingsOf(coneOf(cone.root, (other) => other === node || isStored(other)));
    if (left < (best?.left ?? bindingsOf(cone))) best = { node, left };
  }
  return best ? [best.node] : [];
}
