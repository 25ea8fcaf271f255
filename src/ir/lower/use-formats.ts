/**
 * `quantize Model { "**.weight": int4(group: 32) }`: which number format the weights have that a rule selects.
 *
 * Matrices of f32 have formats; vectors and whole numbers that the same names select stay as they are. Groups run along the axis
 * that readers sum over.
 */
import type { UseRule } from '../../parser/ast.ts';
import type { Calibration, Weight, WeightFormat } from '../graph.ts';
import { inputsOf } from '../summed-axis.ts';
import { type Binding, numberOf, poison } from './binding.ts';
import { report } from './context.ts';
import { calibrations, checkMethod, type UseSite, weightFormats, wrongValue } from './use-methods.ts';

/** Groups of `int4` where a rule says nothing. */
const usualGroup = 32;

function formatOf(name: string, values: ReadonlyMap<string, Binding>, isTransposed: boolean): WeightFormat | undefined {
  const transposed = isTransposed ? { transposed: true } : {};
  const group = numberOf(values.get('group') ?? poison);
  if (name === 'int8') return { kind: 'int8', ...(group === undefined ? {} : { group }), ...transposed };
  if (name === 'f16') return { kind: 'f16' };
  if (name !== 'int4') return undefined;
  const symmetric = values.get('symmetric');
  const asymmetric = symmetric?.kind === 'bool' && !symmetric.value;
  return { kind: 'int4', group: group ?? usualGroup, ...(asymmetric ? { asymmetric } : {}), ...transposed };
}

/** Share of the weights of a group that `percentile` does not cut off, where a rule says nothing. */
const usualShare = 0.999;

function calibrationOf(site: UseSite, rule: UseRule, values: ReadonlyMap<string, Binding>): Calibration | undefined {
  const word = values.get('calibrate');
  const kind = calibrations.find((name) => word?.kind === 'string' && word.value === name);
  const share = numberOf(values.get('share') ?? poison);
  if (share !== undefined && kind !== 'percentile')
    wrongValue(site, '`share` belongs to `calibrate: percentile`', rule.value.span);
  if (kind === 'percentile') return { kind, share: share ?? usualShare };
  return kind && { kind };
}

/** What a rule chooses for a weight. */
export interface ChosenFormat {
  readonly format: WeightFormat;
  readonly calibration?: Calibration;
}

/** A written group against what it divides: the last one of a row would be shorter than was asked for. */
function checkGroup(site: UseSite, rule: UseRule, group: number, weight: Weight, isTransposed: boolean): boolean {
  return divides(site, rule, group, { weight, isTransposed }, (size) => {
    const divisors = [128, 64, 32, 16, 8].filter((each) => size % each === 0);
    const list = divisors.map((each) => `\`group: ${each}\``).join(', ');
    return divisors.length === 0 ? 'a scale per output has no groups: `int8`' : `what divides them: ${list}`;
  });
}

/**
 * Whether groups of so many inputs divide what a reader of the weight sums over; says so otherwise.
 *
 * @param help for inputs of the given number
 */
export function divides(
  site: UseSite,
  rule: UseRule,
  group: number,
  { weight, isTransposed }: { readonly weight: Weight; readonly isTransposed: boolean },
  help: (size: number) => string,
): boolean {
  const { path, type, span } = weight;
  const size = inputsOf(type, isTransposed);
  if (size === undefined || size % group === 0) return true;
  const what = isTransposed ? 'columns' : 'rows';
  const message = `groups of ${group} do not divide the ${what} of \`${path}\`, ${size} long`;
  report(site.context, 'SORA2304', message, rule.value.span, {
    labels: span ? [{ span, text: 'the weight' }] : [],
    help: help(size),
  });
  return false;
}

/**
 * Checks the format of a rule for weights and adds it to `chosen`, where undefined stands for plain numbers; a later rule
 * overrides an earlier one.
 */
export function readFormats(
  site: UseSite,
  rule: UseRule,
  selected: readonly Weight[],
  isTransposed: (path: string) => boolean,
  chosen: Map<string, ChosenFormat | undefined>,
): void {
  const found = checkMethod(site, weightFormats, rule.value.value, 'number format');
  if (found === undefined) return;
  const matrices = selected.filter(({ type }) => type.dtype === 'f32' && type.shape.length >= 2);
  if (selected.length > 0 && matrices.length === 0 && found.name !== 'f32') {
    const span = rule.globs[0]?.span ?? rule.span;
    wrongValue(site, `\`${found.name}\` belongs to matrices of f32, and none is selected`, span);
    return;
  }
  const group = numberOf(found.values.get('group') ?? poison);
  const calibration = calibrationOf(site, rule, found.values);
  for (const weight of matrices) {
    const transposed = isTransposed(weight.path);
    if (group !== undefined && !checkGroup(site, rule, group, weight, transposed)) return;
    const format = formatOf(found.name, found.values, transposed);
    chosen.set(weight.path, format && { format, ...(calibration ? { calibration } : {}) });
  }
}
