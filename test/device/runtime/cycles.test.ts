/**
 * Texts that are begun and given up, again and again: no buffer stays, and the process does not grow.
 *
 * `SORAC_CYCLES=1000 npx vitest run test/device/runtime/cycles.test.ts` is the long run.
 */
import { describe, expect, test } from 'vitest';
import { createModel, type Model } from '../../../src/runtime/index.ts';
import { firstGpuDevice, testDevice } from '../../support/devices.ts';
import { decoderArtifact, randomWeights } from '../../support/generator.ts';
import { collectGarbage, MiB, memory } from '../../support/memory.ts';

const cycles = Number(process.env.SORAC_CYCLES ?? 100);
const artifact = decoderArtifact();
const weights = randomWeights(artifact);

/** One text: given up by the signal, by leaving the loop or by closing under it, in turns. */
async function giveUp(model: Model, at: number): Promise<void> {
  const session = model.session();
  const abort = new AbortController();
  const running = session.generate([7, 3, 99, 14 + (at % 50)], {
    maxTokens: 20,
    temperature: 1,
    seed: at,
    signal: abort.signal,
  });
  const way = at % 3;
  try {
    for await (const { step } of running) {
      if (step < 2) continue;
      if (way === 1) break;
      if (way === 0) abort.abort();
      else await session.close();
    }
  } catch (error) {
    if (way !== 2) throw error;
    expect(error).toMatchObject({ code: 'SORA6002' });
  }
  await session.close();
}

interface Growth {
  readonly marks: readonly string[];
  /** Bytes by which the second half of the cycles made the process grow. */
  readonly late: number;
}

async function grow(cycle: (at: number) => Promise<void>): Promise<Growth> {
  const marks: string[] = [];
  let half = 0;
  let end = 0;
  for (let at = 1; at <= cycles; at++) {
    await cycle(at);
    const isMark = at * 10 === cycles || at * 2 === cycles || at === cycles;
    if (!isMark) continue;
    collectGarbage();
    end = memory();
    if (at * 2 === cycles) half = end;
    marks.push(`after ${at}: ${(end / MiB).toFixed(1)} MiB`);
  }
  return { marks, late: end - half };
}

const isMeasurable = firstGpuDevice !== undefined && process.platform === 'linux';

describe.skipIf(!isMeasurable)(`${cycles} cycles`, () => {
  const device = firstGpuDevice ?? 'lavapipe';
  const limit = 600_000;

  test(
    'of sessions on one model leave its own buffers',
    async () => {
      const { device: opened } = await testDevice(device);
      const model = await createModel(artifact, { weights, device: opened });
      // Until all kinds of reading back have been met: some draws need all logits.
      for (let at = 0; at < 12; at++) await giveUp(model, at);
      const { buffers, bytes } = model.stats();
      const { marks, late } = await grow(async (at) => {
        await giveUp(model, at);
        expect(model.stats()).toMatchObject({ buffers, bytes });
      });
      await model.close();
      expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
      console.log(`sessions: ${marks.join(', ')}`);
      expect(late / MiB).toBeLessThan(10);
    },
    limit,
  );

  test(
    'of models on one device leave nothing',
    async () => {
      const { device: opened } = await testDevice(device);
      const { marks, late } = await grow(async (at) => {
        const model = await createModel(artifact, { weights, device: opened });
        await giveUp(model, at);
        await model.close();
        expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
      });
      console.log(`models: ${marks.join(', ')}`);
      expect(late / MiB).toBeLessThan(10);
    },
    limit,
  );
});
