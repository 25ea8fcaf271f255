/**
 * What a model that trains has besides: weights that may be drawn, and trainers.
 */
import { type TrainingDevice, trainingEntryNames } from './arenas.ts';
import type { Artifact } from './artifact.ts';
import { warnOnStderr } from './device.ts';
import { makeDeviceTraining } from './device-training.ts';
import { firstOf } from './ending.ts';
import { SoraError } from './error.ts';
import { makeHostTraining } from './host-training.ts';
import { openTrainingWeights } from './memory-tensors.ts';
import {
  createModelWith,
  type LoadOptions,
  type Model,
  type ModelTraining,
  openWeights,
  type SessionSupport,
} from './model.ts';
import { makeTrainer } from './trainer.ts';
import type { TrainerOptions } from './trainer-options.ts';
import type { Trainer } from './trainer-types.ts';

export interface TrainableModel extends Model {
  /** A run of training, any number of them side by side. @errors SORA6031 without a train block */
  trainer(options?: TrainerOptions): Promise<Trainer>;
}

export async function createTrainableModel(
  artifact: Artifact,
  options: LoadOptions = {},
  sessions?: SessionSupport,
): Promise<TrainableModel> {
  const names = trainingEntryNames(artifact.training);
  // The hidden entries run for trainers only: the model by itself needs none of their kernels and weights.
  const plain = { ...artifact, entries: artifact.entries.filter((entry) => !names.has(entry.name)) };
  const training = makeTraining(artifact, options);
  const model = await createModelWith(plain, options, { training, ...(sessions ? { sessions } : {}) });
  return model as TrainableModel;
}

/** How many names a warning lists. */
const LISTED = 4;

function makeTraining(artifact: Artifact, options: LoadOptions): ModelTraining {
  const { training: spec } = artifact;
  const { weights, signal, warn = warnOnStderr } = options;
  let device: TrainingDevice | undefined;
  return {
    async openWeights() {
      if (!spec) return openWeights(artifact, options);
      const { checkpoint, fresh } = await openTrainingWeights(artifact, weights, spec.seed, signal);
      // Adapters are none of the model's own weights.
      const own = new Set(artifact.weights.flatMap(({ sources }) => sources.map(({ path }) => path)));
      const drawn = fresh.filter((name) => own.has(name));
      if (weights !== undefined && drawn.length > 0) {
        const names = drawn.slice(0, LISTED).map((name) => `\`${name}\``);
        const rest = drawn.length > LISTED ? ` and ${drawn.length - LISTED} more` : '';
        warn(`sorac: \`${checkpoint.name}\` lacks ${names.join(', ')}${rest}: drawn fresh, to be trained`);
      }
      return checkpoint;
    },
    onDevice(parts) {
      if (spec) device = makeDeviceTraining({ ...parts, artifact, spec });
    },
    onHost(parts) {
      if (spec) device = makeHostTraining({ ...parts, artifact, spec });
    },
    get pipelines() {
      return device?.pipelines ?? 0;
    },
    extend(model, ending, begin) {
      const trainer = async (own: TrainerOptions = {}): Promise<Trainer> => {
        if (ending.error) throw ending.error;
        own.signal?.throwIfAborted();
        if (!spec || !device) throw new SoraError('SORA6031', `\`${artifact.name}\` has no \`train\` block`);
        const fromCheckpoint = async (seed: number, stop?: AbortSignal) =>
          (await openTrainingWeights(artifact, weights, seed, stop)).checkpoint;
        const context = { artifact, spec, ending, device, openWeights: fromCheckpoint, begin, warn };
        const making = makeTrainer(context, own).catch((error: unknown) => {
          throw ending.error ?? error;
        });
        return firstOf(making, ending, own.signal);
      };
      Object.assign(model, { trainer });
    },
  };
}
