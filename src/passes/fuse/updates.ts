/**
 * Updates that share a kernel: the weights and the moments of an optimizer are read once, written once, in one dispatch.
 *
 * Updates may share when they are elementwise over one shape and everything between them is elementwise too: then one
 * invocation computes all of them at its index, before it stores any. Three things forbid it: a way from one to the other
 * through another kernel, a way back through a kernel that others share, and somebody who must see the old value of one
 * after another was written.
 *
 * Not here: whether one kernel can bind what they read (materialize.ts), the order of kernels (order.ts).
 */
import type { Node } from '../../ir/graph.ts';
import { sameShape } from '../../ir/types.ts';
import type { Flow } from './flow.ts';
import { isElementwiseUpdate, outputOf, overwritten, roleOf } from './roles.ts';

/** Groups of updates; each has at least one, in graph order. */
export function updateGroups(flow: Flow): readonly (readonly Node[])[] {
  const groups: (readonly Node[])[] = [];
  let left = flow.graph.nodes.filter(isElementwiseUpdate);
  for (let [first] = left; first !== undefined; [first] = left) {
    const related = relatives(first, left);
    // All at once first: what stands between two of them may belong to a third.
    const group = mayShare(related, groups, flow) ? related : [first];
    for (const node of related) {
      if (!group.includes(node) && mayShare([...group, node], groups, flow)) group.push(node);
    }
    groups.push(group);
    left = left.filter((node) => !group.includes(node));
  }
  return groups;
}

/** Updates of the shape of `first` that look at the same values, or at each other's, directly or through others of them. */
function relatives(first: Node, updates: readonly Node[]): Node[] {
  const found = new Set([first]);
  const values = new Set(valuesOf(first));
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const update of updates) {
      const own = valuesOf(update);
      if (found.has(update) || !sameShape(outputOf(update).type.shape, outputOf(first).type.shape)) continue;
      if (![...own].some((value) => values.has(value))) continue;
      found.add(update);
      for (const value of own) values.add(value);
    }
  }
  return updates.filter((update) => found.has(update));
}

/** What the expression of an update is made of, element by element: the update, ops, and what those read. */
function valuesOf(update: Node): ReadonlySet<Node> {
  const values = new Set<Node>();
  const visit = (node: Node): void => {
    const role = roleOf(node);
    // Numbers and rates are shared by strangers too.
    if (values.has(node) || role === 'view' || role === 'inline') return;
    values.add(node);
    if (role === 'elementwise' || isElementwiseUpdate(node)) for (const input of node.inputs) visit(input.node);
  };
  visit(update);
  return values;
}

function mayShare(updates: readonly Node[], groups: readonly (readonly Node[])[], flow: Flow): boolean {
  if (new Set(updates.map(overwritten)).size < updates.length) return false;
  const isInside = insideOf(updates, flow);
  return (
    updates.every((update) => isReachedInside(update, updates, groups, isInside)) &&
    !isSeenBetween(updates, isInside, flow)
  );
}

/** Whether a node is computed in the kernel of these updates and nowhere else. */
function insideOf(updates: readonly Node[], flow: Flow): (node: Node) => boolean {
  const known = new Map<Node, boolean>(updates.map((update) => [update, true]));
  const isInside = (node: Node): boolean => {
    const found = known.get(node);
    if (found !== undefined) return found;
    const answer = roleOf(node) === 'elementwise' && !flow.isResult(node) && flow.readers(node).every(isInside);
    known.set(node, answer);
    return answer;
  };
  return isInside;
}

/** Whether all ways back from `start` to the others stay inside; members of other groups stand and fall together. */
function isReachedInside(
  start: Node,
  updates: readonly Node[],
  groups: readonly (readonly Node[])[],
  isInside: (node: Node) => boolean,
): boolean {
  const visited = { inside: new Set<Node>(), outside: new Set<Node>() };
  const visit = (current: Node, isOutside: boolean): boolean => {
    if (current !== start && updates.includes(current)) return !isOutside;
    const seen = visited[isOutside ? 'outside' : 'inside'];
    if (seen.has(current)) return true;
    seen.add(current);
    const others = isElementwiseUpdate(current) ? (groups.find((group) => group.includes(current)) ?? []) : [];
    const left = isOutside || !isInside(current);
    return [current, ...others].every((each) => each.inputs.every((input) => visit(input.node, left)));
  };
  return visit(start, false);
}

/** Whether somebody outside reads what one of the updates overwrites, but only after another one of them. */
function isSeenBetween(updates: readonly Node[], isInside: (node: Node) => boolean, flow: Flow): boolean {
  return updates.some((update) =>
    flow
      .readers(overwritten(update))
      .some((reader) => !isInside(reader) && updates.some((other) => flow.dependsOn(reader, other))),
  );
}

/** Which stored nodes share a kernel. */
export class Groups {
  readonly #groups = new Map<Node, readonly Node[]>();

  constructor(groups: readonly (readonly Node[])[]) {
    for (const group of groups) this.#keep(group);
  }

  #keep(group: readonly Node[]): void {
    for (const node of group) this.#groups.set(node, group);
  }

  of(root: Node): readonly Node[] {
    return this.#groups.get(root) ?? [root];
  }

  /** The node that stands for the kernel of a root. */
  leader(root: Node): Node {
    return this.of(root)[0] ?? root;
  }

  /** Makes one kernel of these nodes and all that share one with them. */
  join(roots: readonly Node[]): void {
    this.#keep(roots);
  }

  /** Gives the last of the kernel's nodes a kernel of its own; a node of either kernel. */
  dissolve(root: Node): readonly Node[] {
    const group = this.of(root);
    const parts = [group.slice(0, -1), group.slice(-1)];
    for (const part of parts) this.#keep(part);
    return parts.flatMap((part) => part.slice(0, 1));
  }

  lists(): readonly (readonly Node[])[] {
    return [...new Set(this.#groups.values())].filter((group) => group.length > 1);
  }
}
