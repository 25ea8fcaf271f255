/**
 * Tables with fewer rows: `rows "model.embed_tokens": keep 0.25`. Callers give and get the numbers that they did before: a tensor of
 * places, one for each number, says which row stands for it.
 *
 *   lookup    gather(table, ids)     gather(table', places[ids] - 1)              a row that is gone is zeros
 *   scores    linear(x, table)       scores'[.., places[v] - 1], or `gone`        a class that is gone is never chosen
 *
 * A place is 0 where the row is gone, else its number in the smaller table and 1. All tables of a rule keep the same rows.
 */
import { type Node, onlyOutput, type Program, type Value, type Weight } from '../../ir/graph.ts';
import { broadcastTo, combine, fillLike, scalarConstant } from '../../ir/ops/build.ts';
import { hasTrait } from '../../ir/ops/index.ts';
import { stringOf, stringsOf } from '../../ir/ops/shared.ts';
import { goneScore, type RowLookup, type RowRule, type UnitMember, type UnitSet } from '../../ir/pruning.ts';
import { constantDim, constantValue } from '../../ir/symbolic.ts';
import { type TensorType, tensorType } from '../../ir/types.ts';
import { type Diagnostic, diagnose, type Stage } from '../../support/diagnostic.ts';
import { contextOf, type RewriteContext, rewriteGraph } from '../pass.ts';

export interface RowsOptions {
  /** How many rows stay, by id of the set, where a file says so. */
  readonly kept?: ReadonlyMap<string, number>;
}

export interface PrunedRows {
  readonly program: Program;
  readonly sets: readonly UnitSet[];
}

/** What a rule cuts: names of weights, those of ties among them. */
interface Tables {
  readonly names: ReadonlySet<string>;
  /** Offsets of scores. */
  readonly offsets: Set<string>;
  readonly count: number;
}

function pathOf(node: Node): string | undefined {
  const [path, another] = node.op === 'weight' ? stringsOf(node.attributes, 'paths') : [];
  return another === undefined ? path : undefined;
}

const isOf = ({ node }: Value, names: ReadonlySet<string>): boolean => names.has(pathOf(node) ?? '');

const rowsOf = ({ type }: Weight): number => constantValue(type.shape[0] ?? constantDim(0)) ?? 0;

function matricesIn(program: Program, rule: RowRule): readonly Weight[] {
  const isIn = (path: string) => rule.parts.some((part) => path === part || path.startsWith(`${part}.`));
  return program.weights.filter(({ path, type }) => type.dtype === 'f32' && type.shape.length === 2 && isIn(path));
}

/** Why a node cannot have fewer rows of a table; undefined when it can. */
function obstacle(node: Node, tables: Tables): string | undefined {
  const reads = node.inputs.flatMap((value, at) => (isOf(value, tables.names) ? at : []));
  const [at, another] = reads;
  if (at === undefined) return undefined;
  if (another === undefined && node.op === 'gather' && at === 0) return undefined;
  const isScoring = another === undefined && node.op === 'linear' && at === 1;
  const offset = isScoring ? node.inputs[2] : undefined;
  if (isScoring && (offset === undefined || pathOf(offset.node) !== undefined)) {
    const path = offset && pathOf(offset.node);
    if (path !== undefined) tables.offsets.add(path);
    return undefined;
  }
  return `\`${node.op}\` takes it, and only lookups and \`linear\` can do with fewer rows`;
}

/** Parameters of entries whose numbers are looked up in the tables. */
function lookupsOf(program: Program, tables: Tables): readonly RowLookup[] {
  return program.entries.flatMap(({ name, graph }) =>
    graph.nodes.flatMap((node): readonly RowLookup[] => {
      const [table, indices] = node.inputs;
      if (node.op !== 'gather' || !table || !isOf(table, tables.names)) return [];
      let source = indices?.node;
      while (source && hasTrait(source, 'view')) source = source.inputs[0]?.node;
      return source?.op === 'input' ? [{ entry: name, input: stringOf(source.attributes, 'name') }] : [];
    }),
  );
}

/** The program with smaller tables, where all that reads them can do with fewer rows. */
class Cutting {
  readonly #tables: Tables;
  readonly #keep: number;
  readonly #places: string;

  constructor(tables: Tables, keep: number, places: string) {
    this.#tables = tables;
    this.#keep = keep;
    this.#places = places;
  }

  typeOf(type: TensorType): TensorType {
    return { dtype: type.dtype, shape: [constantDim(this.#keep), ...type.shape.slice(1)] };
  }

  isCut(path: string | undefined): boolean {
    return path !== undefined && (this.#tables.names.has(path) || this.#tables.offsets.has(path));
  }

  /** The row of each number less 1, so that -1 is that of none. */
  #rows(context: RewriteContext, places: Value): Value {
    const rows = context.emit('cast', [places], { dtype: 'i32' });
    return combine(context, 'sub', rows, scalarConstant(context, 1, 'i32'));
  }

  #leaf({ builder }: RewriteContext): Value {
    const type = tensorType('f32', [constantDim(this.#tables.count)]);
    return onlyOutput(builder.add('weight', [], [type], { attributes: { paths: [this.#places] } }));
  }

  rewrite = (node: Node, inputs: readonly Value[], context: RewriteContext): readonly Value[] | undefined => {
    const { builder, emit } = context;
    if (this.isCut(pathOf(node))) {
      const { attributes, span, label } = node;
      return builder.add('weight', [], [this.typeOf(onlyOutput(node).type)], { attributes, span, label }).outputs;
    }
    const [left, right] = node.inputs;
    if (node.op === 'gather' && left && isOf(left, this.#tables.names)) {
      const [table, ids] = inputs;
      if (!table || !ids) return undefined;
      return [emit('gather', [table, this.#rows(context, emit('gather', [this.#leaf(context), ids]))])];
    }
    if (node.op !== 'linear' || !right || !isOf(right, this.#tables.names)) return undefined;
    const { shape } = onlyOutput(node).type;
    const scores = emit('linear', inputs);
    const rows = broadcastTo(context, this.#rows(context, this.#leaf(context)), shape);
    const taken = emit('take_along', [scores, rows], { axis: -1 });
    const isGone = emit('less', [rows, fillLike(context, 0, rows)]);
    return [emit('select', [isGone, fillLike(context, goneScore, taken), taken])];
  };
}

/** One rule; undefined with a diagnostic when it cannot be had. */
function cut(
  program: Program,
  rule: RowRule,
  at: number,
  options: RowsOptions,
): (PrunedRows & { readonly refused?: undefined }) | { readonly refused: Diagnostic } {
  const refuse = (code: 'SORA2311' | 'SORA2312' | 'SORA2313', message: string, help: string) => ({
    refused: diagnose(code, message, rule.span, { help }),
  });
  const part = rule.parts.join('", "');
  const named = matricesIn(program, rule);
  const [first, ...others] = named.toSorted((a, b) => Number(a.tied !== undefined) - Number(b.tied !== undefined));
  if (!first) return refuse('SORA2312', `"${part}" holds no table`, 'name the part of an embedding');
  const odd = others.find((other) => rowsOf(other) !== rowsOf(first));
  if (odd) {
    const message = `\`${odd.path}\` has ${rowsOf(odd)} rows, \`${first.path}\` ${rowsOf(first)}`;
    return refuse('SORA2311', message, 'tables of a rule keep the same rows: write one rule for each');
  }
  const canonical = new Set(named.map(({ path, tied }) => tied ?? path));
  const ties = program.weights.filter(({ path, tied }) => canonical.has(tied ?? path));
  const tables: Tables = { names: new Set(ties.map(({ path }) => path)), offsets: new Set(), count: rowsOf(first) };
  if (program.train) {
    const help =
      'write the rule in a file of its own and give it to `sorac compress --recipe` when the model is trained';
    return refuse('SORA2311', `rows of "${part}" cannot be taken out of a model that trains`, help);
  }
  for (const node of program.entries.flatMap(({ graph }) => graph.nodes)) {
    const why = obstacle(node, tables);
    if (why !== undefined)
      return refuse('SORA2311', `rows of "${part}" cannot be taken out: ${why}`, 'leave this part out of the rule');
  }
  const lookups = lookupsOf(program, tables);
  if (rule.by === 'activation' && lookups.length === 0) {
    const message = `rows of "${part}" cannot be counted: no entry is given what is looked up in it`;
    return refuse('SORA2311', message, 'write `by l2`, or name the table that tokens are looked up in as well');
  }
  const id = `rows ${first.tied ?? first.path}`;
  const { count } = tables;
  const keep = options.kept?.get(id) ?? Math.round(count * rule.keep);
  if (keep < 1 || keep >= count) {
    const message = `\`keep ${rule.keep}\` leaves ${keep < 1 ? 'none' : 'all'} of the ${count} rows of "${part}"`;
    return refuse('SORA2313', message, `keep 1 to ${count - 1} of ${count}`);
  }
  const places = `${first.tied ?? first.path}.places`;
  const cutting = new Cutting(tables, keep, places);
  const entries = program.entries.map((entry) => ({
    ...entry,
    graph: rewriteGraph(entry.graph, contextOf(program), cutting.rewrite).graph,
  }));
  const weights = program.weights.map((weight) =>
    cutting.isCut(weight.path) ? { ...weight, type: cutting.typeOf(weight.type) } : weight,
  );
  const added: Weight = {
    path: places,
    type: tensorType('f32', [constantDim(count)]),
    span: rule.span,
    doc: undefined,
  };
  const units = Array.from({ length: count }, (_, row) => row);
  const member = (path: string): UnitMember => ({ path, axis: 0, units });
  const set: UnitSet = {
    id,
    kind: 'rows',
    part: rule.parts[0] ?? '',
    rule: at,
    count,
    keep,
    by: rule.by,
    members: [...tables.names, ...tables.offsets].map(member),
    scored: [...canonical].map(member),
    constants: [],
    states: [],
    rows: {
      places,
      lookups,
      always: program.generation?.vocabulary === count ? program.generation.stop : [],
    },
  };
  return { program: { ...program, entries, weights: [...weights, added] }, sets: [set] };
}

/** All rules about rows, in order. @param first the place of the first one among the rules about units */
export function pruneRows(program: Program, first: number, options: RowsOptions = {}): Stage<PrunedRows> {
  let current: PrunedRows = { program, sets: [] };
  for (const [at, rule] of (program.prune?.rows ?? []).entries()) {
    const next = cut(current.program, rule, first + at, options);
    if (next.refused) return { value: { program, sets: [] }, diagnostics: [next.refused] };
    current = { program: next.program, sets: [...current.sets, ...next.sets] };
  }
  return { value: current, diagnostics: [] };
}
