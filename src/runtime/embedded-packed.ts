/**
 * What the generated module of a model without states carries whose weights have number formats; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createPackedModel as createModel } from './sessions.ts';
