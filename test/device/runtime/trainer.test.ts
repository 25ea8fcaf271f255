/**
 * Trainers on devices: the numbers of the interpreter, the same bits again, and nothing left.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { emitModule } from '../../../src/codegen/module/index.ts';
import {
  createModel,
  encodeSafetensors,
  type LoadOptions,
  type ModelStats,
  type TrainableModel,
  type Trainer,
  type TrainerOptions,
} from '../../../src/runtime/index.ts';
import { firstGpuDevice, gpuDevices, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  referenceRun,
  type Trainable,
  tensorsOf,
  together,
  trainable,
  writerBatch,
  writerSource,
} from '../../support/training.ts';
import { withoutImmediates } from '../../support/without-immediates.ts';

const classifier = trainable(classifierSource());
const { artifact } = classifier;
const weights = randomWeights(artifact);

const coded = (code: string) => expect.objectContaining({ name: 'SoraError', code });

async function steps(trainer: Trainer, from: number, to: number): Promise<number[]> {
  const losses: number[] = [];
  for (let at = from; at < to; at++)
    losses.push((await trainer.step(classifierBatch(at, 3 + (at % 4), 5 + (at % 3)))).loss);
  return losses;
}

/** Steps of the same batches on a trainer and in f64. */
async function follow(trainer: Trainer, own: Trainable, start: Uint8Array): Promise<void> {
  const reference = await referenceRun(own, start);
  const lr = own.artifact.training?.schedule.peak ?? 0;
  for (let at = 0; at < 8; at++) {
    const batch = classifierBatch(at, 1 + (at % 5), 1 + ((at * 3) % 11));
    const expected = reference.step(batch, lr);
    const given = await trainer.step(batch);
    expect(given.step).toBe(at + 1);
    expect(given.lr).toBe(lr);
    // f32 against f64 over eight updates.
    expectNear([given.loss], [expected.loss], 1e-4, `loss ${at}`);
    expectNear([given.gradNorm], [expected.norm], 1e-4, `norm ${at}`);
  }
  const trained = await tensorsOf(await trainer.trained());
  expect([...trained.keys()]).toEqual([...reference.parameters].sort());
  // Adam divides small gradients by their own size, so rounding shows in the weights.
  for (const [path, data] of trained) expectNear(data, reference.weight(path), 2e-3, path);
}

const limit = 300_000;

describe.each(gpuDevices)('a trainer on %s', (adapter) => {
  let device: GPUDevice;
  let model: TrainableModel;
  let idle: ModelStats;
  beforeAll(async () => {
    device = (await testDevice(adapter)).device;
    model = await createModel(artifact, { device, weights });
    idle = model.stats();
  }, limit);
  afterAll(async () => {
    await model?.close();
    expect(model?.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });
  /** A model's pipelines take SwiftShader long, so the trainers share one. */
  const using = async (
    work: (make: (options?: TrainerOptions) => Promise<Trainer>) => Promise<void>,
  ): Promise<void> => {
    const made: Trainer[] = [];
    await work(async (options) => {
      const trainer = await model.trainer(options);
      made.push(trainer);
      return trainer;
    });
    for (const trainer of made) await trainer.close();
    expect(model.stats()).toMatchObject({ buffers: idle.buffers, bytes: idle.bytes });
  };

  test('follows the interpreter', () => using(async (make) => follow(await make(), classifier, weights)), limit);

  test('takes two micro-batches as it takes their rows in one', () =>
    using(async (make) => {
      const [one, two] = [await make(), await make()];
      for (let at = 0; at < 4; at++) {
        const [first, second] = [classifierBatch(2 * at, 4, 6), classifierBatch(2 * at + 1, 4, 6)];
        const whole = await one.step(together(first, second));
        const parts = await two.step([first, second]);
        expectNear([parts.loss], [whole.loss], 1e-5, 'loss');
        expectNear([parts.gradNorm], [whole.gradNorm], 1e-4, 'norm');
      }
      const [a, b] = [await tensorsOf(await one.trained()), await tensorsOf(await two.trained())];
      for (const [path, data] of a) expectNear(b.get(path) ?? [], data, 2e-3, path);
      // What an earlier step summed must not show in one of a single batch.
      const [plain, after] = [await one.step(classifierBatch(40)), await two.step(classifierBatch(40))];
      expectNear([after.loss, after.gradNorm], [plain.loss, plain.gradNorm], 1e-3, 'a single batch');
    }));

  test('goes on with a checkpoint bit for bit, and twice the same way', () =>
    using(async (make) => {
      const options: TrainerOptions = { totalSteps: 12, schedule: { kind: 'cosine', warmup: 0.25 } };
      const through = await make(options);
      const losses = await steps(through, 0, 5);
      const half = await through.checkpoint({ metadata: { epoch: '1' } });
      losses.push(...(await steps(through, 5, 12)));

      const resumed = await make();
      await resumed.step(classifierBatch(77));
      expect(await resumed.restore(half)).toEqual({ steps: 5, metadata: { epoch: '1' } });
      expect(resumed.steps).toBe(5);
      expect(resumed.totalSteps).toBe(12);
      expect(await steps(resumed, 5, 12)).toEqual(losses.slice(5));
      expect(await resumed.checkpoint()).toEqual(await through.checkpoint());

      const again = await make(options);
      expect(await steps(again, 0, 12)).toEqual(losses);
      expect(await again.weights()).toEqual(await through.weights());
    }));

  test('takes a step in one submit', () =>
    using(async (make) => {
      const trainer = await make();
      await trainer.step(classifierBatch(1));
      const submit = vi.spyOn(device.queue, 'submit');
      const before = model.stats();
      for (let at = 0; at < 5; at++) await trainer.step(classifierBatch(at));
      expect(submit).toHaveBeenCalledTimes(5);
      await trainer.step([classifierBatch(1), classifierBatch(2), classifierBatch(3)]);
      // A micro-batch each, and the update.
      expect(submit).toHaveBeenCalledTimes(9);
      submit.mockRestore();
      const after = model.stats();
      expect(after.pipelines).toBe(before.pipelines);
      expect(after.calls).toBe(before.calls + 6);
    }));

  test('evaluates without a step, by rows', () =>
    using(async (make) => {
      const trainer = await make();
      const batches = [classifierBatch(1, 2), classifierBatch(2, 7), classifierBatch(3, 1)];
      const seen: number[][] = [];
      const evaluation = await trainer.evaluate(batches, {
        onBatch: ({ logits }, batch) => seen.push([...(logits?.shape ?? []), batch.label?.shape[0] ?? 0]),
      });
      expect(seen).toEqual([
        [2, 5, 2],
        [7, 5, 7],
        [1, 5, 1],
      ]);
      let sum = 0;
      for (const batch of batches) sum += (await trainer.evaluate([batch])).loss * (batch.label?.shape[0] ?? 0);
      expect(evaluation).toMatchObject({ batches: 3, rows: 10 });
      expectNear([evaluation.loss], [sum / 10], 1e-6, 'mean loss');
      // The loss of a step is that before its update.
      const [, batch = {}] = batches;
      const before = await trainer.evaluate([batch]);
      expectNear([(await trainer.step(batch)).loss], [before.loss], 1e-5, 'loss before');
      expect((await trainer.evaluate([batch])).loss).toBeLessThan(before.loss);
    }));

  test(
    'brings its weights into the model and into a file',
    async () => {
      const own = await createModel(artifact, { device, weights });
      const trainer = await own.trainer();
      const { label: _, ...inputs } = classifierBatch(3);
      const before = await own.call('classify', inputs);
      await steps(trainer, 0, 6);
      expect(await own.call('classify', inputs)).toEqual(before);
      let evaluated: ArrayLike<number> = [];
      await trainer.evaluate([classifierBatch(3)], {
        onBatch({ logits }) {
          evaluated = logits?.data ?? [];
        },
      });
      await trainer.apply();
      const applied = await own.call('classify', inputs);
      expect(applied).not.toEqual(before);
      expectNear(applied.logits?.data ?? [], evaluated, 1e-4, 'applied');
      const saved = await trainer.weights();
      const other = await createModel(artifact, { device, weights: saved });
      expect(await other.call('classify', inputs)).toEqual(applied);
      const [was, is] = [await tensorsOf(weights), await tensorsOf(saved)];
      expect([...is.keys()]).toEqual([...was.keys()]);
      for (const path of ['word.weight', 'gate.weight', 'gate.bias']) expect(is.get(path)).toEqual(was.get(path));
      for (const path of ['up.weight', 'head.weight', 'head.bias']) expect(is.get(path)).not.toEqual(was.get(path));
      await own.close();
      await other.close();
    },
    limit,
  );

  test('refuses a step that is not finite and goes on as if it had not been', () =>
    using(async (make) => {
      // A learning rate beyond reason: the weights overflow, and then the loss is no number.
      const trainer = await make({ lr: 1e37 });
      let good = await trainer.checkpoint();
      let failed: unknown;
      let taken = 0;
      for (; taken < 6 && failed === undefined; taken++) {
        good = await trainer.checkpoint();
        await trainer.step(classifierBatch(taken)).catch((error: unknown) => {
          failed = error;
        });
      }
      expect(failed).toEqual(coded('SORA6033'));
      const message = expect.stringMatching(`^step ${taken} of \`Classifier\`: the .*; the weights are as they were`);
      expect(failed).toEqual(expect.objectContaining({ message }));
      expect(trainer.steps).toBe(taken - 1);
      expect(await trainer.checkpoint()).toEqual(good);
      await trainer.restore(await (await make()).checkpoint());
      expect((await trainer.evaluate([classifierBatch(1)])).loss).toBeLessThan(100);
    }));
});

describe.runIf(firstGpuDevice)('a trainer', () => {
  const adapter = firstGpuDevice ?? 'lavapipe';

  test.each([
    'optimizer: adam(lr: 0.02)\nclip_norm: 0.5\nfreeze: "word.**"',
    'optimizer: sgd(lr: 0.1, momentum: 0.9, nesterov: true)\nfreeze: "word.**"',
    'optimizer: sgd(lr: 0.1)\nfreeze: "word.**"',
  ])(
    'follows the interpreter: %s',
    async (block) => {
      const own = trainable(classifierSource({ block }));
      const start = randomWeights(own.artifact);
      const model = await createModel(own.artifact, { adapter, weights: start });
      await follow(await model.trainer(), own, start);
      await model.close();
    },
    limit,
  );

  test(
    'trains a head that is tied to the table as one weight',
    async () => {
      const writer = trainable(writerSource);
      const all = await tensorsOf(randomWeights(writer.artifact));
      const shapes = new Map(
        writer.artifact.weights.flatMap(({ sources }) => sources.map((one) => [one.path, one.shape])),
      );
      const untied = [...all].filter(([name]) => name !== 'head.weight');
      const start = encodeSafetensors(untied.map(([name, data]) => ({ name, shape: shapes.get(name) ?? [], data })));
      const reference = await referenceRun(writer, start);
      const model = await createModel(writer.artifact, { adapter, weights: start });
      const trainer = await model.trainer();
      for (let at = 0; at < 5; at++) {
        const expected = reference.step(writerBatch(at), 0.01);
        const { loss } = await trainer.step(writerBatch(at));
        expectNear([loss], [expected.loss], 1e-4, `loss ${at}`);
      }
      let evaluated: ArrayLike<number> = [];
      const { token: _, ...inputs } = writerBatch(9);
      await trainer.evaluate([writerBatch(9)], {
        onBatch({ logits }) {
          evaluated = logits?.data ?? [];
        },
      });
      await trainer.apply();
      const session = model.session();
      const { logits } = await session.call('next', inputs);
      expectNear(logits?.data ?? [], evaluated, 1e-4, 'both uses are applied');
      const saved = await tensorsOf(await trainer.weights());
      expect([...saved.keys()]).toEqual(['norm.weight', 'qkv.weight', 'word.weight']);
      await model.close();
    },
    limit,
  );

  test(
    'of a generated module is the same',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'sorac-trained-'));
      try {
        const { js } = emitModule(artifact, { fileName: 'classifier.sora' });
        writeFileSync(join(folder, 'classifier.mjs'), js);
        const { load } = (await import(join(folder, 'classifier.mjs'))) as {
          load(options: LoadOptions): Promise<TrainableModel>;
        };
        const [plain, generated] = [
          await createModel(artifact, { adapter, weights }),
          await load({ adapter, weights }),
        ];
        const [one, two] = [await plain.trainer(), await generated.trainer()];
        expect(await steps(two, 0, 4)).toEqual(await steps(one, 0, 4));
        const path = join(folder, 'run.safetensors');
        await two.save(path);
        expect(new Uint8Array(readFileSync(path))).toEqual(await one.checkpoint());
        await plain.close();
        await generated.close();
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    limit,
  );

  test(
    'gives the same bits with dims in a uniform buffer',
    async () => {
      const { device } = await testDevice(adapter);
      const plain = await createModel(artifact, { adapter, weights });
      const model = await createModel(artifact, { device: withoutImmediates(device, []), weights });
      const [one, two] = [await plain.trainer(), await model.trainer()];
      expect(await steps(two, 0, 6)).toEqual(await steps(one, 0, 6));
      const batches = [classifierBatch(1, 2), classifierBatch(2, 5)];
      expect(await two.step(batches)).toEqual(await one.step(batches));
      await plain.close();
      await model.close();
      expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
    },
    limit,
  );
});

describe.runIf(firstGpuDevice)('the life of a trainer', () => {
  const adapter = firstGpuDevice ?? 'lavapipe';
  const open = (): Promise<TrainableModel> => createModel(artifact, { adapter, weights });

  test('ends with close: it frees all it had, calls under way and later ones reject with SORA6002', async () => {
    const model = await open();
    const { buffers, bytes } = model.stats();
    const trainer = await model.trainer();
    await trainer.step([classifierBatch(1), classifierBatch(2)]);
    const running = trainer.step(classifierBatch(3));
    await trainer.close();
    await expect(running).rejects.toEqual(coded('SORA6002'));
    await expect(trainer.step(classifierBatch(4))).rejects.toEqual(coded('SORA6002'));
    await expect(trainer.weights()).rejects.toEqual(coded('SORA6002'));
    await trainer.close();
    // The step that was under way has its answer read before its buffer can go.
    for (let wait = 0; wait < 100 && model.stats().buffers !== buffers; wait++)
      await new Promise((done) => setTimeout(done, 10));
    expect(model.stats()).toMatchObject({ buffers, bytes });
    await model.close();
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });

  test('ends with its model', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const running = trainer.step(classifierBatch(1));
    await model.close();
    await expect(running).rejects.toEqual(coded('SORA6002'));
    await expect(trainer.checkpoint()).rejects.toEqual(coded('SORA6002'));
    await expect(model.trainer()).rejects.toEqual(coded('SORA6002'));
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });

  test('ends with its device', async () => {
    const { device } = await testDevice(adapter);
    const model = await createModel(artifact, { device, weights });
    const trainer = await model.trainer();
    const running = trainer.step(classifierBatch(1));
    device.destroy();
    await expect(running).rejects.toEqual(coded('SORA6101'));
    await expect(trainer.step(classifierBatch(1))).rejects.toEqual(coded('SORA6101'));
    await trainer.close();
    await expect(trainer.step(classifierBatch(1))).rejects.toEqual(coded('SORA6002'));
    await model.close();
  });

  test('can be one of several, each with its own weights', async () => {
    const model = await open();
    const [alone, one, two] = [await model.trainer(), await model.trainer(), await model.trainer({ lr: 0.5 })];
    const expected = await steps(alone, 0, 6);
    const side = await Promise.all([steps(one, 0, 6), steps(two, 0, 6)]);
    expect(side[0]).toEqual(expected);
    expect(side[1]).not.toEqual(expected);
    await one.close();
    expect(await steps(alone, 6, 8)).toHaveLength(2);
    await model.close();
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });

  test('keeps calls in order, and the caller may fill its arrays anew', async () => {
    const model = await open();
    const [one, two] = [await model.trainer(), await model.trainer()];
    const expected = await steps(one, 0, 4);
    const batch = [0, 1, 2, 3].map((at) => classifierBatch(at, 3 + (at % 4), 5 + (at % 3)));
    const running = batch.map((each) => {
      const given = two.step(each);
      for (const input of Object.values(each)) input?.data.fill(0);
      return given;
    });
    expect((await Promise.all(running)).map(({ loss }) => loss)).toEqual(expected);
    await model.close();
  });

  test('an aborted step rejects with the reason; one that was not sent leaves no trace', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    const sent = trainer.step(classifierBatch(1), { signal: controller.signal });
    const waiting = trainer.step(classifierBatch(2), { signal: controller.signal });
    controller.abort(reason);
    await expect(sent).rejects.toBe(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(trainer.step(classifierBatch(3), { signal: controller.signal })).rejects.toBe(reason);
    const { step } = await trainer.step(classifierBatch(4));
    expect(step).toBe(2);
    await model.close();
    expect(model.stats().buffers).toBe(0);
  });

  test('cannot begin where making it is aborted, and leaves nothing', async () => {
    const model = await open();
    const { buffers } = model.stats();
    const controller = new AbortController();
    const making = model.trainer({ signal: controller.signal });
    controller.abort(new Error('never mind'));
    await expect(making).rejects.toThrow('never mind');
    for (let wait = 0; wait < 200 && model.stats().buffers !== buffers; wait++)
      await new Promise((done) => setTimeout(done, 10));
    expect(model.stats()).toMatchObject({ buffers });
    await model.close();
  });

  test('refuses batches that do not fit before anything runs', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const good = classifierBatch(1, 4);
    const before = await trainer.checkpoint();
    await expect(trainer.step([])).rejects.toEqual(coded('SORA6011'));
    await expect(trainer.evaluate([])).rejects.toEqual(coded('SORA6011'));
    const { label: _, ...none } = good;
    await expect(trainer.step(none)).rejects.toEqual(coded('SORA6011'));
    const other = classifierBatch(1, 3).label;
    await expect(trainer.step([good, { ...good, label: other }])).rejects.toEqual(coded('SORA6013'));
    expect(await trainer.checkpoint()).toEqual(before);
    await model.close();
  });
});
