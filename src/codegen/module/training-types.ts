/**
 * Declarations of trainers: only in modules of models with a train block.
 */

/** Names that the declarations take, iterables of the standard library among them. */
export const trainingNames = [
  ...['BadValue', 'CheckpointOptions', 'EvaluateOptions', 'Evaluation', 'GradientsResult', 'Restored', 'StepResult'],
  ...['TrainBatch', 'Trainer', 'TrainerOptions', 'TrainingCallOptions', 'WeightsOptions', 'AsyncIterable', 'Iterable'],
];

/** @param outputs the type of what the trained entry gives */
export function trainingTypes(outputs: string): string {
  return `export interface TrainerOptions {
  /** Fresh weights and what is dropped depend on it: a whole number from 0 to 2^32 - 1. Default: that of the train block. */
  readonly seed?: number;
  /** Steps of the whole run, at least 1. Schedules need it, unless they are constant from the start. */
  readonly totalSteps?: number;
  /** The greatest learning rate. Default: that of the train block. */
  readonly lr?: number;
  /** What is to be different from the schedule of the train block. */
  readonly schedule?: {
    readonly kind?: 'constant' | 'linear' | 'cosine' | 'step';
    /** Share of all steps in which the rate rises from 0. */
    readonly warmup?: number;
    /** Learning rate at the end. */
    readonly final?: number;
    /** Of \`step\`: after every so many steps the rate is multiplied by the factor. */
    readonly every?: number;
    readonly factor?: number;
  };
  /** Told what is odd and goes on. Default: \`warn\` of \`load\`. */
  readonly onWarning?: (line: string) => void;
  /** Stops making the trainer. */
  readonly signal?: SignalLike;
}

export interface TrainingCallOptions {
  /** Stops waiting. What is on the device runs to its end: a step that has been sent is taken. */
  readonly signal?: SignalLike;
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

export interface GradientsResult {
  readonly loss: number;
  /** By the name of the weight, of its shape, before clipping. */
  readonly gradients: Readonly<Record<string, Tensor<Float32Array>>>;
}

/** The first value of a step that is not finite. */
export interface BadValue {
  readonly kind: 'weight' | 'input' | 'operation';
  /** Of the weight or the input; of an operation what it is, such as \`exp\`. */
  readonly name: string;
  /** Of an operation: the part of the model that it belongs to, or the parts that it comes after. */
  readonly place: readonly string[];
  readonly shape: readonly number[];
}

export interface WeightsOptions extends TrainingCallOptions {
  /** The moving average of the weights that train in their place; needs \`ema\` in the train block. Default: false. */
  readonly ema?: boolean;
}

export interface EvaluateOptions extends WeightsOptions {
  /** Told the results for each batch. */
  readonly onBatch?: (results: ${outputs}, batch: TrainBatch) => void;
}

export interface Evaluation {
  /** Mean over the batches, weighted by their rows. */
  readonly loss: number;
  readonly batches: number;
  readonly rows: number;
}

export interface CheckpointOptions extends TrainingCallOptions {
  /** Texts to keep in the file; \`restore\` gives them back. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface Restored {
  /** Steps that the run had taken. */
  readonly steps: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A run of training. Made by \`trainer\`. Calls of one trainer run one after the other, in the order in which they were made. */
export interface Trainer {
  /** Steps taken. */
  readonly steps: number;
  readonly seed: number;
  readonly totalSteps: number | undefined;
  /** One step; of several batches, the mean of their gradients. */
  step(batch: TrainBatch | readonly TrainBatch[], options?: TrainingCallOptions): Promise<StepResult>;
  /** The loss and the gradient of every weight that trains, without a step: what a step would begin with. */
  gradients(batch: TrainBatch, options?: TrainingCallOptions): Promise<GradientsResult>;
  /**
   * Where a step with this batch stops being finite: the step once more in the interpreter of npm \`sorac\`, node by node.
   * Takes long, and the program waits. Undefined when it finds nothing.
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
  /** Writes \`checkpoint()\` to a file: the whole, or the old file stays. In Node. */
  save(path: string, options?: CheckpointOptions): Promise<void>;
  /** \`restore\` from a path (Node) or an address, a Blob or bytes. */
  load(source: WeightSource, options?: TrainingCallOptions): Promise<Restored>;
  /** Puts the weights as they are now into the model, so that its entries use them. */
  apply(options?: WeightsOptions): Promise<void>;
  /** Frees the memory. Calls under way and later ones reject. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
`;
}

export const trainerMethod: readonly string[] = [
  '  /** A run of training; any number of them side by side, each with weights of its own. */',
  '  trainer(options?: TrainerOptions): Promise<Trainer>;',
];
