/** Which attentions write the new rows of their states themselves: one dispatch less for each, and only where nobody waits for the rows. */
import { describe, expect, test } from 'vitest';
import type { Artifact } from '../../../src/runtime/artifact.ts';
import { compiled } from '../../support/packed.ts';

interface Sizes {
  readonly width: number;
  readonly heads: number;
  readonly kv: number;
}

/** `step` takes one position, `run` any number. */
function cacheText({ width, heads, kv }: Sizes): string {
  return `dim B in 1..4, T in 1..16
model Test {
  state kv = KVCache(B, ${kv}, 64, ${width})
  entry run(q: f32[B, T, ${heads * width}], k: f32[B, T, ${kv * width}], v: f32[B, T, ${kv * width}]) -> y: f32[B, T, ${heads * width}] =
    attend(q, k, v) { heads: ${heads}, kv_heads: ${kv}, mask: causal, cache: kv }
  entry step = run with T = 1
}
`;
}

/** For each kernel of an entry how many buffers it writes. */
function written(artifact: Artifact, name: string, profile: 'software' | 'gpu' = 'software'): readonly number[] {
  const entry = artifact.entries.find((one) => one.name === name);
  return (entry?.plans[profile].steps ?? []).map(
    ({ kernel }) => [...(artifact.kernels[kernel]?.bindings ?? '')].filter((access) => access === 'w').length,
  );
}

describe('an attention of one position', () => {
  test.each([
    ['a head for each head of keys', { width: 8, heads: 4, kv: 4 }],
    ['four heads for each head of keys', { width: 64, heads: 8, kv: 2 }],
  ])('writes keys and values itself (%s)', (_, sizes) => {
    const { artifact } = compiled(cacheText(sizes));
    expect(written(artifact, 'step')).toEqual([3]);
    const [step] = artifact.entries.find(({ name }) => name === 'step')?.plans.software.steps ?? [];
    expect(artifact.kernels[step?.kernel ?? '']?.code).toMatch(/storageBarrier\(\);[\s\S]*all_top/);
  });

  test('reads what a kernel before it wrote where there are more positions, and on GPUs', () => {
    const { artifact } = compiled(cacheText({ width: 8, heads: 4, kv: 4 }));
    expect(written(artifact, 'run')[0]).toBe(2);
    expect(written(artifact, 'run').length).toBeGreaterThan(1);
    expect(written(artifact, 'step', 'gpu').length).toBeGreaterThan(1);
  });

  test('does not where several workgroups read the columns that one would write', () => {
    const { artifact } = compiled(cacheText({ width: 64, heads: 8, kv: 1 }));
    expect(written(artifact, 'step').length).toBeGreaterThan(1);
  });
});
