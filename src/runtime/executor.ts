/**
 * What runs the entries of a model: a device with its buffers and pipelines, or the interpreter.
 */
import type { Artifact, EntrySpec, WeightSpec } from './artifact.ts';
import { type BufferPool, guard, makeBufferPool, usage } from './buffers.ts';
import { elementBytes } from './convert.ts';
import type { CpuExecutor, CpuModule, HostStateMap, HostTensor } from './cpu.ts';
import type { DeviceInfo } from './device.ts';
import { type BroughtBuffers, type EntryRunnerParts, makeEntryRunner } from './entry-runner.ts';
import { damaged, SoraError } from './error.ts';
import { allInputs, type BoundInputs, deviceInput } from './inputs.ts';
import type { LoadOptions, ModelStats, SessionSupport } from './model.ts';
import type { StateRunner } from './model-session.ts';
import { createPipelines, hasImmediates, kernelsOf } from './pipelines.ts';
import { runCalls } from './run-calls.ts';
import { product } from './size.ts';
import { startWarmUp, warmKernels } from './warm-up.ts';
import { type Checkpoint, checkCheckpoint, contentKey, fillWeight, hostWeight, weightElements } from './weights.ts';
import type { WeightMemory, WordTextures } from './word-textures.ts';

export interface HostParts {
  readonly executor: CpuExecutor;
  run(entry: EntrySpec, inputs: BoundInputs, states?: HostStateMap): Promise<ReadonlyMap<string, HostTensor>>;
}

/** What the two kinds of device do differently. */
export interface Executor {
  run(entry: EntrySpec, inputs: BoundInputs): Promise<ReadonlyMap<string, HostTensor>>;
  /** Empty states for a session. */
  states(support: SessionSupport): StateRunner;
  /** What training needs of it: of a device, or of the interpreter. */
  readonly parts: EntryRunnerParts | HostParts;
  stats(): Omit<ModelStats, 'calls'>;
  close(): void;
}

export async function cpuExecutor(
  artifact: Artifact,
  module: CpuModule,
  checkpoint: Checkpoint | undefined,
): Promise<Executor> {
  if (checkpoint) checkCheckpoint(checkpoint, artifact.weights);
  const executor = await module.createExecutor(artifact.program, (path, tied) => {
    if (!checkpoint) throw new SoraError('SORA7201', `\`${artifact.name}\` needs \`weights\``);
    return hostWeight(checkpoint, path, artifact.weights, tied);
  });
  const run = (
    entry: EntrySpec,
    inputs: BoundInputs,
    states?: HostStateMap,
  ): Promise<ReadonlyMap<string, HostTensor>> =>
    executor.run(entry.name, inputs.dims, hostInputs(entry, inputs), states);
  return {
    run,
    states: (support) => support.makeHostStates({ specs: artifact.states ?? [], run }),
    parts: { executor, run },
    stats: () => ({ pipelines: 0, buffers: 0, bytes: 0 }),
    close() {
      void checkpoint?.close();
    },
  };
}

/** Inputs as the interpreter takes them, by name. */
export function hostInputs(entry: EntrySpec, { data, shapes }: BoundInputs): ReadonlyMap<string, HostTensor> {
  const inputs = allInputs(entry).map((spec, at): readonly [string, HostTensor] => {
    const { name, dtype } = spec;
    const shape = shapes[at] ?? [];
    // f16 comes as f32.
    const plain = dtype === 'f16' ? { ...spec, dtype: 'f32' as const } : spec;
    return [name, { dtype, shape, data: deviceInput(plain, data[at], product(shape)) as HostTensor['data'] }];
  });
  return new Map(inputs);
}

export async function deviceExecutor(
  artifact: Artifact,
  device: GPUDevice,
  { profile = 'gpu', kind, isApart = false }: DeviceInfo,
  checkpoint: Checkpoint | undefined,
  options: LoadOptions,
  closeDevice: () => void,
): Promise<Executor> {
  const plans = artifact.entries.map((entry) => entry.plans[profile]);
  const used = new Set(
    plans.flatMap((plan) => plan.buffers.flatMap((spec) => (spec.kind === 'weight' ? [spec.weight] : []))),
  );
  if (checkpoint) checkCheckpoint(checkpoint, artifact.weights);
  const pool = makeBufferPool(device);
  try {
    const immediates = await hasImmediates(device);
    const words = checkpoint?.packer?.textures(device, kind, artifact, plans);
    const share = checkpoint?.packer?.share(device, kind);
    const forms = { immediates, words, share };
    const pipelines = await createPipelines(device, artifact.kernels, kernelsOf(plans), forms);
    const warming = options.warmup ? startWarmUp(device, pool, pipelines, warmKernels(artifact, profile)) : undefined;
    const weights = await loadWeights(artifact, device, pool, checkpoint, used, words, options);
    await warming?.first;
    options.signal?.throwIfAborted();
    const parts = { device, pool, pipelines, artifact, profile, weights };
    const runners = new Map(artifact.entries.map((entry) => [entry, makeEntryRunner(parts, entry)] as const));
    warming?.goOn();
    const run = async (
      entry: EntrySpec,
      inputs: BoundInputs,
      brought?: BroughtBuffers,
    ): Promise<ReadonlyMap<string, HostTensor>> => {
      const runner = runners.get(entry);
      if (!runner) throw damaged(`entry \`${entry.name}\``);
      warming?.stop();
      const [results = new Map()] = await runCalls(device, [{ entry, runner, inputs, brought }]);
      return results;
    };
    return {
      run,
      states: (support) => support.makeDeviceStates({ device, pool, isApart, specs: artifact.states ?? [], run }),
      parts,
      stats: () => ({ pipelines: pipelines.count, buffers: pool.buffers, bytes: pool.bytes }),
      close() {
        warming?.stop();
        pool.destroyAll();
        closeDevice();
      },
    };
  } catch (error) {
    pool.destroyAll();
    throw error;
  }
}

/** Weights by index into `artifact.weights`. What was made is left to the pool where one fails. */
export async function loadWeights(
  artifact: Artifact,
  device: GPUDevice,
  pool: BufferPool,
  checkpoint: Checkpoint | undefined,
  used: ReadonlySet<number>,
  words: WordTextures | undefined,
  options: LoadOptions = {},
): Promise<ReadonlyMap<number, WeightMemory>> {
  const memories = new Map<number, WeightMemory>();
  // Then there are no weights: asked for before.
  if (!checkpoint) return memories;
  // Weights of equal content, tied ones, lie in one place.
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
    let memory: WeightMemory;
    if (words && (spec.layout.kind === 'packed' || spec.layout.kind === 'nm')) {
      const { value, checked } = guard(device, 'SORA6005', what, () => words.create(device, pool, what, bytes));
      await checked;
      memory = value;
      const host = new ArrayBuffer(bytes);
      await fillWeight(checkpoint, spec, host);
      memory.write(host);
    } else {
      const { value: buffer, checked } = guard(device, 'SORA6005', what, () =>
        pool.create(what, bytes, usage.storage | usage.copyTarget, true),
      );
      await checked;
      await fillWeight(checkpoint, spec, buffer.getMappedRange());
      buffer.unmap();
      memory = { resource: { buffer }, write: (source) => device.queue.writeBuffer(buffer, 0, source) };
    }
    for (const index of indices) memories.set(index, memory);
    loaded += bytes;
    options.onProgress?.({ loaded, total });
  }
  return memories;
}
