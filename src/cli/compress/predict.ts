/**
 * What a call will cost before anything runs: bytes and operations of every kernel against what a machine moves and computes in a
 * second (a roofline). An estimate for comparing recipes; the machines are stated, not measured.
 */
import type { Compilation } from '../../compile.ts';
import { costOfNode, storedBytes, weightBytes } from '../../ir/cost.ts';
import type { Entry, Program } from '../../ir/graph.ts';
import type { ProfileName } from '../../ir/target.ts';

export interface Machine {
  readonly name: string;
  readonly profile: ProfileName;
  readonly bytesPerSecond: number;
  readonly flopsPerSecond: number;
  /** What starting a kernel takes. */
  readonly kernelSeconds: number;
}

/** Two cores with a driver on the CPU, and a graphics chip of a laptop. */
export const machines: readonly Machine[] = [
  { name: 'CPU', profile: 'software', bytesPerSecond: 12e9, flopsPerSecond: 40e9, kernelSeconds: 20e-6 },
  { name: 'GPU', profile: 'gpu', bytesPerSecond: 100e9, flopsPerSecond: 2e12, kernelSeconds: 4e-6 },
];

export function describeMachine({ name, bytesPerSecond, flopsPerSecond }: Machine): string {
  const flops = flopsPerSecond >= 1e12 ? `${flopsPerSecond / 1e12} TFLOP/s` : `${flopsPerSecond / 1e9} GFLOP/s`;
  return `${name}: ${bytesPerSecond / 1e9} GB/s, ${flops}`;
}

export interface Prediction {
  readonly kernels: number;
  readonly flops: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** Sizes of a call when nobody says which: one example, 128 of everything else as far as the model takes so many. */
export function usualDims(program: Program, entry: Entry): ReadonlyMap<string, number> {
  const first = entry.parameters[0]?.type.shape[0]?.key;
  const { past, slack } = program.session ?? {};
  return new Map(
    [...program.dims].map(([name, { minimum, maximum, multiple }]) => {
      if (name === first) return [name, minimum];
      if (name === slack) return [name, 0];
      const wanted = Math.min(name === past ? 127 : 128, maximum);
      return [name, Math.max(minimum, wanted - (wanted % multiple))];
    }),
  );
}

/** The entry whose calls people wait for: a step of a text, else the one without a session. */
export function waitedFor(program: Program): Entry | undefined {
  const visible = program.entries.filter(({ isHidden }) => isHidden !== true);
  const step = visible.find(({ steps }) => steps !== undefined && steps.key === '1');
  return step ?? visible.find(({ steps }) => steps === undefined) ?? visible[0];
}

export function predict(
  compilation: Compilation,
  name: string,
  dims: ReadonlyMap<string, number>,
  machine: Machine,
): Prediction {
  const program = compilation.kernels[machine.profile];
  const entry = program.entries.find((candidate) => candidate.name === name);
  const stored = storedBytes(program.weights);
  let [kernels, flops, bytes, seconds] = [0, 0, 0, 0];
  for (const node of entry?.graph.nodes ?? []) {
    const cost = costOfNode(node, dims, stored);
    if (node.op !== 'fused' && cost.flops === 0) continue;
    const moved = cost.bytesRead + cost.bytesWritten;
    kernels++;
    flops += cost.flops;
    bytes += moved;
    seconds += Math.max(moved / machine.bytesPerSecond, cost.flops / machine.flopsPerSecond) + machine.kernelSeconds;
  }
  return { kernels, flops, bytes, seconds };
}

/** Of a weight that stands in a checkpoint under two names, one. */
export function modelBytes(program: Program): number {
  const paths = new Set(program.weights.map(({ path }) => path));
  return program.weights.reduce(
    (sum, weight) => sum + (weight.tied !== undefined && paths.has(weight.tied) ? 0 : weightBytes(weight)),
    0,
  );
}
