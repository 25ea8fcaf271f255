/**
 * A loaded model: `createModelWith` opens a device, makes the pipelines, brings the weights and gives an object whose entries can be
 * called. Generated modules and `sorac run` share it.
 */
import type { Artifact, EntrySpec, ProfileName, WeightSpec } from './artifact.ts';
import { type BufferPool, guard, makeBufferPool, usage } from './buffers.ts';
import { elementBytes } from './convert.ts';
import type { CpuExecutor, CpuModule, HostStateMap, HostTensor } from './cpu.ts';
import { type DeviceInfo, type DeviceOptions, openDevice } from './device.ts';
import type { DeviceStateParts } from './device-states.ts';
import { type Ending, firstOf, makeEnding } from './ending.ts';
import { type BroughtBuffers, type EntryRunner, type EntryRunnerParts, makeEntryRunner } from './entry-runner.ts';
import { damaged, SoraError } from './error.ts';
import type { HostStateParts } from './host-states.ts';
import { allInputs, type BoundInputs, bindInputs, type InputData, type Inputs } from './inputs.ts';
import type {
  ModelSession,
  Results,
  SessionContext,
  SessionOptions,
  StateRunner,
  TextSupport,
} from './model-session.ts';
import { checkOptions, type Names } from './options.ts';
import { createPipelines, hasImmediates, kernelsOf, type Pipelines } from './pipelines.ts';
import { runCalls } from './run-calls.ts';
import { startWarmUp, type WarmingUp, warmKernels } from './warm-up.ts';
import {
  type Checkpoint,
  checkCheckpoint,
  contentKey,
  fillWeight,
  hostWeight,
  openCheckpoint,
  type WeightsInput,
  weightElements,
} from './weights.ts';

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

/** What a model's training needs of a device … */
export interface DeviceParts extends EntryRunnerParts {
  /** Buffers by index into `artifact.weights`, made in a pool of the caller's. */
  loadWeights(
    checkpoint: Checkpoint,
    used: ReadonlySet<number>,
    pool: Pick<BufferPool, 'create'>,
  ): Promise<ReadonlyMap<number, GPUBuffer>>;
}

/** … and of the interpreter. */
export interface HostParts {
  readonly executor: CpuExecutor;
  run(entry: EntrySpec, inputs: BoundInputs, states?: HostStateMap): Promise<ReadonlyMap<string, HostTensor>>;
}

/** Made for one model (training.ts): modules of models without a train block do not carry it. */
export interface ModelTraining {
  /** In the place of the checkpoint alone: weights that train may be drawn. */
  openWeights(): Promise<Checkpoint | undefined>;
  onDevice(parts: DeviceParts): void;
  onHost(parts: HostParts): void;
  /** Pipelines made for trainers. */
  readonly pipelines: number;
  /** Gives the model what trainers are made with. @param begin counts a call */
  extend(model: Model, ending: Ending, begin: () => void): void;
}

export interface ModelSupport {
  readonly sessions?: SessionSupport;
  readonly training?: ModelTraining;
}

/** What the two kinds of device do differently. */
interface Executor {
  run(entry: EntrySpec, inputs: BoundInputs): Promise<ReadonlyMap<string, HostTensor>>;
  /** Empty states for a session. */
  states(support: SessionSupport): StateRunner;
  stats(): Omit<ModelStats, 'calls'>;
  close(): void;
}

export async function createModelWith(
  artifact: Artifact,
  options: LoadOptions = {},
  support: ModelSupport = {},
): Promise<Model> {
  checkOptions('SORA6003', 'load', options, loadOptions);
  const { training } = support;
  options.signal?.throwIfAborted();
  const opened = await openDevice(options);
  let checkpoint: Checkpoint | undefined;
  let ending: Ending | undefined;
  try {
    checkpoint = await (training ? training.openWeights() : openWeights(artifact, options));
    if (opened.kind === 'cpu') {
      const executor = await cpuExecutor(artifact, opened.module, checkpoint, training);
      return makeModel(artifact, opened.info, executor, makeEnding(undefined), support);
    }
    ending = makeEnding(opened.device);
    const loading = deviceExecutor(
      artifact,
      opened.device,
      opened.info.profile ?? 'gpu',
      checkpoint,
      options,
      opened.close,
      training,
    );
    // A device lost meanwhile must not leave loading hanging.
    const executor = await firstOf(loading, ending);
    await checkpoint?.close();
    return makeModel(artifact, opened.info, executor, ending, support);
  } catch (error) {
    ending?.end(new SoraError('SORA6002', `\`${artifact.name}\` was not loaded`));
    await checkpoint?.close();
    opened.close();
    options.signal?.throwIfAborted();
    throw error;
  }
}

/** @errors SORA7201 when there are none and the model has some */
export async function openWeights(
  artifact: Artifact,
  { weights, signal }: LoadOptions,
): Promise<Checkpoint | undefined> {
  if (weights !== undefined) return openCheckpoint(weights, signal);
  if (artifact.weights.length === 0) return undefined;
  throw new SoraError('SORA7201', `\`${artifact.name}\` needs \`weights\`: a path, an address, a Blob or bytes`);
}

function makeModel(
  artifact: Artifact,
  device: DeviceInfo,
  executor: Executor,
  ending: Ending,
  { sessions, training }: ModelSupport,
): Model {
  const entries = new Map(artifact.entries.map((entry) => [entry.name, entry] as const));
  let calls = 0;
  const begin = (): void => {
    calls++;
  };
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
      begin();
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
        begin,
        callModel: model.call,
        ...(sessions.text ? { text: sessions.text } : {}),
      };
      return sessions.makeModelSession(context, executor.states(sessions), options);
    },
    stats: () => ({ ...executor.stats(), calls }),
    close,
    [Symbol.asyncDispose]: close,
  };
  training?.extend(model, ending, begin);
  return model;
}

function needsSession(artifact: Artifact, entry: EntrySpec): SoraError {
  return new SoraError('SORA6015', `\`${entry.name}\` of \`${artifact.name}\` keeps states between calls`, {
    help: `call it on a session: \`const session = model.session()\`, then \`session.${entry.name}(…)\``,
  });
}

async function cpuExecutor(
  artifact: Artifact,
  module: CpuModule,
  checkpoint: Checkpoint | undefined,
  training: ModelTraining | undefined,
): Promise<Executor> {
  if (checkpoint) checkCheckpoint(checkpoint, artifact.weights);
  const executor = await module.createExecutor(artifact.program, (path, tied) => {
    if (!checkpoint) throw new SoraError('SORA7201', `\`${artifact.name}\` needs \`weights\``);
    return hostWeight(checkpoint, path, artifact.weights, tied);
  });
  const run = (
    entry: EntrySpec,
    { dims, data, shapes }: BoundInputs,
    states?: HostStateMap,
  ): Promise<ReadonlyMap<string, HostTensor>> => {
    const inputs = allInputs(entry).map((spec, at): readonly [string, HostTensor] => {
      const shape = shapes[at] ?? [];
      return [spec.name, { dtype: spec.dtype, shape, data: hostInput(spec.dtype, data[at], shape, spec.initial) }];
    });
    return executor.run(entry.name, dims, new Map(inputs), states);
  };
  training?.onHost({ executor, run });
  return {
    run: (entry, inputs) => run(entry, inputs),
    states: (support) => support.makeHostStates({ specs: artifact.states ?? [], run }),
    stats: () => ({ pipelines: 0, buffers: 0, bytes: 0 }),
    close() {
      void checkpoint?.close();
    },
  };
}

function hostInput(
  dtype: HostTensor['dtype'],
  data: InputData | undefined,
  shape: readonly number[],
  initial = 0,
): HostTensor['data'] {
  if (data !== undefined) return data instanceof Uint8Array ? Uint32Array.from(data) : data;
  const elements = shape.reduce((product, dim) => product * dim, 1);
  if (dtype === 'i32') return new Int32Array(elements).fill(initial);
  return (dtype === 'f32' || dtype === 'f16' ? new Float32Array(elements) : new Uint32Array(elements)).fill(initial);
}

async function deviceExecutor(
  artifact: Artifact,
  device: GPUDevice,
  profile: ProfileName,
  checkpoint: Checkpoint | undefined,
  options: LoadOptions,
  closeDevice: () => void,
  training: ModelTraining | undefined,
): Promise<Executor> {
  const plans = artifact.entries.map((entry) => entry.plans[profile]);
  const used = new Set(
    plans.flatMap((plan) => plan.buffers.flatMap((spec) => (spec.kind === 'weight' ? [spec.weight] : []))),
  );
  if (checkpoint) checkCheckpoint(checkpoint, artifact.weights);
  const pool = makeBufferPool(device);
  try {
    const immediates = await hasImmediates(device);
    const pipelines = await createPipelines(device, artifact.kernels, kernelsOf(plans), immediates);
    const warming = options.warmup ? startWarmUp(device, pool, pipelines, warmKernels(artifact, profile)) : undefined;
    const weights = await loadWeights(artifact, device, pool, checkpoint, used, options);
    await warming?.first;
    options.signal?.throwIfAborted();
    const parts = { device, pool, pipelines, artifact, profile, weights };
    const runners = new Map(artifact.entries.map((entry) => [entry, makeEntryRunner(parts, entry)] as const));
    warming?.goOn();
    training?.onDevice({
      ...parts,
      loadWeights: (from, indices, into) => loadWeights(artifact, device, into, from, indices, {}),
    });
    return executorOf(artifact, device, pool, pipelines, runners, closeDevice, warming, training);
  } catch (error) {
    pool.destroyAll();
    throw error;
  }
}

function executorOf(
  artifact: Artifact,
  device: GPUDevice,
  pool: BufferPool,
  pipelines: Pipelines,
  runners: ReadonlyMap<EntrySpec, EntryRunner>,
  closeDevice: () => void,
  warming: WarmingUp | undefined,
  training: ModelTraining | undefined,
): Executor {
  const run = async (
    entry: EntrySpec,
    inputs: BoundInputs,
    brought?: BroughtBuffers,
  ): Promise<ReadonlyMap<string, HostTensor>> => {
    const runner = runners.get(entry);
    if (!runner) throw damaged(`entry \`${entry.name}\``);
    warming?.stop();
    const [results] = await runCalls(device, [{ entry, runner, inputs, brought }]);
    return results ?? new Map();
  };
  return {
    run: (entry, inputs) => run(entry, inputs),
    states: (support) => support.makeDeviceStates({ device, pool, specs: artifact.states ?? [], run }),
    stats: () => ({
      pipelines: pipelines.count + (training?.pipelines ?? 0),
      buffers: pool.buffers,
      bytes: pool.bytes,
    }),
    close() {
      warming?.stop();
      pool.destroyAll();
      closeDevice();
    },
  };
}

async function loadWeights(
  artifact: Artifact,
  device: GPUDevice,
  pool: Pick<BufferPool, 'create'>,
  checkpoint: Checkpoint | undefined,
  used: ReadonlySet<number>,
  options: LoadOptions,
): Promise<ReadonlyMap<number, GPUBuffer>> {
  const buffers = new Map<number, GPUBuffer>();
  // Then there are no weights: asked for before.
  if (!checkpoint) return buffers;
  // Weights of equal content, tied ones, lie in one buffer.
  const contents = new Map<string, { readonly spec: WeightSpec; readonly indices: number[]; readonly bytes: number }>();
  for (const index of [...used].sort((a, b) => a - b)) {
    const spec = artifact.weights[index];
    if (!spec) continue;
    const key = contentKey(checkpoint, spec);
    const bytes = Math.ceil((weightElements(spec) * elementBytes(spec.dtype)) / 4) * 4;
    const known = contents.get(key);
    if (known) known.indices.push(index);
    else contents.set(key, { spec, indices: [index], bytes });
  }
  const total = [...contents.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  for (const { spec, indices, bytes } of contents.values()) {
    options.signal?.throwIfAborted();
    const what = `weight ${spec.sources.map((source) => `\`${source.path}\``).join(' + ')}`;
    const { value: buffer, checked } = guard(device, 'SORA6005', what, () =>
      pool.create(what, bytes, usage.storage | usage.copyTarget, true),
    );
    await checked;
    await fillWeight(checkpoint, spec, buffer.getMappedRange());
    buffer.unmap();
    for (const index of indices) buffers.set(index, buffer);
    loaded += bytes;
    options.onProgress?.({ loaded, total });
  }
  return buffers;
}
