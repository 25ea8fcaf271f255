/**
 * Device buffers with a count: every buffer of a model is made and destroyed here, so `stats` can show that none is left.
 * Creation is checked against the device's limits first, because a driver's own message does not name the tensor.
 */
import { messageOf, SoraError } from './error.ts';

/** WebGPU's usage bits, written out: the constants are globals that Node does not have. */
export const usage = {
  mapRead: 0x01,
  copySource: 0x04,
  copyTarget: 0x08,
  uniform: 0x40,
  storage: 0x80,
  /** Storage that is copied from and to. */
  data: 0x8c,
} as const;

/** A buffer or a texture. */
export interface Destroyable {
  destroy(): void;
}

export interface BufferPool {
  readonly buffers: number;
  readonly bytes: number;
  /** `what` names the buffer in errors and in the label. Sizes are rounded up to 16 bytes, so nothing is empty. */
  create(what: string, bytes: number, usageBits: number, mapped?: boolean): GPUBuffer;
  /** Counts something made elsewhere, which goes with everything else. */
  keep(made: Destroyable, bytes: number): void;
  destroy(made: Destroyable): void;
  destroyAll(): void;
}

export function makeBufferPool(device: GPUDevice): BufferPool {
  const live = new Map<Destroyable, number>();
  let total = 0;
  const keep = (made: Destroyable, bytes: number): void => {
    live.set(made, bytes);
    total += bytes;
  };
  const destroy = (made: Destroyable): void => {
    total -= live.get(made) ?? 0;
    live.delete(made);
    made.destroy();
  };
  return {
    get buffers() {
      return live.size;
    },
    get bytes() {
      return total;
    },
    create(what, bytes, usageBits, mapped = false) {
      const size = Math.max(16, Math.ceil(bytes / 16) * 16);
      checkSize(device, what, size, usageBits);
      let buffer: GPUBuffer;
      try {
        buffer = device.createBuffer({ label: what, size, usage: usageBits, mappedAtCreation: mapped });
      } catch (error) {
        // A mapped buffer that the host cannot hold is thrown, not reported.
        throw new SoraError('SORA6005', `no memory for ${what} (${size} bytes): ${messageOf(error)}`, { cause: error });
      }
      keep(buffer, size);
      return buffer;
    },
    keep,
    destroy,
    destroyAll() {
      for (const buffer of [...live.keys()]) destroy(buffer);
    },
  };
}

/** Buffers of a pool that go together. */
export function partOf(pool: BufferPool): BufferPool {
  const own = new Map<Destroyable, number>();
  const destroy = (made: Destroyable): void => {
    own.delete(made);
    pool.destroy(made);
  };
  return {
    get buffers() {
      return own.size;
    },
    get bytes() {
      return [...own.values()].reduce((sum, bytes) => sum + bytes, 0);
    },
    create(...given) {
      const buffer = pool.create(...given);
      own.set(buffer, buffer.size);
      return buffer;
    },
    keep(made, bytes) {
      pool.keep(made, bytes);
      own.set(made, bytes);
    },
    destroy,
    destroyAll() {
      for (const made of [...own.keys()]) destroy(made);
    },
  };
}

/** @errors SORA6004 when the device cannot have such a buffer or bind it. */
function checkSize(device: GPUDevice, what: string, size: number, usageBits: number): void {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const refuse = (limit: string, most: number): SoraError =>
    new SoraError('SORA6004', `${what} takes ${size} bytes, the device's \`${limit}\` is ${most}`);
  if (size > maxBufferSize) throw refuse('maxBufferSize', maxBufferSize);
  const isBound = (usageBits & usage.storage) !== 0;
  if (isBound && size > maxStorageBufferBindingSize) {
    throw refuse('maxStorageBufferBindingSize', maxStorageBufferBindingSize);
  }
}

export interface Guarded<Value> {
  readonly value: Value;
  /** Rejects with what the device reports about the work; see `guard`. */
  readonly checked: Promise<void>;
}

/**
 * Runs `work` and turns what the device reports about it into errors: out of memory is SORA6005, anything else `code`.
 * `work` is synchronous, because error scopes nest by call order.
 */
export function guard<Value>(device: GPUDevice, code: string, what: string, work: () => Value): Guarded<Value> {
  device.pushErrorScope('out-of-memory');
  device.pushErrorScope('validation');
  let value: Value;
  let scopes: readonly Promise<GPUError | null>[] = [];
  try {
    value = work();
  } finally {
    scopes = [device.popErrorScope(), device.popErrorScope()];
    for (const scope of scopes) scope.catch(() => undefined);
  }
  const check = async (): Promise<void> => {
    const [validation, memory] = await Promise.all(scopes);
    if (memory) throw new SoraError('SORA6005', `${what}: the device is out of memory (${memory.message})`);
    if (validation) throw new SoraError(code, `${what}: ${validation.message}`);
  };
  const checked = check();
  checked.catch(() => undefined);
  return { value, checked };
}
