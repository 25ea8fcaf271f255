/**
 * Pruning while training: which weights become 0 before a step. The update keeps them so.
 *
 * What is done before a step depends on its number and the weights alone, so a run that was stopped goes on bit for bit.
 * The cubic schedule is that of Zhu and Gupta 2017: many go early, when those that stay can still make up for them.
 */
import type { Arenas } from './arenas.ts';
import type { PruningSpec, TrainingSpec } from './artifact.ts';
import { SoraError } from './error.ts';
import { magnitudeMask, movementMask, nmMask } from './masks.ts';

type Floats = Float32Array<ArrayBuffer>;

/** In how many bites a gradual rule gets to its share. */
const bites = 40;

/** Steps of a gradual rule, counted from 0: the first, the last, and how many lie between two bites. */
function spanOf({ from = 0, to = 1 }: PruningSpec, total: number) {
  const first = Math.min(Math.floor(from * total), total - 1);
  const last = Math.max(first, Math.min(Math.floor(to * total), total - 1));
  return { first, last, every: Math.max(1, Math.ceil((last - first) / bites)) };
}

/** The share that stays from this step on; undefined when nothing changes before it. */
export function shareAt(spec: PruningSpec, step: number, total: number): number | undefined {
  if (spec.kind !== 'gradual') return step === 0 ? spec.keep : undefined;
  const { first, last, every } = spanOf(spec, total);
  if (step < first || step > last) return undefined;
  if (step === last) return spec.keep;
  if ((step - first) % every !== 0) return undefined;
  const left = 1 - (step - first) / (last - first);
  return 1 - (1 - spec.keep) * (1 - left ** 3);
}

function maskOf(data: Float32Array, shape: readonly number[], spec: PruningSpec, share: number): Uint8Array {
  if (spec.kind !== 'nm') return magnitudeMask(data, share);
  const [rows = 1] = shape;
  // Axes behind the first count as one.
  const matrix = [rows, data.length / Math.max(1, rows)];
  return nmMask(data, matrix, spec.transposed ? 0 : 1, { keep: spec.keep, of: spec.of ?? spec.keep });
}

/**
 * Sets weights to 0 as the rules have it before a step, counted from 0.
 *
 * @errors SORA6032 when a gradual rule does not know how long the run is
 */
export async function pruneBefore(
  arenas: Arenas,
  spec: TrainingSpec,
  step: number,
  totalSteps: number | undefined,
): Promise<void> {
  for (const { weights, movement, parameters } of spec.groups) {
    let content: Floats | undefined;
    let moved: Floats | undefined;
    for (const { pruning, shape, offset } of parameters) {
      if (pruning?.kind === 'gradual' && totalSteps === undefined)
        throw new SoraError('SORA6032', 'gradual pruning needs `totalSteps`');
      const share = pruning && shareAt(pruning, step, totalSteps ?? 1);
      if (!pruning || share === undefined) continue;
      content ??= await arenas.read(weights);
      const size = shape.reduce((product, dim) => product * dim, 1);
      const own = content.subarray(offset, offset + size);
      if (pruning.by === 'movement' && movement !== undefined) moved ??= await arenas.read(movement);
      const mask = moved
        ? movementMask(own, moved.subarray(offset, offset + size), share)
        : maskOf(own, shape, pruning, share);
      for (let i = 0; i < size; i++) if (mask[i] === 0) own[i] = 0;
    }
    if (content) arenas.write(new Map([[weights, content]]));
  }
}
