/**
 * What a model that trains has besides: weights that may be drawn, and trainers.
 */
import { trainingEntryNames } from './arenas.ts';
import type { Artifact, TrainingSpec } from './artifact.ts';
import type { CpuModule } from './cpu.ts';
import { openDevice, warnOnStderr } from './device.ts';
import { makeDeviceTraining } from './device-training.ts';
import { type Ending, firstOf } from './ending.ts';
import { SoraError } from './error.ts';
import type { Executor } from './executor.ts';
import { makeHostTraining } from './host-training.ts';
import { openTrainingWeights } from './memory-tensors.ts';
import { createModelWith, type LoadOptions, type Model, type PackerSupport, type SessionSupport } from './model.ts';
import { makeTrainer } from './trainer.ts';
import type { TrainerOptions } from './trainer-options.ts';
import type { Trainer } from './trainer-types.ts';
import type { Checkpoint } from './weights.ts';

export interface TrainableModel extends Model {
  /** A run of training, any number of them side by side. @errors SORA6031 without a train block */
  trainer(options?: TrainerOptions): Promise<Trainer>;
}

export async function createTrainableModel(
  artifact: Artifact,
  options: LoadOptions = {},
  sessions?: SessionSupport,
  withPacker?: PackerSupport,
): Promise<TrainableModel> {
  const { training: spec } = artifact;
  if (!spec) {
    const trainer = async (): Promise<Trainer> => {
      throw new SoraError('SORA6031', `\`${artifact.name}\` has no \`train\` block`);
    };
    return Object.assign(await createModelWith(artifact, options, sessions, undefined, withPacker), { trainer });
  }
  const names = trainingEntryNames(spec);
  // The hidden entries run for trainers only: the model by itself needs none of their kernels and weights.
  const plain = { ...artifact, entries: artifact.entries.filter((entry) => !names.has(entry.name)) };
  const checkpoint = await openWeights(artifact, spec, options);
  const model = createModelWith(plain, options, sessions, {
    checkpoint,
    extend: (...loaded) => addTrainers(artifact, spec, options, ...loaded),
  });
  // `extend` has added what is missing.
  return model.catch(async (error: unknown) => {
    await checkpoint.close();
    throw error;
  }) as Promise<TrainableModel>;
}

/** How many names a warning lists. */
const LISTED = 4;

async function openWeights(artifact: Artifact, { seed }: TrainingSpec, options: LoadOptions): Promise<Checkpoint> {
  const { weights, signal, warn = warnOnStderr } = options;
  signal?.throwIfAborted();
  const { checkpoint, fresh } = await openTrainingWeights(artifact, weights, seed, signal);
  // Adapters are none of the model's own weights.
  const own = new Set(artifact.weights.flatMap(({ sources }) => sources.map(({ path }) => path)));
  const drawn = fresh.filter((name) => own.has(name));
  if (weights !== undefined && drawn.length > 0) {
    const names = drawn.slice(0, LISTED).map((name) => `\`${name}\``);
    const rest = drawn.length > LISTED ? ` and ${drawn.length - LISTED} more` : '';
    warn(`sorac: \`${checkpoint.name}\` lacks ${names.join(', ')}${rest}: drawn fresh, to be trained`);
  }
  return checkpoint;
}

function addTrainers(
  artifact: Artifact,
  spec: TrainingSpec,
  loading: LoadOptions,
  model: Model,
  executor: Executor,
  ending: Ending,
): void {
  const { weights, warn = warnOnStderr } = loading;
  const { parts } = executor;
  const training = { artifact, spec };
  const device =
    'device' in parts ? makeDeviceTraining({ ...parts, ...training }) : makeHostTraining({ ...parts, ...training });
  const ofModel = model.stats;
  let calls = 0;
  const begin = (): void => {
    calls++;
  };
  const openAgain = async (seed: number, signal?: AbortSignal): Promise<Checkpoint> =>
    (await openTrainingWeights(artifact, weights, seed, signal)).checkpoint;
  const added: Pick<TrainableModel, 'trainer' | 'stats'> = {
    async trainer(options: TrainerOptions = {}) {
      if (ending.error) throw ending.error;
      options.signal?.throwIfAborted();
      const interpreter = async (): Promise<CpuModule> => {
        const opened = await openDevice({ adapter: 'cpu', ...(loading.cpu ? { cpu: loading.cpu } : {}) });
        if (opened.kind !== 'cpu') throw new SoraError('SORA6001', 'there is no interpreter');
        return opened.module;
      };
      const context = { artifact, spec, ending, device, openWeights: openAgain, interpreter, begin, warn };
      const making = makeTrainer(context, options).catch((error: unknown) => {
        throw ending.error ?? error;
      });
      return firstOf(making, ending, options.signal);
    },
    stats() {
      const stats = ofModel();
      return { ...stats, pipelines: stats.pipelines + device.pipelines, calls: stats.calls + calls };
    },
  };
  Object.assign(model, added);
}
