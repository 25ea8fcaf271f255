/**
 * What a sample says of the inputs of matrices, for scores of heads and neurons: how large they are (`activation`), and how much
 * the loss depends on them (`taylor`, Molchanov et al. 2017).
 */
import { gradientSums } from '../../compression/units.ts';
import type { Entry, Program } from '../../ir/graph.ts';
import type { RowPlaces } from '../../ir/pruning.ts';
import type { Inputs } from '../../runtime/inputs.ts';
import type { Checkpoint } from '../../runtime/weights.ts';
import { type Compiled, openModel } from '../execute.ts';
import { dataError, usageError } from '../exit-codes.ts';
import { momentsOf } from './moments.ts';
import { type SampleSums, scoredBySample, tensorReader } from './prune-weights.ts';
import type { SamplePart } from './sample.ts';

export interface SumsOptions {
  /** As the rules leave it, and as it was before. */
  readonly program: Program;
  readonly plain: Program;
  readonly entry: Entry;
  readonly sample: SamplePart;
  readonly weights: string;
  readonly checkpoint: Checkpoint;
  readonly device: string;
  /** The model with its `train` block. */
  compileTrained(): Compiled;
}

export async function sampleSums(options: SumsOptions): Promise<SampleSums> {
  return new Map([
    ...(await activationSums(options)),
    ...(await taylorSums(options)),
    ...(await lookupCounts(options)),
  ]);
}

/** Numbers of a batch that a call of the entry looks up in tables; padding does not count. */
function* lookedUp({ lookups }: RowPlaces, entry: Entry, inputs: Inputs): Iterable<number> {
  const { attention_mask: mask } = inputs;
  for (const name of new Set(lookups.flatMap((lookup) => (lookup.entry === entry.name ? lookup.input : [])))) {
    const { data, shape } = inputs[name] ?? { data: [], shape: [] };
    const isMasked = mask?.shape.join() === shape.join();
    for (const [at, row] of data.entries()) if (!isMasked || Number(mask?.data[at]) === 1) yield row;
  }
}

/** How often each row of a table is looked up, which is the sum of squares of the vectors that choose rows. */
async function lookupCounts({ program, entry, sample }: SumsOptions): Promise<SampleSums> {
  const sets = (program.pruned?.sets ?? []).flatMap(({ rows, by, scored, count }) =>
    rows && by === 'activation' ? [{ rows, scored, counts: new Float64Array(count) }] : [],
  );
  if (sets.length === 0) return new Map();
  for await (const { inputs } of sample.batches()) {
    for (const { rows, counts } of sets) {
      for (const row of lookedUp(rows, entry, inputs)) if (row in counts) counts[row] = (counts[row] ?? 0) + 1;
    }
  }
  const unseen = sets.find(({ counts }) => !counts.some((count) => count > 0));
  if (unseen) {
    throw dataError(
      `the sample looks up no row of \`${unseen.scored[0]?.path}\` by \`${entry.name}\``,
      'name another entry with --entry, or write `by l2`',
    );
  }
  // All tables of a set keep the same rows.
  return new Map(sets.flatMap(({ scored, counts }) => scored.map(({ path }) => [path, counts] as const)));
}

/** Sums of squares: the diagonal of the second moments. */
async function activationSums(options: SumsOptions): Promise<SampleSums> {
  const { program, plain, entry, sample, weights, device } = options;
  const paths = scoredBySample(program, 'activation');
  const sums = new Map<string, Float64Array>();
  if (paths.size === 0) return sums;
  const observed = { program: plain, entry, paths, sample, weights, device, form: 'squares' } as const;
  for await (const squares of momentsOf(observed)) for (const [path, sum] of squares) sums.set(path, sum);
  return sums;
}

/** Sums of an input times the gradient of the loss by it: of its column, weight times gradient of the weight. */
async function taylorSums(options: SumsOptions): Promise<SampleSums> {
  const { program, plain, sample, weights, checkpoint, device, compileTrained } = options;
  const paths = scoredBySample(program, 'taylor');
  const sums = new Map<string, Float64Array>();
  if (paths.size === 0) return sums;
  const { compilation } = compileTrained();
  if (compilation?.program.train === undefined)
    throw usageError('`by taylor` needs a loss', `write \`train ${program.name}.ENTRY { loss: … }\` in the file`);
  const names = new Set(
    [...compilation.program.train.targets, ...parametersOf(compilation.program)].map(({ name }) => name),
  );
  const gradients = new Map<string, Float64Array>();
  const model = await openModel(compilation.artifact, { weights, device });
  try {
    const trainer = await model.trainer({ totalSteps: 1 });
    for await (const { inputs } of sample.batches()) {
      const missing = compilation.program.train.targets.find(({ name }) => inputs[name] === undefined);
      if (missing) throw dataError(`\`by taylor\` needs \`${missing.name}\`, which the sample does not have`);
      const own = Object.entries(inputs).filter(([name]) => names.has(name));
      const found = await trainer.gradients(Object.fromEntries(own) as Inputs);
      for (const path of paths) {
        const gradient = found.gradients[path]?.data ?? [];
        const sum = gradients.get(path) ?? new Float64Array(gradient.length);
        gradients.set(path, sum);
        for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] ?? 0) + Number(gradient[at] ?? 0);
      }
    }
    await trainer.close();
  } finally {
    await model.close();
  }
  const read = tensorReader(plain, checkpoint);
  for (const { scored } of program.pruned?.sets ?? []) {
    for (const member of scored) {
      const data = gradients.get(member.path);
      if (!data || sums.has(member.path)) continue;
      const weight = await read(member.path);
      sums.set(member.path, gradientSums(member, weight, { shape: weight.shape, data: Float32Array.from(data) }));
    }
  }
  return sums;
}

function parametersOf({ train, entries }: Program) {
  return entries.find(({ name }) => name === train?.entry)?.parameters ?? [];
}
