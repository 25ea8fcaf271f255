/**
 * The moving average of weights beside the interpreter: what it is, who uses it, and that runs go on with it.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { createModel, type TrainableModel, type Trainer } from '../../../src/runtime/index.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  referenceRun,
  tensorsOf,
  trainable,
} from '../../support/training.ts';

const averaged = trainable(classifierSource({ block: 'optimizer: adamw(lr: 0.05)\nema: 0.75\nfreeze: "word.**"' }));
const weights = randomWeights(averaged.artifact);
const models: TrainableModel[] = [];
afterAll(() => Promise.all(models.map((model) => model.close())));

async function open(own = averaged.artifact): Promise<TrainableModel> {
  const model = await createModel(own, { adapter: 'cpu', cpu: () => import('../../../src/cpu.ts'), weights });
  models.push(model);
  return model;
}

async function steps(trainer: Trainer, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at++) await trainer.step(classifierBatch(at, 3, 5));
}

const coded = (code: string, message: RegExp) =>
  expect.objectContaining({ name: 'SoraError', code, message: expect.stringMatching(message) });

describe('the average of weights', () => {
  test('begins with them, takes the first step whole and then shares', async () => {
    const trainer = await (await open()).trainer();
    expect(await trainer.weights({ ema: true })).toEqual(await trainer.weights());
    await steps(trainer, 0, 1);
    expect(await trainer.trained({ ema: true })).toEqual(await trainer.trained());
    const reference = await referenceRun(averaged, weights);
    reference.step(classifierBatch(0, 3, 5), 0.05);
    for (let at = 1; at < 5; at++) {
      await steps(trainer, at, at + 1);
      reference.step(classifierBatch(at, 3, 5), 0.05);
    }
    const [own, average] = [
      await tensorsOf(await trainer.trained()),
      await tensorsOf(await trainer.trained({ ema: true })),
    ];
    for (const [path, data] of average) {
      expectNear(data, reference.average(path), 1e-4, path);
      expect(data).not.toEqual(own.get(path));
    }
  });

  test('is evaluated, written and applied where it is asked for', async () => {
    const model = await open();
    const trainer = await model.trainer();
    await steps(trainer, 0, 4);
    const batch = classifierBatch(9, 3, 5);
    const { label: _, ...inputs } = batch;
    const scores: ArrayLike<number>[] = [];
    const losses: number[] = [];
    for (const ema of [true, false]) {
      const { loss } = await trainer.evaluate([batch], {
        ema,
        onBatch: ({ logits }) => scores.push(logits?.data ?? []),
      });
      losses.push(loss);
    }
    expect(losses[0]).not.toBe(losses[1]);
    await trainer.apply({ ema: true });
    expectNear((await model.call('classify', inputs)).logits?.data ?? [], scores[0] ?? [], 1e-5, 'the average');
    await trainer.apply();
    expectNear((await model.call('classify', inputs)).logits?.data ?? [], scores[1] ?? [], 1e-5, 'the weights');
    const other = await createModel(averaged.artifact, {
      adapter: 'cpu',
      cpu: () => import('../../../src/cpu.ts'),
      weights: await trainer.weights({ ema: true }),
    });
    models.push(other);
    expectNear((await other.call('classify', inputs)).logits?.data ?? [], scores[0] ?? [], 1e-5, 'from a file');
  });

  test('goes on with a checkpoint bit for bit', async () => {
    const model = await open();
    const [through, resumed] = [await model.trainer(), await model.trainer()];
    await steps(through, 0, 3);
    await resumed.restore(await through.checkpoint());
    await steps(through, 3, 5);
    await steps(resumed, 3, 5);
    expect(await resumed.checkpoint()).toEqual(await through.checkpoint());
    expect([...(await tensorsOf(await resumed.checkpoint())).keys()]).toContain('average:head.bias');
  });

  test('is refused where none is kept, and by values that are neither true nor false', async () => {
    const plain = trainable(classifierSource({ block: 'optimizer: sgd(0.1)' }));
    const trainer = await (await open(plain.artifact)).trainer();
    const none = coded('SORA6032', /^`Classifier` keeps no average of its weights$/);
    await expect(trainer.weights({ ema: true })).rejects.toEqual(none);
    await expect(trainer.trained({ ema: true })).rejects.toEqual(none);
    await expect(trainer.apply({ ema: true })).rejects.toEqual(none);
    await expect(trainer.evaluate([classifierBatch(1)], { ema: true })).rejects.toEqual(none);
    await expect(trainer.weights({ ema: 0.9 as never })).rejects.toEqual(coded('SORA6032', /^`ema` of `weights`/));
    await trainer.weights({ ema: false });
    const old = await trainer.checkpoint();
    const other = await (await open()).trainer();
    await expect(other.restore(old)).rejects.toEqual(coded('SORA6034', /./));
  });
});
