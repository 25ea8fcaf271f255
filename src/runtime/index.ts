/**
 * `sorac/runtime`: runs artifacts and reads checkpoints. Imports nothing of the compiler.
 */
export type { AdapterChoice, DeviceKind } from './adapter.ts';
export type { Artifact } from './artifact.ts';
export { type ElementArray, type FileType, fileTypeBytes, isFileType } from './convert.ts';
export type { CpuExecutor, CpuModule, HostTensor } from './cpu.ts';
export {
  type DeviceInfo,
  type DeviceLike,
  type DeviceOptions,
  describeDevice,
  type GpuLike,
  type OpenDevice,
  openDevice,
} from './device.ts';
export { SoraError } from './error.ts';
export { bfloatToSingle, halfToSingle, singleToBfloat, singleToHalf } from './half.ts';
export type { InputData, Inputs, InputTensor } from './inputs.ts';
export type { CallOptions, LoadOptions, Model, ModelStats } from './model.ts';
export type { ModelSession, Results, SessionCallOptions, SessionOptions } from './model-session.ts';
export {
  encodeSafetensors,
  openSafetensors,
  type SafetensorsFile,
  type TensorInfo,
  type TensorToWrite,
} from './safetensors.ts';
export { saveFile } from './save-file.ts';
export { createModel } from './sessions.ts';
export type { BlobLike, SourceInput } from './source.ts';
export { findSwiftShader, swiftShaderFolder, swiftShaderVersion, unpackSwiftShader } from './swiftshader.ts';
export type { Metadata } from './trainer-checkpoint.ts';
export type { BadValue } from './trainer-diagnosis.ts';
export type { TrainerOptions } from './trainer-options.ts';
export type {
  CheckpointOptions,
  EvaluateOptions,
  Evaluation,
  Restored,
  StepResult,
  TrainBatch,
  Trainer,
  TrainingCallOptions,
  WeightsOptions,
} from './trainer-types.ts';
export type { TrainableModel } from './training.ts';
export type { WeightsInput } from './weights.ts';
