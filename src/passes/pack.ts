/**
 * Packs sibling projections into one: `linear(x, Wq)`, `linear(x, Wk)`, `linear(x, Wv)` become one `linear` on a weight
 * of three tensors, followed by slices. One matrix product with many columns keeps a device busier than three with few,
 * and the slices cost nothing: readers read a part of the wider buffer.
 *
 * Weights of different number formats stay apart. The packed weight keeps the names of its parts, so checkpoints stay as they are: the loader lays the tensors one after
 * another. Works for the query, key and value of attention, for gate and up of a gated feed-forward, and for whatever
 * else has that form.
 */
import type { Graph, Node, Value } from '../ir/graph.ts';
import { usersOf } from '../ir/graph.ts';
import type { InferContext } from '../ir/op.ts';
import { printFormat, printSparsity } from '../ir/print.ts';
import { addDims, constantDim, type Dim } from '../ir/symbolic.ts';
import { unreachable } from '../support/error.ts';
import { formatOf, hasTrait, intsOf, type Pass, type RewriteContext, rewriteGraph, sparsityOf } from './pass.ts';

/** More siblings than this stay apart: keys and values of all layers at once would live through the whole model. */
const widest = 4;

interface Projection {
  readonly node: Node;
  readonly weight: Value;
  readonly bias: Value | undefined;
}

type Users = ReadonlyMap<Value, readonly Node[]>;

/** A weight leaf that nothing else reads: packing it moves it, and a second copy would cost memory. */
function isOwn(value: Value, users: Users): boolean {
  return value.node.op === 'weight' && users.get(value)?.length === 1;
}

/** Whether the node is `x @ transpose(W)` over the last axis of x, [.., K] times [N, K], as `linear` is by definition. */
function isProjection(node: Node): boolean {
  if (!hasTrait(node, 'contraction')) return false;
  const [input, weight] = node.inputs;
  if (weight?.type.shape.length !== 2 || !input) return false;
  if (node.op === 'linear') return true;
  const lastAxis = input.type.shape.length - 1;
  return (
    intsOf(node, 'lhs_batch').length === 0 &&
    intsOf(node, 'lhs_contract').join() === String(lastAxis) &&
    intsOf(node, 'rhs_contract').join() === '1'
  );
}

function projectionOf(node: Node, users: Users): Projection | undefined {
  if (!isProjection(node)) return undefined;
  const [, weight, bias] = node.inputs;
  if (!weight || !isOwn(weight, users)) return undefined;
  if (bias && !isOwn(bias, users)) return undefined;
  return { node, weight, bias };
}

/** Sets of at least two projections that may become one, keyed by their first node; program order inside. */
function packsOf(graph: Graph, context: InferContext): ReadonlyMap<Node, readonly Projection[]> {
  const users = usersOf(graph);
  const siblings = new Map<string, Projection[]>();
  for (const node of graph.nodes) {
    const projection = projectionOf(node, users);
    const input = node.inputs[0];
    if (!projection || !input) continue;
    const { weight, bias } = projection;
    const format = formatOf(weight.node, context);
    const sparse = sparsityOf(weight.node, context);
    const dense = format === undefined ? 'plain' : printFormat(format);
    const stored = sparse === undefined ? dense : printSparsity(sparse);
    const form = [node.op, stored, weight.type.dtype, weight.type.shape[1]?.key, bias?.type.dtype ?? 'no bias'];
    const key = [`${input.node.id}.${input.output}`, ...form].join('|');
    const list = siblings.get(key);
    if (list) list.push(projection);
    else siblings.set(key, [projection]);
  }
  const packs = new Map<Node, readonly Projection[]>();
  for (const list of siblings.values()) {
    for (let start = 0; start < list.length; start += widest) {
      const pack = list.slice(start, start + widest);
      const [first] = pack;
      if (first && pack.length > 1) packs.set(first.node, pack);
    }
  }
  return packs;
}

function rowsOf(value: Value): Dim {
  return value.type.shape[0] ?? unreachable('a packed weight has an axis 0');
}

/** One weight leaf made of the tensors of several, one after another along axis 0. */
function concatenate(parts: readonly Value[], context: RewriteContext): Value {
  const [first] = parts;
  if (!first) return unreachable('nothing to pack');
  const paths = parts.flatMap((part) => {
    const own = part.node.attributes.paths;
    return Array.isArray(own) ? own.map(String) : unreachable('a weight has paths');
  });
  const rows = parts.map(rowsOf).reduce(addDims, constantDim(0));
  const type = { dtype: first.type.dtype, shape: [rows, ...first.type.shape.slice(1)] };
  const node = context.builder.add('weight', [], [type], {
    attributes: { ...first.node.attributes, paths },
    span: first.node.span,
    label: first.node.label,
  });
  return node.outputs[0] ?? unreachable('a weight has an output');
}

/** The packed projection and, for each part, its slice of the last axis. */
function emitPack(pack: readonly Projection[], input: Value, context: RewriteContext): ReadonlyMap<Node, Value> {
  const [first] = pack;
  if (!first) return unreachable('nothing to pack');
  const weight = concatenate(
    pack.map((part) => part.weight),
    context,
  );
  const biases = pack.flatMap((part) => (part.bias ? [part.bias] : []));
  const operands = [input, weight, ...(biases.length > 0 ? [concatenate(biases, context)] : [])];
  const packed = context.emit(first.node.op, operands, first.node.attributes);
  const slices = new Map<Node, Value>();
  let start = constantDim(0);
  for (const part of pack) {
    const size = rowsOf(part.weight);
    slices.set(part.node, context.emit('slice', [packed], { axis: packed.type.shape.length - 1, start, size }));
    start = addDims(start, size);
  }
  return slices;
}

export const pack: Pass = {
  name: 'pack',
  summary: 'joins projections of one input (query, key, value; gate and up) into one',
  run(graph, context) {
    const packs = packsOf(graph, context);
    const done = new Map<Node, Value>();
    const result = rewriteGraph(graph, context, (node, inputs, rewriter) => {
      const members = packs.get(node);
      const [input] = inputs;
      if (members && input) for (const [part, value] of emitPack(members, input, rewriter)) done.set(part, value);
      const slice = done.get(node);
      return slice ? [slice] : undefined;
    });
    return { graph: result.graph, fired: packs.size };
  },
};
