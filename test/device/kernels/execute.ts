/**
 * Runs a plan on a device with as little machinery as possible, so that tests of kernels depend on nothing but kernels:
 * one submission, dims through immediates. Only pipelines are kept, by artifact, for the next run at other sizes.
 */
import { evaluateSize } from '../../../src/codegen/plan/sizes.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import type { Artifact, BufferSpec, ElementType, ProfileName, WeightSpec } from '../../../src/runtime/artifact.ts';
import { singleToHalf } from '../../../src/runtime/half.ts';

/** Flags of the WebGPU specification: their global names are not set in Node. */
const bufferUsage = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, storage: 0x80 } as const;
const computeStage = 0x4;
const mapRead = 0x1;

type Words = Float32Array | Int32Array | Uint32Array;

function words(dtype: ElementType, values: ArrayLike<number>): Words {
  if (dtype === 'f32') return Float32Array.from(values);
  if (dtype === 'f16') {
    const halves = Uint16Array.from(values, singleToHalf);
    return new Uint32Array(halves.buffer, 0, halves.length >> 1);
  }
  return dtype === 'i32' ? Int32Array.from(values) : Uint32Array.from(values);
}

/** What the loader does: sources joined along axis 0, then the layout. */
function packWeight(spec: WeightSpec, weight: (path: string) => Tensor): Words {
  const flat = spec.sources.flatMap(({ path }) => Array.from(weight(path).data));
  if (spec.layout.kind === 'row-major') return words(spec.dtype, flat);
  if (spec.layout.kind === 'packed') throw new Error('packed weights are brought by the loader');
  const [rows = 0, columns = 0] = spec.shape;
  const { width } = spec.layout;
  const packed = new Float32Array(Math.ceil(rows / width) * columns * width);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      packed[(Math.floor(n / width) * columns + k) * width + (n % width)] = flat[n * columns + k] ?? 0;
    }
  }
  return packed;
}

export interface RunOptions {
  readonly profile: ProfileName;
  readonly dims: Readonly<Record<string, number>>;
  readonly inputs: ReadonlyMap<string, Tensor>;
  weight(path: string): Tensor;
  /** What the states hold before the run, by path; results named `state:PATH` say what they hold afterwards. */
  readonly states?: ReadonlyMap<string, Tensor>;
}

interface Made {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const made = new WeakMap<GPUDevice, WeakMap<Artifact, Map<string, Made>>>();

/** By kernel name. */
function pipelinesOf(device: GPUDevice, artifact: Artifact): Map<string, Made> {
  const ofDevice = made.get(device) ?? new WeakMap<Artifact, Map<string, Made>>();
  made.set(device, ofDevice);
  const ofArtifact = ofDevice.get(artifact) ?? new Map<string, Made>();
  ofDevice.set(artifact, ofArtifact);
  return ofArtifact;
}

export async function runPlan(device: GPUDevice, artifact: Artifact, options: RunOptions): Promise<Map<string, Words>> {
  const entry = artifact.entries[0];
  if (!entry) throw new Error('no entry');
  const plan = entry.plans[options.profile];
  const usage = bufferUsage.storage | bufferUsage.copySource | bufferUsage.copyTarget;
  const upload = (data: Words) => {
    const buffer = device.createBuffer({ size: Math.max(16, data.byteLength), usage });
    device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  };
  const make = (spec: BufferSpec): GPUBuffer => {
    switch (spec.kind) {
      case 'input': {
        const tensor = options.inputs.get(spec.name);
        if (!tensor) throw new Error(`no input ${spec.name}`);
        return upload(words(tensor.dtype, tensor.data));
      }
      case 'weight': {
        const weight = artifact.weights[spec.weight];
        if (!weight) throw new Error('no weight');
        return upload(packWeight(weight, options.weight));
      }
      case 'constant':
        return upload(words(spec.dtype, spec.values));
      case 'result':
      case 'scratch': {
        // NaN everywhere: whatever a kernel forgets to write shows.
        const count = Math.max(4, Math.ceil(evaluateSize(spec.bytes, options.dims) / 4));
        return upload(new Uint32Array(count).fill(0x7fc00000));
      }
      case 'state': {
        const tensor = options.states?.get(artifact.states?.[spec.state]?.path ?? '');
        if (!tensor) throw new Error(`no state ${spec.state}`);
        return upload(words(tensor.dtype, tensor.data));
      }
      case 'arena':
        throw new Error('arenas belong to trainers');
    }
  };
  const buffers = plan.buffers.map(make);
  const pipelines = pipelinesOf(device, artifact);
  const pipelineOf = (name: string) => {
    const known = pipelines.get(name);
    if (known) return known;
    const spec = artifact.kernels[name];
    if (!spec) throw new Error(`no kernel ${name}`);
    const layout = device.createBindGroupLayout({
      entries: [...spec.bindings].map((access, binding) => ({
        binding,
        visibility: computeStage,
        buffer: { type: access === 'r' ? ('read-only-storage' as const) : ('storage' as const) },
      })),
    });
    const layoutOptions = { bindGroupLayouts: [layout], immediateSize: 4 * spec.params };
    const module = device.createShaderModule({ code: spec.code, label: name });
    const pipeline = device.createComputePipeline({
      label: name,
      layout: device.createPipelineLayout(layoutOptions as GPUPipelineLayoutDescriptor),
      compute: { module, entryPoint: 'main' },
    });
    pipelines.set(name, { pipeline, layout });
    return { pipeline, layout };
  };
  device.pushErrorScope('validation');
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass() as GPUComputePassEncoder & {
    setImmediates(at: number, data: Uint32Array): void;
  };
  for (const step of plan.steps) {
    if (step.when) {
      const value = evaluateSize(step.when.value, options.dims);
      if (value < step.when.minimum || value > step.when.maximum) continue;
    }
    const { pipeline, layout } = pipelineOf(step.kernel);
    pass.setPipeline(pipeline);
    const entries = step.buffers.map((at, binding) => {
      const buffer = buffers[at];
      if (!buffer) throw new Error(`no buffer ${at}`);
      return { binding, resource: { buffer } };
    });
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    if (step.params.length > 0) {
      pass.setImmediates(0, Uint32Array.from(step.params.map((param) => evaluateSize(param, options.dims))));
    }
    const groups = evaluateSize(step.groups, options.dims);
    const rows = Math.ceil(groups / 65535);
    pass.dispatchWorkgroups(rows > 1 ? 65535 : groups, rows);
  }
  pass.end();
  const results = new Map<string, Words>();
  const readers: { name: string; buffer: GPUBuffer; dtype: ElementType; count: number }[] = [];
  plan.buffers.forEach((spec, at) => {
    const source = buffers[at];
    if ((spec.kind !== 'result' && spec.kind !== 'state') || !source) return;
    const path = spec.kind === 'state' ? (artifact.states?.[spec.state]?.path ?? '') : '';
    const state = spec.kind === 'state' ? options.states?.get(path) : undefined;
    const name = spec.kind === 'result' ? spec.name : `state:${path}`;
    const result = entry.results.find((other) => other.name === name);
    const shape = (result?.shape ?? []).reduce<number>((all, size) => all * evaluateSize(size, options.dims), 1);
    const count = state ? state.data.length : shape;
    const dtype = state?.dtype ?? result?.dtype ?? 'f32';
    const buffer = device.createBuffer({ size: source.size, usage: bufferUsage.mapRead | bufferUsage.copyTarget });
    encoder.copyBufferToBuffer(source, 0, buffer, 0, source.size);
    readers.push({ name, buffer, dtype, count });
  });
  device.queue.submit([encoder.finish()]);
  const problem = await device.popErrorScope();
  if (problem) throw new Error(problem.message);
  for (const { name, buffer, dtype, count } of readers) {
    await buffer.mapAsync(mapRead);
    const bytes = buffer.getMappedRange().slice(0);
    const all =
      dtype === 'f32' ? new Float32Array(bytes) : dtype === 'i32' ? new Int32Array(bytes) : new Uint32Array(bytes);
    results.set(name, all.slice(0, count));
    buffer.destroy();
  }
  for (const buffer of buffers) buffer.destroy();
  return results;
}
