/**
 * Reverse-mode differentiation: a graph with a scalar result becomes one that gives the gradients of that result too.
 *
 * Ops say how they are differentiated (`gradient` in ops/); one without a rule is decomposed first, all the way down. The
 * backward part is written behind the forward part, node by node in reverse order; a value that is read several times gets
 * the sum of what its readers give, added in the order of the graph, so results do not depend on anything else.
 *
 * Source: Speelpenning 1980; Baydin et al. 2018, section 3.2. Not here: which loss (lowering), what is computed again instead of
 * kept (recompute.ts), the update of weights (optimizers).
 */
import { createEmitter } from '../ir/emit.ts';
import { type Graph, GraphBuilder, type Node, type Result, type Value } from '../ir/graph.ts';
import type { Emitter, InferContext } from '../ir/op.ts';
import { opNamed } from '../ir/ops/index.ts';
import { isFloat } from '../ir/types.ts';
import { unreachable } from '../support/error.ts';
import { copyNode, definitionOf, hasTrait } from './pass.ts';
import { recomputedChains, recomputedSegments, type SegmentOf } from './recompute.ts';

/** An op in the way of a gradient that has no rule. */
export class NotDifferentiable extends Error {
  readonly node: Node;

  constructor(node: Node) {
    super(`\`${node.op}\` cannot be differentiated`);
    this.name = 'NotDifferentiable';
    this.node = node;
  }
}

export interface Differentiated {
  /** The results of the given graph, then the gradients in the order of `wrt`. */
  readonly graph: Graph;
  /** Names of the gradients' results. */
  readonly gradients: readonly string[];
}

export interface DifferentiateOptions {
  /** The result to differentiate; a float scalar. */
  readonly loss: string;
  /** Nodes of the graph whose output's gradient is wanted, and how its result is named. */
  readonly wrt: ReadonlyMap<Node, string>;
  /** Name of an input f32[], made as the last one, that all gradients are multiplied by; they are what they are without it. */
  readonly scale?: string;
  /** Parts of which the backward part computes values again, from what flows into them. */
  readonly segmentOf?: SegmentOf;
}

function isFlat(node: Node): boolean {
  return hasTrait(node, 'flat') || !node.outputs.some((output) => isFloat(output.type.dtype));
}

/** Which values of the rebuilt graph depend on something that a gradient is wanted of. */
class Dependence {
  readonly #values = new Set<Value>();

  mark(value: Value): void {
    this.#values.add(value);
  }

  has(value: Value): boolean {
    return this.#values.has(value);
  }

  /** Marks what a node gives when it depends on a marked value and lets gradients through. */
  follow(node: Node): void {
    if (isFlat(node) || !node.inputs.some((input) => this.#values.has(input))) return;
    for (const output of node.outputs) if (isFloat(output.type.dtype)) this.#values.add(output);
  }
}

/** The forward part: a copy in which every node that a gradient passes through has a rule. */
function copyForward(
  graph: Graph,
  builder: GraphBuilder,
  context: InferContext,
  wrt: ReadonlyMap<Node, string>,
  dependence: Dependence,
): { readonly mapped: (value: Value) => Value; readonly nodes: readonly Node[] } {
  const values = new Map<Value, Value>();
  const nodes: Node[] = [];
  const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
  const keep = (node: Node): Node => {
    nodes.push(node);
    dependence.follow(node);
    return node;
  };
  for (const node of graph.nodes) {
    const inputs = node.inputs.map(mapped);
    const definition = definitionOf(node);
    const isOnPath = !isFlat(node) && inputs.some((input) => dependence.has(input));
    let outputs: readonly Value[];
    if (isOnPath && !definition.gradient && definition.decompose) {
      outputs = [
        lowering(builder, context, node, dependence, keep).emit(node.op, inputs, node.attributes, node.region),
      ];
    } else outputs = keep(copyNode(builder, node, inputs)).outputs;
    if (wrt.has(node)) for (const output of outputs) dependence.mark(output);
    node.outputs.forEach((output, at) => {
      values.set(output, outputs[at] ?? unreachable(`\`${node.op}\` lost output ${at}`));
    });
  }
  return { mapped, nodes };
}

/** Emits ops that have a gradient as they are, and the decomposition of the others. */
function lowering(
  builder: GraphBuilder,
  context: InferContext,
  place: Node,
  dependence: Dependence,
  keep: (node: Node) => Node,
): Emitter {
  const { span, label } = place;
  const plain = createEmitter(builder, context, { span, label });
  const self: Emitter = {
    context,
    emit(op, inputs, attributes = {}, region) {
      const definition = opNamed(op);
      const isOnPath = inputs.some((input) => dependence.has(input));
      if (isOnPath && !definition.gradient && definition.decompose && !definition.traits.includes('flat'))
        return definition.decompose(self, inputs, attributes, region);
      const value = plain.emit(op, inputs, attributes, region);
      keep(value.node);
      return value;
    },
  };
  return self;
}

export function differentiate(graph: Graph, context: InferContext, options: DifferentiateOptions): Differentiated {
  const builder = new GraphBuilder();
  const dependence = new Dependence();
  const { mapped, nodes } = copyForward(graph, builder, context, options.wrt, dependence);
  const loss = graph.results.find((result) => result.name === options.loss)?.value;
  if (!loss || loss.type.shape.length > 0 || !isFloat(loss.type.dtype))
    return unreachable(`\`${options.loss}\` is no scalar result of \`${graph.name}\``);

  const cotangents = new Map<Value, Value>();
  const emitter = (node: Node | undefined) => createEmitter(builder, context, { span: node?.span, label: node?.label });
  const accumulate = (value: Value, gradient: Value): void => {
    const before = cotangents.get(value);
    cotangents.set(value, before ? emitter(value.node).emit('add', [before, gradient]) : gradient);
  };
  const start = mapped(loss);
  const one = () => emitter(undefined).constant(1, start.type.dtype);
  cotangents.set(start, options.scale === undefined ? one() : builder.input(options.scale, start.type));
  const again = recomputedChains(builder, emitter);
  const segments = recomputedSegments(builder, emitter, options.segmentOf ?? (() => undefined));
  for (const node of [...nodes].reverse()) {
    const [output] = node.outputs;
    const cotangent = output && cotangents.get(output);
    if (!output || !cotangent || !node.inputs.some((input) => dependence.has(input))) continue;
    const rule = definitionOf(node).gradient;
    if (!rule) throw new NotDifferentiable(node);
    const { inputs, attributes } = node;
    // Products read their operands as they lie in memory; what is computed element by element may be computed again.
    const own = segments(node);
    const read = hasTrait(node, 'elementwise') ? (value: Value) => again(own(value)) : own;
    const gradients = rule(emitter(node), { inputs: inputs.map(read), output: read(output), attributes, cotangent });
    gradients.forEach((gradient, at) => {
      const input = inputs[at];
      if (gradient && input && dependence.has(input)) accumulate(input, gradient);
    });
  }

  const results: Result[] = graph.results.map(({ name, value }) => ({ name, value: mapped(value) }));
  const names: string[] = [];
  for (const [node, name] of options.wrt) {
    const [own] = node.outputs;
    const value = mapped(own ?? unreachable('a node without output'));
    // What the loss does not depend on has a gradient of zeros.
    const zeros = () => {
      const at = emitter(node);
      return at.emit('broadcast', [at.constant(0, value.type.dtype)], { shape: value.type.shape });
    };
    results.push({ name, value: cotangents.get(value) ?? zeros() });
    names.push(name);
  }
  return { graph: builder.finish(graph.name, results), gradients: names };
}
