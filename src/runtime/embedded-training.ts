/**
 * What the generated module of a model without states that trains carries; see embedded.ts.
 */
export { SoraError } from './error.ts';
export { createTrainableModel as createModel } from './training.ts';
