/**
 * The moving average of weights on devices: the numbers of f64, in the dispatches of a step without it.
 */
import { describe, expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  referenceRun,
  tensorsOf,
  trainable,
} from '../../support/training.ts';

const block = 'optimizer: adamw(lr: 0.02)\nfreeze: "word.**"\nclip_norm: 1';
const averaged = trainable(classifierSource({ block: `${block}\nema: 0.75` }));
const weights = randomWeights(averaged.artifact);
const limit = 300_000;

test('the average is written by the kernel that updates', () => {
  const plain = trainable(classifierSource({ block }));
  const update = ({ artifact }: typeof plain) =>
    artifact.entries.find(({ name }) => name === artifact.training?.update)?.plans.software.steps.length;
  expect(update(averaged)).toBe(update(plain));
});

describe.each(gpuDevices)('the average of weights on %s', (adapter) => {
  test(
    'follows f64, is evaluated and applied, and goes on bit for bit',
    async () => {
      const { device } = await testDevice(adapter);
      const model = await createModel(averaged.artifact, { device, weights });
      const batch = classifierBatch(9, 3, 5);
      const { label: _, ...inputs } = batch;
      await model.call('classify', inputs);
      const idle = model.stats();
      const trainer = await model.trainer();
      const reference = await referenceRun(averaged, weights);
      for (let at = 0; at < 5; at++) {
        await trainer.step(classifierBatch(at, 3, 5));
        reference.step(classifierBatch(at, 3, 5), 0.02);
      }
      // As the weights themselves: Adam divides small gradients by their own size.
      for (const [path, data] of await tensorsOf(await trainer.trained({ ema: true })))
        expectNear(data, reference.average(path), 2e-3, path);
      const resumed = await model.trainer();
      await resumed.restore(await trainer.checkpoint());
      for (const own of [trainer, resumed]) await own.step(batch);
      expect(await resumed.checkpoint()).toEqual(await trainer.checkpoint());
      // One after the other and back: bind groups of the one must not serve the other.
      for (const ema of [true, false, true]) {
        let scores: ArrayLike<number> = [];
        await trainer.evaluate([batch], { ema, onBatch: ({ logits }) => (scores = logits?.data ?? []) });
        await trainer.apply({ ema });
        expectNear((await model.call('classify', inputs)).logits?.data ?? [], scores, 1e-5, `ema: ${ema}`);
      }
      await trainer.close();
      await resumed.close();
      expect(model.stats()).toMatchObject({ buffers: idle.buffers, bytes: idle.bytes });
      await model.close();
    },
    limit,
  );
});
