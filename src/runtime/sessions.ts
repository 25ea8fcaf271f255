/**
 * `createModel` for models with and without states.
 */
import type { Artifact } from './artifact.ts';
import { makeDeviceStates } from './device-states.ts';
import { makeHostStates } from './host-states.ts';
import { createModelWith, type LoadOptions, type Model } from './model.ts';
import { makeModelSession } from './model-session.ts';

export function createModel(artifact: Artifact, options: LoadOptions = {}): Promise<Model> {
  return createModelWith(artifact, options, { makeModelSession, makeDeviceStates, makeHostStates });
}
