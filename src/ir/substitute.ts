/**
 * Putting sizes in for runtime dims. Every proof that lowering made for the declared range of a dim holds for each size in
 * it, so graphs are copied with their dims substituted and nothing is elaborated again.
 */
import { type AttributeValue, type Graph, GraphBuilder, type Result, type Value } from './graph.ts';
import { type Dim, substituteDim } from './symbolic.ts';
import type { TensorType } from './types.ts';

export type Sizes = ReadonlyMap<string, Dim>;

function isDim(value: AttributeValue): value is Dim {
  return typeof value === 'object' && 'terms' in value;
}

function substituteAttribute(value: AttributeValue, sizes: Sizes): AttributeValue {
  if (typeof value !== 'object') return value;
  return isDim(value) ? substituteDim(value, sizes) : value.map((item) => substituteAttribute(item, sizes));
}

export function substituteType(type: TensorType, sizes: Sizes): TensorType {
  return { dtype: type.dtype, shape: type.shape.map((dim) => substituteDim(dim, sizes)) };
}

/** Writes a graph with these sizes put in to `builder`; gives its results there. */
export function copyGraph(builder: GraphBuilder, graph: Graph, sizes: Sizes): readonly Result[] {
  const values = new Map<Value, Value>();
  const moved = (value: Value): Value => values.get(value) ?? value;
  for (const node of graph.nodes) {
    const attributes = Object.fromEntries(
      Object.entries(node.attributes).map(([key, value]) => [key, substituteAttribute(value, sizes)]),
    );
    const types = node.outputs.map((output) => substituteType(output.type, sizes));
    const { span, label } = node;
    const region = node.region && substituteGraph(node.region, node.region.name, sizes);
    const copy = builder.add(node.op, node.inputs.map(moved), types, {
      attributes,
      span,
      label,
      ...(region ? { region } : {}),
    });
    node.outputs.forEach((output, at) => {
      const made = copy.outputs[at];
      if (made) values.set(output, made);
    });
  }
  return graph.results.map((result) => ({ name: result.name, value: moved(result.value) }));
}

export function substituteGraph(graph: Graph, name: string, sizes: Sizes): Graph {
  const builder = new GraphBuilder();
  return builder.finish(name, copyGraph(builder, graph, sizes));
}
