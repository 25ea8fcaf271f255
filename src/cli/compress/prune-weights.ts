/**
 * What `prune` rules do to the tensors of a checkpoint: heads and neurons that score lowest are cut out, small weights become 0.
 */

import {
  chooseUnits,
  columnScores,
  constantTensors,
  type DenseTensor,
  type KeptUnits,
  sampleScores,
  sliceTensor,
} from '../../compression/units.ts';
import type { Program, Weight } from '../../ir/graph.ts';
import { type PrunePlan, type Sparsity, slicedPaths, type UnitSet } from '../../ir/pruning.ts';
import { transposedMatrices } from '../../ir/summed-axis.ts';
import { droppedOf, magnitudeMask, masked, nmMask } from '../../runtime/masks.ts';
import type { Checkpoint } from '../../runtime/weights.ts';
import { dataError } from '../exit-codes.ts';

/** Sums over a sample, by matrix and input: squares of what comes in, or what comes in times its gradient. */
export type SampleSums = ReadonlyMap<string, ArrayLike<number>>;

export interface Pruning {
  readonly plan: PrunePlan;
  readonly kept: KeptUnits;
  /** Tensors that the compressed file has and the checkpoint has not. */
  readonly constants: ReadonlyMap<string, DenseTensor>;
  /** Whether a rule is about the tensor. */
  touches(weight: Weight, found: string): boolean;
  /** What is left of a tensor; `found` is its name in the checkpoint. */
  apply(weight: Weight, found: string, tensor: DenseTensor): DenseTensor;
}

/** Rules whose layers share what stays. */
export function budgetsOf({ prune }: Program): ReadonlySet<number> {
  return new Set((prune?.units ?? []).flatMap(({ isBudget }, at) => (isBudget ? [at] : [])));
}

/** Matrices of which a sample has to be seen for the scores, by the criterion. */
export function scoredBySample(program: Program, by: 'activation' | 'taylor'): ReadonlySet<string> {
  const sets = program.pruned?.sets.filter((set) => set.by === by && !set.rows) ?? [];
  return new Set(sets.flatMap(({ scored }) => scored.map(({ path }) => path)));
}

/** Reads a tensor of the checkpoint by the name that the program has for it. */
export type ReadTensor = (path: string) => Promise<DenseTensor>;

export function tensorReader(program: Program, checkpoint: Checkpoint): ReadTensor {
  const ties = new Map(program.weights.map(({ path, tied }) => [path, tied]));
  return async (path) => {
    const found = checkpoint.find(path, ties.get(path));
    if (!found) throw dataError(`the checkpoint has no tensor \`${path}\``, 'sorac check FILE.sora --weights W');
    return { shape: found.info.shape, data: await found.file.readTensor(found.info.name, 'f32') };
  };
}

async function scoreOf(set: UnitSet, read: ReadTensor, sums: SampleSums): Promise<ArrayLike<number>> {
  if (set.by === 'activation' || set.by === 'taylor')
    return sampleScores(set, ({ path, units }) => sums.get(path) ?? new Float64Array(units.length));
  const tensors = new Map<string, DenseTensor>();
  for (const { path } of set.scored) if (!tensors.has(path)) tensors.set(path, await read(path));
  return columnScores(set, (path) => tensors.get(path) ?? { shape: [0], data: new Float32Array() });
}

/** Scores by id of the set. */
export async function scoresOf(
  plan: PrunePlan,
  read: ReadTensor,
  sums: SampleSums,
): Promise<ReadonlyMap<string, ArrayLike<number>>> {
  const scores = new Map<string, ArrayLike<number>>();
  for (const set of plan.sets) scores.set(set.id, await scoreOf(set, read, sums));
  return scores;
}

/**
 * @param program  as its rules leave it; `plain` as it was before
 * @param isPruned the checkpoint has been cut already: only zeros are left to do
 */
export async function makePruning(
  program: Program,
  plain: Program,
  checkpoint: Checkpoint,
  sums: SampleSums,
  isPruned = false,
): Promise<Pruning> {
  const plan = isPruned ? { sets: [] } : (program.pruned ?? { sets: [] });
  const scores = await scoresOf(plan, tensorReader(plain, checkpoint), sums);
  const kept = chooseUnits(plan, scores, budgetsOf(program));
  const rules = new Map(
    (program.prune?.weights ?? []).flatMap(({ paths, sparsity }) => paths.map((path) => [path, sparsity])),
  );
  const transposed = transposedMatrices(plain.entries.map(({ graph }) => graph));
  const touched = slicedPaths(plan);
  return {
    plan,
    kept,
    constants: constantTensors(plan, kept),
    touches: ({ path }, found) => touched.has(path) || touched.has(found) || rules.has(path),
    apply(weight, found, tensor) {
      const name = touched.has(weight.path) ? weight.path : found;
      const sliced = sliceTensor(name, tensor, plan, kept);
      const sparsity = rules.get(weight.path);
      if (sparsity === undefined) return sliced;
      checkMoved(weight.path, sliced.data, sparsity);
      const mask = maskOf(sliced, sparsity, transposed.has(weight.path) ? 0 : 1);
      return { shape: sliced.shape, data: masked(sliced.data, mask) };
    },
  };
}

/** How much a sample has said about the rows that stay. */
export function lookedUpLines({ plan, kept }: Pruning, sums: SampleSums): readonly string[] {
  return plan.sets.flatMap((set) => {
    const [table] = set.scored;
    const counts = table && set.rows && set.by === 'activation' ? sums.get(table.path) : undefined;
    if (!counts) return [];
    const seen = kept.get(set.id)?.filter((row) => (counts[row] ?? 0) > 0).length ?? 0;
    return [`the sample looks up ${seen} of the ${set.keep} rows of \`${table?.path}\` that stay`];
  });
}

/** By movement only steps of a run can prune, and a checkpoint does not say how it was moved. */
function checkMoved(path: string, data: Float32Array, sparsity: Sparsity): void {
  if (sparsity.kind !== 'gradual' || sparsity.by !== 'movement') return;
  const zeros = data.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
  if (zeros >= droppedOf(data.length, sparsity.keep)) return;
  throw dataError(
    `\`${path}\` has ${zeros} zeros of ${data.length}: it has not been pruned by movement yet`,
    'train it with the rule, as `sorac train FILE.sora --recipe …`, and compress what comes out of that',
  );
}

/** Which numbers stay; `gradual` is what a training run comes to in the end. */
export function maskOf({ shape, data }: DenseTensor, sparsity: Sparsity, axis: number): Uint8Array {
  return sparsity.kind === 'nm' ? nmMask(data, shape, axis, sparsity) : magnitudeMask(data, sparsity.keep);
}
