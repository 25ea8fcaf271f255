/**
 * What the generated module of a model that generates text carries; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createGeneratingModel as createModel } from './sessions.ts';
