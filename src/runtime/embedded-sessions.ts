/**
 * What the generated module of a model with states carries; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createSessionModel as createModel } from './sessions.ts';
