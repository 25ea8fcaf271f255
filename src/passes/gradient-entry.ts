/**
 * An entry that gives, beside the results of another, the gradients of `sum(result * cotangent)` of one of them with respect
 * to inputs and weights: how gradients are compared with recorded ones.
 */
import { createEmitter } from '../ir/emit.ts';
import { type Entry, type Graph, GraphBuilder, type Node, type Program, type Value } from '../ir/graph.ts';
import type { InferContext } from '../ir/op.ts';
import { stringsOf } from '../ir/ops/shared.ts';
import { copyGraph } from '../ir/substitute.ts';
import { unreachable } from '../support/error.ts';
import { differentiate } from './autodiff.ts';

const cotangent = 'cotangent';
const loss = ':loss';

/** Name of the result that has the gradient of an input or a weight. */
function gradientName(name: string): string {
  return `grad.${name}`;
}

/** The graph with the loss as one more result, and an input for the cotangent. */
function withLoss(graph: Graph, result: string, context: InferContext): { graph: Graph; cotangentOf: Value } {
  const emitter = createEmitter(new GraphBuilder(), context);
  const results = copyGraph(emitter.builder, graph, new Map());
  const out = results.find(({ name }) => name === result)?.value ?? unreachable(`no result \`${result}\``);
  const given = emitter.input(cotangent, out.type);
  const product = emitter.emit('mul', [out, given]);
  const axes = out.type.shape.map((_, axis) => axis);
  const value = emitter.emit('reduce', [product], { kind: 'sum', axes, keep: false });
  return { graph: emitter.builder.finish(graph.name, [...results, { name: loss, value }]), cotangentOf: given };
}

function nameOf(node: Node): string | undefined {
  if (node.op === 'input') return String(node.attributes.name);
  return node.op === 'weight' ? stringsOf(node.attributes, 'paths')[0] : undefined;
}

/** @param names inputs and weights whose gradients are wanted; those that the entry does not read have none */
export function gradientEntry(program: Program, entry: Entry, result: string, names: ReadonlySet<string>): Entry {
  const context = { ranges: program.dims };
  const { graph, cotangentOf } = withLoss(entry.graph, result, context);
  const wrt = new Map<Node, string>();
  for (const node of graph.nodes) {
    const name = nameOf(node);
    if (name !== undefined && names.has(name)) wrt.set(node, gradientName(name));
  }
  const differentiated = differentiate(graph, context, { loss, wrt }).graph;
  const results = differentiated.results.filter(({ name }) => name !== loss);
  return {
    ...entry,
    name: `${entry.name}_gradients`,
    parameters: [...entry.parameters, { name: cotangent, type: cotangentOf.type, doc: undefined, initial: undefined }],
    results: results.map(({ name, value }) => ({ name, type: value.type })),
    graph: { ...differentiated, results },
  };
}
