/**
 * A loaded model: `createModelWith` opens a device, makes the pipelines, brings the weights and gives an object whose entries can be
 * called. Generated modules and `sorac run` share it.
 */
import type { Artifact, EntrySpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import { type DeviceInfo, type DeviceOptions, openDevice } from './device.ts';
import type { DeviceStateParts } from './device-states.ts';
import { type Ending, firstOf, makeEnding } from './ending.ts';
import { SoraError } from './error.ts';
import { cpuExecutor, deviceExecutor, type Executor } from './executor.ts';
import type { HostStateParts } from './host-states.ts';
import { bindInputs, type Inputs } from './inputs.ts';
import type {
  ModelSession,
  Results,
  SessionContext,
  SessionOptions,
  StateRunner,
  TextSupport,
} from './model-session.ts';
import { checkOptions, type Names } from './options.ts';
import { type Checkpoint, openCheckpoint, type WeightsInput } from './weights.ts';

export interface LoadOptions extends DeviceOptions {
  /**
   * The model's weights: a safetensors file, an index of shards (`*.index.json`), in Node the folder of a checkpoint, or
   * several of these. Needed unless the model has none, or trains and says of each how it is drawn.
   */
  readonly weights?: WeightsInput;
  /** Stops loading. */
  readonly signal?: AbortSignal;
  /**
   * Compile kernels in the driver while the weights are read, not in the first call that needs them: those of what generates
   * text, or else of every entry, for one row of a session and otherwise the greatest sizes; other sizes may need some more. The
   * kernels of the single steps of a text follow when the model is loaded, until the first call. Default: false.
   */
  readonly warmup?: boolean;
  /** Told after each weight: bytes on the device so far, and of all. What is tied counts once. */
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
}

const loadOptions: Names<LoadOptions> = {
  weights: 1,
  device: 1,
  gpu: 1,
  adapter: 1,
  driverThreads: 1,
  cpu: 1,
  warn: 1,
  signal: 1,
  warmup: 1,
  onProgress: 1,
};

export interface CallOptions {
  /** Stops waiting for the result; what is on the device runs to its end unseen. */
  readonly signal?: AbortSignal;
}

const callOptions: Names<CallOptions> = { signal: 1 };

export interface ModelStats {
  /** Compute pipelines made since loading; calls make none. */
  readonly pipelines: number;
  /** Device buffers alive, and their bytes. */
  readonly buffers: number;
  readonly bytes: number;
  /** Calls begun. */
  readonly calls: number;
}

export interface Model {
  readonly device: DeviceInfo;
  /** Settles when the device is lost by itself; never after `close`. */
  readonly lost: Promise<SoraError>;
  call(entry: string, inputs: Inputs, options?: CallOptions): Promise<Results>;
  /** For entries with states, any number of them side by side; weights and scratch memory are shared. */
  session(options?: SessionOptions): ModelSession;
  stats(): ModelStats;
  /** Frees what the model, its sessions and trainers hold; waits for nothing. Calls under way reject with SORA6002. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What models with states need besides: modules of models without do not carry it (sessions.ts). */
export interface SessionSupport {
  makeModelSession(context: SessionContext, states: StateRunner, options?: SessionOptions): ModelSession;
  makeDeviceStates(parts: DeviceStateParts): StateRunner;
  makeHostStates(parts: HostStateParts): StateRunner;
  /** For models that generate text. */
  readonly text?: TextSupport;
}

/** What a model that trains adds (training.ts). */
export interface ModelTraining {
  /** Stands for the weights of the options; closed when nobody needs it any more. */
  readonly checkpoint: Checkpoint;
  extend(model: Model, executor: Executor, ending: Ending): void;
}

/** What models need whose weights have number formats (packed-weights.ts). */
export type PackerSupport = (checkpoint: Checkpoint, artifact: Artifact) => Checkpoint;

export async function createModelWith(
  artifact: Artifact,
  options: LoadOptions = {},
  sessions?: SessionSupport,
  training?: ModelTraining,
  withPacker?: PackerSupport,
): Promise<Model> {
  checkOptions('SORA6003', 'load', options, loadOptions);
  options.signal?.throwIfAborted();
  const { weights } = options;
  if (weights === undefined && !training && artifact.weights.length > 0) {
    throw new SoraError('SORA7201', `\`${artifact.name}\` needs \`weights\`: a path, an address, a Blob or bytes`);
  }
  const opened = await openDevice(options);
  let checkpoint = training?.checkpoint;
  let ending: Ending | undefined;
  try {
    if (weights !== undefined) checkpoint ??= await openCheckpoint(weights, options.signal);
    if (checkpoint && withPacker) checkpoint = withPacker(checkpoint, artifact);
    let executor: Executor;
    if (opened.kind === 'cpu') {
      ending = makeEnding(undefined);
      executor = await cpuExecutor(artifact, opened.module, checkpoint);
    } else {
      ending = makeEnding(opened.device);
      const loading = deviceExecutor(artifact, opened.device, opened.info, checkpoint, options, opened.close);
      // A device lost meanwhile must not leave loading hanging.
      executor = await firstOf(loading, ending);
      await checkpoint?.close();
    }
    const model = makeModel(artifact, opened.info, executor, ending, sessions);
    training?.extend(model, executor, ending);
    return model;
  } catch (error) {
    ending?.end(new SoraError('SORA6002', `\`${artifact.name}\` was not loaded`));
    await checkpoint?.close();
    opened.close();
    options.signal?.throwIfAborted();
    throw error;
  }
}

function makeModel(
  artifact: Artifact,
  device: DeviceInfo,
  executor: Executor,
  ending: Ending,
  sessions: SessionSupport | undefined,
): Model {
  const entries = new Map(artifact.entries.map((entry) => [entry.name, entry] as const));
  let calls = 0;
  const close = async (): Promise<void> => {
    if (ending.error?.code === 'SORA6002') return;
    const wasLost = ending.error !== undefined;
    ending.error = new SoraError('SORA6002', `\`${artifact.name}\` was used after \`close\``);
    if (!wasLost) ending.end(ending.error);
    executor.close();
  };
  const model: Model = {
    device,
    lost: ending.lost,
    async call(name, inputs, options = {}) {
      if (ending.error) throw ending.error;
      checkOptions('SORA6018', name, options, callOptions);
      const { signal } = options;
      signal?.throwIfAborted();
      const entry = entries.get(name);
      if (!entry) {
        const known = [...entries.keys()].map((key) => `\`${key}\``).join(', ');
        throw new SoraError('SORA6011', `\`${artifact.name}\` has no entry \`${name}\`, it has ${known}`);
      }
      if (entry.steps !== undefined) throw needsSession(artifact, entry);
      const bound = bindInputs(artifact, entry, inputs);
      calls++;
      const running = executor.run(entry, bound).catch((error: unknown) => {
        throw ending.error ?? error;
      });
      const results = await firstOf(running, ending, signal);
      return Object.fromEntries(entry.results.map((spec) => [spec.name, results.get(spec.name) as HostTensor]));
    },
    session(options) {
      if (ending.error) throw ending.error;
      const { session: spec } = artifact;
      if (spec === undefined || sessions === undefined)
        throw new SoraError('SORA6019', `\`${artifact.name}\` has no states, so its entries need no session`);
      const context: SessionContext = {
        artifact,
        spec,
        ending,
        begin() {
          calls++;
        },
        callModel: model.call,
        text: sessions.text,
      };
      return sessions.makeModelSession(context, executor.states(sessions), options);
    },
    stats: () => ({ ...executor.stats(), calls }),
    close,
    [Symbol.asyncDispose]: close,
  };
  return model;
}

function needsSession(artifact: Artifact, entry: EntrySpec): SoraError {
  return new SoraError('SORA6015', `\`${entry.name}\` of \`${artifact.name}\` keeps states between calls`, {
    help: `call it on a session: \`const session = model.session()\`, then \`session.${entry.name}(…)\``,
  });
}
