/**
 * Layers that are computed again in the backward part, on devices: the gradients of a step that keeps everything.
 */
import { describe, expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import { layeredSource } from '../../support/layered.ts';
import { expectNear, trainable } from '../../support/training.ts';

const [plain, again] = ['', 'recompute: true'].map((block) => trainable(layeredSource(block, 2)).artifact);

describe.each(gpuDevices)('a step that computes layers again on %s', (adapter) => {
  test('has the gradients of one that keeps them', async () => {
    if (!plain || !again) throw new Error('nothing is compiled');
    const { device } = await testDevice(adapter);
    const weights = randomWeights(plain);
    const [B, T] = [3, 7];
    const ints = (most: number) => ({
      data: Int32Array.from({ length: B * T }, (_, at) => (at * 7 + 3) % most),
      shape: [B, T],
    });
    const mask = { data: Int32Array.from({ length: B * T }, (_, at) => (at < 18 ? 1 : 0)), shape: [B, T] };
    const batch = { ids: ints(50), mask, label: ints(5) };
    const found = [];
    for (const artifact of [plain, again]) {
      const model = await createModel(artifact, { device, weights });
      const trainer = await model.trainer({ seed: 5 });
      found.push(await trainer.gradients(batch));
      await trainer.step(batch);
      await model.close();
    }
    const [one, two] = found;
    expect(two?.loss).toBe(one?.loss);
    for (const [name, tensor] of Object.entries(one?.gradients ?? {}))
      expectNear(two?.gradients[name]?.data ?? [], tensor.data, 1e-6, name);
  }, 300_000);
});
