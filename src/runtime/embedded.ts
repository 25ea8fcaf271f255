/**
 * What every generated module carries: scripts/build.mjs bundles this file into one text. Keep it small.
 */
export { SoraError } from './error.ts';
export { createModel } from './model.ts';
