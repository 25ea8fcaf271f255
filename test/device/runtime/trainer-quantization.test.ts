/**
 * Quantization-aware steps on devices against the interpreter in f64, and what they are for: a loss that the formats keep.
 */
import { describe, expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import { classifierBatch, classifierSource, expectNear, referenceRun, trainable } from '../../support/training.ts';

const formats = 'quantize Classifier { "**.weight": int4(group: 8)\n "head.weight": int8 }';
const block = 'optimizer: adam(lr: 0.02)\n quantization_aware: true';
const own = trainable(`${classifierSource({ block })}\n${formats}\n`);
const weights = randomWeights(own.artifact);

describe.each(gpuDevices)('on %s', (adapter) => {
  test('loss and gradients of a step are those of the interpreter, and the loss falls', {
    timeout: 300_000,
  }, async () => {
    const { device } = await testDevice(adapter);
    const model = await createModel(own.artifact, { device, weights });
    const trainer = await model.trainer();
    const reference = await referenceRun(own, weights);
    const batch = classifierBatch(0);
    const { loss, gradients } = await trainer.gradients(batch);
    const wanted = reference.step(batch, 0.02);
    expectNear([loss], [wanted.loss], 1e-5, 'loss');
    for (const path of reference.parameters)
      expectNear(gradients[path]?.data ?? [], reference.gradient(path), 1e-4, path);
    for (let at = 0; at < 40; at++) await trainer.step(classifierBatch(at % 4));
    expect((await trainer.evaluate([batch])).loss).toBeLessThan(0.3 * loss);
    await model.close();
  });
});
