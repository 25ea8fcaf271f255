/**
 * Trainers beside the interpreter, and what every trainer checks: options, checkpoints, weights that are drawn.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  createModel,
  encodeSafetensors,
  type LoadOptions,
  openSafetensors,
  type TrainableModel,
  type TrainerOptions,
} from '../../../src/runtime/index.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  referenceRun,
  stepsOf,
  tensorsOf,
  together,
  trainable,
  writerBatch,
  writerSource,
} from '../../support/training.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-trainer-'));
afterAll(() => rmSync(folder, { recursive: true }));

const classifier = trainable(classifierSource());
const { artifact } = classifier;
const weights = randomWeights(artifact);

const open = (options: LoadOptions = { weights }, own = artifact): Promise<TrainableModel> =>
  createModel(own, { adapter: 'cpu', cpu: () => import('../../../src/cpu.ts'), ...options });

const coded = (code: string, message = /./) =>
  expect.objectContaining({ name: 'SoraError', code, message: expect.stringMatching(message) });

describe('a trainer on the interpreter', () => {
  test('follows f64, alone and in micro-batches', async () => {
    const reference = await referenceRun(classifier, weights);
    const model = await open();
    const [trainer, parts] = [await model.trainer(), await model.trainer()];
    for (let at = 0; at < 4; at++) {
      const [one, two] = [classifierBatch(at, 3, 5), classifierBatch(at + 9, 3, 5)];
      const expected = reference.step(together(one, two), 0.02);
      for (const given of [await trainer.step(together(one, two)), await parts.step([one, two])]) {
        expectNear([given.loss], [expected.loss], 1e-5, `loss ${at}`);
        expectNear([given.gradNorm], [expected.norm], 1e-5, `norm ${at}`);
        expect(given).toMatchObject({ step: at + 1, lr: 0.02 });
      }
    }
    for (const [path, data] of await tensorsOf(await trainer.trained()))
      expectNear(data, reference.weight(path), 1e-4, path);
    await model.close();
    await expect(trainer.step(classifierBatch(1))).rejects.toEqual(coded('SORA6002'));
  });

  test('refuses classes that there are not, but for the one that does not count', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const batch = classifierBatch(1, 3, 4);
    const labelled = (...data: number[]) => ({ ...batch, label: { data: Int32Array.from(data), shape: [3] } });
    for (const bad of [5, -1, -100]) {
      const refused = coded('SORA6014', new RegExp(`label.*element 1 is ${bad}, allowed are 0 to 4$`));
      await expect(trainer.step(labelled(0, bad, 4))).rejects.toEqual(refused);
      await expect(trainer.evaluate([labelled(0, bad, 4)])).rejects.toEqual(refused);
    }
    const { label: _, ...unlabelled } = batch;
    const needs = coded('SORA6011', /^`classify` needs the input `label`/);
    await expect(trainer.step(unlabelled)).rejects.toEqual(needs);
    await expect(trainer.evaluate([unlabelled])).rejects.toEqual(needs);
    expect(trainer.steps).toBe(0);
    await model.close();

    // As they are or in part: the names of what a loss compares do not matter.
    const shifted = classifierSource()
      .replace('target label: i32[B]', 'target label: i32[B, 1]')
      .replace('cross_entropy(logits, label)', 'cross_entropy(logits, label[:, 0], ignore: -100)');
    const ignoring = await open({ weights: randomWeights(artifact) }, trainable(shifted).artifact);
    const own = await ignoring.trainer();
    const columns = (...data: number[]) => ({ ...batch, label: { data: Int32Array.from(data), shape: [3, 1] } });
    expect((await own.step(columns(0, -100, 4))).loss).toBeGreaterThan(0);
    await expect(own.step(columns(0, -99, 4))).rejects.toEqual(coded('SORA6014', /allowed are 0 to 4 and -100$/));
    await ignoring.close();
  });

  test('goes on with a checkpoint bit for bit, from a file too', async () => {
    const model = await open();
    const through = await model.trainer();
    const losses = await stepsOf(through, 0, 3);
    const path = join(folder, 'half.safetensors');
    await through.save(path, { metadata: { epoch: '2' } });
    losses.push(...(await stepsOf(through, 3, 6)));
    const other = await open();
    const resumed = await other.trainer();
    expect(await resumed.load(path)).toEqual({ steps: 3, metadata: { epoch: '2' } });
    expect(await stepsOf(resumed, 3, 6)).toEqual(losses.slice(3));
    expect(await resumed.checkpoint()).toEqual(await through.checkpoint());
    const bytes = readFileSync(path);
    expect(await resumed.load(new Blob([bytes]))).toMatchObject({ steps: 3 });
    expect(await resumed.restore(bytes)).toMatchObject({ steps: 3 });
    await model.close();
    await other.close();
  });

  test('brings its weights into the model: a packed one, and one that is tied', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const { label: _, ...inputs } = classifierBatch(3);
    await stepsOf(trainer, 0, 3);
    let evaluated: ArrayLike<number> = [];
    const onBatch = ({ logits }: { readonly logits?: { readonly data: ArrayLike<number> } }): void => {
      evaluated = logits?.data ?? [];
    };
    await trainer.evaluate([classifierBatch(3)], { onBatch });
    await trainer.apply();
    expectNear((await model.call('classify', inputs)).logits?.data ?? [], evaluated, 1e-5, 'applied');
    await model.close();

    const writer = trainable(writerSource);
    const writing = await open({}, writer.artifact);
    const own = await writing.trainer();
    for (let at = 0; at < 3; at++) await own.step(writerBatch(at));
    const { token: __, ...ids } = writerBatch(5);
    await own.evaluate([writerBatch(5)], { onBatch });
    await own.apply();
    expectNear((await writing.session().call('next', ids)).logits?.data ?? [], evaluated, 1e-5, 'both uses');
    expect([...(await tensorsOf(await own.weights())).keys()]).toEqual(['norm.weight', 'qkv.weight', 'word.weight']);
    await writing.close();
  });

  test('refuses a step that is not finite and stays as it was', async () => {
    const model = await open();
    const trainer = await model.trainer({ lr: 1e37 });
    let [good, failed]: [Uint8Array, unknown] = [await trainer.checkpoint(), undefined];
    for (let at = 0; at < 6 && failed === undefined; at++) {
      good = await trainer.checkpoint();
      await trainer.step(classifierBatch(at)).catch((error: unknown) => {
        failed = error;
      });
    }
    expect(failed).toEqual(coded('SORA6033', /^step \d of `Classifier`: the .* is .*; the weights are as they were/));
    expect(await trainer.checkpoint()).toEqual(good);
    await model.close();
  });

  test('names the first value that is not finite', async () => {
    const model = await open();
    const trainer = await model.trainer({ lr: 1e37 });
    const batch = classifierBatch(1);
    expect(await trainer.diagnose(batch)).toBeUndefined();
    for (let at = 0; at < 2; at++) await trainer.step(classifierBatch(at)).catch(() => undefined);
    const found = await trainer.diagnose(batch);
    expect(found?.kind).toBe('operation');
    expect(found?.place.length).toBeGreaterThan(0);
    // A weight that a checkpoint brought.
    const file = await openSafetensors(await trainer.checkpoint());
    const tensors = await Promise.all(
      [...file.tensors.values()].map(async ({ name, shape }) => {
        const data = await file.readTensor(name, 'f32');
        return { name, shape, data: name === 'head.bias' ? data.fill(Number.NaN) : data };
      }),
    );
    await trainer.restore(encodeSafetensors(tensors, Object.fromEntries(file.metadata)));
    expect(await trainer.diagnose(batch)).toEqual({ kind: 'weight', name: 'head.bias', place: [], shape: [5] });
    await model.close();
  });
});

describe('weights that no checkpoint gives', () => {
  const fresh = trainable(
    classifierSource({ block: 'optimizer: adam(lr: 0.02)\nfreeze: "word.**"\nseed: 3' }),
  ).artifact;
  const { label: _, ...inputs } = classifierBatch(1);

  test('are drawn by the seed: the same in model and trainer, and every time', async () => {
    const [model, again] = [await open({}, fresh), await open({}, fresh)];
    expect(await again.call('classify', inputs)).toEqual(await model.call('classify', inputs));
    const trainer = await model.trainer();
    expect(trainer.seed).toBe(3);
    let evaluated: ArrayLike<number> = [];
    await trainer.evaluate([classifierBatch(1)], {
      onBatch({ logits }) {
        evaluated = logits?.data ?? [];
      },
    });
    expectNear((await model.call('classify', inputs)).logits?.data ?? [], evaluated, 1e-6, 'of the model');
    const [one, two, three] = [
      await again.trainer(),
      await again.trainer({ seed: 4 }),
      await again.trainer({ seed: 4 }),
    ];
    expect(await one.weights()).toEqual(await trainer.weights());
    expect(await three.weights()).toEqual(await two.weights());
    const [a, b] = [await tensorsOf(await one.weights()), await tensorsOf(await two.weights())];
    // What does not train is the same for every trainer.
    for (const [name, data] of a) {
      if (name === 'word.weight') expect(b.get(name)).toEqual(data);
      else expect(b.get(name), name).not.toEqual(data);
    }
    await model.close();
    await again.close();
  });

  test('stand in for those that a checkpoint lacks, and a line says so', async () => {
    const all = await tensorsOf(weights);
    const shapes = new Map(fresh.weights.flatMap(({ sources }) => sources.map((one) => [one.path, one.shape])));
    const without = encodeSafetensors(
      [...all].flatMap(([name, data]) =>
        name.startsWith('head.') ? [] : [{ name, shape: shapes.get(name) ?? [], data }],
      ),
    );
    const lines: string[] = [];
    const model = await open({ weights: without, warn: (line) => lines.push(line) }, fresh);
    expect(lines).toEqual(['sorac: `weights` lacks `head.weight`, `head.bias`: drawn fresh, to be trained']);
    const start = await tensorsOf(await (await model.trainer()).weights());
    expect(start.get('up.weight')).toEqual(all.get('up.weight'));
    expect(start.get('head.weight')?.every((value) => Math.abs(value) <= 1 / Math.sqrt(40))).toBe(true);
    await model.close();
  });

  test('are not drawn where the checkpoint is another model, or where nothing says how', async () => {
    const other = encodeSafetensors([{ name: 'pooler.dense.weight', shape: [1], data: Float32Array.of(1) }]);
    await expect(open({ weights: other }, fresh)).rejects.toEqual(coded('SORA7201', /are not in `weights`/));
    const bare = trainable(`dim B in 1..4
model Bare {
  scale: f32[4]
  entry run(x: f32[B, 4]) -> y: f32[B, 4] = x * scale
}
train Bare.run {
  target z: f32[B, 4]
  loss: mse(y, z)
  optimizer: sgd(lr: 0.1)
}
`).artifact;
    await expect(open({}, bare)).rejects.toEqual(coded('SORA7201', /^`Bare` needs `weights`: `scale` cannot be drawn/));
    const plain = { ...artifact, training: undefined } as never;
    await expect(open({}, plain)).rejects.toEqual(coded('SORA7201'));
  });
});

describe('options of a trainer', () => {
  test.each<readonly [TrainerOptions, RegExp]>([
    [{ seed: -1 }, /^`seed` is a whole number from 0 to 4294967295, got -1$/],
    [{ seed: 2 ** 32 }, /`seed`/],
    [{ totalSteps: 0 }, /^`totalSteps` is a whole number of at least 1, got 0$/],
    [{ totalSteps: 1.5 }, /`totalSteps`/],
    [{ lr: Number.NaN }, /^`lr` is a number of at least 0, got NaN$/],
    [{ lr: -1 }, /`lr`/],
    [{ schedule: { warmup: 2 } }, /^`warmup` is a share of all steps from 0 to 1, got 2$/],
    [{ schedule: { final: -1 } }, /`final`/],
    [{ schedule: { kind: 'steps' as never } }, /^there is no schedule `steps`$/],
    [{ schedule: { kind: 'step' } }, /^the schedule `step` needs `every`/],
    [{ schedule: { kind: 'step', every: 1.5 } }, /`every`/],
    [{ schedule: { kind: 'step', every: 2, factor: 2 } }, /`factor`/],
  ])('%j is refused', async (options, message) => {
    const model = await open();
    await expect(model.trainer(options)).rejects.toEqual(coded('SORA6032', message));
    await model.close();
  });

  test('of other names are refused, as are those of its calls', async () => {
    const model = await open();
    await expect(model.trainer({ total_steps: 5 } as never)).rejects.toEqual(
      coded('SORA6032', /no option `total_steps`/),
    );
    await expect(model.trainer({ schedule: { warmUp: 0.1 } } as never)).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6032', help: 'did you mean `warmup`?' }),
    );
    const trainer = await model.trainer();
    const batch = classifierBatch(1);
    await expect(trainer.step(batch, { abort: true } as never)).rejects.toEqual(
      coded('SORA6032', /^`step` has no option/),
    );
    await expect(trainer.save('x', { meta: {} } as never)).rejects.toEqual(coded('SORA6032', /^`save` has no option/));
    await expect(trainer.apply({ signal: {} } as never)).rejects.toEqual(coded('SORA6032', /`signal` of `apply`/));
    await expect(trainer.evaluate(batch as never)).rejects.toEqual(
      coded('SORA6011', /^`evaluate` takes at least one batch/),
    );
    await expect(trainer.evaluate(undefined as never)).rejects.toEqual(coded('SORA6011'));
    expect(trainer.steps).toBe(0);
    await model.close();
  });

  test('a schedule wants to know how long the run is, at the first step', async () => {
    const model = await open();
    const trainer = await model.trainer({ schedule: { kind: 'linear' } });
    await trainer.evaluate([classifierBatch(1)]);
    await expect(trainer.step(classifierBatch(1))).rejects.toEqual(coded('SORA6032', /`linear`/));
    const known = await model.trainer({ schedule: { kind: 'linear' }, totalSteps: 4, lr: 1 });
    const rates: number[] = [];
    for (let at = 0; at < 5; at++) rates.push((await known.step(classifierBatch(at))).lr);
    expect(rates).toEqual([1, 0.75, 0.5, 0.25, 0]);
    await model.close();
  });

  test('a model without a train block has no trainer', async () => {
    const model = await open({ weights }, { ...artifact, training: undefined } as never);
    await expect(model.trainer()).rejects.toEqual(coded('SORA6031', /^`Classifier` has no `train` block$/));
    await model.close();
  });
});

describe('a checkpoint', () => {
  /** One with something changed in it. */
  const changed = async (
    bytes: Uint8Array,
    change: (state: Record<string, unknown>) => unknown,
    tensors: (name: string, data: Float32Array) => Float32Array | undefined = (_, data) => data,
  ): Promise<Uint8Array> => {
    const file = await openSafetensors(bytes);
    const state = JSON.parse(file.metadata.get('sorac.training') ?? '{}') as Record<string, unknown>;
    const made = await Promise.all(
      [...file.tensors].map(async ([name, info]) => {
        const data = tensors(name, await file.readTensor(name, 'f32'));
        return data ? [{ name, shape: data.length === info.elements ? info.shape : [data.length], data }] : [];
      }),
    );
    return encodeSafetensors(made.flat(), { 'sorac.training': JSON.stringify(change(state) ?? state) });
  };

  test.each<readonly [string, RegExp, (bytes: Uint8Array) => Promise<Uint8Array>]>([
    ['no checkpoint of a run', /is no checkpoint of a training$/, async () => weights],
    ['another version', /version 9, known is 1$/, (bytes) => changed(bytes, (state) => ({ ...state, version: 9 }))],
    [
      'another model',
      /of the model `Other`, not `Classifier`$/,
      (bytes) => changed(bytes, (state) => ({ ...state, model: 'Other' })),
    ],
    [
      'another optimizer',
      /`sgd`, that of the model `adamw`$/,
      (bytes) => changed(bytes, (state) => ({ ...state, optimizer: 'sgd' })),
    ],
    ['no steps', /does not say where the run is$/, (bytes) => changed(bytes, (state) => ({ ...state, steps: -1 }))],
    [
      'a seed that is none',
      /does not say where the run is$/,
      (bytes) => changed(bytes, (state) => ({ ...state, seed: 0.5 })),
    ],
    [
      'no schedule',
      /does not say where the run is$/,
      (bytes) => changed(bytes, (state) => ({ ...state, schedule: null })),
    ],
    ['no object', /version undefined/, (bytes) => changed(bytes, () => 7)],
    [
      'a weight less',
      /lacks `up.weight`$/,
      (bytes) =>
        changed(
          bytes,
          () => undefined,
          (name, data) => (name === 'up.weight' ? undefined : data),
        ),
    ],
    [
      'a moment less',
      /lacks `second:head.bias`$/,
      (bytes) =>
        changed(
          bytes,
          () => undefined,
          (name, data) => (name === 'second:head.bias' ? undefined : data),
        ),
    ],
    [
      'another shape',
      /`head.bias` is F32\[4\], expected F32\[5\]$/,
      (bytes) =>
        changed(
          bytes,
          () => undefined,
          (name, data) => (name === 'head.bias' ? data.slice(1) : data),
        ),
    ],
  ])('with %s is refused, and nothing of it counts', async (_, message, make) => {
    const model = await open();
    const trainer = await model.trainer();
    await stepsOf(trainer, 0, 2);
    const before = await trainer.checkpoint();
    await expect(trainer.restore(await make(before))).rejects.toEqual(coded('SORA6034', message));
    expect(await trainer.checkpoint()).toEqual(before);
    await model.close();
  });

  test('of a schedule that is none is refused', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const before = await trainer.checkpoint();
    const broken = await changed(before, (state) => ({
      ...state,
      schedule: { kind: 'linear', peak: 'much', warmup: 0 },
    }));
    await expect(trainer.restore(broken)).rejects.toEqual(coded('SORA6032', /`lr`/));
    expect(await trainer.checkpoint()).toEqual(before);
    await model.close();
  });

  test('that is cut short, or no file at all, is refused', async () => {
    const model = await open();
    const trainer = await model.trainer();
    const bytes = await trainer.checkpoint();
    for (let length = 0; length < bytes.length; length += 997) {
      const code = await trainer.restore(bytes.slice(0, length)).then(
        () => 'taken',
        (error: { readonly code: string }) => error.code,
      );
      expect(code, `${length} bytes`).toMatch(/^SORA700[2-7]$/);
    }
    await expect(trainer.load(join(folder, 'none'))).rejects.toEqual(coded('SORA7001'));
    writeFileSync(join(folder, 'text'), 'not a checkpoint, but long enough to have a header');
    await expect(trainer.load(join(folder, 'text'))).rejects.toEqual(coded('SORA7008'));
    expect(await trainer.checkpoint()).toEqual(bytes);
    await model.close();
  });

  test('of another source goes on with a warning, and keeps what the options do not say', async () => {
    const model = await open();
    const lines: string[] = [];
    const one = await model.trainer({ seed: 9, totalSteps: 20, lr: 0.5, schedule: { kind: 'cosine' } });
    await stepsOf(one, 0, 2);
    const older = await changed(await one.checkpoint(), (state) => ({ ...state, source: 'older' }));
    const two = await model.trainer({ totalSteps: 10, onWarning: (line) => lines.push(line) });
    expect(await two.restore(older)).toEqual({ steps: 2, metadata: {} });
    expect(lines).toEqual([
      expect.stringMatching(/^sorac: the checkpoint was written by another version of the model/),
    ]);
    expect([two.seed, two.totalSteps, two.steps]).toEqual([9, 10, 2]);
    expect((await two.step(classifierBatch(2))).lr).toBeCloseTo(0.25 * (1 + Math.cos(Math.PI / 5)));
    await model.close();
  });

  test('takes texts of the caller, and nothing else', async () => {
    const model = await open();
    const trainer = await model.trainer();
    for (const metadata of [{ epoch: 1 }, { 'sorac.training': '{}' }])
      await expect(trainer.checkpoint({ metadata: metadata as never })).rejects.toEqual(
        coded('SORA6032', /`metadata`/),
      );
    await model.close();
  });
});
