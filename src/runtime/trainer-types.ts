/**
 * What a trainer is for its caller.
 */
import type { TrainingDevice } from './arenas.ts';
import type { Artifact, TrainingSpec } from './artifact.ts';
import type { CpuModule } from './cpu.ts';
import type { Ending } from './ending.ts';
import type { Inputs } from './inputs.ts';
import type { Results } from './model-session.ts';
import type { SourceInput } from './source.ts';
import type { Metadata } from './trainer-checkpoint.ts';
import type { BadValue } from './trainer-diagnosis.ts';
import type { Checkpoint } from './weights.ts';

export interface TrainingCallOptions {
  /** Stops waiting. What is on the device runs to its end: a step that has been sent is taken. */
  readonly signal?: AbortSignal;
}

export interface StepResult {
  /** Which step it was, from 1. */
  readonly step: number;
  /** Mean over the micro-batches, before the update. */
  readonly loss: number;
  /** Of the gradient of that mean, before clipping. */
  readonly gradNorm: number;
  readonly lr: number;
  /** What the loss was multiplied by, in f16. */
  readonly lossScale?: number;
}

export interface Gradients {
  readonly loss: number;
  /** Of the shape of the weight, before clipping. */
  readonly gradients: Results;
}

export interface WeightsOptions extends TrainingCallOptions {
  /** The moving average of the weights that train in their place; needs `ema` in the train block. Default: false. */
  readonly ema?: boolean;
}

export interface EvaluateOptions extends WeightsOptions {
  /** Told the entry's results for each batch. */
  readonly onBatch?: (results: Results, batch: Inputs) => void;
}

export interface Evaluation {
  /** Mean over the batches, weighted by their rows. */
  readonly loss: number;
  readonly batches: number;
  readonly rows: number;
}

export interface CheckpointOptions extends TrainingCallOptions {
  /** Texts to keep in the file; `restore` gives them back. */
  readonly metadata?: Metadata;
}

export interface Restored {
  /** Steps that the run had taken. */
  readonly steps: number;
  readonly metadata: Metadata;
}

/** Inputs of the trained entry and targets. */
export type TrainBatch = Inputs;

export interface Trainer {
  /** Steps taken. */
  readonly steps: number;
  readonly seed: number;
  readonly totalSteps: number | undefined;
  /** One step; of several batches, the mean of their gradients. */
  step(batch: TrainBatch | readonly TrainBatch[], options?: TrainingCallOptions): Promise<StepResult>;
  /** The loss and the gradient of every weight that trains, by name, without a step: what a step would begin with. */
  gradients(batch: TrainBatch, options?: TrainingCallOptions): Promise<Gradients>;
  /**
   * Where a step with this batch stops being finite: the step once more in the interpreter, node by node. Takes long, and the
   * program waits. Undefined when it finds nothing.
   */
  diagnose(batch: TrainBatch, options?: TrainingCallOptions): Promise<BadValue | undefined>;
  /** The loss without a step; nothing is dropped. Steps wait until it is done. */
  evaluate(batches: Iterable<TrainBatch> | AsyncIterable<TrainBatch>, options?: EvaluateOptions): Promise<Evaluation>;
  /** All weights of the model as a safetensors file, those that train as they are now; adapters are merged into theirs. */
  weights(options?: WeightsOptions): Promise<Uint8Array>;
  /** Only the weights that train, adapters as they are. */
  trained(options?: WeightsOptions): Promise<Uint8Array>;
  /** The run, to go on with bit for bit: a safetensors file. */
  checkpoint(options?: CheckpointOptions): Promise<Uint8Array>;
  /** Goes on with a run. All of it is checked before anything changes. */
  restore(bytes: ArrayBuffer | ArrayBufferView, options?: TrainingCallOptions): Promise<Restored>;
  /** Writes `checkpoint()` to a file: the whole, or the old file stays. In Node. */
  save(path: string, options?: CheckpointOptions): Promise<void>;
  /** `restore` from a path (Node) or an address, a Blob or bytes. */
  load(source: SourceInput, options?: TrainingCallOptions): Promise<Restored>;
  /** Puts the weights as they are now into the model, so that its entries use them. */
  apply(options?: WeightsOptions): Promise<void>;
  /** Frees the arenas. Calls under way and later ones reject with SORA6002. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a trainer has of its model. */
export interface TrainerContext {
  readonly artifact: Artifact;
  readonly spec: TrainingSpec;
  readonly ending: Ending;
  readonly device: TrainingDevice;
  /** The checkpoint that the model was loaded from; what it lacks and trains is drawn by this seed. */
  openWeights(seed: number, signal?: AbortSignal): Promise<Checkpoint>;
  /** The interpreter, for a look into a step. */
  interpreter(): Promise<CpuModule>;
  /** Counts a call. */
  begin(): void;
  warn(line: string): void;
}
