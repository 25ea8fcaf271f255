/**
 * What a trainer asks of a device: arenas, calls on them, and the model's own weights. One kind for WebGPU (device-training.ts),
 * one for the interpreter (host-training.ts).
 */
import type { Artifact, EntrySpec, TrainingSpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import type { EntryRunnerParts } from './entry-runner.ts';
import type { HostParts } from './executor.ts';
import type { BoundInputs } from './inputs.ts';
import type { Checkpoint } from './weights.ts';

export interface ArenaCall {
  readonly entry: EntrySpec;
  readonly inputs: BoundInputs;
}

/** The arenas of one trainer. */
export interface Arenas {
  /**
   * Runs entries one after the other, all or none, in one submit; what each gives to be read.
   *
   * @param instead arenas that stand in for others, for this call; the same map for the same arenas
   */
  run(
    calls: readonly ArenaCall[],
    instead?: ReadonlyMap<number, number>,
  ): Promise<readonly ReadonlyMap<string, HostTensor>[]>;
  /** Makes arenas that are not there yet, full of zeros: all or none. */
  reserve(arenas: readonly number[]): Promise<void>;
  /** By index; each as long as its arena. */
  write(contents: ReadonlyMap<number, Float32Array<ArrayBuffer>>): void;
  read(arena: number): Promise<Float32Array<ArrayBuffer>>;
  free(): void;
}

/** What the trainers of a model share. */
export interface TrainingDevice {
  /** Readies what the entries of a step need, and makes the arenas. @param checkpoint has what does not train */
  open(checkpoint: Checkpoint): Promise<Arenas>;
  /** Puts tensors of these names in the place of the model's own. */
  apply(trained: Checkpoint, names: ReadonlySet<string>): Promise<void>;
  /** Pipelines made for training. */
  readonly pipelines: number;
}

/** Pipelines and weights are those of the model's own entries. */
export interface DeviceTrainingParts extends EntryRunnerParts {
  readonly spec: TrainingSpec;
}

export interface HostTrainingParts extends HostParts {
  readonly artifact: Artifact;
  readonly spec: TrainingSpec;
}

/** The hidden entries: they run for trainers only. */
export function trainingEntryNames(spec: TrainingSpec | undefined): ReadonlySet<string> {
  return new Set(spec ? [spec.gradients, spec.evaluate, spec.accumulate, spec.update] : []);
}
