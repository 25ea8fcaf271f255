/**
 * Which units a rule is about: seeds in the parts that it names, followed to everything that hangs together with them.
 *
 * Heads start at the query of an attention, one unit per group of key and value heads. Neurons start at the inputs of a matrix
 * that lies in the part, one unit per input: where that comes to an end without meeting a norm, an attention or the residual
 * stream, it is the hidden layer of a feed-forward.
 */
import type { Node, Program, Value } from '../../ir/graph.ts';
import type { AxisRun } from '../../ir/op.ts';
import { numbersOf } from '../../ir/ops/shared.ts';
import type { UnitConstant, UnitMember, UnitRule, UnitSet } from '../../ir/pruning.ts';
import { constantValue, productOfDims } from '../../ir/symbolic.ts';
import { type Diagnostic, diagnose, type Stage } from '../../support/diagnostic.ts';
import type { Span } from '../../support/source.ts';
import { definitionOf, hasTrait } from '../pass.ts';
import { type Followed, Following, type Labels, type Obstacle } from './follow.ts';
import { type Cell, type Places, sizeOf } from './places.ts';

/** A set with the places of the graph that it takes from. */
export interface FoundSet {
  readonly set: UnitSet;
  readonly labels: Labels;
  /** Leaves of the graph that become tensors of the compressed file. */
  readonly constants: ReadonlyMap<Cell, UnitConstant>;
}

interface Candidate {
  readonly followed: Followed;
  readonly count: number;
  readonly node: Node;
}

export interface SetsOptions {
  /** How many units stay, by id of the set, where a file says so. */
  readonly kept?: ReadonlyMap<string, number>;
}

/** Whether a weight belongs to a part of the model. */
export function isIn(part: string, path: string): boolean {
  return path === part || path.startsWith(`${part}.`);
}

function weightsOf(followed: Followed): readonly string[] {
  return [...followed.labels.keys()].flatMap(({ weight }) => weight ?? []);
}

function meetsAttention(followed: Followed): boolean {
  return [...followed.nodes].some((node) => definitionOf(node).skeleton === 'attention');
}

/** The tensor of the checkpoint that a value shows, and which of its axes the axis is. */
function sourceOf(
  places: Places,
  value: Value,
  axis: number,
): { readonly cell: Cell; readonly axis: number } | undefined {
  const cell = places.of(value);
  if (cell.weight !== undefined) return { cell, axis };
  const { node } = value;
  if (!hasTrait(node, 'view')) return undefined;
  const isWhole = (run: AxisRun) => run.from === undefined && run.each === undefined && run.keys === undefined;
  const set = places
    .runs(node)
    .find((runs) => runs.some((run) => run.of === 'result' && run.axis === axis && isWhole(run)));
  const from = set?.find((run) => run.of === 'operand' && isWhole(run));
  const source = from && node.inputs[from.at];
  return from && source ? sourceOf(places, source, from.axis) : undefined;
}

/** Tensors of the checkpoint that a product takes, and the axis of each that is summed over. */
function matricesOf(places: Places, node: Node): readonly { readonly cell: Cell; readonly axis: number }[] {
  if (!hasTrait(node, 'contraction')) return [];
  const summed = places.runs(node).filter((set) => set.length > 1 && set.every(({ of }) => of === 'operand'));
  return summed.flat().flatMap(({ at, axis }) => {
    const value = node.inputs[at];
    return (value && sourceOf(places, value, axis)) ?? [];
  });
}

export class Sets {
  readonly #places: Places;
  readonly #options: SetsOptions;
  /** Weights that stand for another when the file has none of their name. */
  readonly #ties: readonly (readonly [string, string])[];
  readonly found = new Map<string, FoundSet>();
  readonly diagnostics: Diagnostic[] = [];
  /** What is wrong with the rule at hand, part by part. */
  #refusals: Diagnostic[] = [];

  constructor(program: Program, places: Places, options: SetsOptions) {
    this.#places = places;
    this.#options = options;
    this.#ties = program.weights.flatMap(({ path, tied }) => (tied === undefined ? [] : [[path, tied] as const]));
  }

  add(rule: UnitRule, at: number): void {
    this.#refusals = [];
    let any = false;
    const quiet: string[] = [];
    for (const part of rule.parts) {
      const candidates = rule.kind === 'heads' ? this.#heads(part) : this.#neurons(part);
      const whole = candidates.filter(({ followed }) => followed.obstacles.length === 0);
      const blocked = candidates.filter(({ followed }) => followed.obstacles.length > 0);
      for (const candidate of whole) any = this.#take(rule, at, part, candidate) || any;
      if (rule.kind === 'heads' || whole.length === 0) {
        const [worst] = blocked.slice(-1);
        if (worst) this.#refuse(rule, part, worst.followed.obstacles);
        else if (whole.length === 0) quiet.push(part);
      }
    }
    const [first, ...others] = this.#refusals;
    const [part = ''] = quiet;
    if (first) {
      const notes = others.length === 0 ? [] : [`so it is with ${others.length} more of the parts that the rule names`];
      this.diagnostics.push({ ...first, notes });
    } else if (!any) {
      const [what, whole] = rule.kind === 'heads' ? ['no attention', 'attention'] : ['no feed-forward', 'feed-forward'];
      const help = `name a part that holds all matrices of the ${whole}`;
      this.diagnostics.push(diagnose('SORA2312', `"${part}" holds ${what}`, rule.span, { help }));
    }
  }

  #heads(part: string): readonly Candidate[] {
    const candidates: Candidate[] = [];
    const seen = new Set<Cell>();
    for (const node of this.#places.nodes) {
      if (definitionOf(node).skeleton !== 'attention') continue;
      const run = this.#places.runs(node)[0]?.find(({ of, at }) => of === 'operand' && at === 0);
      const cell = run && this.#places.at(node, run);
      const size = cell && sizeOf(cell, run.axis);
      if (!cell || size === undefined || seen.has(cell)) continue;
      const each = run.each ?? 1;
      const following = new Following(this.#places);
      following.start(cell, run.axis, (index) => Math.floor(index / each));
      const count = size / each;
      const followed = following.finish(count);
      for (const other of followed.labels.keys()) seen.add(other);
      if (weightsOf(followed).some((path) => isIn(part, path))) candidates.push({ followed, count, node });
    }
    return candidates;
  }

  #neurons(part: string): readonly Candidate[] {
    const candidates: Candidate[] = [];
    const seen = new Set<Cell>();
    for (const node of this.#places.nodes) {
      for (const { cell, axis } of matricesOf(this.#places, node)) {
        if (cell.weight === undefined || !isIn(part, cell.weight) || seen.has(cell)) continue;
        seen.add(cell);
        const count = sizeOf(cell, axis) ?? 0;
        const following = new Following(this.#places);
        following.start(cell, axis, (index) => index);
        const followed = following.finish(count, 1);
        const isWhole = followed.obstacles.length === 0;
        if (meetsAttention(followed) || (isWhole && weightsOf(followed).length < 2)) continue;
        candidates.push({ followed, count, node });
      }
    }
    return candidates;
  }

  #refuse(rule: UnitRule, part: string, obstacles: readonly Obstacle[]): void {
    const [first] = obstacles;
    const what = rule.kind === 'heads' ? 'heads' : 'neurons';
    this.#refusals.push(
      diagnose('SORA2311', `${what} of "${part}" cannot be taken out: ${first?.why ?? 'they do not end'}`, rule.span, {
        labels: first?.span ? [{ span: first.span, text: 'here' }] : [],
        help: 'leave this part out of the rule',
      }),
    );
  }

  /** Whether the candidate is a set of the rule; says so when it is one that the rule cannot have. */
  #take(rule: UnitRule, at: number, part: string, { followed, count }: Candidate): boolean {
    const weights = weightsOf(followed);
    const outside = weights.find((path) => !isIn(part, path));
    const span = rule.span;
    if (outside !== undefined) {
      const message = `${rule.kind} of "${part}" hang together with \`${outside}\`, which lies outside of it`;
      this.#refusals.push(diagnose('SORA2311', message, span, { help: 'name a part that holds both' }));
      return false;
    }
    const scored = this.#scored(followed);
    const [first] = scored;
    if (!first) {
      const message = `${rule.kind} of "${part}" cannot be compared: no matrix takes them in`;
      this.#refusals.push(diagnose('SORA2311', message, span, { help: 'leave this part out of the rule' }));
      return false;
    }
    const id = `${rule.kind} ${first.path}`;
    const known = this.found.get(id);
    if (known?.set.rule === at) return true;
    const unit = rule.kind === 'heads' ? 'groups of heads' : 'neurons';
    const found = { count, kept: this.#options.kept?.get(id), isExact: !rule.isBudget, what: `${unit} of "${part}"` };
    const { value: keep, diagnostics } = keptOf(rule, found);
    if (diagnostics.length > 0) {
      this.#refusals.push(...diagnostics);
      return false;
    }
    const constants = constantsOf(id, followed);
    const set: UnitSet = {
      id,
      kind: rule.kind,
      part,
      rule: at,
      count,
      keep,
      by: rule.by,
      members: this.#members(followed),
      scored,
      constants: [...new Set(constants.values())],
      states: [...followed.labels.keys()].flatMap(({ state }) => state ?? []),
    };
    this.found.set(id, { set, labels: followed.labels, constants });
    return true;
  }

  /** Inputs of the matrices that take the units in. */
  #scored(followed: Followed): readonly UnitMember[] {
    const scored = new Map<string, UnitMember>();
    for (const node of followed.nodes) {
      for (const { cell, axis } of matricesOf(this.#places, node)) {
        const units = followed.labels.get(cell)?.get(axis);
        if (units && cell.weight !== undefined) scored.set(cell.weight, { path: cell.weight, axis, units: [...units] });
      }
    }
    return [...scored.values()];
  }

  #members({ labels }: Followed): readonly UnitMember[] {
    return [...labels].flatMap(([{ weight }, axes]) => {
      if (weight === undefined) return [];
      const names = [weight, ...this.#ties.flatMap(([path, tied]) => (tied === weight ? path : []))];
      return [...axes].flatMap(([axis, units]) => names.map((path) => ({ path, axis, units: [...units] })));
    });
  }
}

/**
 * How many units a rule keeps, or a file has.
 *
 * @param found `kept`: what the file has, where it says so; `isExact`: and the rule has to say the same
 */
export function keptOf(
  rule: { readonly keep: number; readonly span: Span },
  found: {
    readonly count: number;
    readonly kept: number | undefined;
    readonly isExact: boolean;
    readonly what: string;
  },
): Stage<number> {
  const { count, isExact, what } = found;
  const wanted = Math.round(count * rule.keep);
  const keep = found.kept ?? wanted;
  const refuse = (code: 'SORA2304' | 'SORA2313', message: string, help: string) => ({
    value: keep,
    diagnostics: [diagnose(code, message, rule.span, { help })],
  });
  if (isExact && keep !== wanted) {
    const message = `\`keep ${rule.keep}\` is ${wanted} of the ${count} ${what}, and the weights have ${keep}: another recipe has cut them`;
    const help = 'give the recipe that wrote them, `recipe.sora` beside the file, or weights that are whole';
    return refuse('SORA2304', message, help);
  }
  if (keep >= 1 && keep < count) return { value: keep, diagnostics: [] };
  const message = `\`keep ${rule.keep}\` leaves ${keep < 1 ? 'none' : 'all'} of the ${count} ${what}`;
  const help =
    count === 1 ? 'a single one cannot be divided' : `keep ${count === 2 ? 1 : `1 to ${count - 1}`} of ${count}`;
  return refuse('SORA2313', message, help);
}

/** Numbers per unit that are known when compiling: which of them remain is known only when units are chosen. */
function constantsOf(id: string, { labels }: Followed): ReadonlyMap<Cell, UnitConstant> {
  const constants = new Map<Cell, UnitConstant>();
  const byContent = new Map<string, UnitConstant>();
  for (const [cell, axes] of labels) {
    const { node, type } = cell;
    const [labelled] = axes;
    if ((node.op !== 'constant' && node.op !== 'iota') || !labelled) continue;
    const [axis, units] = labelled;
    const size = constantValue(productOfDims(type.shape)) ?? 0;
    const shape = type.shape.map((dim) => constantValue(dim) ?? 1);
    const isCounting = node.op === 'iota';
    const values = isCounting ? Array.from({ length: size }, (_, at) => at) : numbersOf(node.attributes, 'values');
    const content = JSON.stringify([shape, values, axis]);
    const path = `${id.slice(id.indexOf(' ') + 1)}.constant.${byContent.size}`;
    const made = byContent.get(content) ?? { path, shape, values, axis, units: [...units] };
    byContent.set(content, made);
    constants.set(cell, made);
  }
  return constants;
}
