/**
 * Who reads whom: readers, immediate post-dominators and dependence of a graph's nodes.
 *
 * `p` post-dominates `n` when every way from `n` to a result goes through `p`: then everything between them can be
 * computed inside one kernel that writes only `p`.
 */
import type { Graph, Node } from '../../ir/graph.ts';
import { hasTrait } from '../../ir/ops/index.ts';
import { unreachable } from '../../support/error.ts';

export interface Flow {
  readonly graph: Graph;
  /** Nodes that the results or an effect need; everything else is as if it were not there. */
  isLive(node: Node): boolean;
  isResult(node: Node): boolean;
  /** Live nodes that read it, in graph order, each once. */
  readers(node: Node): readonly Node[];
  /** The nearest node that all ways to a result pass; undefined when there is none (the way ends or parts). */
  postDominator(node: Node): Node | undefined;
  postDominates(dominator: Node, node: Node): boolean;
  /** Whether `node` depends on `source` (or is it). */
  dependsOn(node: Node, source: Node): boolean;
}

export function flowOf(graph: Graph): Flow {
  const position = new Map(graph.nodes.map((node, index) => [node, index]));
  const at = (node: Node): number => position.get(node) ?? unreachable('a node of another graph');
  const results = new Set(graph.results.map((result) => result.value.node));
  const readers = new Map<Node, Node[]>();
  /** Where ways end that must be gone. */
  const ends = new Set<Node>([...results, ...graph.nodes.filter((node) => hasTrait(node, 'effect'))]);
  const live = new Set<Node>(ends);
  const nearest = new Map<Node, Node | undefined>();

  const join = (left: Node | undefined, right: Node | undefined): Node | undefined => {
    let a = left;
    let b = right;
    while (a !== b) {
      if (a === undefined || b === undefined) return undefined;
      if (at(a) < at(b)) a = nearest.get(a);
      else b = nearest.get(b);
    }
    return a;
  };

  for (const node of [...graph.nodes].reverse()) {
    if (!live.has(node)) continue;
    for (const input of new Set(node.inputs.map((value) => value.node))) {
      live.add(input);
      const list = readers.get(input);
      if (list) list.unshift(node);
      else readers.set(input, [node]);
    }
    const [first, ...others] = readers.get(node) ?? [];
    nearest.set(node, ends.has(node) ? undefined : others.reduce<Node | undefined>(join, first));
  }

  /** Per source; asked for nodes not far behind it, so the search goes backwards and stops at the source's position. */
  const dependents = new Map<Node, Map<Node, boolean>>();
  const dependsOn = (node: Node, source: Node): boolean => {
    if (node === source) return true;
    if (at(node) < at(source)) return false;
    const answers = dependents.get(source) ?? new Map<Node, boolean>();
    dependents.set(source, answers);
    const known = answers.get(node);
    if (known !== undefined) return known;
    const answer = node.inputs.some((value) => dependsOn(value.node, source));
    answers.set(node, answer);
    return answer;
  };

  return {
    graph,
    isLive: (node) => live.has(node),
    isResult: (node) => results.has(node),
    readers: (node) => readers.get(node) ?? [],
    postDominator: (node) => nearest.get(node),
    postDominates(dominator, node) {
      for (let up: Node | undefined = node; up !== undefined; up = nearest.get(up)) if (up === dominator) return true;
      return false;
    },
    dependsOn,
  };
}
