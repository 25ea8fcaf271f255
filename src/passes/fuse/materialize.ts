/**
 * Chooses which values lie in buffers between kernels. Everything else is computed inside the kernels that read it.
 *
 *   1. Around each contraction and attention, then around each group of reductions, take in as much of what follows as
 *      post-dominance and the kernel family allow; the last node taken in is stored.
 *   2. Walk backwards over the rest: a node joins its only reader; views and cheap expressions of stored leaves are
 *      repeated in each; what must lie in a buffer or would be repeated dearly is stored.
 *   3. Check every kernel: whatever does not fit one family, or reads more buffers than a device can bind, is split.
 *
 * All of it follows dataflow; the order of independent nodes in the graph does not matter.
 * Source of the idea of growing along post-dominators: TVM's FuseOps.
 */
import type { Graph, Node } from '../../ir/graph.ts';
import { type Cone, coneOf, skeletonOf } from './cone.ts';
import { type Flow, flowOf } from './flow.ts';
import { isBijectiveView, isCast, isTable, isTileOperand, roleOf } from './roles.ts';
import { domainOf, sameDomain } from './row-domain.ts';

/** Storage buffers that every WebGPU device can bind (`maxStorageBuffersPerShaderStage`); one is the output. */
export const maxBindings = 8;

/** Elementwise ops that are cheaper to repeat in each reader than to store and read back: a mask's compare and select. */
const cheapOps = 6;

/** How many nodes in a row may fail to close a group before the search for a bigger one stops: a softmax needs four. */
const patience = 12;

export function materialize(graph: Graph): ReadonlySet<Node> {
  const flow = flowOf(graph);
  const stored = new Set<Node>();
  const claimed = new Set<Node>();
  const anchored = new Set<Node>();
  for (const seed of seedsOf(flow)) {
    if (claimed.has(seed)) continue;
    const group = withoutMixing(grow(seed, flow, stored, claimed), seed, flow, stored);
    stored.add(group.root);
    if (roleOf(seed) === 'anchor') anchored.add(group.root);
    for (const node of group.nodes) if (isBehindHeavy(node, group)) claimed.add(node);
  }
  for (const result of graph.results) if (roleOf(result.value.node) !== 'stored') stored.add(result.value.node);
  storeTheRest(flow, stored, claimed, anchored);
  absorbViews(flow, stored);
  split(flow, stored);
  return stored;
}

function isHeavy(node: Node): boolean {
  const role = roleOf(node);
  return role === 'anchor' || role === 'reduction' || role === 'foreign';
}

/** Anchors first, as their kernels are the dearest; then reductions, the biggest spaces first. */
function seedsOf(flow: Flow): readonly Node[] {
  const live = flow.graph.nodes.filter((node) => flow.isLive(node));
  const rank = (node: Node) => node.inputs[0]?.type.shape.length ?? 0;
  const reductions = live.filter((node) => roleOf(node) === 'reduction');
  return [
    ...live.filter((node) => roleOf(node) === 'anchor' || roleOf(node) === 'foreign'),
    ...reductions.sort((left, right) => rank(right) - rank(left)),
  ];
}

function isBehindHeavy(node: Node, cone: Cone): boolean {
  if (isHeavy(node)) return true;
  return node.inputs.some((input) => cone.nodes.has(input.node) && isBehindHeavy(input.node, cone));
}

/** The biggest group that starts at `seed`, ends at one of its post-dominators and fits the seed's kernel family. */
function grow(seed: Node, flow: Flow, stored: ReadonlySet<Node>, claimed: ReadonlySet<Node>): Cone {
  let best = groupEndingAt(seed, seed, () => false, flow, stored);
  const family = skeletonOf(best);
  let failures = 0;
  for (let end = flow.postDominator(seed); end !== undefined; end = flow.postDominator(end)) {
    const root = end;
    if (claimed.has(root) || stored.has(root) || roleOf(root) === 'anchor' || failures >= patience) break;
    // Readers do views that repeat or drop elements; to store what they show would be waste.
    if (roleOf(root) === 'view' && !isBijectiveView(root)) continue;
    // Reductions that only this group needs may come in; what other heavy nodes give is stored, here or further up.
    const joins = (node: Node) => roleOf(node) === 'reduction' && !claimed.has(node) && flow.postDominates(root, node);
    const fits = (cone: Cone) => {
      // A read of something that depends on the seed would be a cycle between kernels.
      if (!cone.nodes.has(seed) || cone.reads.some((read) => flow.dependsOn(read.node, seed))) return false;
      return skeletonOf(cone) === family && ![...cone.nodes].some((node) => claimed.has(node));
    };
    const largest = groupEndingAt(root, seed, joins, flow, stored);
    if (isBlocked(largest, seed, flow)) break;
    const group = fits(largest) ? largest : groupEndingAt(root, seed, () => false, flow, stored);
    const grew = group === largest || fits(group);
    if (grew) best = group;
    failures = grew ? 0 : failures + 1;
  }
  return best;
}

/**
 * A row group gives up a last op that mixes in other activations when a sum over other rows is all that reads it: the
 * reader does the op for nothing, and the group keeps the form that it has elsewhere. So the norm before a masked mean
 * is the same kernel as all other norms.
 */
function withoutMixing(group: Cone, seed: Node, flow: Flow, stored: ReadonlySet<Node>): Cone {
  const { root } = group;
  if (roleOf(seed) !== 'reduction' || roleOf(root) !== 'elementwise' || flow.isResult(root)) return group;
  const [reader, second] = flow.readers(root);
  if (!reader || second || roleOf(reader) !== 'reduction') return group;
  const behind = root.inputs.filter((input) => flow.dependsOn(input.node, seed));
  const [input, other] = behind;
  const mixed = root.inputs.filter((value) => !behind.includes(value)).some((value) => readsActivations(value.node));
  const isSame = input && roleOf(input.node) === 'elementwise' && flow.readers(input.node).length === 1;
  if (other || !isSame || !mixed) return group;
  return groupEndingAt(input.node, seed, (node) => group.nodes.has(node), flow, stored);
}

function readsActivations(node: Node): boolean {
  if (node.op === 'input') return true;
  const role = roleOf(node);
  if (role === 'stored' || role === 'inline') return false;
  return isHeavy(node) || node.inputs.some((input) => readsActivations(input.node));
}

/** Something behind the seed can never be in its kernel, so no bigger group will do. */
function isBlocked(cone: Cone, seed: Node, flow: Flow): boolean {
  for (const node of cone.nodes) {
    if (node === seed || !isHeavy(node) || !flow.dependsOn(node, seed)) continue;
    if (roleOf(seed) !== 'reduction' || roleOf(node) !== 'reduction') return true;
    if (!sameDomain(domainOf(seed), domainOf(node))) return true;
  }
  return false;
}

/** The cone of `root` as far as it comes from `seed`; whatever else needs a heavy node that may not join is a read. */
function groupEndingAt(
  root: Node,
  seed: Node,
  mayJoin: (node: Node) => boolean,
  flow: Flow,
  stored: ReadonlySet<Node>,
): Cone {
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  const memo = new Map<Node, boolean>();
  const needsOthers = (node: Node): boolean => {
    if (isStored(node)) return false;
    const known = memo.get(node);
    if (known !== undefined) return known;
    const needs = (isHeavy(node) && !mayJoin(node)) || node.inputs.some((input) => needsOthers(input.node));
    memo.set(node, needs);
    return needs;
  };
  return coneOf(root, (node) => isStored(node) || (!flow.dependsOn(node, seed) && needsOthers(node)));
}

/** Operations of the expression when it needs only stored leaves (no results of kernels) and no lookup; else infinite. */
function costFromLeaves(node: Node, stored: ReadonlySet<Node>, memo: Map<Node, number>): number {
  const known = memo.get(node);
  if (known !== undefined) return known;
  const role = roleOf(node);
  const free = role === 'stored' || role === 'inline';
  const light = free || role === 'view' || role === 'elementwise';
  const inputs = node.inputs.reduce((sum, input) => sum + costFromLeaves(input.node, stored, memo), 0);
  const dear = !light || (stored.has(node) && !free);
  const cost = dear ? Number.POSITIVE_INFINITY : inputs + (role === 'elementwise' ? 1 : 0);
  memo.set(node, cost);
  return cost;
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

function storeTheRest(flow: Flow, stored: Set<Node>, claimed: ReadonlySet<Node>, anchored: ReadonlySet<Node>): void {
  const places = new Map<Node, Place>();
  const memo = new Map<Node, number>();
  const placeOf = (node: Node): Place => {
    const kernels = new Set<Node>();
    let tiled = false;
    let repeated = false;
    for (const reader of flow.readers(node)) {
      const further = stored.has(reader) ? undefined : places.get(reader);
      if (further) for (const kernel of further.kernels) kernels.add(kernel);
      else kernels.add(reader);
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
    const isCheap = () => costFromLeaves(node, stored, memo) <= cheapOps;
    if (mustStore(node, place, flow, anchored, isCheap)) stored.add(node);
  }
}

function enlarges(node: Node): boolean {
  return roleOf(node) === 'view' && node.inputs.some((input) => input.type.shape.length > 0) && !isBijectiveView(node);
}

function mustStore(node: Node, place: Place, flow: Flow, anchored: ReadonlySet<Node>, isCheap: () => boolean): boolean {
  const role = roleOf(node);
  if (role === 'stored' || role === 'inline') return false;
  const isTableOf = (reader: Node) => reader.inputs.some((input, i) => input.node === node && isTable(reader, i));
  if (flow.readers(node).some(isTableOf)) return true;
  if (role === 'view') return false;
  if (place.tiled) return !isCast(node);
  if (role === 'lookup') return place.kernels.size > 1 || [...place.kernels].some((root) => anchored.has(root));
  return (place.kernels.size > 1 || place.repeated) && !isCheap();
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
function split(flow: Flow, stored: Set<Node>): void {
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  const pending = flow.graph.nodes.filter((node) => stored.has(node));
  for (let root = pending.pop(); root !== undefined; root = pending.pop()) {
    const cone = coneOf(root, isStored);
    const cuts =
      skeletonOf(cone) === undefined ? misfits(cone) : cone.reads.length >= maxBindings ? halves(cone, isStored) : [];
    for (const cut of cuts) stored.add(cut);
    if (cuts.length > 0) pending.push(root, ...cuts);
  }
}

/** Nodes to store when no family takes the cone: the heavy ones, else everything that computes, else the views. */
function misfits(cone: Cone): readonly Node[] {
  const others = [...cone.nodes].filter((node) => node !== cone.root && roleOf(node) !== 'inline');
  const tests = [isHeavy, (node: Node) => roleOf(node) !== 'view', () => true];
  return tests.map((test) => others.filter(test)).find((nodes) => nodes.length > 0) ?? [];
}

/** The one node whose storing saves the cone most reads. */
function halves(cone: Cone, isStored: (node: Node) => boolean): readonly Node[] {
  let best: { readonly node: Node; readonly left: number } | undefined;
  for (const node of cone.nodes) {
    if (node === cone.root || roleOf(node) === 'inline' || roleOf(node) === 'view') continue;
    if (coneOf(node, isStored).reads.length >= maxBindings) continue;
    const left = coneOf(cone.root, (other) => other === node || isStored(other)).reads.length;
    if (left < (best?.left ?? cone.reads.length)) best = { node, left };
  }
  return best ? [best.node] : [];
}
