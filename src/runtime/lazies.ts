/**
 * Results that stay on the device: what a call keeps of them for the one who may ask. The next call with the same keeper
 * overwrites them; calls of others do not.
 */
import { type BufferPool, usage } from './buffers.ts';
import type { HostTensor } from './cpu.ts';

/** A result of a call that is being encoded. */
export interface LazySource {
  readonly name: string;
  readonly bytes: number;
  readonly buffer: GPUBuffer;
  readonly encoder: GPUCommandEncoder;
  readonly pool: BufferPool;
  /** Brings to the host what a copy of the result holds. */
  fetch(kept: GPUBuffer): Promise<HostTensor>;
}

export interface Lazies {
  /** Copies a result to a buffer of the keeper's, from where it can be fetched later. */
  keep(source: LazySource): void;
  /** Undefined when no call kept a result of this name. */
  fetch(name: string): Promise<HostTensor> | undefined;
  free(): void;
}

export function makeLazies(): Lazies {
  const results = new Map<string, { readonly buffer: GPUBuffer; readonly source: LazySource }>();
  return {
    keep(source) {
      const { name, bytes, pool } = source;
      let buffer = results.get(name)?.buffer;
      if (!buffer || buffer.size < bytes) {
        if (buffer) pool.destroy(buffer);
        buffer = pool.create(`kept \`${name}\``, bytes, usage.copySource | usage.copyTarget);
      }
      source.encoder.copyBufferToBuffer(source.buffer, 0, buffer, 0, bytes);
      results.set(name, { buffer, source });
    },
    fetch(name) {
      const kept = results.get(name);
      return kept?.source.fetch(kept.buffer);
    },
    free() {
      for (const { buffer, source } of results.values()) source.pool.destroy(buffer);
      results.clear();
    },
  };
}
