/**
 * Updates beside each other become one kernel: the keys and the values that a layer appends to its states are rows of one shape,
 * written by one dispatch instead of two.
 *
 * The later one takes the earlier one in, so nothing may read what the earlier one wrote before the later one runs. Neither
 * depends on the other, as a reader would stand between them.
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import { opNamed } from '../../ir/ops/index.ts';
import { sameType, type TensorType } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import { copyNode } from '../pass.ts';
import { maxBindings } from './materialize.ts';
import type { KernelSkeleton } from './roles.ts';

const family: KernelSkeleton = 'append';

/** Types of what an update writes and where: of the operands that are not the one it writes into. */
function rowTypes(node: Node): readonly TensorType[] {
  const update = node.region?.results[0]?.value.node ?? unreachable('a kernel without a region');
  const { updates } = opNamed(update.op);
  return update.inputs.filter((_, operand) => operand !== updates).map(({ type }) => type);
}

/** Whether one walk over the rows serves both, and a device can bind what both touch. */
function fitTogether(first: Node, second: Node): boolean {
  const others = rowTypes(second);
  const sameRows = rowTypes(first).every((type, at) => {
    const other = others[at];
    return other !== undefined && sameType(type, other);
  });
  const outputs = first.outputs.length + second.outputs.length;
  // What is written into is bound once, as an output.
  const reads = new Set([...first.inputs, ...second.inputs]).size - outputs;
  return sameRows && reads + outputs <= maxBindings;
}

/** One region that computes the results of several; `inputs` are the values of the outer graph that it reads. */
function joined(nodes: readonly Node[]): { readonly region: Graph; readonly inputs: readonly Value[] } {
  const builder = new GraphBuilder();
  const inputs = [...new Set(nodes.flatMap((node) => node.inputs))];
  const outer = new Map(inputs.map((value, at) => [value, builder.input(`i${at}`, value.type)]));
  const results = nodes.flatMap((node) => {
    const region = node.region ?? unreachable('a kernel without a region');
    const values = new Map<Value, Value>();
    const at = (value: Value) => values.get(value) ?? unreachable('a region reads a value that is not its own');
    region.inputs.forEach((input, position) => {
      const value = node.inputs[position];
      const known = value && outer.get(value);
      const [output] = input.outputs;
      if (known && output) values.set(output, known);
    });
    for (const inner of region.nodes) {
      if (inner.op === 'input') continue;
      const copy = copyNode(builder, inner, inner.inputs.map(at));
      inner.outputs.forEach((output, index) => {
        values.set(output, copy.outputs[index] ?? unreachable('copies have the same outputs'));
      });
    }
    return region.results.map(({ value }) => at(value));
  });
  return {
    region: builder.finish(
      'region',
      results.map((value, at) => ({ name: `o${at}`, value })),
    ),
    inputs,
  };
}

/** Which earlier nodes every node takes in. */
function partners(graph: Graph): ReadonlyMap<Node, readonly Node[]> {
  const taken = new Map<Node, readonly Node[]>();
  let open: Node[] = [];
  for (const node of graph.nodes) {
    if (open.some((earlier) => node.inputs.some((value) => value.node === earlier))) open = [];
    if (node.attributes.skeleton !== family) continue;
    const [earlier] = open;
    if (earlier && fitTogether(earlier, node)) {
      taken.set(node, [earlier]);
      open = [];
    } else open = [node];
  }
  return taken;
}

/** `fired` counts the kernels that another one took in. */
export function joinSiblings(graph: Graph): { readonly graph: Graph; readonly fired: number } {
  const taken = partners(graph);
  if (taken.size === 0) return { graph, fired: 0 };
  const gone = new Set([...taken.values()].flat());
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value) => values.get(value) ?? unreachable('a kernel reads what is not computed yet');
  const keep = (outputs: readonly Value[], written: Node) => {
    outputs.forEach((output, at) => {
      values.set(output, written.outputs[at] ?? unreachable('kernels keep their outputs'));
    });
  };
  for (const node of graph.nodes) {
    if (gone.has(node)) continue;
    const earlier = taken.get(node);
    if (!earlier) {
      keep(node.outputs, copyNode(builder, node, node.inputs.map(mapped)));
      continue;
    }
    const all = [...earlier, node];
    const outputs = all.flatMap((one) => one.outputs);
    const { region, inputs } = joined(all);
    const written = builder.add(
      node.op,
      inputs.map(mapped),
      outputs.map((output) => output.type),
      { attributes: node.attributes, region, span: node.span, label: node.label },
    );
    keep(outputs, written);
  }
  const results = graph.results.map(({ name, value }) => ({ name, value: mapped(value) }));
  return { graph: builder.finish(graph.name, results), fired: gone.size };
}
