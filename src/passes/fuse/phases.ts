/**
 * Takes out the barriers that are left: those with a phase, which keep apart what is computed again (recompute.ts). From here on
 * a number says of each node in which phase it is computed: the greatest of the barriers that it comes after.
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { unreachable } from '../../support/error.ts';
import { copyNode } from '../pass.ts';

export interface Phases {
  readonly graph: Graph;
  /** 0 where no barrier stands before. */
  phaseOf(node: Node): number;
}

export function separatePhases(graph: Graph): Phases {
  if (!graph.nodes.some(({ op }) => op === 'barrier')) return { graph, phaseOf: () => 0 };
  const builder = new GraphBuilder();
  const values = new Map<Value, { readonly value: Value; readonly phase: number }>();
  const phases = new Map<Node, number>();
  const mapped = (value: Value) => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map(mapped);
    const [source] = inputs;
    const isBarrier = node.op === 'barrier' && source !== undefined;
    const own = isBarrier ? numberOf(node.attributes, 'phase') : 0;
    const phase = Math.max(own, ...inputs.map((input) => input.phase));
    const made = isBarrier ? [source.value] : copied(builder, node, inputs);
    node.outputs.forEach((output, at) => {
      const value = made[at] ?? unreachable(`\`${node.op}\` lost output ${at}`);
      values.set(output, { value, phase });
      if (!isBarrier) phases.set(value.node, phase);
    });
  }
  const results = graph.results.map(({ name, value }) => ({ name, value: mapped(value).value }));
  return { graph: builder.finish(graph.name, results), phaseOf: (node) => phases.get(node) ?? 0 };
}

function copied(builder: GraphBuilder, node: Node, inputs: readonly { readonly value: Value }[]): readonly Value[] {
  const operands = inputs.map(({ value }) => value);
  return copyNode(builder, node, operands).outputs;
}
