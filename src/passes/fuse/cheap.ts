/**
 * Which expressions are better repeated in each reader than stored and read back.
 */
import type { Node } from '../../ir/graph.ts';
import { roleOf } from './roles.ts';

/** Elementwise ops of an expression that is still cheap: enough for a padding mask with its compare and select. */
const cheapOps = 6;

/** A short expression of things that lie in buffers from the start, with no lookup: a mask, a scaled parameter. */
export function isCheap(node: Node, stored: ReadonlySet<Node>): boolean {
  return costFromLeaves(node, stored, cheapOps) <= cheapOps;
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
