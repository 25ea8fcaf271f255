/**
 * Computes only the rows that are read. Where one position of each row of [B, T, …] is looked up (`last`), it is looked up before the ops
 * that treat every position alone, back to where something reads all of them: of a prompt one position for each row goes
 * through the last layer's projections, not the whole prompt.
 *
 * Which ops these are is said by `axes` of their definitions: B and T run along from operands to the result.
 */
import { createEmitter } from '../ir/emit.ts';
import { type Graph, type Node, usersOf, type Value } from '../ir/graph.ts';
import type { InferContext } from '../ir/op.ts';
import { alongside } from '../ir/ops/axes.ts';
import { dimOf } from '../ir/ops/shared.ts';
import { constantDim, type Dim, multiplyDims, productOfDims, sameDim, subtractDims } from '../ir/symbolic.ts';
import { definitionOf, hasTrait, type Pass, type RewriteContext, rewriteGraph, splatOf } from './pass.ts';

const one = constantDim(1);

/** The operands that have the rows of the node's result, position by position; undefined where it is not so simple. */
function rowOperands(node: Node): readonly number[] | undefined {
  const [output, another] = node.outputs;
  if (!output || another || output.type.shape.length < 2) return undefined;
  const types = node.inputs.map(({ type }) => type);
  const definition = definitionOf(node);
  const sets = definition.axes
    ? definition.axes(types, [output.type], node.attributes)
    : hasTrait(node, 'elementwise')
      ? alongside(types, [output.type])
      : [];
  const found = new Map<number, number>();
  for (const axis of [0, 1]) {
    const own = sets.find((runs) => runs.some((run) => run.of === 'result' && run.axis === axis));
    if (!own?.every((run) => run.axis === axis && run.from === undefined && run.length === undefined)) return undefined;
    for (const run of own) if (run.of === 'operand') found.set(run.at, (found.get(run.at) ?? 0) + 1);
  }
  const rows = [...found.keys()];
  // What has rows but no positions, or the other way round, has another index.
  if (rows.some((at) => found.get(at) !== 2)) return undefined;
  const isComplete = !hasTrait(node, 'elementwise') || rows.length === node.inputs.length;
  return isComplete ? rows : undefined;
}

/** Whether a value is a size for each row. */
function isDim(value: Value | undefined, dim: Dim): boolean {
  const source = value?.node.op === 'broadcast' ? value.node.inputs[0]?.node : undefined;
  return source?.op === 'dim_value' && sameDim(dimOf(source.attributes, 'value'), dim);
}

/** Whether indices are `b * T + clamp(…, 0, T - 1)`: one position of each row. */
function isOnePerRow({ node }: Value, length: Dim): boolean {
  const [start, place] = node.inputs;
  if (node.op !== 'add' || start?.node.op !== 'mul' || place?.node.op !== 'min') return false;
  const [row, size] = start.node.inputs;
  const [atLeast, most] = place.node.inputs;
  const [, least] = atLeast?.node.op === 'max' ? atLeast.node.inputs : [];
  const isPlace = least !== undefined && splatOf(least) === 0 && isDim(most, subtractDims(length, one));
  return row?.node.op === 'iota' && isDim(size, length) && isPlace;
}

interface Lookup {
  /** [B, T, …] */
  readonly table: Value;
  readonly indices: Value;
  /** Whose rows nobody else reads, or which are one row repeated, with the operands that have these rows. */
  readonly nodes: ReadonlyMap<Node, readonly number[]>;
}

function lookupOf(graph: Graph, gather: Node, users: ReadonlyMap<Value, readonly Node[]>): Lookup | undefined {
  const [flat, indices] = gather.inputs;
  const view = flat?.node;
  const [table] = view?.inputs ?? [];
  const [batch, length] = table?.type.shape ?? [];
  if (gather.op !== 'gather' || view?.op !== 'reshape' || !table || !indices || !batch || !length) return undefined;
  const [rows] = flat?.type.shape ?? [];
  const isOfRows = rows !== undefined && sameDim(rows, multiplyDims(batch, length));
  if (!isOfRows || !isOnePerRow(indices, length) || users.get(flat as Value)?.length !== 1) return undefined;
  const results = new Set(graph.results.map(({ value }) => value));
  const nodes = new Map<Node, readonly number[]>();
  for (const node of [...graph.nodes].reverse()) {
    const [value] = node.outputs;
    const [ownBatch, ownLength] = value?.type.shape ?? [];
    if (!value || !ownBatch || !ownLength || !sameDim(ownBatch, batch) || !sameDim(ownLength, length)) continue;
    const isOurs = (user: Node): boolean =>
      user === view
        ? value === table
        : user.inputs.every((input, at) => input !== value || nodes.get(user)?.includes(at) === true);
    const own = users.get(value) ?? [];
    const rows = rowOperands(node);
    // What repeats one row costs nothing anew, whoever reads it besides.
    const isRepeated = rows?.length === 0 && hasTrait(node, 'view');
    const isOurOwn = own.length > 0 && !results.has(value) && own.every(isOurs);
    if (rows && (isRepeated || isOurOwn)) nodes.set(node, rows);
  }
  return [...nodes.keys()].some((node) => hasTrait(node, 'contraction')) ? { table, indices, nodes } : undefined;
}

/** The rows of a value at the indices, [B, 1, …]. */
function narrowed(value: Value, lookup: Lookup, context: RewriteContext, known: Map<Value, Value>): Value {
  const before = known.get(value);
  if (before) return before;
  const { node } = value;
  const emitter = createEmitter(context.builder, context.context, { span: node.span, label: node.label });
  const [batch = one, length = one, ...inner] = value.type.shape;
  const make = (): Value => {
    const rows = lookup.nodes.get(node);
    if (rows) {
      const inputs = node.inputs.map((input, at) =>
        rows.includes(at) ? narrowed(input, lookup, context, known) : context.mapped(input),
      );
      const types = (values: readonly Value[]) => values.map(({ type }) => type);
      const sizes = {
        before: { inputs: types(node.inputs), outputs: types(node.outputs) },
        after: { inputs: types(inputs), outputs: [{ ...value.type, shape: [batch, one, ...inner] }] },
        remaining: (_operand: number, _axis: number, count: number) => count,
      };
      const attributes = definitionOf(node).resized?.(node.attributes, sizes) ?? node.attributes;
      return emitter.emit(node.op, inputs, attributes, node.region);
    }
    const shape = [multiplyDims(batch, length), productOfDims(inner)];
    const flat = emitter.emit('reshape', [context.mapped(value)], { shape });
    const found = emitter.emit('gather', [flat, context.mapped(lookup.indices)]);
    return emitter.emit('reshape', [found], { shape: [batch, one, ...inner] });
  };
  const made = make();
  known.set(value, made);
  return made;
}

export const narrowRows: Pass = {
  name: 'narrow-rows',
  summary: 'computes only the rows that are looked up',
  run(graph: Graph, context: InferContext) {
    const users = usersOf(graph);
    return rewriteGraph(graph, context, (node, _inputs, rewriter) => {
      const [output] = node.outputs;
      const lookup = lookupOf(graph, node, users);
      if (!lookup || !output) return undefined;
      const rows = narrowed(lookup.table, lookup, rewriter, new Map());
      return [rewriter.emit('reshape', [rows], { shape: output.type.shape })];
    });
  },
};
