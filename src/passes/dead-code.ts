/**
 * Drops nodes that no result depends on. Graph inputs stay: they are the entry's parameters.
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../ir/graph.ts';
import { unreachable } from '../support/error.ts';
import { copyNode, isPure, type Pass } from './pass.ts';

function liveNodes(graph: Graph): ReadonlySet<Node> {
  const live = new Set<Node>(graph.results.map((result) => result.value.node));
  for (const node of [...graph.nodes].reverse()) {
    if (!isPure(node)) live.add(node);
    if (live.has(node)) for (const input of node.inputs) live.add(input.node);
  }
  return live;
}

export const deadCode: Pass = {
  name: 'dead-code',
  summary: 'drops nodes that no result depends on',
  run(graph) {
    const live = liveNodes(graph);
    const fired = graph.nodes.length - live.size;
    if (fired === 0) return { graph, fired };
    const builder = new GraphBuilder();
    const values = new Map<Value, Value>();
    const mapped = (value: Value): Value => values.get(value) ?? unreachable('a live node reads a dead value');
    for (const node of graph.nodes) {
      if (!live.has(node)) continue;
      const copy = copyNode(builder, node, node.inputs.map(mapped));
      node.outputs.forEach((output, index) => {
        values.set(output, copy.outputs[index] ?? unreachable('copies have the same outputs'));
      });
    }
    const results = graph.results.map((result) => ({ name: result.name, value: mapped(result.value) }));
    return { graph: builder.finish(graph.name, results), fired };
  },
};
