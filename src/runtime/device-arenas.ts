/**
 * The arenas of one trainer in device buffers.
 */

import type { Arenas } from './arenas.ts';
import type { ArenaSpec, EntrySpec, Step } from './artifact.ts';
import { type BufferPool, guard, usage } from './buffers.ts';
import type { BroughtBuffers, EntryRunner } from './entry-runner.ts';
import { SoraError } from './error.ts';
import { runCalls } from './run-calls.ts';

export interface DeviceArenaParts {
  readonly device: GPUDevice;
  readonly pool: BufferPool;
  readonly specs: readonly ArenaSpec[];
  runner(entry: EntrySpec): EntryRunner;
  /** Waits for the device without keeping the driver from its cores. */
  wait<Value>(waiting: Promise<Value>): Promise<Value>;
  /** Told once, when the arenas are freed. */
  onFree(): void;
}

export function makeDeviceArenas(parts: DeviceArenaParts): Arenas {
  const { device, pool, specs } = parts;
  const buffers: (GPUBuffer | undefined)[] = specs.map(() => undefined);
  type Groups = BroughtBuffers['groups'];
  const plain: Groups = new WeakMap<object, Map<Step, GPUBindGroup>>();
  /** Bind groups with other arenas in the place of some. */
  const replaced = new WeakMap<ReadonlyMap<number, number>, Groups>();
  let isFree = false;

  const bufferOf = (arena: number): GPUBuffer => {
    const buffer = buffers[arena];
    if (!buffer) throw new SoraError('SORA6006', `the arena \`${specs[arena]?.path}\` is not there`);
    return buffer;
  };
  const broughtWith = (instead: ReadonlyMap<number, number> | undefined): BroughtBuffers => {
    if (!instead) return { buffers, groups: plain };
    const groups: Groups = replaced.get(instead) ?? new WeakMap();
    replaced.set(instead, groups);
    return { buffers: buffers.map((own, at) => buffers[instead.get(at) ?? at] ?? own), groups };
  };
  return {
    run(calls, instead) {
      const brought = broughtWith(instead);
      return runCalls(
        device,
        calls.map((call) => ({ ...call, runner: parts.runner(call.entry), brought })),
      );
    },
    async reserve(arenas) {
      const wanted = arenas.filter((arena) => buffers[arena] === undefined);
      const made = new Map<number, GPUBuffer>();
      try {
        const { checked } = guard(device, 'SORA6102', 'arenas of a trainer', () => {
          for (const arena of wanted) {
            const { path, elements } = specs[arena] ?? { path: '', elements: 0 };
            made.set(arena, pool.create(`arena \`${path}\``, elements * 4, usage.data));
          }
        });
        await checked;
        if (isFree) throw new SoraError('SORA6002', 'a trainer was used after `close`');
      } catch (error) {
        for (const buffer of made.values()) pool.destroy(buffer);
        throw error;
      }
      for (const [arena, buffer] of made) buffers[arena] = buffer;
    },
    write(contents) {
      for (const [arena, data] of contents) device.queue.writeBuffer(bufferOf(arena), 0, data);
    },
    async read(arena) {
      const buffer = bufferOf(arena);
      const { elements = 0 } = specs[arena] ?? {};
      const { value: staging, checked } = guard(device, 'SORA6102', 'reading an arena', () => {
        const made = pool.create('readback of an arena', buffer.size, usage.mapRead | usage.copyTarget);
        const encoder = device.createCommandEncoder({ label: 'arenas' });
        encoder.copyBufferToBuffer(buffer, 0, made, 0, buffer.size);
        device.queue.submit([encoder.finish()]);
        return made;
      });
      try {
        await checked;
        await parts.wait(staging.mapAsync(1));
        return new Float32Array(staging.getMappedRange().slice(0, elements * 4));
      } finally {
        pool.destroy(staging);
      }
    },
    free() {
      if (isFree) return;
      isFree = true;
      buffers.forEach((buffer, at) => {
        if (buffer) pool.destroy(buffer);
        buffers[at] = undefined;
      });
      parts.onFree();
    },
  };
}
