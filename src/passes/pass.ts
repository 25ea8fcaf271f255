/**
 * What a pass is, and the one walk that all rewriting passes share.
 *
 * A pass is a function from a graph to a new graph; it never edits. `rewriteGraph` rebuilds a graph in topological order
 * and asks the pass, node by node, for something better. Which passes run, and in which order, is said in index.ts.
 */
import { createEmitter } from '../ir/emit.ts';
import {
  type Attributes,
  type Graph,
  GraphBuilder,
  type Node,
  type Program,
  type SparseFormat,
  type Value,
  type WeightFormat,
} from '../ir/graph.ts';
import type { Emitter, InferContext, OpDefinition } from '../ir/op.ts';
import { hasTrait, opNamed } from '../ir/ops/index.ts';
import { numbersOf, stringsOf } from '../ir/ops/shared.ts';
import type { Shape } from '../ir/types.ts';
import { unreachable } from '../support/error.ts';

export { hasTrait };

export interface Pass {
  /** kebab-case, as people write it in `only` and `without`. */
  readonly name: string;
  /** One line for `--help` and the docs. */
  readonly summary: string;
  run(graph: Graph, context: InferContext): PassResult;
}

export interface PassResult {
  readonly graph: Graph;
  /** How many times it found something to do; 0 means that the graph is as it was. */
  readonly fired: number;
}

/** What passes over the graphs of a program go by. */
export function contextOf(program: Program): InferContext {
  const formats = program.weights.flatMap(({ path, format }) => (format ? [[path, format] as const] : []));
  const sparse = program.weights.flatMap(({ path, sparse: own }) => (own ? [[path, own] as const] : []));
  return {
    ranges: program.dims,
    ...(formats.length === 0 ? {} : { formats: new Map(formats) }),
    ...(sparse.length === 0 ? {} : { sparse: new Map(sparse) }),
  };
}

/** Of a `weight` node: its parts have one format. */
export function formatOf(node: Node, { formats }: InferContext): WeightFormat | undefined {
  return formats?.get(stringsOf(node.attributes, 'paths')[0] ?? '');
}

/** The same for weights of which some of neighbouring numbers are there. */
export function sparsityOf(node: Node, { sparse }: InferContext): SparseFormat | undefined {
  return sparse?.get(stringsOf(node.attributes, 'paths')[0] ?? '');
}

export function definitionOf(node: Node): OpDefinition {
  return opNamed(node.op);
}

/** The attribute as a list of integers; what the verifier has checked. */
export function intsOf(node: Node, name: string): readonly number[] {
  return numbersOf(node.attributes, name);
}

/** What a rewrite writes with: nodes get the span and label of the node that is being rewritten. */
export interface RewriteContext extends Emitter {
  readonly builder: GraphBuilder;
  /** The rebuilt value that stands for a value of the old graph. */
  mapped(value: Value): Value;
}

/**
 * Values that take the place of the node's outputs, or undefined to keep it. `inputs` are the node's inputs in the new
 * graph; types never change, or readers would be wrong.
 */
export type Rewrite = (node: Node, inputs: readonly Value[], context: RewriteContext) => readonly Value[] | undefined;

/** Copies a node onto new inputs; outputs keep their types. */
export function copyNode(builder: GraphBuilder, node: Node, inputs: readonly Value[]): Node {
  return builder.add(
    node.op,
    inputs,
    node.outputs.map((output) => output.type),
    {
      attributes: node.attributes,
      ...(node.region === undefined ? {} : { region: node.region }),
      span: node.span,
      label: node.label,
    },
  );
}

/** Inputs `i0`, `i1`, … of a region, which stand for values outside. */
export interface RegionInputs {
  /** The values, in the order of the inputs. */
  readonly reads: readonly Value[];
  /** What stands for a value: what `values` has, or an input that is made. */
  read(value: Value): Value;
}

/** @param values what stands for values inside; inputs are added */
export function regionInputs(builder: GraphBuilder, values: Map<Value, Value>): RegionInputs {
  const reads: Value[] = [];
  const read = (value: Value): Value => {
    const known = values.get(value);
    if (known) return known;
    const input = builder.input(`i${reads.length}`, value.type);
    reads.push(value);
    values.set(value, input);
    return input;
  };
  return { reads, read };
}

/** Rebuilds `graph`; `fired` counts the nodes that the rewrite replaced. */
export function rewriteGraph(graph: Graph, context: InferContext, rewrite: Rewrite): PassResult {
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
  let current: Node | undefined;
  const rewriter: RewriteContext = {
    context,
    builder,
    mapped,
    emit: (op: string, operands: readonly Value[], attributes?: Attributes, region?: Graph) =>
      createEmitter(builder, context, { span: current?.span, label: current?.label }).emit(
        op,
        operands,
        attributes,
        region,
      ),
  };
  let fired = 0;
  for (const node of graph.nodes) {
    current = node;
    const inputs = node.inputs.map(mapped);
    const replaced = rewrite(node, inputs, rewriter);
    if (replaced) fired++;
    const outputs = replaced ?? copyNode(builder, node, inputs).outputs;
    node.outputs.forEach((output, index) => {
      values.set(output, outputs[index] ?? unreachable(`the rewrite of \`${node.op}\` lost output ${index}`));
    });
  }
  const results = graph.results.map((result) => ({ name: result.name, value: mapped(result.value) }));
  return { graph: builder.finish(graph.name, results), fired };
}

/** What a value shows: the value itself, or what lies under its views. */
export function underViews(value: Value | undefined): Value | undefined {
  let source = value;
  while (source && hasTrait(source.node, 'view')) [source] = source.node.inputs;
  return source;
}

/** Whether the node may be dropped when nobody reads it and merged with an equal one. */
export function isPure(node: Node): boolean {
  return node.op !== 'input' && !hasTrait(node, 'effect');
}

export function isScalarConstant(value: Value): boolean {
  return value.node.op === 'constant' && value.type.shape.length === 0;
}

/** Text that is equal exactly when the attributes are: dims by key, numbers with -0, NaN and infinities told apart. */
export function attributesKey(attributes: Attributes): string {
  return Object.keys(attributes)
    .sort()
    .map((name) => `${name}=${valueKey(attributes[name])}`)
    .join(';');
}

function valueKey(value: unknown): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(valueKey).join(',')}]`;
  if (typeof value === 'object' && value !== null && 'key' in value) return `dim ${String(value.key)}`;
  return String(value);
}

export function shapeKey(shape: Shape): string {
  return shape.map((dim) => dim.key).join(',');
}

/** The number that fills the whole tensor: a scalar constant, as it is or under views. */
export function splatOf(value: Value): number | undefined {
  if (isScalarConstant(value)) return numbersOf(value.node.attributes, 'values')[0];
  const [source] = value.node.inputs;
  const isRepeated = hasTrait(value.node, 'view') && !hasTrait(value.node, 'filling');
  return source && isRepeated ? splatOf(source) : undefined;
}
