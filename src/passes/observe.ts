/**
 * An entry that gives, in place of the results of another, what matrices of the model are multiplied with, as second moments
 * Xᵀ X: the Hessian of the error that rounding a matrix makes. Calibration (src/compression/gptq.ts) sums it over a sample. Pruning by
 * activation needs their diagonal alone, the sums of squares.
 */
import { createEmitter, type GraphEmitter } from '../ir/emit.ts';
import { type Entry, GraphBuilder, type Node, type Program, type Value } from '../ir/graph.ts';
import { stringsOf } from '../ir/ops/shared.ts';
import { constantValue } from '../ir/symbolic.ts';
import { canonicalize } from './canonicalize.ts';
import { commonSubexpression } from './common-subexpression.ts';
import { deadCode } from './dead-code.ts';
import { definitionOf, intsOf } from './pass.ts';

/** What one result of the entry is about. */
export interface Observation {
  /** Name of a result: f32[columns, columns], or f32[columns] for `squares`. */
  readonly result: string;
  /** Weights that are multiplied with it; several when they read one value. */
  readonly paths: readonly string[];
  readonly columns: number;
}

/** One place where a matrix of the checkpoint maps the last axis of a value. */
interface Reading {
  readonly path: string;
  readonly x: Value;
  readonly columns: number;
}

/** The path of a matrix of the checkpoint, also where it stands once for each of a batch. */
function matrixPath({ node, type }: Value): string | undefined {
  const [source] = node.inputs;
  if (node.op === 'broadcast' && source?.type.shape.length === 2) {
    const isWhole = source.type.shape.every((dim, axis) => dim.key === type.shape.at(axis - 2)?.key);
    return isWhole ? matrixPath(source) : undefined;
  }
  const [path, ...others] = node.op === 'weight' ? stringsOf(node.attributes, 'paths') : [];
  return others.length === 0 ? path : undefined;
}

/** What operand `at` of the node is multiplied with, along the last axis. */
function multipliedWith(node: Node, at: number): Value | undefined {
  const mapped = definitionOf(node).mapsLastAxis?.(node.inputs, node.attributes, at);
  if (mapped) return mapped.x;
  // `matmul` has the matrix once for each of a batch.
  const [x] = node.inputs;
  if (node.op !== 'dot_general' || at !== 1 || !x) return undefined;
  const batch = intsOf(node, 'rhs_batch');
  const rank = node.inputs[1]?.type.shape.length ?? 0;
  const isBroadcast = rank > 2 && batch.length === rank - 2 && batch.every((axis, index) => axis === index);
  return isBroadcast && intsOf(node, 'lhs_contract').join() === String(x.type.shape.length - 1) ? x : undefined;
}

/** Matrices of the checkpoint that the entry multiplies something with, at each of their places. */
function readingsOf(entry: Entry): readonly Reading[] {
  return entry.graph.nodes.flatMap((node) =>
    node.inputs.flatMap((input, at): Reading[] => {
      const path = matrixPath(input);
      const x = path === undefined ? undefined : multipliedWith(node, at);
      const last = x?.type.shape.at(-1);
      const columns = last && constantValue(last);
      if (path === undefined || !x || columns === undefined || x.type.shape.length < 2) return [];
      return [{ path, x, columns }];
    }),
  );
}

/** The entry in a form in which places of matrices can be seen: `observable` and `observeEntry` take it so. */
export function observedForm(program: Program, entry: Entry): Entry {
  const context = { ranges: program.dims };
  const passes = [canonicalize, commonSubexpression, deadCode];
  return { ...entry, graph: passes.reduce((graph, pass) => pass.run(graph, context).graph, entry.graph) };
}

/** Groups of matrices that one call can observe without more than `mostBytes` of results; each path is in one group. */
export function observable(entry: Entry, mostBytes: number): readonly (readonly string[])[] {
  const groups: string[][] = [];
  const seen = new Map<Value, number>();
  const placed = new Map<string, number>();
  let bytes = Number.POSITIVE_INFINITY;
  for (const { path, x, columns } of readingsOf(entry)) {
    if (placed.has(path)) continue;
    const known = seen.get(x);
    const own = columns * columns * 4;
    if (known === undefined && bytes + own > mostBytes) {
      groups.push([]);
      bytes = 0;
    }
    const at = known ?? groups.length - 1;
    if (known === undefined) bytes += own;
    groups[at]?.push(path);
    seen.set(x, at);
    placed.set(path, at);
  }
  return groups;
}

/** Second moments whole, or their diagonal. */
export type ObservedForm = 'moments' | 'squares';

function observed(emitter: GraphEmitter, value: Value, form: ObservedForm): Value {
  const rows = value.type.shape.slice(0, -1).map((_, axis) => axis);
  if (form === 'squares') {
    const attributes = { kind: 'sum', axes: rows, keep: false };
    return emitter.emit('reduce', [emitter.emit('mul', [value, value])], attributes);
  }
  const attributes = { lhs_batch: [], rhs_batch: [], lhs_contract: rows, rhs_contract: rows };
  return emitter.emit('dot_general', [value, value], attributes);
}

/** @param paths matrices that are observed; those that the entry does not multiply with anything are left out */
export function observeEntry(
  program: Program,
  entry: Entry,
  paths: ReadonlySet<string>,
  form: ObservedForm = 'moments',
): { readonly entry: Entry; readonly observations: readonly Observation[] } {
  const byValue = new Map<Value, { paths: string[]; columns: number }>();
  for (const { path, x, columns } of readingsOf(entry)) {
    if (!paths.has(path)) continue;
    const known = byValue.get(x);
    if (known) known.paths.push(path);
    else byValue.set(x, { paths: [path], columns });
  }
  const kept = [...byValue];
  const emitter = createEmitter(new GraphBuilder(), { ranges: program.dims });
  const values = new Map<Value, Value>();
  for (const node of entry.graph.nodes) {
    const { attributes, span, label, region } = node;
    const copy = emitter.builder.add(
      node.op,
      node.inputs.map((value) => values.get(value) ?? value),
      node.outputs.map(({ type }) => type),
      { attributes, span, label, ...(region ? { region } : {}) },
    );
    node.outputs.forEach((output, at) => {
      const made = copy.outputs[at];
      if (made) values.set(output, made);
    });
  }
  const results = kept.map(([x], at) => {
    return { name: `${form}_${at}`, value: observed(emitter, values.get(x) ?? x, form) };
  });
  const observations = kept.map(([, { paths: own, columns }], at) => ({
    result: `${form}_${at}`,
    paths: own,
    columns,
  }));
  return {
    observations,
    entry: {
      name: `${entry.name}_${form}`,
      doc: undefined,
      parameters: entry.parameters,
      results: results.map(({ name, value }) => ({ name, type: value.type })),
      graph: emitter.builder.finish(`${entry.name}_${form}`, results),
      span: entry.span,
    },
  };
}
