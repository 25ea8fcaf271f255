/**
 * From an anchor (a contraction, an attention) to the results of its region: which views stand between, and how an
 * accumulator is finished and stored. What follows the anchor is pulled from the accumulator at the anchor's own index.
 */
import { type Graph, type Node, onlyOutput, type Value } from '../../ir/graph.ts';
import type { Skeleton } from '../../ir/op.ts';
import { hasTrait, opNamed } from '../../ir/ops/index.ts';
import { unreachable } from '../../support/error.ts';
import type { Draft } from './kernel.ts';
import { UnsupportedOp } from './regions.ts';
import type { Expression, IndexVector, Override } from './values.ts';
import { keepsElements, pushIndex } from './views.ts';

/** A result of the region and the views on the way to it, in the order of the data. */
export interface Target {
  readonly result: number;
  readonly views: readonly Node[];
}

function viewsBetween(anchor: Value, value: Value): readonly Node[] | undefined {
  if (value === anchor) return [];
  const { node } = value;
  const isView = keepsElements(node);
  if (!isView && !hasTrait(node, 'elementwise')) return undefined;
  for (const operand of node.inputs) {
    const views = viewsBetween(anchor, operand);
    if (views) return isView ? [...views, node] : views;
  }
  return undefined;
}

/**
 * Undefined when some result does not follow from the anchor through ops that keep every element.
 *
 * @param others numbers of results that are stored in some other way
 */
export function targetsOf(region: Graph, anchor: Node, others: readonly number[] = []): readonly Target[] | undefined {
  const targets: Target[] = [];
  for (const [result, { value }] of region.results.entries()) {
    if (others.includes(result)) continue;
    const views = viewsBetween(onlyOutput(anchor), value);
    if (!views) return undefined;
    targets.push({ result, views });
  }
  return targets;
}

/** The one node of a region that a kernel family is built around, and where its results go. */
export function anchorOf(region: Graph, skeleton: Skeleton): { anchor: Node; targets: readonly Target[] } {
  const found = region.nodes.filter((node) => opNamed(node.op).skeleton === skeleton);
  const [anchor] = found;
  if (!anchor || found.length !== 1) return unreachable(`a kernel of ${found.length} nodes of kind ${skeleton}`);
  const targets = targetsOf(region, anchor);
  if (!targets) throw new UnsupportedOp(anchor, `\`${anchor.op}\` whose result is not kept whole`);
  return { anchor, targets };
}

/** Finishes one accumulator (or four neighbours): computes what follows at the anchor's index, and stores it. */
export type Finish = (index: IndexVector, accumulator: Expression) => void;

export function keyOf(index: IndexVector): string {
  return index.map((part) => part.key).join(', ');
}

export function finisher(draft: Draft, anchor: Node, targets: readonly Target[]): Finish {
  const { walker, region } = draft;
  /** What the walker must know while one accumulator is finished: views lead back to it by the index they came from. */
  const known = new Map<string, Override>();
  walker.addOverride((value, index) =>
    known.size === 0 ? undefined : known.get(`${value.node.id}.${value.output} ${keyOf(index)}`),
  );
  return (start, accumulator) => {
    known.clear();
    known.set(`${anchor.id}.0 ${keyOf(start)}`, { expression: accumulator });
    for (const { result, views } of targets) {
      let index = start;
      for (const view of views) {
        const pushed = pushIndex(walker.algebra, view, index) ?? index;
        const [operand] = view.inputs;
        if (operand) known.set(`${view.id}.0 ${keyOf(pushed)}`, { value: operand, index });
        index = pushed;
      }
      const value = region.results[result]?.value;
      if (value) draft.store(result, index, walker.at(value, index));
    }
    known.clear();
  };
}
