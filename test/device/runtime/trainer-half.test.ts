/**
 * Steps in f16 on devices: gradients near those of f32, a scale of the loss that gives way where an f16 is too small for them and
 * keeps what is small, and runs that go on bit for bit.
 */
import { describe, expect, test } from 'vitest';
import { createModel, type TrainableModel } from '../../../src/runtime/index.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import { layeredSource } from '../../support/layered.ts';
import { expectNear, trainable } from '../../support/training.ts';

const source = (block: string, factor = ''): string =>
  layeredSource(block, 1)
    .replace('T in 1..64', 'T in 4..64 multiple of 4')
    .replace('(logits, label)', `(logits, label)${factor}`);
const plain = trainable(source('')).artifact;
const half = trainable(source('precision: f16')).artifact;
const large = trainable(source('precision: f16', ' * 100000')).artifact;
const small = trainable(source('precision: f16', ' * 0.000001')).artifact;
const weights = randomWeights(plain);

const [B, T] = [3, 8];
const ints = (most: number, seed: number) => ({
  data: Int32Array.from({ length: B * T }, (_, at) => (at * 7 + seed * 5 + 3) % most),
  shape: [B, T],
});
const batch = (seed: number) => ({ ids: ints(50, seed), label: ints(5, seed) });

/** Rounding to 11 bits in some forty kernels, one after the other. */
const tolerance = 2e-2;

describe.each(gpuDevices)('steps in f16 on %s', (adapter) => {
  const using = async (artifact: typeof plain, work: (model: TrainableModel) => Promise<void>): Promise<void> => {
    const { device } = await testDevice(adapter);
    const model = await createModel(artifact, { device, weights });
    await work(model);
    await model.close();
  };

  test('have the gradients of f32, nearly; a loss of a millionth too', async () => {
    let expected: Readonly<Record<string, { readonly data: ArrayLike<number> } | undefined>> = {};
    const norms: number[] = [];
    await using(plain, async (model) => {
      const trainer = await model.trainer();
      expected = (await trainer.gradients(batch(1))).gradients;
      for (let at = 0; at < 4; at++) norms.push((await trainer.step(batch(at))).gradNorm);
    });
    for (const [artifact, factor] of [
      [half, 1],
      [small, 1e-6],
    ] as const) {
      await using(artifact, async (model) => {
        const { gradients } = await (await model.trainer()).gradients(batch(1));
        for (const [name, wanted] of Object.entries(expected)) {
          const own = Float64Array.from(gradients[name]?.data ?? [], (value) => value / factor);
          expectNear(own, wanted?.data ?? [], tolerance, name);
        }
        if (artifact !== half) return;
        expect(gradients['encoder.layer.0.up.weight']?.data).not.toEqual(expected['encoder.layer.0.up.weight']?.data);
        const trainer = await model.trainer();
        for (const [at, norm] of norms.entries()) {
          const step = await trainer.step(batch(at));
          expect(step.lossScale).toBeLessThanOrEqual(65536);
          expect(step.lossScale).toBeGreaterThanOrEqual(1024);
          // Steps of Adam carry differences on.
          expectNear([step.gradNorm], [norm], (1 + at) * tolerance, `norm ${at}`);
        }
      });
    }
  }, 300_000);

  test(
    'halve the scale until the gradients fit, and go on with it bit for bit',
    () =>
      using(large, async (model) => {
        const trainer = await model.trainer();
        const one = await trainer.step(batch(1));
        // Gradients of a hundred thousand are too large as they are.
        expect(one.lossScale).toBeLessThan(1);
        expect(Number.isFinite(one.gradNorm)).toBe(true);
        const resumed = await model.trainer();
        await resumed.restore(await trainer.checkpoint());
        const steps = [await trainer.step([batch(2), batch(3)]), await resumed.step([batch(2), batch(3)])];
        expect(steps[1]).toEqual(steps[0]);
        expect(await resumed.checkpoint()).toEqual(await trainer.checkpoint());
        const { gradients } = await trainer.gradients(batch(4));
        for (const tensor of Object.values(gradients)) expect(tensor?.data.every(Number.isFinite)).toBe(true);
      }),
    300_000,
  );
});
