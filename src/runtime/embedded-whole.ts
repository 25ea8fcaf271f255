/**
 * What the generated module of a model with states that trains carries; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createPlainModel as createModel } from './sessions.ts';
