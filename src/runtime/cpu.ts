/**
 * The CPU device: what `sorac/cpu` (src/cpu.ts) must give, and a model that runs on it.
 *
 * Not here: the interpreter itself (src/ir/interpret.ts, compiler side).
 */
import type { ElementType } from './artifact.ts';

/** f16 values stand as f32, bool as 0 and 1. */
export interface HostTensor {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint32Array;
}

export interface CpuExecutor {
  /** `states` by path, [rows, room, width]; what an entry makes of them takes their place. */
  run(
    entry: string,
    dims: ReadonlyMap<string, number>,
    inputs: ReadonlyMap<string, HostTensor>,
    states?: Map<string, HostTensor>,
  ): Promise<ReadonlyMap<string, HostTensor>>;
}

export interface CpuModule {
  /** `program` is the text form of the unoptimized graph; `weight` reads a tensor of the checkpoint, `tied` when it has none. */
  createExecutor(program: string, weight: (path: string, tied?: string) => Promise<HostTensor>): Promise<CpuExecutor>;
}
