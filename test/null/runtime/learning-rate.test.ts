import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { openSafetensors } from '../../../src/runtime/index.ts';
import { learningRates } from '../../../src/runtime/learning-rate.ts';

const rates = (spec: Parameters<typeof learningRates>[0], total: number | undefined, steps: readonly number[]) => {
  const rate = learningRates(spec, total);
  return steps.map((step) => Number(rate(step).toFixed(12)));
};

describe('learning rates', () => {
  test('constant needs no number of steps, unless it warms up', () => {
    expect(rates({ kind: 'constant', peak: 0.5, warmup: 0 }, undefined, [0, 1, 1e6])).toEqual([0.5, 0.5, 0.5]);
    expect(rates({ kind: 'constant', peak: 0.5, warmup: 0.5 }, 8, [0, 1, 3, 4, 7, 100])).toEqual([
      0, 0.125, 0.375, 0.5, 0.5, 0.5,
    ]);
    for (const [kind, warmup] of [
      ['constant', 0.1],
      ['linear', 0],
      ['cosine', 0],
    ] as const) {
      expect(() => learningRates({ kind, peak: 1, warmup }, undefined)).toThrow(
        expect.objectContaining({ code: 'SORA6032', help: expect.stringContaining('totalSteps') }),
      );
    }
  });

  test('linear and cosine end at the final rate and stay there', () => {
    const steps = [0, 2, 4, 6, 8, 10, 11];
    expect(rates({ kind: 'linear', peak: 1, warmup: 0.2 }, 10, steps)).toEqual([0, 1, 0.75, 0.5, 0.25, 0, 0]);
    expect(rates({ kind: 'linear', peak: 1, warmup: 0.2, final: 0.5 }, 10, steps)).toEqual([
      0, 1, 0.875, 0.75, 0.625, 0.5, 0.5,
    ]);
    const half = (1 + Math.cos(Math.PI / 4)) / 2;
    expect(rates({ kind: 'cosine', peak: 1, warmup: 0.2 }, 10, steps)).toEqual([
      0,
      1,
      Number(half.toFixed(12)),
      0.5,
      Number((1 - half).toFixed(12)),
      0,
      0,
    ]);
  });

  test('by steps the rate falls behind the warm-up, and needs no end', () => {
    const spec = { kind: 'step', peak: 1, warmup: 0, every: 3, factor: 0.5 } as const;
    expect(rates(spec, undefined, [0, 2, 3, 5, 6, 30])).toEqual([1, 1, 0.5, 0.5, 0.25, Number((2 ** -10).toFixed(12))]);
    expect(rates({ ...spec, warmup: 0.2 }, 10, [0, 1, 2, 4, 5, 8, 41])).toEqual([
      0,
      0.5,
      1,
      1,
      0.5,
      0.25,
      Number((2 ** -13).toFixed(12)),
    ]);
    // torch's factor when nothing is said.
    expect(rates({ kind: 'step', peak: 1, warmup: 0, every: 1 }, undefined, [2])).toEqual([0.01]);
    expect(() => learningRates({ ...spec, warmup: 0.5 }, undefined)).toThrow(
      expect.objectContaining({ code: 'SORA6032', message: expect.stringContaining('a warm-up') }),
    );
  });

  test('a run that is all warm-up never divides by 0', () => {
    expect(rates({ kind: 'linear', peak: 1, warmup: 1 }, 4, [0, 1, 3, 4])).toEqual([0, 0.25, 0.75, 1]);
    expect(rates({ kind: 'cosine', peak: 1, warmup: 0 }, 1, [0, 1])).toEqual([1, 0]);
  });

  const recorded = fileURLToPath(
    new URL('../../../../shared/golden/train-gpt2-adamw/outputs.safetensors', import.meta.url),
  );

  test.skipIf(!existsSync(recorded))('are those of a recorded run of transformers', async () => {
    const file = await openSafetensors(recorded);
    const wanted = await file.readTensor('lr', 'f32');
    await file.close();
    const rate = learningRates({ kind: 'cosine', peak: 2e-3, warmup: 10 / 60 }, 60);
    expect(wanted.length).toBe(60);
    wanted.forEach((lr, step) => {
      expect(Math.fround(rate(step)), `step ${step}`).toBeCloseTo(lr, 9);
    });
  });
});
