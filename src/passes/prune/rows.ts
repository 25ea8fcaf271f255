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
import { contextOf, definitionOf, type RewriteContext, rewriteGraph } from '../pass.ts';
import { otherShare } from './sets.ts';

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
  const reads = node.inputs.flatMap((value, at) => (isOf(value, tables.names) ? at : []));
  const [at, another] = reads;
  if (at === undefined) return undefined;
  if (another === undefined && node.op === 'gather' && at === 0) return undefined;
  const isScoring = another === undefined && node.op === 'linear' && at === 1;
  const offset = isScoring ? node.inputs[2] : undefined;
  if (!isScoring || (offset !== undefined && pathOf(offset.node) === undefined))
    return `\`${node.op}\` takes it, and only lookups and \`linear\` can do with fewer rows`;
  const further = takesScores(graph, onlyOutput(node));
  if (further) return `what \`linear\` makes of it goes into \`${further.op}\`: it scores no classes`;
  const path = offset && pathOf(offset.node);
  if (path !== undefined) tables.offsets.add(path);
  return undefined;
}

/** The parameter whose numbers are looked up; undefined where they are computed. */
function givenIndex({ node }: Value): string | undefined {
  let source: Node | undefined = node;
  while (source && hasTrait(source, 'view')) source = source.inputs[0]?.node;
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
      if (node.op !== 'gather' || !table || !indices || !isOf(table, tables.names)) continue;
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
  before: readonly UnitSet[],
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
  const twice = before.find(({ members }) => members.some(({ path }) => tables.names.has(path)));
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
  const { count } = tables;
  const wanted = Math.round(count * rule.keep);
  const keep = options.kept?.get(id) ?? wanted;
  if (keep !== wanted) return { refused: otherShare(rule, { keep, wanted, count, what: `rows of "${part}"` }) };
  const always = program.generation?.vocabulary === count ? program.generation.stop : [];
  if (keep >= 1 && keep < always.length) {
    const message = `\`keep ${rule.keep}\` leaves ${keep} of the ${count} rows of "${part}", and ${always.length} tokens end a text`;
    return refuse('SORA2313', message, `keep ${always.length} to ${count - 1} of ${count}`);
  }
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
    rows: { places, lookups, always },
  };
  return { program: { ...program, entries, weights: [...weights, added] }, sets: [set] };
}

/** All rules about rows, in order. @param first the place of the first one among the rules about units */
export function pruneRows(program: Program, first: number, options: RowsOptions = {}): Stage<PrunedRows> {
  let current: PrunedRows = { program, sets: [] };
  for (const [at, rule] of (program.prune?.rows ?? []).entries()) {
    const next = cut(current.program, rule, first + at, current.sets, options);
    if (next.refused) return { value: { program, sets: [] }, diagnostics: [next.refused] };
    current = { program: next.program, sets: [...current.sets, ...next.sets] };
  }
  return { value: current, diagnostics: [] };
}
