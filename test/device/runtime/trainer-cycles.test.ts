/**
 * A thousand steps, and trainers made and closed again and again: no buffer stays, and the process does not grow.
 */
import { describe, expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { firstGpuDevice, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import { collectGarbage, MiB, memory } from '../../support/memory.ts';
import { classifierBatch, classifierSource, trainable } from '../../support/training.ts';

const { artifact } = trainable(classifierSource());
const weights = randomWeights(artifact);
const isMeasurable = firstGpuDevice !== undefined && process.platform === 'linux';

describe.skipIf(!isMeasurable)('nothing is left', () => {
  const adapter = firstGpuDevice ?? 'lavapipe';

  test('of a thousand steps of all sizes', async () => {
    const { device } = await testDevice(adapter);
    const model = await createModel(artifact, { device, weights });
    const { buffers, bytes } = model.stats();
    const trainer = await model.trainer();
    const marks: number[] = [];
    let held = model.stats();
    for (let at = 1; at <= 1000; at++) {
      const batch = classifierBatch(at, 1 + (at % 16), 1 + ((at * 7) % 32));
      if (at % 50 === 0) await trainer.step([batch, batch]);
      else await trainer.step(batch);
      if (at % 100 === 0) await trainer.evaluate([batch]);
      if (at !== 500 && at !== 1000) continue;
      collectGarbage();
      marks.push(memory());
      if (at === 500) held = model.stats();
    }
    expect(model.stats()).toMatchObject({ buffers: held.buffers, bytes: held.bytes, pipelines: held.pipelines });
    await trainer.close();
    expect(model.stats()).toMatchObject({ buffers, bytes });
    await model.close();
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
    const [half = 0, end = 0] = marks;
    console.log(`steps: ${marks.map((mark) => `${(mark / MiB).toFixed(1)} MiB`).join(', ')}`);
    expect((end - half) / MiB).toBeLessThan(10);
  }, 300_000);

  test('of trainers that are made, saved, applied and given up', async () => {
    const { device } = await testDevice(adapter);
    const model = await createModel(artifact, { device, weights });
    const { buffers, bytes } = model.stats();
    const cycle = async (at: number): Promise<void> => {
      const trainer = await model.trainer({ seed: at });
      await trainer.step(classifierBatch(at));
      if (at % 3 === 0) await trainer.restore(await trainer.checkpoint());
      if (at % 3 === 1) await trainer.apply();
      const running = trainer.step(classifierBatch(at + 1)).catch(() => undefined);
      await trainer.close();
      await running;
      expect(model.stats()).toMatchObject({ buffers, bytes });
    };
    for (let at = 0; at < 30; at++) await cycle(at);
    collectGarbage();
    const before = memory();
    for (let at = 0; at < 60; at++) await cycle(at);
    collectGarbage();
    const grown = (memory() - before) / MiB;
    await model.close();
    console.log(`trainers: ${grown.toFixed(1)} MiB`);
    expect(grown).toBeLessThan(10);
  }, 300_000);
});
