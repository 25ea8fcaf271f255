/**
 * The states of a session in device buffers, [rows, room, width] each. They grow by copying rows, because the place of a row
 * depends on the room.
 */
import type { EntrySpec, StateSpec, Step } from './artifact.ts';
import { type BufferPool, guard, usage } from './buffers.ts';
import { elementBytes } from './convert.ts';
import type { HostTensor } from './cpu.ts';
import type { BroughtBuffers } from './entry-runner.ts';
import { SoraError } from './error.ts';
import type { BoundInputs } from './inputs.ts';
import type { StateRunner } from './model-session.ts';

export interface DeviceStateParts {
  readonly device: GPUDevice;
  readonly pool: BufferPool;
  readonly specs: readonly StateSpec[];
  readonly isApart: boolean;
  run(entry: EntrySpec, inputs: BoundInputs, states: BroughtBuffers): Promise<ReadonlyMap<string, HostTensor>>;
}

interface Holding {
  readonly buffers: readonly GPUBuffer[];
  readonly groups: WeakMap<object, Map<Step, GPUBindGroup>>;
  readonly rows: number;
  readonly room: number;
}

function withBuffers(buffers: readonly GPUBuffer[], rows: number, room: number): Holding {
  return { buffers, groups: new WeakMap(), rows, room };
}

export function makeDeviceStates(parts: DeviceStateParts, start = withBuffers([], 0, 0)): StateRunner {
  const { device, pool, specs } = parts;
  let holding = start;
  let isFree = false;
  let fed: GPUBuffer | undefined;

  const destroy = (buffers: readonly GPUBuffer[]): void => {
    for (const buffer of buffers) pool.destroy(buffer);
  };
  /** All or none; waits for the device, so that a lack of memory shows before anything is given up. */
  const create = async (rows: number, room: number): Promise<readonly GPUBuffer[]> => {
    const made: GPUBuffer[] = [];
    try {
      const { checked } = guard(device, 'SORA6102', `states for ${rows} x ${room} positions`, () => {
        for (const { path, dtype, width } of specs) {
          made.push(pool.create(`state \`${path}\``, rows * room * width * elementBytes(dtype), usage.data));
        }
      });
      await checked;
      if (isFree) throw new SoraError('SORA6002', 'a session was used after `close`');
      return made;
    } catch (error) {
      destroy(made);
      throw error;
    }
  };
  return {
    isApart: parts.isApart,
    run(entry, inputs, feed) {
      if (!feed) return parts.run(entry, inputs, holding);
      const bytes = holding.rows * 4;
      if (!fed || fed.size < bytes) {
        if (fed) pool.destroy(fed);
        fed = pool.create('tokens of a session', bytes, usage.copySource | usage.copyTarget);
      }
      return parts.run(entry, { ...inputs, feed: feed(fed, holding.rows) }, holding);
    },
    async reserve(rows, room, held) {
      const buffers = await create(rows, room);
      const encoder = device.createCommandEncoder({ label: 'states' });
      specs.forEach(({ dtype, width }, at) => {
        const [from, to] = [holding.buffers[at], buffers[at]];
        if (!from || !to) return;
        const bytes = width * elementBytes(dtype);
        held.forEach((positions, row) => {
          if (positions === 0) return;
          const [start, end] = [row * holding.room * bytes, row * room * bytes];
          encoder.copyBufferToBuffer(from, start, to, end, positions * bytes);
        });
      });
      device.queue.submit([encoder.finish()]);
      destroy(holding.buffers);
      holding = withBuffers(buffers, rows, room);
    },
    clear() {
      const encoder = device.createCommandEncoder({ label: 'states' });
      for (const buffer of holding.buffers) encoder.clearBuffer(buffer);
      device.queue.submit([encoder.finish()]);
    },
    async copy() {
      const { buffers: from, rows, room } = holding;
      if (from.length === 0) return makeDeviceStates(parts);
      const buffers = await create(rows, room);
      const encoder = device.createCommandEncoder({ label: 'states' });
      buffers.forEach((buffer, at) => {
        const source = from[at];
        if (source) encoder.copyBufferToBuffer(source, 0, buffer, 0, source.size);
      });
      device.queue.submit([encoder.finish()]);
      return makeDeviceStates(parts, withBuffers(buffers, rows, room));
    },
    free() {
      isFree = true;
      destroy(holding.buffers);
      if (fed) pool.destroy(fed);
      holding = withBuffers([], 0, 0);
    },
  };
}
