/**
 * Groups: which nodes are computed together with a contraction, an attention or a reduction.
 *
 * A group grows from its seed along post-dominators, as far as the kernel family of the seed can hold it. What may be
 * taken in from above (a residual sum before a norm) is decided later, in materialize.ts.
 * Source of the idea: FuseOps of TVM.
 */
import type { Node } from '../../ir/graph.ts';
import { splatOf } from '../pass.ts';
import { isCheap } from './cheap.ts';
import { type Cone, coneOf, skeletonOf } from './cone.ts';
import type { Flow } from './flow.ts';
import { isBijectiveView, isConversion, isHeavy, isTileOperand, outputOf, roleOf } from './roles.ts';
import { domainOf, sameDomain } from './row-domain.ts';

/** How many nodes in a row may fail to close a group before the search for a bigger one stops: a softmax needs four. */
const patience = 12;

/** Anchors first, as their kernels are the dearest; then reductions, the biggest spaces first. */
export function seedsOf(flow: Flow): readonly Node[] {
  const live = flow.graph.nodes.filter((node) => flow.isLive(node));
  const rank = (node: Node) => node.inputs[0]?.type.shape.length ?? 0;
  const reductions = live.filter((node) => roleOf(node) === 'reduction');
  return [
    ...live.filter((node) => roleOf(node) === 'anchor' || roleOf(node) === 'foreign'),
    ...reductions.sort((left, right) => rank(right) - rank(left)),
  ];
}

/**
 * What stands before the tile operands of anchors, behind views and conversions: it lies in a buffer whatever else is decided, so a
 * group that does not compute it reads it. Keys joined to those of the past are one case.
 */
export function tileSources(flow: Flow): ReadonlySet<Node> {
  const sources = new Set<Node>();
  const visit = (node: Node): void => {
    if (roleOf(node) === 'view' || isConversion(node)) for (const input of node.inputs) visit(input.node);
    else if (roleOf(node) === 'elementwise' || roleOf(node) === 'lookup') sources.add(node);
  };
  for (const node of flow.graph.nodes) {
    if (roleOf(node) !== 'anchor' || !flow.isLive(node)) continue;
    for (const [operand, input] of node.inputs.entries()) if (isTileOperand(node, operand)) visit(input.node);
  }
  return sources;
}

/** What groups are grown in. */
export interface Ground {
  readonly flow: Flow;
  readonly stored: ReadonlySet<Node>;
  readonly claimed: ReadonlySet<Node>;
  /** See `tileSources`. */
  readonly tiles: ReadonlySet<Node>;
}

/** Whether the node is computed from an anchor or a reduction of the cone, or is one. */
export function isBehindHeavy(node: Node, cone: Cone): boolean {
  if (isHeavy(node)) return true;
  return node.inputs.some((input) => cone.nodes.has(input.node) && isBehindHeavy(input.node, cone));
}

/** What is computed together with `seed`; the root of the cone is what gets stored. */
export function groupOf(seed: Node, ground: Ground): Cone {
  return withoutMixing(grow(seed, ground), seed, ground);
}

/** The biggest group that starts at `seed`, ends at one of its post-dominators and fits the seed's kernel family. */
function grow(seed: Node, ground: Ground): Cone {
  const { flow, stored, claimed } = ground;
  let best = groupEndingAt(seed, seed, () => false, ground);
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
    const largest = groupEndingAt(root, seed, joins, ground);
    if (isBlocked(largest, seed, flow)) break;
    const group = fits(largest) ? largest : groupEndingAt(root, seed, () => false, ground);
    const grew = group === largest || fits(group);
    if (grew) best = group;
    failures = grew ? 0 : failures + 1;
  }
  return best;
}

/**
 * A group gives up a last op that mixes in other activations when its reader does it for nothing, and so keeps the form
 * that it has elsewhere:
 *
 * - a row group, when a sum over other rows is all that reads it: the norm before a masked mean is like all norms;
 * - a contraction, when the rows that read it need the same cheap expression again: the mask of a masked softmax.
 */
function withoutMixing(group: Cone, seed: Node, ground: Ground): Cone {
  const { flow, stored } = ground;
  const { root } = group;
  if (roleOf(root) !== 'elementwise' || flow.isResult(root)) return group;
  const behind = root.inputs.filter((input) => flow.dependsOn(input.node, seed));
  const beside = root.inputs.filter((input) => !behind.includes(input)).map((input) => input.node);
  const [input, another] = behind;
  if (!input || another || flow.readers(input.node).length > 1) return group;
  if (input.node !== seed && roleOf(input.node) !== 'elementwise') return group;
  const readers = flow.readers(root);
  const sums = readers.filter((reader) => roleOf(reader) === 'reduction');
  const givesUp =
    roleOf(seed) === 'reduction'
      ? readers.length === 1 && sums.length === 1 && beside.some(readsActivations)
      : sums.length > 0 && beside.some((node) => isNeededAgain(node, root, flow) && isCheap(node, stored, undefined));
  return givesUp ? groupEndingAt(input.node, seed, (node) => group.nodes.has(node), ground) : group;
}

/** Whether something that depends on `root` reads `node` too. A number costs nothing anywhere, and layers may share it. */
function isNeededAgain(node: Node, root: Node, flow: Flow): boolean {
  if (splatOf(outputOf(node)) !== undefined) return false;
  return flow.readers(node).some((reader) => reader !== root && flow.dependsOn(reader, root));
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
function groupEndingAt(root: Node, seed: Node, mayJoin: (node: Node) => boolean, ground: Ground): Cone {
  const { flow, stored, tiles } = ground;
  // Nothing is looked up beside an anchor.
  const besideAnchor = roleOf(seed) === 'anchor';
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  const memo = new Map<Node, boolean>();
  const needsOthers = (node: Node): boolean => {
    if (isStored(node)) return false;
    const known = memo.get(node);
    if (known !== undefined) return known;
    const isOther = (isHeavy(node) && !mayJoin(node)) || (besideAnchor && roleOf(node) === 'lookup');
    const needs = isOther || node.inputs.some((input) => needsOthers(input.node));
    memo.set(node, needs);
    return needs;
  };
  const isRead = (node: Node) => !flow.dependsOn(node, seed) && (tiles.has(node) || needsOthers(node));
  return coneOf(root, (node) => isStored(node) || isRead(node));
}
