/**
 * Which heads and neurons stay, and what is left of the tensors of a checkpoint: a set of a plan (src/ir/pruning.ts) says where
 * its units lie, scores say which matter. Pure functions over plain arrays, the same for files, tests and goldens.
 *
 *   plan   = planOf(program).value
 *   scores = columnScores(set, tensorOf)                   by weights alone (l1, l2), or by a sample:
 *            sampleScores(set, sumsOf)                     activation: sums of squares of what the scored matrices take in
 *                                                          (`observeEntry` of src/passes with `squares`); taylor: `gradientSums`
 *   kept   = chooseUnits(plan, scores, budgets)            by id of the set, ascending
 *   sliceTensor(path, tensor, plan, kept)                  under the same name
 *
 * Sources: Li et al. 2017 (norms of filters); Molchanov et al. 2017 (scores of layers compared with each other).
 */
import type { PrunePlan, UnitConstant, UnitMember, UnitSet } from '../ir/pruning.ts';

export interface DenseTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Units that stay by id of their set, ascending. */
export type KeptUnits = ReadonlyMap<string, readonly number[]>;

/** Index along `axis` of each element: floor(i / inner) % size. */
function strideOf(shape: readonly number[], axis: number): number {
  return shape.slice(axis + 1).reduce((product, size) => product * size, 1);
}

/** What every element of the scored matrices adds to the score of its unit: |w| for `l1`, w^2 for all else, rooted at the end. */
export function columnScores(set: UnitSet, tensorOf: (path: string) => DenseTensor): Float64Array {
  const sums = new Float64Array(set.count);
  const isAbsolute = set.by === 'l1';
  for (const { path, axis, units } of set.scored) {
    const { shape, data } = tensorOf(path);
    const inner = strideOf(shape, axis);
    const size = units.length;
    for (let i = 0; i < data.length; i++) {
      const unit = units[Math.floor(i / inner) % size] ?? -1;
      const w = data[i] ?? 0;
      if (unit >= 0) sums[unit] = (sums[unit] ?? 0) + (isAbsolute ? Math.abs(w) : w * w);
    }
  }
  return isAbsolute ? sums : sums.map(Math.sqrt);
}

/**
 * Scores from a sample: a number per index of the axis of a scored matrix, added up per unit. `activation` takes sums of squares
 * of what comes in and gives the root, `taylor` sums of input times its gradient and gives the size.
 */
export function sampleScores(set: UnitSet, sumsOf: (member: UnitMember) => ArrayLike<number>): Float64Array {
  const sums = new Float64Array(set.count);
  for (const member of set.scored) {
    const values = sumsOf(member);
    member.units.forEach((unit, index) => {
      if (unit >= 0) sums[unit] = (sums[unit] ?? 0) + (values[index] ?? 0);
    });
  }
  return sums.map(set.by === 'taylor' ? Math.abs : Math.sqrt);
}

/**
 * What a first-order expansion says of each index of a scored axis: the sum of weight times gradient over its column, which is the change
 * of the loss when the column goes. Gradients of a sample are those of its summed or averaged loss. Source: Molchanov et al. 2019.
 */
export function gradientSums({ axis, units }: UnitMember, weight: DenseTensor, gradient: DenseTensor): Float64Array {
  const sums = new Float64Array(units.length);
  const inner = strideOf(weight.shape, axis);
  for (let i = 0; i < weight.data.length; i++) {
    const index = Math.floor(i / inner) % units.length;
    sums[index] = (sums[index] ?? 0) + (weight.data[i] ?? 0) * (gradient.data[i] ?? 0);
  }
  return sums;
}

/** Scores of a set, with those that stay whatever happens above all others. */
function withAlways(set: UnitSet, scores: ArrayLike<number>): ArrayLike<number> {
  if (!set.rows || set.rows.always.length === 0) return scores;
  const always = new Set(set.rows.always);
  return Float64Array.from(scores, (score, unit) => (always.has(unit) ? Number.POSITIVE_INFINITY : score));
}

/** Units by falling score; of equals the first comes first. */
function ranked(scores: ArrayLike<number>): readonly number[] {
  return Array.from({ length: scores.length }, (_, unit) => unit).sort(
    (a, b) => compare(scores[a], scores[b]) || a - b,
  );
}

const ascending = (a: number, b: number) => a - b;

/**
 * The units that stay. Sets of a rule with a budget share what it has: scores are divided by their root mean square over the
 * set, so that layers with large weights do not take everything, and the best of all stay, at least one of each set.
 */
export function chooseUnits(
  plan: PrunePlan,
  scores: ReadonlyMap<string, ArrayLike<number>>,
  budgets: ReadonlySet<number> = new Set(),
): KeptUnits {
  const kept = new Map<string, readonly number[]>();
  const scoresOf = (set: UnitSet): ArrayLike<number> =>
    withAlways(set, scores.get(set.id) ?? new Float64Array(set.count));
  for (const set of plan.sets) {
    if (!budgets.has(set.rule)) kept.set(set.id, ranked(scoresOf(set)).slice(0, set.keep).sort(ascending));
  }
  for (const rule of budgets) {
    const sets = plan.sets.filter((set) => set.rule === rule);
    const all = sets.flatMap((set) => {
      const own = Array.from(scoresOf(set));
      const root = Math.sqrt(own.reduce((sum, score) => sum + score * score, 0) / own.length) || 1;
      const [best] = ranked(own);
      // The best one of a set always stays.
      return own.map((score, unit) => ({ set, unit, score: unit === best ? Number.POSITIVE_INFINITY : score / root }));
    });
    const places = sets.reduce((sum, { keep }) => sum + keep, 0);
    const order = all.map((_, at) => at).sort((a, b) => compare(all[a]?.score, all[b]?.score) || a - b);
    const chosen = order.slice(0, places).flatMap((at) => all[at] ?? []);
    for (const set of sets) {
      kept.set(set.id, chosen.flatMap((one) => (one.set === set ? one.unit : [])).sort(ascending));
    }
  }
  return kept;
}

/** Larger first; infinities are equal. */
function compare(left = 0, right = 0): number {
  return left === right ? 0 : right - left;
}

/** Indices along the axis that stay. */
function remaining(units: readonly number[], kept: readonly number[]): readonly number[] {
  const stays = new Set(kept);
  return units.flatMap((unit, index) => (unit < 0 || stays.has(unit) ? index : []));
}

/** The rows of an axis with these indices. */
export function takeAlong({ shape, data }: DenseTensor, axis: number, indices: readonly number[]): DenseTensor {
  const inner = strideOf(shape, axis);
  const size = shape[axis] ?? 1;
  const outer = data.length / (inner * size);
  const result = new Float32Array(outer * indices.length * inner);
  for (let block = 0; block < outer; block++) {
    indices.forEach((index, at) => {
      const from = (block * size + index) * inner;
      result.set(data.subarray(from, from + inner), (block * indices.length + at) * inner);
    });
  }
  return { shape: shape.with(axis, indices.length), data: result };
}

/** What is left of a tensor of the checkpoint; the tensor itself where no set touches it. */
export function sliceTensor(path: string, tensor: DenseTensor, plan: PrunePlan, kept: KeptUnits): DenseTensor {
  // Sets may share an axis (a projection fused of attention and feed-forward): indices are those of the whole tensor.
  const byAxis = new Map<number, ReadonlySet<number>>();
  for (const set of plan.sets) {
    const chosen = kept.get(set.id);
    if (chosen === undefined) continue;
    for (const member of set.members) {
      if (member.path !== path) continue;
      const own = new Set(remaining(member.units, chosen));
      const before = byAxis.get(member.axis);
      byAxis.set(member.axis, before === undefined ? own : new Set([...own].filter((index) => before.has(index))));
    }
  }
  return [...byAxis].reduce((rest, [axis, indices]) => takeAlong(rest, axis, [...indices]), tensor);
}

/** Where each row of a table is now: its number and 1, or 0. */
function placesOf(count: number, kept: readonly number[]): DenseTensor {
  const data = new Float32Array(count);
  kept.forEach((row, at) => {
    data[row] = at + 1;
  });
  return { shape: [count], data };
}

/**
 * Tensors that the compressed file has and the dense one has not: numbers per head that the model's text gives, and where rows of tables are
 * now.
 */
export function constantTensors(plan: PrunePlan, kept: KeptUnits): ReadonlyMap<string, DenseTensor> {
  const slice = ({ shape, values, axis, units }: UnitConstant, chosen: readonly number[]) =>
    takeAlong({ shape, data: Float32Array.from(values) }, axis, remaining(units, chosen));
  return new Map(
    plan.sets.flatMap((set) => {
      const chosen = kept.get(set.id) ?? [];
      const constants = set.constants.map((constant) => [constant.path, slice(constant, chosen)] as const);
      return set.rows ? [...constants, [set.rows.places, placesOf(set.count, chosen)] as const] : constants;
    }),
  );
}
