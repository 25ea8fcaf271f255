/**
 * The cone of a value: everything that is computed anew when the value is, down to values that lie in buffers. One cone
 * becomes one kernel, so this file says which cones a kernel family can hold.
 *
 * Cones of different values may overlap: views are computed in every reader. What may be computed twice is decided in
 * materialize.ts.
 */
import type { Node, Value } from '../../ir/graph.ts';
import { definitionOf } from '../pass.ts';
import {
  anchorSkeleton,
  isBijectiveView,
  isConversion,
  isElementwiseUpdate,
  isTable,
  isTileOperand,
  type KernelSkeleton,
  outputOf,
  overwritten,
  roleOf,
} from './roles.ts';
import { rowDomain } from './row-domain.ts';

export interface Cone {
  /** The last of the roots. */
  readonly root: Node;
  /** What the kernel stores: one node, or several updates that share a kernel. */
  readonly roots: readonly Node[];
  /** What the kernel computes, inputs before readers; the root is last. */
  readonly nodes: ReadonlySet<Node>;
  /** Stored values that it reads, in the order in which a walk from the root meets them. */
  readonly reads: readonly Value[];
}

/** `isStored` says where to stop; the root itself is always computed. */
export function coneOf(root: Node, isStored: (node: Node) => boolean): Cone {
  return coneOfAll([root], root, isStored);
}

/** The cone of several roots together. */
export function coneOfAll(roots: readonly Node[], root: Node, stops: (node: Node) => boolean): Cone {
  const nodes = new Set<Node>();
  const isStored = (node: Node) => stops(node) && !(roots.length > 1 && roots.includes(node));
  const reads = new Set<Value>();
  const visit = (node: Node): void => {
    for (const input of node.inputs) {
      if (isStored(input.node)) reads.add(input);
      else if (!nodes.has(input.node)) visit(input.node);
    }
    nodes.add(node);
  };
  for (const each of roots) if (!nodes.has(each)) visit(each);
  return { root, roots, nodes, reads: [...reads] };
}

/** The kernel family that can compute the cone; undefined when none can. */
export function skeletonOf(cone: Cone): KernelSkeleton | undefined {
  let anchor: Node | undefined;
  let reductions = 0;
  for (const node of cone.nodes) {
    const role = roleOf(node);
    if (role === 'foreign') return undefined;
    if ((role === 'stored' || role === 'update') && !cone.roots.includes(node)) return undefined;
    if (role === 'reduction') reductions++;
    if (role === 'anchor') {
      if (anchor) return undefined;
      anchor = node;
    }
    if (node.inputs.some((input, operand) => isTable(node, operand) && cone.nodes.has(input.node))) return undefined;
  }
  if (roleOf(cone.root) === 'update') {
    if (anchor || reductions > 0 || straysOf(cone).length > 0) return undefined;
    return isElementwiseUpdate(cone.root) ? 'map' : 'append';
  }
  if (anchor) {
    if (reductions > 0 || !fitsAround(anchor, cone)) return undefined;
    return anchorSkeleton(anchor);
  }
  if (reductions > 0) return cone.roots.every((root) => rowDomain(outputOf(root), cone.nodes)) ? 'row' : undefined;
  return 'map';
}

/**
 * What an update may not compute itself: an update reads what it overwrites, and what its kernel gives others to write, only
 * where it writes it, since at another index another invocation may have been there before. So what looks elsewhere must lie
 * in a buffer of its own: views and lookups at the edge of the ops that stay at one index.
 */
export function straysOf(cone: Cone): readonly Node[] {
  const written = new Set(cone.roots.map(overwritten));
  const strays = new Set<Node>();
  const looked = new Map<Node, boolean>();
  /** Whether anything under the node depends on a buffer that the kernel writes. */
  const meetsWritten = (node: Node): boolean => {
    if (written.has(node) || (cone.nodes.has(node) && roleOf(node) === 'update')) return true;
    if (!cone.nodes.has(node)) return false;
    const known = looked.get(node);
    if (known !== undefined) return known;
    const meets = node.inputs.some((input) => meetsWritten(input.node));
    looked.set(node, meets);
    return meets;
  };
  const visited = new Set<Node>();
  const visit = (node: Node): void => {
    if (visited.has(node) || !cone.nodes.has(node)) return;
    visited.add(node);
    const stays = isElementwiseUpdate(node) || roleOf(node) === 'elementwise';
    if (stays) for (const input of node.inputs) visit(input.node);
    else if (meetsWritten(node)) strays.add(node);
  };
  for (const root of cone.roots) {
    const { updates } = definitionOf(root);
    for (const [operand, input] of root.inputs.entries()) {
      if (operand === updates) continue;
      // New rows of a state lie at other places than what they are made of.
      if (isElementwiseUpdate(root)) visit(input.node);
      else if (meetsWritten(input.node)) strays.add(input.node);
    }
  }
  return [...strays];
}

/**
 * Around an anchor: tile operands come through views and conversions only; behind it stands a chain of elementwise ops at the
 * anchor's own index, and behind that, views that only change where an element is stored.
 */
function fitsAround(anchor: Node, cone: Cone): boolean {
  const inside = (value: Value) => cone.nodes.has(value.node);
  const behind = new Set<Node>([anchor]);
  for (const node of cone.nodes) if (node.inputs.some((input) => behind.has(input.node))) behind.add(node);

  const tailOf = (root: Node): Node => {
    const [input] = root.inputs;
    return root !== anchor && isBijectiveView(root) && input && inside(input) ? tailOf(input.node) : root;
  };
  const chained = (node: Node): boolean => {
    if (node === anchor) return true;
    if (roleOf(node) !== 'elementwise') return false;
    return node.inputs.every((input) => (behind.has(input.node) ? chained(input.node) : beside(input)));
  };
  const beside = (value: Value): boolean => {
    if (!inside(value)) return true;
    if (behind.has(value.node)) return false;
    const role = roleOf(value.node);
    return (role === 'inline' || role === 'view' || role === 'elementwise') && value.node.inputs.every(beside);
  };
  const tiled = (value: Value): boolean => {
    if (!inside(value)) return true;
    const role = roleOf(value.node);
    const fits = role === 'view' || role === 'inline' || isConversion(value.node);
    return fits && value.node.inputs.every(tiled);
  };
  const operandsFit = anchor.inputs.every((input, operand) =>
    isTileOperand(anchor, operand) ? tiled(input) : beside(input),
  );
  return operandsFit && cone.roots.every((root) => chained(tailOf(root)));
}
