/**
 * The graph that a train block differentiates: the entry from the start of a text, its parameters in arenas, and the loss.
 */
import { createEmitter } from '../../ir/emit.ts';
import {
  type AdapterParts,
  type Entry,
  type Graph,
  GraphBuilder,
  type Node,
  onlyOutput,
  type Program,
  type Result,
  resultInput,
  type TrainBlock,
  type Value,
  type Weight,
} from '../../ir/graph.ts';
import type { InferContext } from '../../ir/op.ts';
import { stringsOf } from '../../ir/ops/shared.ts';
import { substituteGraph } from '../../ir/substitute.ts';
import { transposedMatrices } from '../../ir/summed-axis.ts';
import { constantDim } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { sliceOrderedLookups } from '../canonicalize.ts';
import { copyNode, definitionOf } from '../pass.ts';
import { AdapterWriter } from './adapters.ts';
import { freshStreams } from './dropout.ts';
import { FakeQuantizer } from './quantization.ts';

/** Path of the piece of an arena that holds a parameter, or its gradient. */
export function weightPiece(path: string): string {
  return `weight:${path}`;
}

/** Name of the loss among the results of an entry, which may have one called `loss`. */
export const lossResult = ':loss';

export function gradientPiece(path: string): string {
  return `gradient:${path}`;
}

/** Rows that a call appends to an empty state are all that it holds: the state and its hidden inputs are gone. */
function withoutStates(graph: Graph, entry: Entry, context: InferContext): Graph {
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
  const roles = new Map(entry.parameters.map(({ name, role }) => [name, role]));
  const emitter = createEmitter(builder, context);
  const hidden = (node: Node): Value | undefined => {
    const role = node.op === 'input' ? roles.get(String(node.attributes.name)) : undefined;
    const [output] = node.outputs;
    if (role === undefined || output === undefined) return undefined;
    const { shape } = output.type;
    const number =
      role === 'past'
        ? emitter.constant(0, 'i32')
        : emitter.emit('dim_value', [], { value: entry.steps ?? constantDim(1) });
    return emitter.emit('broadcast', [number], { shape });
  };
  for (const node of graph.nodes) {
    // The state leaf has no reader but the append, which stands for its rows.
    if (node.op === 'state') continue;
    const updated = definitionOf(node).updates;
    const rows = updated === undefined ? undefined : node.inputs[updated + 1];
    const replaced = rows ? mapped(rows) : hidden(node);
    const outputs = replaced ? [replaced] : copyNode(builder, node, node.inputs.map(mapped)).outputs;
    node.outputs.forEach((output, at) => {
      values.set(output, outputs[at] ?? unreachable(`\`${node.op}\` lost output ${at}`));
    });
  }
  return builder.finish(
    graph.name,
    graph.results.map(({ name, value }) => ({ name, value: mapped(value) })),
  );
}

/** The entry as a first call of a session runs it. */
function firstCall(program: Program, entry: Entry, context: InferContext): Graph {
  const { session } = program;
  if (entry.steps === undefined || session === undefined) return sliceOrderedLookups(entry.graph, context);
  const sizes = new Map([session.past, session.slack].map((name) => [name, constantDim(0)]));
  const graph = withoutStates(substituteGraph(entry.graph, entry.name, sizes), entry, context);
  return sliceOrderedLookups(graph, context);
}

export interface Forward {
  /** Results: the loss, then those of the entry. Parameters are `state` leaves of pieces. */
  readonly graph: Graph;
  /** Leaves of the parameters that the loss depends on, by path in the checkpoint, in the order of the program. */
  readonly parameters: ReadonlyMap<Weight, Node>;
  readonly adapters: readonly AdapterParts[];
}

/** What the loss is computed from. */
function reachedFrom(start: Value): ReadonlySet<Node> {
  const reached = new Set<Node>();
  const pending = [start.node];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (reached.has(node)) continue;
    reached.add(node);
    pending.push(...node.inputs.map((input) => input.node));
  }
  return reached;
}

/** Weights by the path that they are trained under: tied ones are one parameter. */
function ownWeight(weights: ReadonlyMap<string, Weight>, path: string): Weight {
  const own = weights.get(path) ?? unreachable(`the program does not name the weight \`${path}\``);
  return own.tied === undefined ? own : (weights.get(own.tied) ?? own);
}

export function forwardOf(program: Program, block: TrainBlock, context: InferContext): Forward {
  const entry = program.entries.find(({ name }) => name === block.entry) ?? unreachable(`no entry \`${block.entry}\``);
  const weights = new Map(program.weights.map((weight) => [weight.path, weight]));
  const builder = new GraphBuilder();
  const leaves = new Map<Weight, Node>();
  const inputs = new Map<string, Value>();
  const parameterOf = (node: Node): Weight | undefined => {
    const [path, another] = node.op === 'weight' ? stringsOf(node.attributes, 'paths') : [];
    if (path === undefined || another !== undefined || node.attributes.first !== undefined) return undefined;
    const weight = ownWeight(weights, path);
    const trains = weight.type.dtype === 'f32' && !block.frozen.has(weight.path) && !block.frozen.has(path);
    return trains && (block.alone?.has(weight.path) ?? true) ? weight : undefined;
  };
  const leafOf = (weight: Weight, span: Node['span'], label: string | undefined): Node => {
    const attributes = { path: weightPiece(weight.path) };
    const leaf = leaves.get(weight) ?? builder.add('state', [], [weight.type], { attributes, span, label });
    leaves.set(weight, leaf);
    return leaf;
  };
  const quantizer = new FakeQuantizer(builder, context);
  const formatAt = (node: Node) => {
    const [path, another] = node.op === 'weight' ? stringsOf(node.attributes, 'paths') : [];
    if (path === undefined || another !== undefined) return undefined;
    return block.formats.get(path) ?? block.formats.get(ownWeight(weights, path).path);
  };
  const transposed = transposedMatrices([entry.graph]);
  const ownPath = (path: string): string => ownWeight(weights, path).path;
  const adapters = new AdapterWriter(block.adapters, {
    builder,
    context,
    nextStream: freshStreams(entry.graph),
    matrixOf(node) {
      const [path] = node.op === 'weight' ? stringsOf(node.attributes, 'paths') : [];
      return path === undefined ? undefined : ownWeight(weights, path);
    },
    ownPath,
    isTransposed: (path) => transposed.has(path),
    leafOf: (weight, span) => onlyOutput(leafOf(weight, span, weight.path)),
  });
  /** Copies a graph; `known` gives values for its inputs. */
  const copy = (graph: Graph, known: (name: string) => Value | undefined): readonly Result[] => {
    const values = new Map<Value, Value>();
    const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
    for (const node of graph.nodes) {
      const weight = parameterOf(node);
      const given = node.op === 'input' ? known(String(node.attributes.name)) : undefined;
      let outputs: readonly Value[];
      if (given) outputs = [given];
      else if (weight) {
        outputs = leafOf(weight, node.span, node.label).outputs;
      } else {
        const operands = adapters.operands(node, quantizer.operands(node, node.inputs.map(mapped)));
        const copied = copyNode(builder, node, operands).outputs;
        const [only, another] = copied;
        outputs = only && !another ? [adapters.beside(node, operands, quantizer.rows(node, operands, only))] : copied;
      }
      const [output] = outputs;
      if (output) quantizer.mark(output, formatAt(node));
      if (node.op === 'input' && output) inputs.set(String(node.attributes.name), output);
      node.outputs.forEach((before, at) => {
        values.set(before, outputs[at] ?? unreachable(`\`${node.op}\` lost output ${at}`));
      });
    }
    return graph.results.map(({ name, value }) => ({ name, value: mapped(value) }));
  };
  const results = copy(firstCall(program, entry, context), () => undefined);
  const byName = new Map(results.map(({ name, value }) => [resultInput(name), value]));
  const [found] = copy(block.loss, (name) => byName.get(name) ?? inputs.get(name));
  const loss = found && { name: lossResult, value: found.value };
  if (!loss) return unreachable('a loss without a result');
  const graph = builder.finish(entry.name, [loss, ...results]);
  const reached = reachedFrom(loss.value);
  const parameters = new Map<Weight, Node>();
  for (const weight of [...program.weights, ...adapters.weights]) {
    const leaf = leaves.get(weight);
    if (leaf && reached.has(leaf)) parameters.set(weight, leaf);
  }
  return { graph, parameters, adapters: adapters.parts };
}
