/**
 * Tables with fewer rows: `rows "model.embed_tokens": keep 0.25`. Callers give and get the numbers that they did before: a tensor of
 * places, one for each number, says which row stands for it.
 *
 *   lookup    gather(table, ids)     gather(table', places[ids] - 1)              a row that is gone is zeros
 *   scores    linear(x, table)       scores'[.., places[v] - 1], or `gone`        a class that is gone is never chosen
 *
 * A place is 0 where the row is gone, else its number in the smaller table and 1. All tables of a rule keep the same rows.
 */
import { type Graph, type Node, onlyOutput, type Program, usersOf, type Value, type Weight } from '../../ir/graph.ts';
import { broadcastTo, combine, fillLike, scalarConstant } from '../../ir/ops/build.ts';
import { hasTrait } from '../../ir/ops/index.ts';
import { stringOf, stringsOf } from '../../ir/ops/shared.ts';
import { goneScore, type RowLookup, type RowRule, type UnitMember, type UnitSet } from '../../ir/pruning.ts';
import { constantDim, constantValue } from '../../ir/symbolic.ts';
import { type TensorType, tensorType } from '../../ir/types.ts';
import { type Diagnostic, diagnose, type Stage } from '../../support/diagnostic.ts';
import { contextOf, definitionOf, type RewriteContext, rewriteGraph, underViews } from '../pass.ts';
import { isIn, keptOf, type SetsOptions } from './sets.ts';

/** Names of the tables of a rule, those of ties among them. */
type Tables = ReadonlySet<string>;

function pathOf(node: Node): string | undefined {
  const [path, another] = node.op === 'weight' ? stringsOf(node.attributes, 'paths') : [];
  return another === undefined ? path : undefined;
}

const isOf = ({ node }: Value, names: ReadonlySet<string>): boolean => names.has(pathOf(node) ?? '');

/** How many rows a table has. */
export const tableRows = ({ type }: Weight): number => constantValue(type.shape[0] ?? constantDim(0)) ?? 0;

function matricesIn(program: Program, rule: RowRule): readonly Weight[] {
  const isNamed = (path: string) => rule.parts.some((part) => isIn(part, path));
  return program.weights.filter(({ path, type }) => type.dtype === 'f32' && type.shape.length === 2 && isNamed(path));
}

/** What a graph computes on with scores: a score of a class that is gone is no number there. */
function takesScores(graph: Graph, scores: Value): Node | undefined {
  const users = usersOf(graph);
  const seen = new Set<Node>();
  const pending = [scores];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    for (const node of users.get(value) ?? []) {
      if (hasTrait(node, 'contraction') || definitionOf(node).skeleton === 'attention') return node;
      if (seen.has(node)) continue;
      seen.add(node);
      pending.push(...node.outputs);
    }
  }
  return undefined;
}

/** Why a node cannot have fewer rows of a table; undefined when it can. */
function obstacle(graph: Graph, node: Node, tables: Tables): string | undefined {
  const reads = node.inputs.flatMap((value, at) => (isOf(value, tables) ? at : []));
  const [at, another] = reads;
  if (at === undefined) return undefined;
  if (another === undefined && node.op === 'gather' && at === 0) return undefined;
  const isScoring = another === undefined && node.op === 'linear' && at === 1;
  const offset = isScoring ? node.inputs[2] : undefined;
  if (!isScoring || (offset !== undefined && pathOf(offset.node) === undefined))
    return `\`${node.op}\` takes it, and only lookups and \`linear\` can do with fewer rows`;
  const further = takesScores(graph, onlyOutput(node));
  return further && `what \`linear\` makes of it goes into \`${further.op}\`: it scores no classes`;
}

/** Names of what is added to scores. */
function offsetsOf(program: Program, tables: Tables): ReadonlySet<string> {
  const nodes = program.entries.flatMap(({ graph }) => graph.nodes);
  const offsets = nodes.flatMap(({ op, inputs: [, table, offset] }) =>
    op === 'linear' && table && offset && isOf(table, tables) ? (pathOf(offset.node) ?? []) : [],
  );
  return new Set(offsets);
}

/** The parameter whose numbers are looked up; undefined where they are computed. */
function givenIndex(value: Value): string | undefined {
  const source = underViews(value)?.node;
  return source?.op === 'input' ? stringOf(source.attributes, 'name') : undefined;
}

interface Lookups {
  readonly given: readonly RowLookup[];
  /** Names of tables that are looked up by numbers that no entry is given. */
  readonly computed: readonly string[];
}

function lookupsOf(program: Program, tables: Tables): Lookups {
  const given: RowLookup[] = [];
  const computed: string[] = [];
  for (const { name, graph } of program.entries) {
    for (const node of graph.nodes) {
      const [table, indices] = node.inputs;
      if (node.op !== 'gather' || !table || !indices || !isOf(table, tables)) continue;
      const input = givenIndex(indices);
      if (input === undefined) computed.push(pathOf(table.node) ?? '');
      else given.push({ entry: name, input });
    }
  }
  return { given, computed };
}

/** The program with smaller tables, where all that reads them can do with fewer rows. */
class Cutting {
  readonly #tables: Tables;
  /** Names of all weights that get shorter. */
  readonly #cut: ReadonlySet<string>;
  readonly #keep: number;
  readonly #places: Weight;

  constructor(tables: Tables, cut: ReadonlySet<string>, keep: number, places: Weight) {
    this.#tables = tables;
    this.#cut = cut;
    this.#keep = keep;
    this.#places = places;
  }

  typeOf(type: TensorType): TensorType {
    return { dtype: type.dtype, shape: [constantDim(this.#keep), ...type.shape.slice(1)] };
  }

  isCut(path: string | undefined): boolean {
    return path !== undefined && this.#cut.has(path);
  }

  /** The row of each number less 1, so that -1 is that of none. */
  #rows(context: RewriteContext, places: Value): Value {
    const rows = context.emit('cast', [places], { dtype: 'i32' });
    return combine(context, 'sub', rows, scalarConstant(context, 1, 'i32'));
  }

  #leaf({ builder }: RewriteContext): Value {
    const { path, type } = this.#places;
    return onlyOutput(builder.add('weight', [], [type], { attributes: { paths: [path] } }));
  }

  rewrite = (node: Node, inputs: readonly Value[], context: RewriteContext): readonly Value[] | undefined => {
    const { builder, emit } = context;
    if (this.isCut(pathOf(node))) {
      const { attributes, span, label } = node;
      return builder.add('weight', [], [this.typeOf(onlyOutput(node).type)], { attributes, span, label }).outputs;
    }
    const [left, right] = node.inputs;
    if (node.op === 'gather' && left && isOf(left, this.#tables)) {
      const [table, ids] = inputs;
      if (!table || !ids) return undefined;
      return [emit('gather', [table, this.#rows(context, emit('gather', [this.#leaf(context), ids]))])];
    }
    if (node.op !== 'linear' || !right || !isOf(right, this.#tables)) return undefined;
    const { shape } = onlyOutput(node).type;
    const scores = emit('linear', inputs);
    const rows = broadcastTo(context, this.#rows(context, this.#leaf(context)), shape);
    const taken = emit('take_along', [scores, rows], { axis: -1 });
    const isGone = emit('less', [rows, fillLike(context, 0, rows)]);
    return [emit('select', [isGone, fillLike(context, goneScore, taken), taken])];
  };
}

/** The program without the rows that a rule drops. @param at the place of the rule among those about units */
function dropRows(program: Program, rule: RowRule, at: number, options: SetsOptions): Stage<Program> {
  const refused = (diagnostics: readonly Diagnostic[]): Stage<Program> => ({ value: program, diagnostics });
  const refuse = (code: 'SORA2311' | 'SORA2312' | 'SORA2313', message: string, help: string) =>
    refused([diagnose(code, message, rule.span, { help })]);
  const part = rule.parts.join('", "');
  const named = matricesIn(program, rule);
  const [first, ...others] = named.toSorted((a, b) => Number(a.tied !== undefined) - Number(b.tied !== undefined));
  if (!first) return refuse('SORA2312', `"${part}" holds no table`, 'name the part of an embedding');
  const odd = others.find((other) => tableRows(other) !== tableRows(first));
  if (odd) {
    const message = `\`${odd.path}\` has ${tableRows(odd)} rows, \`${first.path}\` ${tableRows(first)}`;
    return refuse('SORA2311', message, 'tables of a rule keep the same rows: write one rule for each');
  }
  const canonical = new Set(named.map(({ path, tied }) => tied ?? path));
  const ties = program.weights.filter(({ path, tied }) => canonical.has(tied ?? path));
  const tables: Tables = new Set(ties.map(({ path }) => path));
  if (program.train) {
    const help =
      'write the rule in a file of its own and give it to `sorac compress --recipe` when the model is trained';
    return refuse('SORA2311', `rows of "${part}" cannot be taken out of a model that trains`, help);
  }
  const before = program.pruned?.sets ?? [];
  const twice = before.find(({ members }) => members.some(({ path }) => tables.has(path)));
  if (twice) return refuse('SORA2311', `rows of \`${first.path}\` are taken out by two rules`, 'leave one of them');
  for (const { graph } of program.entries) {
    for (const node of graph.nodes) {
      const why = obstacle(graph, node, tables);
      if (why !== undefined)
        return refuse('SORA2311', `rows of "${part}" cannot be taken out: ${why}`, 'leave this part out of the rule');
    }
  }
  const { given: lookups, computed } = lookupsOf(program, tables);
  if (rule.by === 'activation' && (lookups.length === 0 || computed.length > 0)) {
    const [path = first.path] = computed;
    const message = `rows of \`${path}\` cannot be counted: no entry is given what is looked up in it`;
    const help =
      computed.length > 0
        ? 'write `by l2`, or leave it out'
        : 'write `by l2`, or name the table that tokens are looked up in as well';
    return refuse('SORA2311', message, help);
  }
  const id = `rows ${first.tied ?? first.path}`;
  const count = tableRows(first);
  const found = { count, kept: options.kept?.get(id), isExact: true, what: `rows of "${part}"` };
  const { value: keep, diagnostics } = keptOf(rule, found);
  if (diagnostics.length > 0) return refused(diagnostics);
  const always = program.generation?.vocabulary === count ? program.generation.stop : [];
  if (keep < always.length) {
    const message = `\`keep ${rule.keep}\` leaves ${keep} of the ${count} rows of "${part}", and ${always.length} tokens end a text`;
    return refuse('SORA2313', message, `keep ${always.length} to ${count - 1} of ${count}`);
  }
  const places: Weight = {
    path: `${first.tied ?? first.path}.places`,
    type: tensorType('f32', [constantDim(count)]),
    span: rule.span,
    doc: undefined,
  };
  const shorter = new Set([...tables, ...offsetsOf(program, tables)]);
  const cutting = new Cutting(tables, shorter, keep, places);
  const entries = program.entries.map((entry) => ({
    ...entry,
    graph: rewriteGraph(entry.graph, contextOf(program), cutting.rewrite).graph,
  }));
  const weights = program.weights.map((weight) =>
    cutting.isCut(weight.path) ? { ...weight, type: cutting.typeOf(weight.type) } : weight,
  );
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
    members: [...shorter].map(member),
    scored: [...canonical].map(member),
    constants: [],
    states: [],
    rows: { places: places.path, lookups, always },
  };
  return {
    value: { ...program, entries, weights: [...weights, places], pruned: { sets: [...before, set] } },
    diagnostics: [],
  };
}

/** All rules about rows, in order. */
export function pruneRows(program: Program, options: SetsOptions = {}): Stage<Program> {
  let value = program;
  const { rows = [], units = [] } = program.prune ?? {};
  for (const [at, rule] of rows.entries()) {
    const stage = dropRows(value, rule, units.length + at, options);
    if (stage.diagnostics.length > 0) return { value: program, diagnostics: stage.diagnostics };
    value = stage.value;
  }
  return { value, diagnostics: [] };
}
