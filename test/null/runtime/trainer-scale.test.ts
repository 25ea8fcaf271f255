import { describe, expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { isScale, makeLossScale } from '../../../src/runtime/trainer-scale.ts';
import { randomWeights } from '../../support/generator.ts';
import { classifierBatch, classifierSource, expectNear, tensorsOf, trainable } from '../../support/training.ts';

describe('the scale of the loss', () => {
  test('doubles after 2000 good steps, halves at once, and stays between 2^-16 and 2^24', () => {
    const scale = makeLossScale();
    expect(scale.state).toEqual({ value: 65536, steps: 0 });
    for (let at = 0; at < 1999; at++) scale.grow();
    expect(scale.state).toEqual({ value: 65536, steps: 1999 });
    scale.grow();
    expect(scale.state).toEqual({ value: 131072, steps: 0 });
    scale.grow();
    expect(scale.shrink()).toBe(true);
    expect(scale.state).toEqual({ value: 65536, steps: 0 });
    for (let at = 0; at < 32; at++) expect(scale.shrink()).toBe(true);
    expect([scale.shrink(), scale.state.value]).toEqual([false, 2 ** -16]);
    scale.restore({ value: 2 ** 24, steps: 1999 });
    scale.grow();
    expect(scale.state.value).toBe(2 ** 24);
  });

  test('of a checkpoint is a power of two', () => {
    expect(isScale({ value: 8, steps: 3 })).toBe(true);
    for (const state of [
      undefined,
      8,
      null,
      {},
      { value: 3, steps: 0 },
      { value: 8, steps: -1 },
      { value: 2 ** -17, steps: 0 },
    ])
      expect(isScale(state)).toBe(false);
  });

  test('leaves the steps of the interpreter as they are, and its runs go on', async () => {
    const [plain, half] = ['', '\nprecision: f16'].map((line) =>
      trainable(classifierSource({ block: `optimizer: sgd(lr: 0.1)${line}` })),
    );
    if (!plain || !half) throw new Error('nothing is compiled');
    const weights = randomWeights(plain.artifact);
    const options = { adapter: 'cpu', cpu: () => import('../../../src/cpu.ts'), weights } as const;
    const [one, two] = [await createModel(plain.artifact, options), await createModel(half.artifact, options)];
    const [first, second] = [await one.trainer(), await two.trainer()];
    for (let at = 0; at < 3; at++) {
      const wanted = await first.step(classifierBatch(at));
      const step = await second.step(classifierBatch(at));
      expect(step).toMatchObject({ loss: expect.closeTo(wanted.loss, 6), lossScale: 65536 });
      expect(wanted).not.toHaveProperty('lossScale');
      expectNear([step.gradNorm], [wanted.gradNorm], 1e-5, 'norm');
    }
    const trained = await tensorsOf(await second.trained());
    for (const [path, data] of await tensorsOf(await first.trained()))
      expectNear(trained.get(path) ?? [], data, 1e-5, path);
    await expect(second.restore(await first.checkpoint())).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6034', message: expect.stringMatching(/a run that was not in f16$/) }),
    );
    const resumed = await two.trainer();
    await resumed.restore(await second.checkpoint());
    expect(await resumed.checkpoint()).toEqual(await second.checkpoint());
    await one.close();
    await two.close();
  });
});
