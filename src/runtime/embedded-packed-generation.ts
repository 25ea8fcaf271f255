/**
 * What the generated module of a model with states carries whose weights have number formats; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createPackedGeneratingModel as createModel } from './sessions.ts';
