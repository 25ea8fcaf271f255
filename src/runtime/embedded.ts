/**
 * What the generated module of a model without states carries: scripts/build.mjs bundles this file into one text. Keep it
 * small.
 */
export { SoraError } from './error.ts';
export { createModelWith as createModel } from './model.ts';
