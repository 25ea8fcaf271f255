/**
 * Training with `prune` rules: what goes at the start and step by step stays 0, and a run that was stopped ends in the same bits.
 */
import { describe, expect, test } from 'vitest';
import { createModel, type TrainableModel, type Trainer } from '../../../src/runtime/index.ts';
import { magnitudeMask, nmMask } from '../../../src/runtime/masks.ts';
import { gpuDevices } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import { classifierBatch, classifierSource, tensorsOf, trainable } from '../../support/training.ts';

const source = classifierSource({
  block: 'optimizer: adamw(lr: linear(peak: 0.02), weight_decay: 0.1)\nfreeze: "word.**"',
});
const rules = `prune Classifier {
  "up.weight": gradual(keep: 0.25, from: 0.25, to: 0.75)
  "gate.weight": nm(2, 4)
  "head.weight": keep 0.5
}`;
const sparse = trainable(`${source}\n${rules}`);
const weights = randomWeights(sparse.artifact);
const [steps, limit] = [12, 300_000];

const zeros = (data: ArrayLike<number> = []) => Array.from(data).filter((value) => value === 0).length;

async function trainedBy(trainer: Trainer) {
  return tensorsOf(await trainer.trained());
}

/** A run that goes on with the checkpoint of step 6 ends as `whole` did. */
async function expectResumed(model: TrainableModel, kept: Uint8Array | undefined, whole: Trainer): Promise<void> {
  const resumed = await model.trainer({ totalSteps: steps });
  await resumed.restore(kept ?? new Uint8Array());
  for (let at = 6; at < steps; at++) await resumed.step(classifierBatch(at));
  expect(await resumed.checkpoint()).toEqual(await whole.checkpoint());
}

const opened = (adapter: (typeof gpuDevices)[number] | 'cpu') =>
  createModel(sparse.artifact, { weights, adapter, cpu: () => import('../../../src/cpu.ts'), warn: () => {} });

describe.each([...gpuDevices, 'cpu'] as const)('on %s', (adapter) => {
  test(
    'weights go when they should, stay away, and a resumed run is the same',
    async () => {
      const start = await tensorsOf(weights);
      const model = await opened(adapter);
      const trainer = await model.trainer({ totalSteps: steps });
      const counts: number[] = [];
      let kept: Uint8Array | undefined;
      for (let at = 0; at < steps; at++) {
        await trainer.step(classifierBatch(at));
        counts.push(zeros((await trainedBy(trainer)).get('up.weight')));
        if (at === 5) kept = await trainer.checkpoint();
      }
      const size = 24 * 40;
      expect(counts.slice(0, 3)).toEqual([0, 0, 0]);
      expect(counts).toEqual([...counts].sort((a, b) => a - b));
      expect(new Set(counts).size).toBeGreaterThan(4);
      expect(counts.slice(9)).toEqual([720, 720, 720]);
      expect(size * 0.75).toBe(720);
      const end = await trainedBy(trainer);
      // What went at the start is decided by the weights of the start.
      const gate = nmMask(start.get('gate.weight') ?? new Float32Array(), [40, 24], 1, { keep: 2, of: 4 });
      const head = magnitudeMask(start.get('head.weight') ?? new Float32Array(), 0.5);
      for (const [path, mask] of [
        ['gate.weight', gate],
        ['head.weight', head],
      ] as const)
        expect(
          [...(end.get(path) ?? [])].map((value) => (value === 0 ? 0 : 1)),
          path,
        ).toEqual([...mask]);
      await expectResumed(model, kept, trainer);
      await model.close();
    },
    limit,
  );
});

describe.each([...gpuDevices, 'cpu'] as const)('by movement on %s', (adapter) => {
  const rule = 'prune Classifier { "up.weight": gradual(keep: 0.5, from: 0.25, to: 0.75) by movement }';
  const moving = trainable(
    `${classifierSource({ block: 'optimizer: sgd(0.5)\nema: 0.9\nfreeze: "word.**"' })}\n${rule}`,
  );
  const path = 'up.weight';

  test(
    'those go that steps have moved towards 0 most; a checkpoint holds how far',
    async () => {
      const given = { weights, adapter, cpu: () => import('../../../src/cpu.ts'), warn: () => {} };
      const model = await createModel(moving.artifact, given);
      const trainer = await model.trainer({ totalSteps: steps });
      const own = async () => (await trainedBy(trainer)).get(path) ?? new Float32Array();
      let before = await own();
      const moved = new Float64Array(before.length);
      let kept: Uint8Array | undefined;
      for (let at = 0; at < steps; at++) {
        // A bite goes by what the steps before it have done.
        const known = moved.slice();
        const { gradients } = await trainer.gradients(classifierBatch(at));
        await trainer.step(classifierBatch(at));
        const after = await own();
        const gone = Array.from(known.keys()).filter((i) => before[i] !== 0 && after[i] === 0);
        const left = Array.from(known.keys()).filter((i) => after[i] !== 0);
        if (gone.length > 0) {
          const [most, least] = [
            Math.max(...gone.map((i) => known[i] ?? 0)),
            Math.min(...left.map((i) => known[i] ?? 0)),
          ];
          // Sums of products in f32: those that are as good as equal may go in either order.
          expect(most - least, `step ${at}: ${gone.length} go`).toBeLessThanOrEqual(1e-6);
        }
        // The gradient of a step with a bite is that of what was left, which is not known here: none of them is summed up.
        const gradient = gone.length > 0 ? undefined : gradients[path]?.data;
        if (gradient === undefined) {
          const checkpoint = await tensorsOf(await trainer.checkpoint());
          moved.set(checkpoint.get(`movement:${path}`) ?? []);
        } else {
          for (let i = 0; i < moved.length; i++) moved[i] = (moved[i] ?? 0) - (gradient[i] ?? 0) * (before[i] ?? 0);
          const told = (await tensorsOf(await trainer.checkpoint())).get(`movement:${path}`) ?? [];
          const apart = Math.max(...Array.from(told, (value, i) => Math.abs(value - (moved[i] ?? 0))));
          expect(apart, `movement behind step ${at}`).toBeLessThanOrEqual(1e-6);
        }
        before = after;
        if (at === 5) kept = await trainer.checkpoint();
      }
      expect(zeros(before)).toBe(before.length / 2);
      // By size others would have stayed.
      const start = (await tensorsOf(weights)).get(path) ?? new Float32Array();
      expect([...before].map((value) => (value === 0 ? 0 : 1))).not.toEqual([...magnitudeMask(start, 0.5)]);
      await expectResumed(model, kept, trainer);
      await model.close();
    },
    limit,
  );
});

test('a gradual rule needs to know how long the run is', async () => {
  const model = await opened('cpu');
  const trainer = await model.trainer({ schedule: { kind: 'constant' } });
  await expect(trainer.step(classifierBatch(0))).rejects.toMatchObject({ code: 'SORA6032' });
  await model.close();
});
