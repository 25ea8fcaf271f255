/**
 * Results that stay on the device: what a call keeps of them for the one who may ask. The next call with the same keeper
 * overwrites them; calls of others do not.
 */
import type { HostTensor } from './cpu.ts';

export interface LazyResult {
  readonly buffer: GPUBuffer;
  fetch(): Promise<HostTensor>;
  free(): void;
}

/** By result name. */
export type Lazies = Map<string, LazyResult>;

export function freeLazies(lazies: Lazies): void {
  for (const result of lazies.values()) result.free();
  lazies.clear();
}
