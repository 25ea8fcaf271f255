/**
 * Trainers of low-rank adapters: where these stand, how they merge, and the files that they make.
 */
import { expect, test } from 'vitest';
import { createModel, type LoadOptions, type TrainableModel } from '../../../src/runtime/index.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  stepsOf,
  tensorsOf,
  trainable,
} from '../../support/training.ts';

type Artifact = ReturnType<typeof trainable>['artifact'];

const open = (options: LoadOptions, own: Artifact): Promise<TrainableModel> =>
  createModel(own, { adapter: 'cpu', cpu: () => import('../../../src/cpu.ts'), ...options });

const coded = (code: string) => expect.objectContaining({ name: 'SoraError', code });

test('trains adapters alone, and merges them exactly', async () => {
  const block = 'optimizer: adam(lr: 0.05)\n}\nadapter Classifier {\n"up.weight": lora(rank: 2, alpha: 4)';
  const own = trainable(classifierSource({ block }));
  const start = randomWeights(own.artifact);
  const model = await open({ weights: start }, own.artifact);
  const trainer = await model.trainer();
  const names = ['base_model.model.up.lora_A.weight', 'base_model.model.up.lora_B.weight'];
  const first = await tensorsOf(await trainer.trained());
  expect([...first.keys()]).toEqual(names);
  // What is added is 0 at first.
  expect(first.get(names[0] ?? '')?.every((value) => value === 0)).toBe(false);
  expect(first.get(names[1] ?? '')?.every((value) => value === 0)).toBe(true);
  const losses = await stepsOf(trainer, 0, 5);
  expect(losses.every(Number.isFinite)).toBe(true);
  let evaluated: ArrayLike<number> = [];
  await trainer.evaluate([classifierBatch(3)], {
    onBatch({ logits }) {
      evaluated = logits?.data ?? [];
    },
  });
  const { label: _, ...inputs } = classifierBatch(3);
  const before = await model.call('classify', inputs);
  await trainer.apply();
  const applied = await model.call('classify', inputs);
  expect(applied).not.toEqual(before);
  expectNear(applied.logits?.data ?? [], evaluated, 1e-5, 'merged');
  const [was, is] = [await tensorsOf(start), await tensorsOf(await trainer.weights())];
  expect([...is.keys()]).toEqual([...was.keys()]);
  for (const [name, data] of is) {
    if (name === 'up.weight') expect(data).not.toEqual(was.get(name));
    else expect(data, name).toEqual(was.get(name));
  }
  // An adapter is a file beside the weights.
  const adapter = await trainer.trained();
  const again = await open({ weights: [start, adapter] as never }, own.artifact);
  expect(await tensorsOf(await (await again.trainer()).trained())).toEqual(await tensorsOf(adapter));
  await model.close();
  await again.close();
});

test.each([
  ['both', 'both: f32[80, 24]', 'gelu(linear(x, both[:40])) * linear(x, both[40:])'],
  // [inputs, outputs]
  ['across', 'across: f32[24, 40]', 'gelu(linear(x, transpose(across, [1, 0])))'],
])('an adapter of a matrix that is read through views: %s', async (name, field, value) => {
  // Query, key and value of one matrix are read so.
  const block = `optimizer: adam(lr: 0.05)\n}\nadapter Classifier {\n"${name}": lora(rank: 2, alpha: 4)`;
  const source = classifierSource({ block })
    .replace('up = Linear(24, 40)', field)
    .replace('  gate = Linear(24, 40)\n', '')
    .replace('gelu(up(x)) * gate(x)', value);
  const own = trainable(source);
  const start = randomWeights(own.artifact);
  const model = await open({ weights: start }, own.artifact);
  const trainer = await model.trainer();
  const first = await trainer.evaluate([classifierBatch(3)]);
  const trained = await tensorsOf(await trainer.trained());
  expect([...trained].map(([path, { length }]) => [path, length])).toEqual([
    [`base_model.model.${name}.lora_A.weight`, 2 * 24],
    [`base_model.model.${name}.lora_B.weight`, name === 'both' ? 80 * 2 : 40 * 2],
  ]);
  for (let at = 0; at < 6; at++) await trainer.step(classifierBatch(3));
  const last = await trainer.evaluate([classifierBatch(3)]);
  expect(last.loss).toBeLessThan(first.loss);
  // Merged, it is the same model; without the adapter the one before.
  const merged = await open({ weights: await trainer.weights() }, own.artifact);
  const again = await (await merged.trainer()).evaluate([classifierBatch(3)]);
  expectNear([again.loss], [last.loss], 1e-6, 'merged');
  const [was, is] = [await tensorsOf(start), await tensorsOf(await trainer.weights())];
  for (const [path, data] of is) {
    if (path === name) expect(data).not.toEqual(was.get(path));
    else expect(data, path).toEqual(was.get(path));
  }
  await model.close();
  await merged.close();
});

test('dropout of an adapter needs an input to drop something of', () => {
  const block = 'optimizer: adam(lr: 0.05)\n}\nadapter Classifier {\n"both": lora(rank: 2, dropout: 0.1)';
  const source = classifierSource({ block })
    .replace('up = Linear(24, 40)\n', 'both: f32[80, 24]\n')
    .replace('  gate = Linear(24, 40)\n', '')
    .replace('gelu(up(x)) * gate(x)', 'gelu(linear(x, both[:40])) * linear(x, both[40:])');
  expect(() => trainable(source)).toThrow(/parts of `both` are read.*leave out `dropout`/);
});

test('what trained beside adapters takes the place of what was before, in either order; other files may not name a tensor twice', async () => {
  const block =
    'optimizer: adam(lr: 0.05)\n}\nadapter Classifier {\n"up.weight": lora(rank: 2, alpha: 4)\n"head.**": full';
  const own = trainable(classifierSource({ block }));
  const start = randomWeights(own.artifact);
  const model = await open({ weights: start }, own.artifact);
  const trainer = await model.trainer();
  await stepsOf(trainer, 0, 3);
  const trained = await trainer.trained();
  expect([...(await tensorsOf(trained)).keys()]).toContain('head.weight');
  const { label: _, ...inputs } = classifierBatch(3);
  await trainer.apply();
  const applied = await model.call('classify', inputs);
  for (const weights of [
    [start, trained],
    [trained, start],
  ]) {
    const again = await open({ weights: weights as never }, own.artifact);
    const other = await again.trainer();
    await other.apply();
    expect(await again.call('classify', inputs)).toEqual(applied);
    await again.close();
  }
  await expect(open({ weights: [start, start] as never }, own.artifact)).rejects.toEqual(coded('SORA7004'));
  await model.close();
});
