/**
 * What the generated module of a model with states carries; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createModel } from './sessions.ts';
