/**
 * Graph passes: what runs between lowering and code generation.
 *
 *   prune      smaller matrices for rules about heads and neurons   (prune/)
 *   addTraining  hidden entries of a `train` block: gradients, evaluation, update   (training/)
 *   optimize   canonicalize, constant-fold, common-subexpression, dead-code, pack   (optimize.ts has the order)
 *   toKernels  decompose, split-weights, narrow-concat, cleanup, align-reductions, fuse   (kernels.ts, per profile)
 */

export { maxBindings } from './fuse/materialize.ts';
export { isTable } from './fuse/roles.ts';
export { gradientEntry } from './gradient-entry.ts';
export { type KernelOptions, type KernelStage, toKernels } from './kernels.ts';
export { type Observation, type ObservedForm, observable, observedForm, observeEntry } from './observe.ts';
export { type OnPass, type OptimizeOptions, type OptimizeStage, optimizations, optimize } from './optimize.ts';
export type { Pass, PassResult } from './pass.ts';
export { contextOf, formatOf } from './pass.ts';
export { type PruneOptions, planOf, prune } from './prune/index.ts';
export { tableRows } from './prune/rows.ts';
export { chooseSparseFormats } from './sparse-formats.ts';
export { bytesOfType, bytesOfWeight, maxBindingBytes } from './split-weights.ts';
export { addTraining } from './training/index.ts';
