/**
 * Rules of a `prune` block: what they may say, and what they come to.
 *
 *   "**.dense.weight": nm(2, 4) by magnitude          of each 4 inputs 2 stay
 *   "**.dense.weight": keep 0.5 by magnitude          half of each matrix stays
 *   "**.dense.weight": gradual(keep: 0.1, to: 0.8)    a tenth, reached step by step while training; `by movement`: those that steps
 *                                                     have moved towards 0 go first
 *   layers "layer": keep 0.5                           every other layer
 *   rows "embed": keep 0.25 by activation             rows of a table, and of what scores them
 *   heads "layer.*": keep 0.75 by l2                  whole heads, as many in every layer
 *   neurons "layer.*": budget(0.75) by l2             whole neurons, more where they matter more
 */
import type { UseRule } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import type { Weight } from '../graph.ts';
import {
  type Criterion,
  criteria,
  type LayerRule,
  type PruneBlock,
  type RowCriterion,
  type RowRule,
  rowCriteria,
  type Sparsity,
  type UnitRule,
  type WeightCriterion,
  type WeightRule,
  weightCriteria,
} from '../pruning.ts';
import { type Binding, numberOf, poison } from './binding.ts';
import { report } from './context.ts';
import { divides } from './use-formats.ts';
import { checkMethod, checkValue, type Methods, type UseSite, type ValueKind, wrongValue } from './use-methods.ts';

const count: ValueKind = { kind: 'int', minimum: 1 };
const kept: ValueKind = { kind: 'number', above: 0, below: 1 };
const place: ValueKind = { kind: 'number', minimum: 0 };

const sparsities: Methods = {
  nm: {
    parameters: [
      { name: 'keep', required: true, value: count },
      { name: 'of', required: true, value: count },
    ],
  },
  gradual: {
    parameters: [
      { name: 'keep', required: true, value: kept },
      { name: 'from', required: false, value: place },
      { name: 'to', required: false, value: place },
    ],
  },
};

const budgets: Methods = { budget: { parameters: [{ name: 'keep', required: true, value: kept }] } };

/** What stands behind `by`, or `otherwise`; undefined when it is not one of `known` (reported). */
function readCriterion<Name extends string>(
  site: UseSite,
  rule: UseRule,
  known: readonly Name[],
  otherwise: Name,
): Name | undefined {
  const { by } = rule.value;
  if (by === undefined) return otherwise;
  const found = known.find((name) => name === by.text);
  if (found !== undefined) return found;
  const guess = closest(by.text, known);
  const list = known.map((name) => `\`${name}\``).join(', ');
  report(site.context, 'SORA2303', `unknown criterion \`${by.text}\``, by.span, {
    help: guess === undefined ? `there is ${list}` : `did you mean \`${guess}\`?`,
  });
  return undefined;
}

function plainShare(site: UseSite, rule: UseRule): number | undefined {
  const share = checkValue(site, kept, rule.value.value, '`keep`');
  return share && numberOf(share);
}

/** The share of what is kept or dropped whole; undefined for anything else (reported). */
function wholeShare(site: UseSite, rule: UseRule, kind: string, example: number): number | undefined {
  if (rule.value.isKept) return plainShare(site, rule);
  const help = `write the share that stays: \`keep ${example}\``;
  wrongValue(site, `\`${kind}\` are kept or dropped whole`, rule.value.value.span, help);
  return undefined;
}

/** A rule about heads or neurons of parts of the model; undefined when it is wrong (reported). */
function readUnitRule(
  site: UseSite,
  rule: UseRule,
  kind: UnitRule['kind'],
  parts: readonly string[],
): UnitRule | undefined {
  const by = readCriterion<Criterion>(site, rule, criteria, 'l2');
  const { value } = rule.value;
  const isBudget = value.kind === 'call' && value.callee.kind === 'name' && value.callee.name === 'budget';
  const share = isBudget
    ? numberOf(checkMethod(site, budgets, value, 'share')?.values.get('keep') ?? poison)
    : wholeShare(site, rule, kind, 0.75);
  if (by === undefined || share === undefined || parts.length === 0) return undefined;
  return { kind, parts, keep: share, isBudget, by, span: rule.span };
}

/** A rule about whole layers: they lie evenly, so there is nothing to compare them by. */
function readLayerRule(site: UseSite, rule: UseRule, parts: readonly string[]): LayerRule | undefined {
  const { by } = rule.value;
  if (by) wrongValue(site, '`layers` that stay lie evenly: `by` has no meaning here', by.span);
  const keep = by ? undefined : wholeShare(site, rule, 'layers', 0.5);
  return keep === undefined || parts.length === 0 ? undefined : { parts, keep, span: rule.span };
}

/** A rule about rows of tables. */
function readRowRule(site: UseSite, rule: UseRule, parts: readonly string[]): RowRule | undefined {
  const by = readCriterion<RowCriterion>(site, rule, rowCriteria, 'l2');
  const keep = wholeShare(site, rule, 'rows', 0.25);
  return by === undefined || keep === undefined || parts.length === 0
    ? undefined
    : { parts, keep, by, span: rule.span };
}

function readSparsity(site: UseSite, rule: UseRule): Sparsity | undefined {
  if (rule.value.isKept) {
    const share = plainShare(site, rule);
    return share === undefined ? undefined : { kind: 'share', keep: share };
  }
  const { span } = rule.value.value;
  const found = checkMethod(site, sparsities, rule.value.value, 'sparsity');
  if (found === undefined) return undefined;
  const value = (name: string): number | undefined => {
    const binding: Binding | undefined = found.values.get(name);
    return binding && numberOf(binding);
  };
  const keep = value('keep');
  if (found.name === 'nm') {
    const of = value('of');
    if (keep === undefined || of === undefined) return undefined;
    if (keep < of) return { kind: 'nm', keep, of };
    wrongValue(site, `\`nm(${keep}, ${of})\` keeps everything`, span, 'the first number is the smaller one');
    return undefined;
  }
  const [from, to] = [value('from') ?? 0, value('to') ?? 1];
  if (keep === undefined) return undefined;
  if (from < to && to <= 1) return { kind: 'gradual', keep, from, to };
  const help = 'both are shares of all steps: `gradual(keep: 0.1, from: 0.1, to: 0.8)`';
  wrongValue(site, `\`gradual\` goes from ${from} to ${to}`, span, help);
  return undefined;
}

/** A rule about single weights; undefined when it is wrong (reported). */
function readWeightRule(
  site: UseSite,
  rule: UseRule,
  matrices: readonly Weight[],
  isTransposed: (path: string) => boolean,
): WeightRule | undefined {
  const by = readCriterion<WeightCriterion>(site, rule, weightCriteria, 'magnitude');
  const sparsity = readSparsity(site, rule);
  if (by === undefined || sparsity === undefined || matrices.length === 0) return undefined;
  const paths = matrices.map(({ path }) => path);
  if (by === 'movement') {
    if (sparsity.kind === 'gradual') return { paths, sparsity: { ...sparsity, by }, span: rule.span };
    const help = 'write `gradual(keep: 0.1, from: 0.1, to: 0.8) by movement`';
    wrongValue(site, '`movement` is how weights change while training', rule.value.by?.span ?? rule.span, help);
    return undefined;
  }
  if (sparsity.kind === 'nm') {
    const { of } = sparsity;
    const help = (size: number) =>
      `name the weights that it divides${size % 4 === 0 ? ', or write `nm(2, 4)`' : ''}; \`keep 0.5\` has no groups`;
    const isDivided = (weight: Weight) =>
      divides(site, rule, of, { weight, isTransposed: isTransposed(weight.path) }, help);
    if (!matrices.every(isDivided)) return undefined;
  }
  return { paths, sparsity, span: rule.span };
}

/** Rules of a block so far. */
export interface PruneRules {
  readonly layers: LayerRule[];
  readonly units: UnitRule[];
  readonly rows: RowRule[];
  readonly weights: WeightRule[];
}

/** @param named what the globs of the rule select, parts for units and weights otherwise; `selected`: those weights */
export function readPruneRule(
  site: UseSite,
  rule: UseRule,
  named: readonly string[],
  selected: readonly Weight[],
  isTransposed: (path: string) => boolean,
  rules: PruneRules,
): void {
  const kind = rule.about?.text;
  if (kind === 'layers') {
    const found = readLayerRule(site, rule, named);
    if (found) rules.layers.push(found);
    return;
  }
  if (kind === 'rows') {
    const found = readRowRule(site, rule, named);
    if (found) rules.rows.push(found);
    return;
  }
  if (kind === 'heads' || kind === 'neurons') {
    const found = readUnitRule(site, rule, kind, named);
    if (found) rules.units.push(found);
    return;
  }
  const matrices = selected.filter(({ type }) => type.shape.length >= 2);
  if (selected.length > 0 && matrices.length === 0)
    wrongValue(site, '`prune` thins out matrices, and none is selected', rule.globs[0]?.span ?? rule.span);
  const found = readWeightRule(site, rule, matrices, isTransposed);
  if (found) rules.weights.push(found);
}

/** Rules of two blocks, one after the other; nothing when there are none. */
export function joined(
  before: PruneBlock | undefined,
  after: PruneBlock | undefined,
): { readonly pruning?: PruneBlock } {
  const blocks = [before, after].flatMap((block) => block ?? []);
  const pruning = {
    layers: blocks.flatMap(({ layers }) => layers),
    units: blocks.flatMap(({ units }) => units),
    rows: blocks.flatMap(({ rows }) => rows),
    weights: blocks.flatMap(({ weights }) => weights),
  };
  return Object.values(pruning).some((rules) => rules.length > 0) ? { pruning } : {};
}
