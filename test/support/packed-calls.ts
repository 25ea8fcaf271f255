/**
 * Calls of the models of one matrix (packed.ts), where they run, and how far results are from those of the interpreter.
 */
import { type ProfileName, profileNames } from '../../src/ir/target.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import { createModel, type Inputs } from '../../src/runtime/index.ts';
import { gpuDevices, type TestDevice } from './devices.ts';
import { randomNumbers } from './equivalence.ts';

/** A call of one of the entries of `matrixText`, and the result that is looked at. */
export type Call = readonly [entry: string, inputs: Inputs, result: string];

/** Products of few and of many rows, both ways round, looked up rows, and all numbers. */
export function callsOf(outputs: number, inputs: number): readonly Call[] {
  const next = randomNumbers(outputs + inputs);
  const rowsOf = (rows: number) => ({
    data: Float32Array.from({ length: rows * inputs }, () => 2 * next() - 1),
    shape: [rows, inputs],
  });
  const products = [1, 3, 5, 17].flatMap((rows): Call[] => {
    const x = rowsOf(rows);
    return [
      ['product', { x }, 'y'],
      ['turned', { x }, 'y'],
    ];
  });
  const ids = Int32Array.from({ length: 9 }, (_, at) => (at * 7 + 3) % outputs);
  const one = { x: { data: Float32Array.of(1), shape: [1] } };
  return [...products, ['rows', { ids: { data: ids, shape: [9] } }, 'y'], ['doubled', one, 'w'], ['doubled', one, 't']];
}

export async function resultsOf(
  artifact: Artifact,
  weights: Uint8Array,
  adapter: TestDevice,
  calls: readonly Call[],
): Promise<readonly ArrayLike<number>[]> {
  const model = await createModel(artifact, { weights, adapter });
  try {
    const results: ArrayLike<number>[] = [];
    for (const [entry, inputs, name] of calls) results.push((await model.call(entry, inputs))[name]?.data ?? []);
    return results;
  } finally {
    await model.close();
  }
}

/** max |a - b| / max |b| */
export function distance(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let most = 0;
  let apart = got.length === wanted.length ? 0 : Number.POSITIVE_INFINITY;
  for (let at = 0; at < wanted.length; at++) {
    most = Math.max(most, Math.abs(wanted[at] ?? 0));
    const gap = Math.abs((got[at] ?? Number.NaN) - (wanted[at] ?? 0));
    apart = Math.max(apart, Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap);
  }
  return apart / most;
}

/** SwiftShader takes ten times as long as lavapipe for new kernels: each case has one profile there. */
export function placesOf(at: number): readonly (readonly [device: TestDevice, profile: ProfileName])[] {
  return gpuDevices.flatMap((device, which) =>
    profileNames.filter((_, turn) => which === 0 || (at + turn) % 2 === 0).map((profile) => [device, profile] as const),
  );
}
