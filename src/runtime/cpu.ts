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

/** States by path, as the interpreter reads and writes them; a `Map` is one. */
export interface HostStateMap {
  get(path: string): HostTensor | undefined;
  set(path: string, tensor: HostTensor): unknown;
}

/** A node of the program and what it has just given. */
export interface WatchedNode {
  readonly op: string;
  /** The part of the model that it belongs to; undefined for what stands in no module. */
  readonly label: string | undefined;
  /** Parts of the model that its operands come from, nearest first. */
  behind(): readonly string[];
  readonly results: readonly { readonly shape: readonly number[]; readonly data: ArrayLike<number> }[];
}

export interface CpuExecutor {
  /** What an entry makes of states takes their place. `watch` is told every node; what it throws ends the call. */
  run(
    entry: string,
    dims: ReadonlyMap<string, number>,
    inputs: ReadonlyMap<string, HostTensor>,
    states?: HostStateMap,
    watch?: (node: WatchedNode) => void,
  ): Promise<ReadonlyMap<string, HostTensor>>;
  /** Puts a tensor in the place of a weight; later calls read it. */
  assign(path: string, tensor: HostTensor): void;
}

export interface CpuModule {
  /** `program` is the text form of the unoptimized graph; `weight` reads a tensor of the checkpoint, `tied` when it has none. */
  createExecutor(program: string, weight: (path: string, tied?: string) => Promise<HostTensor>): Promise<CpuExecutor>;
}
