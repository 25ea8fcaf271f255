/**
 * Constructs of the language whose effect is at run time, on the interpreter and on a device: tied weights, entries made
 * from others, contractions from patterns.
 */
import { describe, expect, test } from 'vitest';
import { checkWeights } from '../../src/cli/weights.ts';
import { compile } from '../../src/compile.ts';
import { createModel } from '../../src/runtime/index.ts';
import { encodeSafetensors } from '../../src/runtime/safetensors.ts';
import { firstGpuDevice } from '../support/devices.ts';
import { describeDiagnostics } from '../support/language.ts';

const text = `import { Embedding, Linear } from "sora:nn"

dim B in 1..4, T in 2..8

model Words {
  embed = Embedding(7, 6) as "wte"
  head = Linear(6, 7, bias: false) as "lm_head" tied embed.weight if missing

  entry score(ids: i32[B, T]) -> logits: f32[B, 7] {
    let h = rearrange(embed(ids), "b t (n d) -> b n t d", n: 2)
    let weights = softmax(einsum("bnid,bnjd->bnij", h, h))
    let mixed = rearrange(einsum("bnij,bnjd->bnid", weights, h), "b n t d -> b t (n d)")
    head(mean(mixed, axis: T))
  }
  entry pair = score with T = 2
}
`;

const file = { path: 'words.sora', text };
const compiled = compile({ file });
const tensor = (name: string, factor: number) => ({
  name,
  shape: [7, 6],
  data: Float32Array.from({ length: 42 }, (_, at) => Math.sin(at * factor)),
});
const embedding = tensor('wte.weight', 0.7);
const tiedFile = encodeSafetensors([embedding]);
const untiedFile = encodeSafetensors([embedding, tensor('lm_head.weight', 1.3)]);

/** The model in plain loops, in f64. */
function expected(ids: readonly number[], rows: number, head: Float32Array): readonly number[] {
  const batch = ids.length / rows;
  return Array.from({ length: batch }).flatMap((_, b) => {
    const x = (t: number, d: number): number => embedding.data[(ids[b * rows + t] ?? 0) * 6 + d] ?? 0;
    const mean = Array.from({ length: 6 }, (_unused, column) => {
      const n = Math.floor(column / 3);
      let sum = 0;
      for (let i = 0; i < rows; i++) {
        const scores = Array.from({ length: rows }, (_none, j) =>
          [0, 1, 2].reduce((dot, d) => dot + x(i, n * 3 + d) * x(j, n * 3 + d), 0),
        );
        const total = scores.reduce((all, score) => all + Math.exp(score), 0);
        for (let j = 0; j < rows; j++) sum += (Math.exp(scores[j] ?? 0) / total) * x(j, column);
      }
      return sum / rows;
    });
    return Array.from({ length: 7 }, (_unused, row) =>
      mean.reduce((dot, value, d) => dot + value * (head[row * 6 + d] ?? 0), 0),
    );
  });
}

async function load(weights: Uint8Array, adapter: 'cpu' | NonNullable<typeof firstGpuDevice>) {
  const artifact = compiled.value?.artifact;
  if (artifact === undefined) throw new Error(describeDiagnostics(compiled.diagnostics).join('\n'));
  return createModel(artifact, { weights, adapter, cpu: () => import('../../src/cpu.ts') });
}

test('the text compiles without a word', () => {
  expect(describeDiagnostics(compiled.diagnostics)).toEqual([]);
});

describe.each(['cpu' as const, ...(firstGpuDevice ? [firstGpuDevice] : [])])('on %s', (device) => {
  test.each([
    ['a checkpoint without the tied tensor', tiedFile, embedding.data],
    ['a checkpoint with a tensor of its own', untiedFile, tensor('', 1.3).data],
  ])('%s', async (_, weights, head) => {
    const model = await load(weights, device);
    try {
      const ids = [1, 4, 6, 0, 2, 2];
      const { logits } = await model.call('score', { ids: { data: Int32Array.from(ids), shape: [2, 3] } });
      expected(ids, 3, head).forEach((value, at) => {
        expect(logits?.data[at]).toBeCloseTo(value, 5);
      });
      const { logits: pair } = await model.call('pair', { ids: { data: Int32Array.from([5, 3]), shape: [1, 2] } });
      expected([5, 3], 2, head).forEach((value, at) => {
        expect(pair?.data[at]).toBeCloseTo(value, 5);
      });
    } finally {
      await model.close();
    }
  });

  test('a checkpoint with neither', async () => {
    await expect(load(encodeSafetensors([]), device)).rejects.toMatchObject({ code: 'SORA7201' });
  });

  test('a tied tensor of another shape', async () => {
    const small = encodeSafetensors([{ ...embedding, shape: [6, 7] }]);
    await expect(load(small, device)).rejects.toMatchObject({ code: 'SORA7202' });
  });
});

test('the check of a checkpoint knows ties', () => {
  const program = compiled.value?.program;
  if (program === undefined) throw new Error('no program');
  const header = { dtype: 'F32', shape: [7, 6] };
  const check = (...names: string[]) => {
    const { diagnostics, unexpected } = checkWeights(program, new Map(names.map((name) => [name, header])), file);
    return [...diagnostics.map(({ message }) => message), ...unexpected];
  };
  expect(check('wte.weight')).toEqual([]);
  expect(check('wte.weight', 'lm_head.weight')).toEqual([]);
  expect(check('lm_head.weight')).toEqual(['the checkpoint has no tensor `wte.weight`']);
});
