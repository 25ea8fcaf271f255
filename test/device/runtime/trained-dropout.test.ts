/**
 * Training with dropout on devices: the losses of the interpreter, which drops the same elements, for every step and seed.
 */
import { describe, expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { gpuDevices } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  referenceRun,
  trainable,
  writerBatch,
  writerSource,
} from '../../support/training.ts';

/** Behind a product, and in the weights of an attention over a cache. */
const sources = {
  classifier: classifierSource().replace('head(gelu(up(x)) * gate(x))', 'head(dropout(gelu(up(x)) * gate(x), 0.3))'),
  writer: writerSource.replace('cache: kv }', 'cache: kv, dropout: 0.25 }'),
};
const limit = 300_000;

describe.each(gpuDevices)('%s', (adapter) => {
  test.each(['classifier', 'writer'] as const)(
    'a %s that drops follows the interpreter',
    async (name) => {
      const own = trainable(sources[name]);
      const start = randomWeights(own.artifact);
      const batch = name === 'classifier' ? classifierBatch : writerBatch;
      const lr = own.artifact.training?.schedule.peak ?? 0;
      const reference = await referenceRun(own, start);
      const model = await createModel(own.artifact, { adapter, weights: start });
      const trainer = await model.trainer();
      const losses: number[] = [];
      for (let at = 0; at < 5; at++) {
        const expected = reference.step(batch(1), lr);
        const { loss, gradNorm } = await trainer.step(batch(1));
        // f32 against f64; one element that only one of them drops shows at once.
        expectNear([loss], [expected.loss], 1e-4, `loss ${at}`);
        expectNear([gradNorm], [expected.norm], 1e-4, `norm ${at}`);
        losses.push(loss);
      }
      const again = await model.trainer();
      for (const loss of losses) expect((await again.step(batch(1))).loss).toBe(loss);
      const other = await model.trainer({ seed: 77 });
      expect((await other.step(batch(1))).loss).not.toBe(losses[0]);
      // Nothing is dropped when the model is only looked at.
      const fresh = await model.trainer();
      const first = await fresh.evaluate([batch(1)]);
      expect(await fresh.evaluate([batch(1)])).toEqual(first);
      await model.close();
    },
    limit,
  );
});
