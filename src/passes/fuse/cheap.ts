/**
 * Which expressions are better repeated in each reader than stored and read back.
 */
import type { Node } from '../../ir/graph.ts';
import { type DimRange, dimBounds, productOfDims } from '../../ir/symbolic.ts';
import { roleOf } from './roles.ts';

/** Elementwise ops of an expression that is still cheap: enough for a padding mask with its compare and select. */
const cheapOps = 6;

/**
 * Elements that are few whatever the sizes of a call: to compute them anew in every reader takes less than a kernel takes to start. Sines
 * and cosines of the positions of a decode step are such.
 */
const fewElements = 1024;
/** Elementwise ops of an expression for few elements. */
const opsOfFew = 32;

export type Ranges = ReadonlyMap<string, DimRange>;

/** A short expression of things that lie in buffers from the start, with no lookup: a mask, a scaled parameter; a longer one of few elements. */
export function isCheap(node: Node, stored: ReadonlySet<Node>, ranges: Ranges | undefined): boolean {
  const most = ranges && dimBounds(productOfDims(node.outputs[0]?.type.shape ?? []), ranges).maximum;
  const limit = most !== undefined && most <= fewElements ? opsOfFew : cheapOps;
  return costFromLeaves(node, stored, limit) <= limit;
}

/** Elementwise ops, counted once per use; the search ends when there are more than `limit`. */
function costFromLeaves(node: Node, stored: ReadonlySet<Node>, limit: number): number {
  const role = roleOf(node);
  if (role === 'stored' || role === 'inline') return 0;
  if (stored.has(node) || (role !== 'view' && role !== 'elementwise')) return Number.POSITIVE_INFINITY;
  let cost = role === 'elementwise' ? 1 : 0;
  for (const input of node.inputs) {
    if (cost > limit) break;
    cost += costFromLeaves(input.node, stored, limit - cost);
  }
  return cost;
}
