/**
 * Runs one entry's plan: its buffers, bind groups and commands. States and arenas come with each call that has any.
 *
 * A call writes the inputs, encodes all steps in one pass, copies the results into its own staging buffer and submits, all
 * without awaiting (run-calls.ts). The queue runs calls in that order, so overlapping calls may share every other buffer and
 * still give what serial calls give.
 */
import type { Artifact, BufferSpec, EntrySpec, ProfileName, Step } from './artifact.ts';
import { type BufferPool, usage } from './buffers.ts';
import { newElements } from './convert.ts';
import type { HostTensor } from './cpu.ts';
import { damaged } from './error.ts';
import { halfValues, singleToHalf } from './half.ts';
import { allInputs, type BoundInputs, deviceInput } from './inputs.ts';
import { napWhile, type WaitKind } from './nap.ts';
import { type ImmediatePass, type Pipelines, UNIFORM_STRIDE } from './pipelines.ts';
import { bufferBytes, planSizes, type ShapedPlan, type ShapedResult, shapePlan } from './shaped-plan.ts';
import { type Dims, evaluateSize, product } from './size.ts';
import type { WeightMemory } from './word-textures.ts';

export interface EntryRunnerParts {
  readonly device: GPUDevice;
  readonly pool: BufferPool;
  readonly pipelines: Pipelines;
  readonly artifact: Artifact;
  readonly profile: ProfileName;
  /** By index into `artifact.weights`; only those that the profile's plans use. */
  readonly weights: ReadonlyMap<number, WeightMemory>;
}

/** A call whose inputs are written: what is left is to encode it. */
export interface PreparedCall {
  /** Brings what the call before it has left; before the pass. */
  load(encoder: GPUCommandEncoder): void;
  /** Dispatches all steps. */
  encode(pass: GPUComputePassEncoder): void;
  /** Copies the results to where they are read from; after the pass. */
  copy(encoder: GPUCommandEncoder): void;
  /** After the submit: waits, copies to the host and gives the staging buffer back. */
  read(): Promise<ReadonlyMap<string, HostTensor>>;
}

/** The states of one session (model-session.ts) or the arenas of one trainer (device-arenas.ts) on the device. */
export interface BroughtBuffers {
  /** By index into `artifact.states` or `artifact.arenas`; undefined where none is needed yet. */
  readonly buffers: readonly (GPUBuffer | undefined)[];
  /** Bind groups of steps that touch them, by the era of the entry's own buffers; a new one when the buffers move. */
  readonly groups: WeakMap<object, Map<Step, GPUBindGroup>>;
}

export interface EntryRunner {
  /** One at a time: calls of an entry share its buffers. @param brought needed by entries with states or arenas */
  prepare(inputs: BoundInputs, brought?: BroughtBuffers): PreparedCall;
  /** Forgets all buffers after a failed call: one of them may be what failed. */
  reset(): void;
}

/** Shaped plans kept; a program that goes through all lengths of a sentence needs some hundred. */
const MAXIMUM_SHAPED = 256;
const MAXIMUM_IDLE_STAGING = 4;

interface Slot {
  readonly resource: GPUBindingResource;
  /** Of the entry's own; undefined for weights. */
  readonly buffer?: GPUBuffer;
  readonly capacity: number;
}

export function makeEntryRunner(parts: EntryRunnerParts, entry: EntrySpec): EntryRunner {
  const { device, pool, pipelines } = parts;
  const greatestDims = new Map(Object.entries(parts.artifact.dims).map(([name, dim]) => [name, dim.maximum] as const));
  const plan = entry.plans[parts.profile];
  const slots: (Slot | undefined)[] = plan.buffers.map(() => undefined);
  let groups = new Map<Step, GPUBindGroup>();
  const isBrought = plan.buffers.map((spec) => spec.kind === 'state' || spec.kind === 'arena');
  const sizes = planSizes(entry, plan);
  const inputSpecs = allInputs(entry);
  const shapedPlans = new Map<string, ShapedPlan>();
  const idleStaging: GPUBuffer[] = [];
  const wait: WaitKind = { last: 0 };
  let uniform: { readonly buffer: GPUBuffer; readonly group: GPUBindGroup; key: string | undefined } | undefined;

  /** Makes room in every buffer of the plan. Bind groups of buffers that moved are made anew. */
  const makeRoom = (shaped: ShapedPlan): void => {
    plan.buffers.forEach((spec, at) => {
      if (isBrought[at]) return;
      const bytes = shaped.bytes[at] ?? 0;
      const slot = slots[at];
      if (slot && slot.capacity >= bytes) return;
      groups = new Map();
      slots[at] = slot ? growSlot(slot, spec, bytes) : makeSlot(spec, bytes);
    });
  };
  const makeSlot = (spec: BufferSpec, bytes: number): Slot => {
    if (spec.kind === 'weight') {
      const memory = parts.weights.get(spec.weight);
      if (!memory) throw damaged(`weight ${spec.weight} of \`${entry.name}\``);
      return { resource: memory.resource, capacity: Number.POSITIVE_INFINITY };
    }
    const what = 'name' in spec ? `${spec.kind} \`${spec.name}\`` : spec.kind;
    const buffer = pool.create(`${what} of \`${entry.name}\``, bytes, usage.data);
    if (spec.kind === 'constant') device.queue.writeBuffer(buffer, 0, constantWords(spec));
    const capacity = spec.kind === 'constant' ? Number.POSITIVE_INFINITY : buffer.size;
    return { resource: { buffer }, buffer, capacity };
  };
  /** Half as much again where the dims and the device allow it, so that slowly growing lengths seldom move buffers. */
  const growSlot = (slot: Slot, spec: BufferSpec, bytes: number): Slot => {
    const most = Math.min(
      device.limits.maxStorageBufferBindingSize,
      evaluateSize(bufferBytes(entry, spec), greatestDims),
    );
    const wanted = Math.max(bytes, Math.min(most, slot.capacity * 1.5));
    const grown = makeSlot(spec, wanted);
    // Calls already submitted keep the old buffer alive until they are done.
    if (slot.buffer) pool.destroy(slot.buffer);
    return grown;
  };
  const damagedBuffer = (at: number) => damaged(`buffer ${at} of \`${entry.name}\``);
  const binding = (at: number, brought?: BroughtBuffers): GPUBindingResource => {
    const spec = plan.buffers[at];
    const isArena = spec?.kind === 'arena';
    const place = isArena ? spec.arena : spec?.kind === 'state' ? spec.state : undefined;
    const buffer = place === undefined ? undefined : brought?.buffers[place];
    const resource = place === undefined ? slots[at]?.resource : buffer && { buffer };
    if (!resource) throw damagedBuffer(at);
    return isArena ? { ...(resource as GPUBufferBinding), offset: spec.offset, size: spec.bytes } : resource;
  };
  const slotBuffer = (at: number): GPUBuffer => {
    const buffer = slots[at]?.buffer;
    if (!buffer) throw damagedBuffer(at);
    return buffer;
  };
  /** Groups with states or arenas belong to the one who brings these, all others to the entry. */
  const groupsOf = (step: Step, brought: BroughtBuffers | undefined): Map<Step, GPUBindGroup> => {
    if (!brought || !step.buffers.some((at) => isBrought[at])) return groups;
    const known = brought.groups.get(groups);
    if (known) return known;
    const own = new Map<Step, GPUBindGroup>();
    brought.groups.set(groups, own);
    return own;
  };
  const bindGroup = (step: Step, brought: BroughtBuffers | undefined): GPUBindGroup => {
    const own = groupsOf(step, brought);
    const known = own.get(step);
    if (known) return known;
    const group = device.createBindGroup({
      label: step.kernel,
      layout: pipelines.get(step.kernel).layout,
      entries: step.buffers.map((at, place) => ({ binding: place, resource: binding(at, brought) })),
    });
    own.set(step, group);
    return group;
  };
  const shape = (dims: Dims): ShapedPlan => {
    // The same dims in another order would only be shaped once more.
    const key = [...dims].join();
    const known = shapedPlans.get(key);
    if (known) return known;
    const shaped = shapePlan(entry, plan, sizes, dims, key);
    // Every step of a session has sizes of its own.
    if (entry.steps !== undefined) return shaped;
    const [oldest] = shapedPlans.keys();
    if (shapedPlans.size >= MAXIMUM_SHAPED && oldest !== undefined) shapedPlans.delete(oldest);
    shapedPlans.set(key, shaped);
    return shaped;
  };
  /** One buffer serves all calls: the queue keeps writes and submits in order. */
  const writeUniforms = (shaped: ShapedPlan): GPUBindGroup | undefined => {
    if (pipelines.immediates) return undefined;
    if (!uniform) {
      const bytes = Math.max(1, plan.steps.length) * UNIFORM_STRIDE;
      const buffer = pool.create(`dims of \`${entry.name}\``, bytes, usage.uniform | usage.copyTarget);
      const resource = { buffer, size: 64 };
      const group = device.createBindGroup({ layout: pipelines.uniformLayout, entries: [{ binding: 0, resource }] });
      uniform = { buffer, group, key: undefined };
    }
    if (uniform.key !== shaped.key) {
      const words = new Uint32Array((plan.steps.length * UNIFORM_STRIDE) / 4);
      for (const { params, uniformOffset } of shaped.steps) words.set(params, uniformOffset / 4);
      device.queue.writeBuffer(uniform.buffer, 0, words);
      uniform.key = shaped.key;
    }
    return uniform.group;
  };
  const encodeSteps = (pass: GPUComputePassEncoder, shaped: ShapedPlan, brought?: BroughtBuffers): void => {
    const dimsGroup = writeUniforms(shaped);
    for (const { step, params, grid, uniformOffset } of shaped.steps) {
      pass.setPipeline(pipelines.get(step.kernel).pipeline);
      pass.setBindGroup(0, bindGroup(step, brought));
      if (params.length > 0 && dimsGroup) pass.setBindGroup(1, dimsGroup, [uniformOffset]);
      else if (params.length > 0) (pass as unknown as ImmediatePass).setImmediates(0, params);
      pass.dispatchWorkgroups(...grid);
    }
  };
  const takeStaging = (bytes: number): GPUBuffer => {
    const at = idleStaging.findIndex((buffer) => buffer.size >= bytes && buffer.size <= 4 * bytes + 4096);
    const [idle] = at < 0 ? [] : idleStaging.splice(at, 1);
    return idle ?? pool.create(`readback of \`${entry.name}\``, bytes, usage.mapRead | usage.copyTarget);
  };
  /** What is in the staging buffer when the device has filled it; the buffer goes back. */
  const readStaging = async <Value>(staging: GPUBuffer, read: (mapped: ArrayBuffer) => Value): Promise<Value> => {
    try {
      const mapping = staging.mapAsync(1);
      await (parts.profile === 'software' ? napWhile(mapping, wait) : mapping);
    } catch (error) {
      pool.destroy(staging);
      throw error;
    }
    const value = read(staging.getMappedRange());
    staging.unmap();
    giveBack(staging);
    return value;
  };
  const fetch = (kept: GPUBuffer, result: ShapedResult): Promise<HostTensor> => {
    const staging = takeStaging(result.bytes);
    const copying = device.createCommandEncoder({ label: entry.name });
    copying.copyBufferToBuffer(kept, 0, staging, 0, result.bytes);
    device.queue.submit([copying.finish()]);
    return readStaging(staging, (mapped) => readResult(result, mapped));
  };
  const giveBack = (staging: GPUBuffer): void => {
    if (idleStaging.length < MAXIMUM_IDLE_STAGING) idleStaging.push(staging);
    else pool.destroy(staging);
  };

  return {
    reset() {
      groups = new Map();
      slots.forEach((slot, at) => {
        if (slot?.buffer) pool.destroy(slot.buffer);
        slots[at] = undefined;
      });
    },
    prepare(inputs, brought) {
      const { feed } = inputs;
      let fed: GPUBuffer | undefined;
      const shaped = shape(inputs.dims);
      makeRoom(shaped);
      plan.buffers.forEach((spec, at) => {
        if (spec.kind !== 'input') return;
        if (spec.name === feed?.into) {
          fed = slotBuffer(at);
          return;
        }
        const index = inputSpecs.findIndex((input) => input.name === spec.name);
        const input = inputSpecs[index];
        if (!input) throw damaged(`input \`${spec.name}\` of \`${entry.name}\``);
        const elements = product(inputs.shapes[index] ?? []);
        const data = deviceInput(input, inputs.data[index], elements);
        // Written in words; an odd number of f16 has two bytes more.
        const bytes = Math.ceil(data.byteLength / 4) * 4;
        const words = bytes === data.byteLength ? data : new Uint8Array(data.buffer, data.byteOffset, bytes);
        if (bytes > 0) device.queue.writeBuffer(slotBuffer(at), 0, words);
      });
      let staging: GPUBuffer;
      const read = (mapped: ArrayBuffer) =>
        new Map(
          shaped.results.flatMap((result) =>
            result.stagingOffset === undefined ? [] : [[result.name, readResult(result, mapped)] as const],
          ),
        );
      return {
        load(encoder) {
          if (fed) feed?.bring(encoder, fed);
        },
        encode: (pass) => encodeSteps(pass, shaped, brought),
        copy(encoder) {
          staging = takeStaging(shaped.stagingBytes);
          for (const result of shaped.results) {
            const { bytes, stagingOffset } = result;
            const buffer = slotBuffer(result.buffer);
            if (stagingOffset === undefined)
              inputs.lazies?.keep({ ...result, buffer, encoder, pool, fetch: (kept) => fetch(kept, result) });
            else if (bytes > 0) encoder.copyBufferToBuffer(buffer, 0, staging, stagingOffset, bytes);
            feed?.keep(encoder, result.name, buffer);
          }
        },
        read: () => readStaging(staging, read),
      };
    },
  };
}

function constantWords(spec: Extract<BufferSpec, { kind: 'constant' }>): ArrayBuffer {
  const elements = newElements(spec.dtype, spec.values.length);
  elements.set(spec.dtype === 'f16' ? spec.values.map(singleToHalf) : spec.values);
  return elements.buffer;
}

function readResult(result: ShapedResult, bytes: ArrayBuffer): HostTensor {
  const { dtype, shape, elements, stagingOffset = 0 } = result;
  const part = bytes.slice(stagingOffset, stagingOffset + result.bytes);
  if (dtype !== 'f16') return { dtype, shape, data: newElements(dtype, elements, part) as HostTensor['data'] };
  const halves = newElements('f16', elements, part);
  return { dtype, shape, data: Float32Array.from(halves, (half) => halfValues()[half] ?? 0) };
}
