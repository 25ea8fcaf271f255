/**
 * What recipes save, before anything is read or run: for each rule the matrices that it holds for, and for each recipe bytes and
 * predicted time.
 */
import { weightBytes } from '../../ir/cost.ts';
import type { Program, State, Weight } from '../../ir/graph.ts';
import { matchesGlob } from '../../ir/lower/use-globs.ts';
import type { UseBlock, UseRule } from '../../parser/ast.ts';
import { parse } from '../../parser/index.ts';
import { elementBytes } from '../../runtime/convert.ts';
import type { SourceFile } from '../../support/source.ts';
import type { Compiled } from '../execute.ts';
import { renderTable } from '../table.ts';
import { modelBytes } from './predict.ts';
import { megabytes, milliseconds, type PredictedPair } from './report.ts';
import { predictBoth } from './run.ts';

type Compilation = NonNullable<Compiled['compilation']>;

/** One rule of a block. */
export interface ExplainedRule {
  readonly block: 'quantize' | 'prune';
  readonly rule: string;
  /** Weights (or states) that are stored as this rule says: a later one may have taken others. */
  readonly weights: readonly string[];
  /** As a loaded model holds them. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface ExplainedRecipe {
  readonly recipe: string;
  readonly rules: readonly ExplainedRule[];
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly predicted: readonly PredictedPair[];
}

/** The blocks that say how `program` is compressed. */
function blocksOf(program: Program, file: SourceFile): readonly UseBlock[] {
  const uses = parse(file).value.uses;
  return uses.filter(({ use, model }) => (use === 'quantize' || use === 'prune') && model.text === program.name);
}

function changes(before: Weight | undefined, after: Weight): boolean {
  const key = ({ type, format, sparse }: Weight) => JSON.stringify([type.shape.map((dim) => dim.key), format, sparse]);
  return before === undefined || key(before) !== key(after);
}

export function explainRecipe(
  name: string,
  file: SourceFile,
  dense: Compilation,
  compressed: Compilation,
): ExplainedRecipe {
  const before = new Map(dense.program.weights.map((weight) => [weight.path, weight]));
  // Weights of which some become 0 may lie as they did before.
  const thinned = new Set((compressed.program.prune?.weights ?? []).flatMap(({ paths }) => paths));
  const changed = compressed.program.weights.filter(
    (weight) => thinned.has(weight.path) || changes(before.get(weight.path), weight),
  );
  const rules = blocksOf(dense.program, file).flatMap((block) =>
    block.items.flatMap((item) => (item.kind === 'rule' ? [{ block, item }] : [])),
  );
  const holds = ({ globs }: UseRule, path: string): boolean => globs.some(({ text }) => matchesGlob(text, path));
  const about = (...words: readonly string[]) => rules.filter(({ item }) => words.includes(item.about?.text ?? ''));
  const units = [...about('heads', 'neurons'), ...about('rows')];
  const left = new Set(compressed.program.weights.map(({ path }) => path));
  const dropped = dense.program.weights.filter(({ path }) => !left.has(path));
  const sets = compressed.program.pruned?.sets ?? [];
  // The last rule of a block that names a weight is the one that holds.
  const explained = rules.map((rule, at) => {
    const { block, item } = rule;
    if (item.about?.text === 'state') return explainedStates(block, item, dense.program, compressed.program);
    if (item.about?.text === 'layers') {
      const own = dropped.filter(({ path }) => item.globs.some(({ text }) => isInPart(text, path)));
      return explainedRule(block, item, own, before, []);
    }
    // Sets of units know the rule that they come from: its place among those about units, then those about rows.
    const unit = units.indexOf(rule);
    const members = new Set(
      sets.filter((set) => set.rule === unit).flatMap((set) => set.members.map(({ path }) => path)),
    );
    const own = changed.filter(({ path, tied, format }) => {
      if (tied !== undefined && before.has(tied)) return false;
      if (item.about !== undefined) return members.has(path);
      if (block.use === 'quantize' ? format === undefined : !thinned.has(path)) return false;
      return rules.findLastIndex((other) => isAlike(other, rule) && holds(other.item, path)) === at;
    });
    return explainedRule(block, item, own, before, own);
  });
  return {
    recipe: name,
    rules: explained,
    bytesBefore: modelBytes(dense.program),
    bytesAfter: modelBytes(compressed.program),
    predicted: predictBoth(dense, compressed),
  };
}

/** Whether a weight lies in a part that a glob names. */
function isInPart(glob: string, path: string): boolean {
  const ends = [...path.matchAll(/\./g)].map(({ index }) => index);
  return ends.some((end) => matchesGlob(glob, path.slice(0, end)));
}

/** @param left what is left of `weights` afterwards */
function explainedRule(
  block: UseBlock,
  item: UseRule,
  weights: readonly Weight[],
  before: ReadonlyMap<string, Weight>,
  left: readonly Weight[],
): ExplainedRule {
  return {
    block: block.use as 'quantize' | 'prune',
    rule: textOf(item),
    weights: weights.map(({ path }) => path),
    bytesBefore: weights.reduce((sum, { path }) => sum + bytesOf(before.get(path)), 0),
    bytesAfter: left.reduce((sum, weight) => sum + weightBytes(weight), 0),
  };
}

/** States of one row of a batch that holds as many positions as there may be; they lie in no file and in no sum of weights. */
function explainedStates(block: UseBlock, item: UseRule, dense: Program, compressed: Program): ExplainedRule {
  const isMeant = ({ path }: State) => item.globs.some(({ text }) => isInPart(text, path));
  const bytesIn = ({ states }: Program) =>
    states
      .filter(isMeant)
      .reduce((sum, { dtype, positions, width }) => sum + positions * width * elementBytes(dtype), 0);
  return {
    block: block.use as 'quantize' | 'prune',
    rule: textOf(item),
    weights: compressed.states.filter(isMeant).map(({ path }) => path),
    bytesBefore: bytesIn(dense),
    bytesAfter: bytesIn(compressed),
  };
}

const bytesOf = (weight: Weight | undefined): number => (weight === undefined ? 0 : weightBytes(weight));

interface RuleOfBlock {
  readonly block: UseBlock;
  readonly item: UseRule;
}

/** Whether one rule takes weights from the other. */
function isAlike(a: RuleOfBlock, b: RuleOfBlock): boolean {
  return a.block.use === b.block.use && a.item.about === undefined && b.item.about === undefined;
}

function textOf({ span }: UseRule): string {
  return span.file.text.slice(span.start, span.end).replace(/\s+/g, ' ').trim();
}

/** Rules may name many weights. */
function shortened(rule: string): string {
  return rule.length <= 72 ? rule : `${rule.slice(0, 44)} … ${rule.slice(-24)}`;
}

/** As a person reads it. */
export function explainText(model: string, recipes: readonly ExplainedRecipe[]): string {
  const rules = recipes.flatMap(({ recipe, rules: own }) =>
    own.map(({ rule, weights, bytesBefore, bytesAfter }) => [
      recipe,
      shortened(rule),
      String(weights.length),
      megabytes(bytesBefore),
      megabytes(bytesAfter),
    ]),
  );
  const whole = recipes.map(({ recipe, bytesBefore, bytesAfter, predicted }) => [
    recipe,
    megabytes(bytesBefore),
    megabytes(bytesAfter),
    `${(bytesAfter / bytesBefore).toFixed(3)}x`,
    ...predicted.map(({ dense, compressed }) => {
      const ratio = (compressed.seconds / dense.seconds).toFixed(2);
      return `${milliseconds(dense.seconds * 1e3)} to ${milliseconds(compressed.seconds * 1e3)} (${ratio}x)`;
    }),
  ]);
  const [first] = recipes;
  const waited = first?.predicted.map(({ machine, entry }) => ({ title: `\`${entry}\` on ${machine}` })) ?? [];
  return [
    `${model}, before anything runs:`,
    '',
    renderTable(
      [
        { title: 'recipe' },
        { title: 'rule' },
        { title: 'weights', align: 'right' },
        { title: 'before', align: 'right' },
        { title: 'after', align: 'right' },
      ],
      rules,
    ),
    '',
    renderTable(
      [
        { title: 'recipe' },
        { title: 'weights before', align: 'right' },
        { title: 'after', align: 'right' },
        { title: 'of f32' },
        ...waited,
      ],
      whole,
    ),
  ].join('\n');
}
