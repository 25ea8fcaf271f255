/**
 * `createModel` for every model, and for models of one kind: bundlers leave out what a kind has no use for.
 */
import type { Artifact } from './artifact.ts';
import { makeDeviceStates } from './device-states.ts';
import { generate, refuseBusy } from './generate.ts';
import { makeHostStates } from './host-states.ts';
import { createModelWith, type LoadOptions, type Model } from './model.ts';
import { makeModelSession } from './model-session.ts';
import { withPacker } from './packed-weights.ts';
import { remember } from './session-tokens.ts';
import { ahead } from './steps-ahead.ts';
import { createTrainableModel, type TrainableModel } from './training.ts';

const sessions = { makeModelSession, makeDeviceStates, makeHostStates };
const text = { generate, refuseBusy, remember, ahead };

export function createModel(artifact: Artifact, options: LoadOptions = {}): Promise<TrainableModel> {
  return createTrainableModel(artifact, options, { ...sessions, text }, withPacker);
}

/** Without number formats of weights. */
export function createPlainModel(artifact: Artifact, options: LoadOptions = {}): Promise<TrainableModel> {
  return createTrainableModel(artifact, options, { ...sessions, text });
}

/** Without trainers. */
export function createGeneratingModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { ...sessions, text });
}

/** Without what generates text. */
export function createSessionModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, sessions);
}

/** With number formats of weights, without states and trainers. */
export function createPackedModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, undefined, undefined, withPacker);
}

/** The same with states and text. */
export function createPackedGeneratingModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { ...sessions, text }, undefined, withPacker);
}
