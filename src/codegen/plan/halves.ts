/**
 * Values between the kernels of a step as f16, two to a word (`precision: f16` of a train block).
 *
 * What products read lies as f16, and what they give unless something is added to it: activations and their gradients, as under
 * torch's autocast. A kernel computes in f32 and rounds what it stores; products add in f32. Weights, gradients of weights, sums of
 * activations, what norms alone read, and everything that does not come in fours stay f32. What an f16 cannot hold becomes NaN, so
 * the norm of the gradients tells.
 *
 * Source: Micikevicius et al. 2018. Not here: the scale of the loss (src/passes/training, src/runtime/trainer-scale.ts).
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import { constantValue, type DimRange, isDivisible } from '../../ir/symbolic.ts';
import type { DType, TensorType } from '../../ir/types.ts';
import { copyNode } from '../../passes/pass.ts';
import { unreachable } from '../../support/error.ts';

/** Families whose kernels read and store f16. */
const families = new Set(['map', 'row', 'contraction']);

type Ranges = ReadonlyMap<string, DimRange>;

interface Reader {
  readonly node: Node;
  readonly at: number;
}

function isFamily({ op, attributes }: Node): boolean {
  return op === 'fused' && families.has(String(attributes.skeleton));
}

/** Whether the kernel multiplies and sums the operand up, by itself or as part of an expression. */
function isFactor({ node, at }: Reader): boolean {
  const input = node.region?.inputs[at];
  const pending = (node.region?.nodes ?? []).filter(({ op }) => op === 'dot_general');
  const seen = new Set<Node>();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next === input) return true;
    if (seen.has(next)) continue;
    seen.add(next);
    pending.push(...next.inputs.map((value) => value.node));
  }
  return false;
}

/** Whether the type depends on the sizes of the batch. */
function isActivation({ shape }: TensorType): boolean {
  return shape.some((dim) => constantValue(dim) === undefined);
}

/** Whether the kernel's results are products, with nothing that comes from elsewhere in the batch but their factors. */
function isProduct(node: Node): boolean {
  return (
    node.attributes.skeleton === 'contraction' &&
    node.inputs.every(({ type }, at) => !isActivation(type) || isFactor({ node, at }))
  );
}

/** Values that shall lie as f16. */
function chosen(graph: Graph, ranges: Ranges): ReadonlySet<Value> {
  const readers = new Map<Value, Reader[]>();
  for (const node of graph.nodes)
    for (const [at, value] of node.inputs.entries()) readers.set(value, [...(readers.get(value) ?? []), { node, at }]);
  const results = new Set(graph.results.map(({ value }) => value));
  const isChosen = (value: Value): boolean => {
    const own = readers.get(value) ?? [];
    const { dtype, shape } = value.type;
    const width = shape.at(-1);
    if (results.has(value) || dtype !== 'f32' || !isActivation(value.type)) return false;
    if (width === undefined || !isDivisible(width, 4, ranges)) return false;
    return own.every(({ node }) => isFamily(node)) && (isProduct(value.node) || own.some(isFactor));
  };
  return new Set(graph.nodes.filter(isFamily).flatMap((node) => node.outputs.filter(isChosen)));
}

function withType(type: TensorType, dtype: DType): TensorType {
  return { dtype, shape: type.shape };
}

/** A region that takes some of its inputs and gives some of its results as f16. */
function roundedRegion(region: Graph, inputs: readonly boolean[], results: readonly boolean[]): Graph {
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
  const cast = (value: Value, dtype: DType): Value => {
    const [made] = builder.add('cast', [value], [withType(value.type, dtype)], { attributes: { dtype } }).outputs;
    return made ?? unreachable('a cast without a result');
  };
  for (const node of region.nodes) {
    const at = region.inputs.indexOf(node);
    const [own] = node.outputs;
    if (at >= 0 && own && inputs[at]) {
      const { attributes, span, label } = node;
      const [half] = builder.add('input', [], [withType(own.type, 'f16')], { attributes, span, label }).outputs;
      if (half) values.set(own, cast(half, 'f32'));
      continue;
    }
    const copy = copyNode(builder, node, node.inputs.map(mapped));
    node.outputs.forEach((output, place) => {
      values.set(output, copy.outputs[place] ?? unreachable(`\`${node.op}\` lost output ${place}`));
    });
  }
  const rounded = region.results.map(({ name, value }, at) => {
    const result = mapped(value);
    return { name, value: results[at] ? cast(result, 'f16') : result };
  });
  return builder.finish(region.name, rounded);
}

/** @param canWrite whether there are kernels for a node; without them its results stay f32 */
export function halveStored(graph: Graph, ranges: Ranges, canWrite: (node: Node) => boolean): Graph {
  const wanted = chosen(graph, ranges);
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value =>
    values.get(value) ?? unreachable(`a kernel reads an unstored \`${value.node.op}\``);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map(mapped);
    const areHalves = inputs.map(({ type }, at) => type.dtype !== node.inputs[at]?.type.dtype);
    const write = (to: GraphBuilder, results: readonly boolean[]): Node => {
      const { region, attributes, span, label } = node;
      if (!region || ![...areHalves, ...results].includes(true)) return copyNode(to, node, inputs);
      const types = node.outputs.map(({ type }, at) => (results[at] ? withType(type, 'f16') : type));
      return to.add('fused', inputs, types, {
        attributes,
        region: roundedRegion(region, areHalves, results),
        span,
        label,
      });
    };
    const all = node.outputs.map((output) => wanted.has(output));
    const results = all.includes(true) && canWrite(write(new GraphBuilder(), all)) ? all : all.map(() => false);
    const made = write(builder, results);
    node.outputs.forEach((output, at) => {
      values.set(output, made.outputs[at] ?? unreachable(`\`${node.op}\` lost output ${at}`));
    });
  }
  return builder.finish(
    graph.name,
    graph.results.map(({ name, value }) => ({ name, value: mapped(value) })),
  );
}
