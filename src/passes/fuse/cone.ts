/**
 * The cone of a value: everything that is computed anew when the value is, down to values that lie in buffers. One cone
 * becomes one kernel, so this file says which cones a kernel family can hold.
 *
 * Cones of different values may overlap: views are computed in every reader. What may be computed twice is decided in
 * materialize.ts.
 */
import type { Node, Value } from '../../ir/graph.ts';
import {
  anchorSkeleton,
  isBijectiveView,
  isCast,
  isTable,
  isTileOperand,
  type KernelSkeleton,
  outputOf,
  roleOf,
} from './roles.ts';
import { rowDomain } from './row-domain.ts';

export interface Cone {
  readonly root: Node;
  /** What the kernel computes, inputs before readers; the root is last. */
  readonly nodes: ReadonlySet<Node>;
  /** Stored values that it reads, in the order in which a walk from the root meets them. */
  readonly reads: readonly Value[];
}

/** `isStored` says where to stop; the root itself is always computed. */
export function coneOf(root: Node, isStored: (node: Node) => boolean): Cone {
  const nodes = new Set<Node>();
  const reads = new Set<Value>();
  const visit = (node: Node): void => {
    for (const input of node.inputs) {
      if (isStored(input.node)) reads.add(input);
      else if (!nodes.has(input.node)) visit(input.node);
    }
    nodes.add(node);
  };
  visit(root);
  return { root, nodes, reads: [...reads] };
}

/** The kernel family that can compute the cone; undefined when none can. */
export function skeletonOf(cone: Cone): KernelSkeleton | undefined {
  let anchor: Node | undefined;
  let reductions = 0;
  for (const node of cone.nodes) {
    const role = roleOf(node);
    if (role === 'foreign') return undefined;
    if ((role === 'stored' || role === 'update') && node !== cone.root) return undefined;
    if (role === 'reduction') reductions++;
    if (role === 'anchor') {
      if (anchor) return undefined;
      anchor = node;
    }
    if (node.inputs.some((input, operand) => isTable(node, operand) && cone.nodes.has(input.node))) return undefined;
  }
  if (roleOf(cone.root) === 'update') return anchor || reductions > 0 ? undefined : 'append';
  if (anchor) {
    if (reductions > 0 || !fitsAround(anchor, cone)) return undefined;
    return anchorSkeleton(anchor);
  }
  if (reductions > 0) return rowDomain(outputOf(cone.root), cone.nodes) ? 'row' : undefined;
  return 'map';
}

/**
 * Around an anchor: tile operands come through views and casts only; behind it stands a chain of elementwise ops at the
 * anchor's own index, and behind that, views that only change where an element is stored.
 */
function fitsAround(anchor: Node, cone: Cone): boolean {
  const inside = (value: Value) => cone.nodes.has(value.node);
  const behind = new Set<Node>([anchor]);
  for (const node of cone.nodes) if (node.inputs.some((input) => behind.has(input.node))) behind.add(node);

  let tail = cone.root;
  for (
    let input = tail.inputs[0];
    tail !== anchor && isBijectiveView(tail) && input && inside(input);
    input = tail.inputs[0]
  ) {
    tail = input.node;
  }
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
    const fits = roleOf(value.node) === 'view' || isCast(value.node);
    return fits && value.node.inputs.every(tiled);
  };
  const operandsFit = anchor.inputs.every((input, operand) =>
    isTileOperand(anchor, operand) ? tiled(input) : beside(input),
  );
  return operandsFit && chained(tail);
}
