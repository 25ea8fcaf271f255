/**
 * Bottleneck adapters in a trainer, on every device and the interpreter: they train beside a head that trains in full, what they
 * stand behind stays as it was, and their file goes back in beside the checkpoint.
 */
import { describe, expect, test } from 'vitest';
import { createModel, type LoadOptions } from '../../../src/runtime/index.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomWeights } from '../../support/generator.ts';
import {
  classifierBatch,
  classifierSource,
  expectNear,
  referenceRun,
  tensorsOf,
  trainable,
} from '../../support/training.ts';

const rules = 'after "up": bottleneck(8)\n"head.**": full';
const source = classifierSource({ block: `optimizer: sgd(lr: 0.5)\n}\nadapter Classifier {\n${rules}` });
const adapted = trainable(source);
/** Of a model without adapters, as everybody's checkpoint. */
const base = randomWeights(trainable(classifierSource()).artifact);

describe.each([...gpuDevices, 'cpu'] as const)('a bottleneck on %s', (adapter) => {
  test('trains, stays apart in files, and goes back in', async () => {
    const lines: string[] = [];
    const options: LoadOptions =
      adapter === 'cpu'
        ? { adapter, cpu: () => import('../../../src/cpu.ts') }
        : { device: (await testDevice(adapter)).device };
    const model = await createModel(adapted.artifact, { ...options, weights: base, warn: (line) => lines.push(line) });
    expect(lines).toEqual([expect.stringMatching(/lacks `up\.adapter_down\.weight`.*: drawn fresh, to be trained$/)]);
    const trainer = await model.trainer();
    const start = await trainer.weights();
    const reference = await referenceRun(adapted, start);
    const names = ['bias', 'weight'].flatMap((name) => [
      `head.${name}`,
      `up.adapter_down.${name}`,
      `up.adapter_up.${name}`,
    ]);
    expect([...reference.parameters].sort()).toEqual([...names].sort());
    for (let at = 0; at < 4; at++) {
      const { loss } = await trainer.step(classifierBatch(at, 3, 5));
      expectNear([loss], [reference.step(classifierBatch(at, 3, 5), 0.5).loss], 1e-4, `loss ${at}`);
    }
    const trained = await trainer.trained();
    const parts = await tensorsOf(trained);
    expect([...parts.keys()]).toEqual([...names].sort());
    for (const [path, data] of parts) expectNear(data, reference.weight(path), 1e-3, path);
    const [before, after] = [await tensorsOf(base), await tensorsOf(await trainer.weights())];
    for (const [path, data] of before) if (!path.startsWith('head.')) expect(after.get(path), path).toEqual(data);
    expect([...after.keys()].sort()).toEqual([...new Set([...before.keys(), ...names])].sort());
    const { label: _, ...inputs } = classifierBatch(9, 3, 5);
    await trainer.apply();
    const wanted = (await model.call('classify', inputs)).logits?.data ?? [];
    // The later file has the head that trained.
    const again = await createModel(adapted.artifact, { ...options, weights: await trainer.weights() });
    expectNear((await again.call('classify', inputs)).logits?.data ?? [], wanted, 1e-6, 'from the file');
    await again.close();
    await model.close();
  }, 300_000);
});
