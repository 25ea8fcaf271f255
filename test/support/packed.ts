/**
 * Models of one matrix with a number format, read by products, lookups and elementwise ops, and random checkpoints of them.
 */
import { type Compilation, compile } from '../../src/compile.ts';
import type { Artifact, ProfileName } from '../../src/runtime/artifact.ts';
import { encodeSafetensors } from '../../src/runtime/index.ts';
import { randomNumbers } from './equivalence.ts';

export function compiled(text: string): Compilation {
  const { value, diagnostics } = compile({ file: { path: 'packed.sora', text } });
  if (!value || diagnostics.length > 0) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return value;
}

/** `w` is [N, K], `t` [K, N]. */
export function matrixText(N: number, K: number, format: string): string {
  return `dim B in 1..32
model Packed {
  w: f32[${N}, ${K}]
  t: f32[${K}, ${N}]
  entry product(x: f32[B, ${K}]) -> y: f32[B, ${N}] = linear(x, w)
  entry turned(x: f32[B, ${K}]) -> y: f32[B, ${N}] = matmul(x, t)
  entry rows(ids: i32[B]) -> y: f32[B, ${K}] = gather(w, ids)
  entry doubled(x: f32[B]) -> { w: f32[${N}, ${K}], t: f32[${K}, ${N}] } { { w: w * 2, t: t * 2 } }
}
quantize Packed { "**": ${format} }
`;
}

/** Numbers from -1 to 1 for every weight of the artifact. */
export function randomCheckpoint(artifact: Artifact, seed = 5): Uint8Array {
  const next = randomNumbers(seed);
  const sources = new Map(artifact.weights.flatMap((spec) => spec.sources.map((one) => [one.path, one])));
  const tensors = [...sources.values()]
    .filter(({ tied }) => tied === undefined)
    .map(({ path, shape }) => {
      const count = shape.reduce((product, size) => product * size, 1);
      return { name: path, shape, data: Float32Array.from({ length: count }, () => 2 * next() - 1) };
    });
  return encodeSafetensors(tensors);
}

/** The same kernels for every device, those of the profile. */
export function withProfile(artifact: Artifact, profile: ProfileName): Artifact {
  const entries = artifact.entries.map((entry) => ({
    ...entry,
    plans: { software: entry.plans[profile], gpu: entry.plans[profile] },
  }));
  return { ...artifact, entries };
}
