/**
 * `createModel` for models with and without states, and for those that generate text.
 */
import type { Artifact } from './artifact.ts';
import { makeDeviceStates } from './device-states.ts';
import { generate } from './generate.ts';
import { makeHostStates } from './host-states.ts';
import { createModelWith, type LoadOptions, type Model } from './model.ts';
import { makeModelSession } from './model-session.ts';
import { remember } from './session-tokens.ts';

export function createModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, {
    makeModelSession,
    makeDeviceStates,
    makeHostStates,
    text: { generate, remember },
  });
}

/** Without what generates text. */
export function createSessionModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { makeModelSession, makeDeviceStates, makeHostStates });
}
