/**
 * `createModel` for every model, and for models of one kind: bundlers leave out what a kind has no use for.
 */
import type { Artifact } from './artifact.ts';
import { makeDeviceStates } from './device-states.ts';
import { makeDeviceTraining } from './device-training.ts';
import { generate } from './generate.ts';
import { makeHostStates } from './host-states.ts';
import { makeHostTraining } from './host-training.ts';
import { openTrainingWeights } from './memory-tensors.ts';
import { createModelWith, type LoadOptions, type Model } from './model.ts';
import { makeModelSession } from './model-session.ts';
import { makeTrainer } from './trainer.ts';

const sessions = { makeModelSession, makeDeviceStates, makeHostStates };
const training = { makeTrainer, makeDeviceTraining, makeHostTraining, openTrainingWeights };

export function createModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { sessions: { ...sessions, generate }, training });
}

/** Without trainers. */
export function createGeneratingModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { sessions: { ...sessions, generate } });
}

/** Without what generates text. */
export function createSessionModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { sessions });
}

/** Without sessions. */
export function createTrainingModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { training });
}
