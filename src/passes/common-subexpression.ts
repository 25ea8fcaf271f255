/**
 * Merges nodes that compute the same thing: same op, attributes and inputs. One forward walk with a table is enough,
 * because inputs have been merged before their readers are looked at.
 */
import type { Node, Value } from '../ir/graph.ts';
import { printType } from '../ir/types.ts';
import { attributesKey, hasTrait, isPure, type Pass, rewriteGraph } from './pass.ts';

function key(node: Node, inputs: readonly Value[]): string {
  const names = inputs.map((value) => `${value.node.id}.${value.output}`);
  if (hasTrait(node, 'commutative')) names.sort();
  const types = node.outputs.map((output) => printType(output.type));
  return [node.op, attributesKey(node.attributes), names.join(','), types.join(',')].join('|');
}

export const commonSubexpression: Pass = {
  name: 'common-subexpression',
  summary: 'computes equal expressions once',
  run(graph, context) {
    const known = new Map<string, readonly Value[]>();
    const result = rewriteGraph(graph, context, (node, inputs, { builder }) => {
      // Regions are compared by nobody: fused nodes come after this pass.
      if (!isPure(node) || node.region) return undefined;
      const name = key(node, inputs);
      const earlier = known.get(name);
      if (earlier) return earlier;
      const copy = builder.add(
        node.op,
        inputs,
        node.outputs.map((output) => output.type),
        { attributes: node.attributes, span: node.span, label: node.label },
      );
      known.set(name, copy.outputs);
      return copy.outputs;
    });
    // The rewrite answers for every node, so its own count says nothing: count what got fewer.
    const fired = graph.nodes.length - result.graph.nodes.length;
    return { graph: result.graph, fired };
  },
};
