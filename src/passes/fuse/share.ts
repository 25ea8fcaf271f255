/**
 * Kernels that store several values: what a kernel computes on its way to its result is stored by it too when others need
 * it, and values that are found on the same walk over the same numbers are found together.
 *
 *   h = x W, y = gelu(h), both needed     one product that stores two values
 *   unit and dx of a norm's gradient      one walk over each row
 *   sums of g and of g * unit over rows   one walk over the columns
 *
 * Two kernels become one when one family holds both, neither waits for the other by way of a third, and the buffers can be
 * bound. What is computed again is not found together with what it was first (phases.ts). Updates have rules of their own
 * (updates.ts).
 */
import type { Node } from '../../ir/graph.ts';
import { sameShape } from '../../ir/types.ts';
import { type Cone, coneOfAll, skeletonOf } from './cone.ts';
import type { Flow } from './flow.ts';
import { outputOf, roleOf } from './roles.ts';
import type { Groups } from './updates.ts';

interface Kernels {
  readonly flow: Flow;
  readonly groups: Groups;
  /** What lies in buffers; values that no other kernel reads any more are taken out. */
  readonly stored: Set<Node>;
  readonly isStored: (node: Node) => boolean;
  readonly bindings: (cone: Cone) => number;
  readonly maxBindings: number;
  readonly phaseOf: (node: Node) => number;
}

function coneOfLeader(kernels: Kernels, leader: Node): Cone {
  const roots = kernels.groups.of(leader);
  return coneOfAll(roots, roots.at(-1) ?? leader, kernels.isStored);
}

/** Leaders of the kernels that a kernel reads. */
function sourcesOf(kernels: Kernels, cone: Cone): ReadonlySet<Node> {
  const written = cone.reads.filter((read) => roleOf(read.node) !== 'stored');
  return new Set(written.map((read) => kernels.groups.leader(read.node)));
}

/** Whether `from` needs what one of the kernels `targets` stores, itself or through others. */
class Reach {
  readonly #sources = new Map<Node, ReadonlySet<Node>>();
  readonly #kernels: Kernels;

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  sources(leader: Node): ReadonlySet<Node> {
    const known = this.#sources.get(leader);
    if (known) return known;
    const found = sourcesOf(this.#kernels, coneOfLeader(this.#kernels, leader));
    this.#sources.set(leader, found);
    return found;
  }

  forget(): void {
    this.#sources.clear();
  }

  /** Whether a way leads back from the sources of `starts` to one of `starts` through some other kernel. */
  returns(starts: readonly Node[]): boolean {
    const visited = new Set<Node>();
    const pending = starts.flatMap((start) => [...this.sources(start)].filter((source) => !starts.includes(source)));
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (visited.has(node)) continue;
      visited.add(node);
      for (const source of this.sources(node)) {
        if (starts.includes(source)) return true;
        pending.push(source);
      }
    }
    return false;
  }
}

/**
 * Whether all who read `root` in the cone ask for it at their own index, or sum it up: only then is it computed once for all.
 */
function isMetInPlace(root: Node, cone: Cone, flow: Flow): boolean {
  const visited = new Set<Node>();
  const visit = (node: Node): boolean =>
    flow.readers(node).every((reader) => {
      if (!cone.nodes.has(reader) || visited.has(reader)) return true;
      visited.add(reader);
      const role = roleOf(reader);
      return role === 'reduction' || (role === 'elementwise' && visit(reader));
    });
  return visit(root);
}

/**
 * Whether a value is computed from the contraction or attention of a kernel, where there is one: what such a kernel stores is
 * finished from its accumulators, and nothing else passes by there.
 */
function followsFromAnchor(root: Node, cone: Cone): boolean {
  const anchor = [...cone.nodes].find((node) => roleOf(node) === 'anchor');
  if (!anchor) return true;
  const visited = new Set<Node>();
  const reaches = (node: Node): boolean => {
    if (node === anchor) return true;
    if (!cone.nodes.has(node) || visited.has(node)) return false;
    visited.add(node);
    return node.inputs.some((input) => reaches(input.node));
  };
  return reaches(root);
}

/** The kernel of both, in graph order; undefined when they stay apart. */
function merged(kernels: Kernels, reach: Reach, one: Node, other: Node): readonly Node[] | undefined {
  const { flow, groups } = kernels;
  const members = new Set([...groups.of(one), ...groups.of(other)]);
  const roots = flow.graph.nodes.filter((node) => members.has(node));
  if (roots.some((root) => roleOf(root) === 'update')) return undefined;
  if (new Set(roots.map(kernels.phaseOf)).size > 1) return undefined;
  const cone = coneOfAll(roots, roots.at(-1) ?? one, kernels.isStored);
  const family = skeletonOf(cone);
  const families = [one, other].map((leader) => skeletonOf(coneOfLeader(kernels, leader)));
  // A map may join what it belongs to; two of the others must be alike.
  if (family === undefined || !families.includes(family)) return undefined;
  // In a walk over rows values of rows and of elements stand beside each other; elsewhere one invocation stores at one index.
  if (family !== 'row' && !roots.every((root) => isAlike(root, one))) return undefined;
  if (!roots.every((root) => followsFromAnchor(root, cone))) return undefined;
  if (kernels.bindings(cone) > kernels.maxBindings) return undefined;
  if (!roots.every((root) => isMetInPlace(root, cone, flow))) return undefined;
  return reach.returns([one, other]) ? undefined : roots;
}

/** Values of one shape that a map may store together. */
function isAlike(left: Node, right: Node): boolean {
  return sameShape(outputOf(left).type.shape, outputOf(right).type.shape);
}

/** Takes out what only the kernel reads that stores it. */
function dropUnread(kernels: Kernels, leaders: readonly Node[]): void {
  const { flow, groups, stored } = kernels;
  const read = new Set(leaders.flatMap((leader) => coneOfLeader(kernels, leader).reads.map(({ node }) => node)));
  for (const leader of leaders) {
    for (const root of groups.of(leader)) {
      const roots = groups.of(leader).filter((other) => other !== root);
      if (read.has(root) || flow.isResult(root) || roleOf(root) === 'update' || roots.length === 0) continue;
      stored.delete(root);
      groups.join(roots);
    }
  }
}

/** Joins kernels until no two of those that share a value can be joined. */
export function shareKernels(kernels: Kernels): void {
  const { flow, groups } = kernels;
  const reach = new Reach(kernels);
  const leaders = () => {
    const all = flow.graph.nodes.filter((node) => roleOf(node) !== 'stored' && kernels.isStored(node));
    return [...new Set(all.filter((node) => flow.isLive(node)).map((node) => groups.leader(node)))];
  };
  const join = (one: Node, other: Node): boolean => {
    const roots = merged(kernels, reach, one, other);
    if (!roots) return false;
    groups.join(roots);
    reach.forget();
    return true;
  };
  // What is computed on the way to a result.
  for (const leader of leaders()) {
    for (const source of reach.sources(leader)) {
      if (groups.leader(source) === source && join(source, leader)) break;
    }
  }
  // What is found in the same numbers.
  const readers = new Map<Node, Node[]>();
  for (const leader of leaders()) {
    const cone = coneOfLeader(kernels, leader);
    if (skeletonOf(cone) !== 'row') continue;
    for (const { node } of cone.reads) readers.set(node, [...(readers.get(node) ?? []), leader]);
  }
  for (const list of readers.values()) {
    for (const [at, leader] of list.entries()) {
      for (const other of list.slice(at + 1)) {
        const [one, two] = [groups.leader(leader), groups.leader(other)];
        if (one !== two) join(one, two);
      }
    }
  }
  dropUnread(kernels, leaders());
}
