import { describe, expect, test, vi } from 'vitest';
import type { Artifact } from '../../../src/runtime/artifact.ts';
import { createModel, encodeSafetensors, type LoadOptions, type Model } from '../../../src/runtime/index.ts';
import { firstGpuDevice, gpuDevices, testDevice } from '../../support/devices.ts';
import { decoderArtifact, randomWeights } from '../../support/generator.ts';
import { handArtifact, handBias, handExpected, handTable } from '../../support/hand-artifact.ts';
import { withoutImmediates } from '../../support/without-immediates.ts';

const weights = encodeSafetensors([
  { name: 'table.first', shape: [2, 3], data: Float32Array.from(handTable.slice(0, 2).flat()) },
  { name: 'table.second', shape: [3, 3], data: Float32Array.from(handTable.slice(2).flat()) },
  { name: 'bias', shape: [3], data: Float32Array.from(handBias) },
]);

function batch(rows: number, seed = 1) {
  const x = Float32Array.from({ length: rows * 3 }, (_, i) => ((i * 7 + seed * 13) % 29) - 14);
  const ids = Int32Array.from({ length: rows }, (_, i) => (i * 3 + seed) % 5);
  return { x, ids, inputs: { x: { data: x, shape: [rows, 3] }, ids: { data: ids, shape: [rows] } } };
}

async function check(model: Model, rows: number, seed: number): Promise<void> {
  const { x, ids, inputs } = batch(rows, seed);
  const { total, y } = await model.call('apply', inputs);
  const expected = handExpected(x, ids);
  expect(y?.shape).toEqual([rows, 3]);
  expect(Array.from(y?.data ?? [])).toEqual(expected.y);
  expect(Array.from(total?.data ?? [])).toEqual(expected.total);
}

const coded = (code: string) => expect.objectContaining({ name: 'SoraError', code });

describe.each(gpuDevices)('a model written by hand on %s', (adapter) => {
  test('gives the right numbers for few, many and no rows', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    for (const rows of [1, 3, 8, 9, 200, 0, 2]) await check(model, rows, rows);
    expect(model.device.kind).toBe(adapter);
    await model.close();
  });

  test('gives the same numbers with dims in a uniform buffer', async () => {
    const { device } = await testDevice(adapter);
    const shaders: string[] = [];
    const model = await createModel(handArtifact, {
      device: withoutImmediates(device, shaders),
      weights,
      warmup: true,
    });
    expect(shaders.map((code) => /var<(immediate|uniform)>/.exec(code)?.[1])).toEqual([
      'uniform',
      'uniform',
      'uniform',
    ]);
    for (const rows of [1, 3, 8, 9, 200, 0, 2]) await check(model, rows, rows);
    await Promise.all([1, 20, 3, 20].map((rows, at) => check(model, rows, at)));
    await model.close();
    expect(model.stats().buffers).toBe(0);
  });

  test('folds more workgroups than one dimension takes', async () => {
    const rows = 1_500_000;
    const { x, ids, inputs } = batch(rows);
    const model = await createModel(handArtifact, { adapter, weights });
    const { y } = await model.call('apply', inputs);
    const expected = handExpected(x, ids).y;
    const wrong = expected.findIndex((value, at) => y?.data[at] !== value);
    expect(wrong).toBe(-1);
    await model.close();
  });

  test('fills a missing input with its initial value', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    const { x, inputs } = batch(4);
    const { total } = await model.call('apply', { x: inputs.x });
    expect(Array.from(total?.data ?? [])).toEqual(handExpected(x, undefined).total);
    await model.close();
  });

  test('makes no pipeline and leaks no buffer when shapes change', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    for (const rows of [1, 50, 3]) await check(model, rows, 2);
    const before = model.stats();
    expect(before.pipelines).toBe(3);
    for (let rows = 1; rows <= 50; rows++) await check(model, rows, rows);
    const after = model.stats();
    expect(after.pipelines).toBe(3);
    expect(after.buffers).toBeLessThanOrEqual(before.buffers + 3);
    await model.close();
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });

  test('overlapping calls give what serial calls give, in every order of ends', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    // Growing, shrinking and equal shapes, so that buffers move under calls that are still on the device.
    const sizes = [3, 100, 1, 100, 7, 2000, 5, 9, 8, 2000, 1, 50];
    await Promise.all(sizes.map((rows, seed) => check(model, rows, seed)));
    for (const first of [1, 400]) {
      const slow = check(model, first, 3);
      await check(model, 12, 4);
      const next = check(model, 500, 5);
      await Promise.all([next, slow, check(model, 2, 6)]);
    }
    await model.close();
    expect(model.stats().buffers).toBe(0);
  });

  test('progress counts the bytes that reach the device: what is tied once', async () => {
    const [entry] = handArtifact.entries;
    const [, bias] = handArtifact.weights;
    if (!entry || !bias) throw new Error('the model has an entry and a bias');
    const { buffers, steps } = entry.plans.software;
    const moved = buffers.map((spec) => (spec.kind === 'weight' && spec.weight === 1 ? { ...spec, weight: 2 } : spec));
    const plans = { software: { buffers: moved, steps }, gpu: { buffers: moved, steps } };
    const tied = {
      ...handArtifact,
      weights: [...handArtifact.weights, bias],
      entries: [entry, { ...entry, name: 'again', plans }],
    };
    const told: { readonly loaded: number; readonly total: number }[] = [];
    const model = await createModel(tied, { adapter, weights, onProgress: (progress) => told.push(progress) });
    // A table in panels of 4 rows, 8 by 3, and 3 numbers.
    expect(told).toEqual([
      { loaded: 96, total: 108 },
      { loaded: 108, total: 108 },
    ]);
    const { inputs } = batch(5);
    expect((await model.call('again', inputs)).y).toEqual((await model.call('apply', inputs)).y);
    await model.close();
  });

  test('what is warmed while loading leaves no buffer, and calls, close and a device that stays are not disturbed', async () => {
    const decoder = decoderArtifact();
    const options = { weights: randomWeights(decoder) };
    const { device } = await testDevice(adapter);
    const plain = await createModel(decoder, { ...options, device });
    const texts: unknown[] = [];
    const tell = async (model: Model): Promise<void> => {
      const session = model.session();
      const tokens: number[] = [];
      for await (const { token } of session.generate([5, 9, 2], { maxTokens: 6 })) tokens.push(token);
      await session.close();
      texts.push(tokens);
    };
    const before = plain.stats();
    await tell(plain);
    for (const wait of [0, 60, 120, 400]) {
      for (const warmup of [true, false]) {
        const model = await createModel(decoder, { ...options, device, warmup });
        await new Promise((resolve) => setTimeout(resolve, wait));
        await tell(model);
        await vi.waitFor(() => expect(model.stats().buffers).toBe(plain.stats().buffers));
        await model.close();
        expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
        // Closed while it goes on by itself.
        const closed = await createModel(decoder, { ...options, device, warmup });
        await new Promise((resolve) => setTimeout(resolve, wait));
        await closed.close();
        expect(closed.stats()).toMatchObject({ buffers: 0, bytes: 0 });
      }
    }
    expect(new Set(texts.map(String)).size).toBe(1);
    expect(before.pipelines).toBe(plain.stats().pipelines);
    await plain.close();
  });

  test('loads and closes twenty times on one device without a trace', async () => {
    const { device } = await testDevice(adapter);
    for (let round = 0; round < 20; round++) {
      const model = await createModel(handArtifact, { device, weights, warmup: round % 2 === 0 });
      await check(model, 4, round);
      await model.close();
      expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
    }
  });
});

describe.runIf(firstGpuDevice)('the life of a model', () => {
  const options: LoadOptions = { ...(firstGpuDevice ? { adapter: firstGpuDevice } : {}), weights };

  test('ends with close: later calls and calls under way reject with SORA6002', async () => {
    const model = await createModel(handArtifact, options);
    const running = model.call('apply', batch(100).inputs);
    await model.close();
    await expect(running).rejects.toEqual(coded('SORA6002'));
    await expect(model.call('apply', batch(1).inputs)).rejects.toEqual(coded('SORA6002'));
    await model.close();
    await model[Symbol.asyncDispose]();
  });

  test('refuses options that it does not know, and values that mean nothing', async () => {
    const refused = async (wrong: object): Promise<unknown> =>
      createModel(handArtifact, { ...options, ...wrong }).then(
        () => 'accepted',
        (error: unknown) => error,
      );
    expect(await refused({ warmUp: true })).toMatchObject({ code: 'SORA6003', help: 'did you mean `warmup`?' });
    expect(await refused({ onprogress: () => {} })).toMatchObject({ help: 'did you mean `onProgress`?' });
    expect(await refused({ folder: 'x' })).toMatchObject({
      help: expect.stringContaining('there is weights, device,'),
    });
    expect(await refused({ signal: new AbortController() })).toEqual(coded('SORA6003'));
    const model = await createModel(handArtifact, options);
    const call = (wrong: object): Promise<unknown> => model.call('apply', batch(1).inputs, wrong);
    await expect(call({ singal: 1 })).rejects.toMatchObject({ code: 'SORA6018', help: 'did you mean `signal`?' });
    await expect(call({ lengths: [1] })).rejects.toEqual(coded('SORA6018'));
    await expect(call({ signal: new AbortController() })).rejects.toEqual(coded('SORA6018'));
    await model.close();
  });

  test('never destroys a device that the caller brought', async () => {
    const { device } = await testDevice(firstGpuDevice ?? 'lavapipe');
    const destroy = vi.spyOn(device, 'destroy');
    const model = await createModel(handArtifact, { device, weights });
    expect(model.device.injected).toBe(true);
    await check(model, 3, 1);
    await model.close();
    expect(destroy).not.toHaveBeenCalled();
    const again = await createModel(handArtifact, { device, weights });
    await check(again, 3, 1);
    await again.close();
  });

  test('ends with the device: pending and later calls reject with SORA6101, `lost` settles', async () => {
    const { device } = await testDevice(firstGpuDevice ?? 'lavapipe');
    const model = await createModel(handArtifact, { device, weights });
    const running = model.call('apply', batch(1000).inputs);
    device.destroy();
    await expect(running).rejects.toEqual(coded('SORA6101'));
    await expect(model.lost).resolves.toEqual(coded('SORA6101'));
    await expect(model.call('apply', batch(1).inputs)).rejects.toEqual(coded('SORA6101'));
    await model.close();
    await expect(model.call('apply', batch(1).inputs)).rejects.toEqual(coded('SORA6002'));
  });

  test('cannot begin on a lost device', async () => {
    const { device } = await testDevice(firstGpuDevice ?? 'lavapipe');
    device.destroy();
    await expect(createModel(handArtifact, { device, weights })).rejects.toEqual(coded('SORA6101'));
  });

  test('an aborted call rejects with the reason and leaves the model usable', async () => {
    const model = await createModel(handArtifact, options);
    const controller = new AbortController();
    const running = model.call('apply', batch(1000).inputs, { signal: controller.signal });
    const reason = new Error('changed my mind');
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    await expect(model.call('apply', batch(1).inputs, { signal: controller.signal })).rejects.toBe(reason);
    await check(model, 7, 1);
    await model.close();
    expect(model.stats().buffers).toBe(0);
  });

  test('loading stops when it is aborted', async () => {
    const controller = new AbortController();
    const loading = createModel(handArtifact, {
      ...options,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('stop loading')),
    });
    await expect(loading).rejects.toThrow('stop loading');
  });

  test('tells its progress', async () => {
    const seen: number[] = [];
    const model = await createModel(handArtifact, {
      ...options,
      onProgress: ({ loaded, total }) => seen.push(loaded / total),
    });
    expect(seen.length).toBe(2);
    expect(seen.at(-1)).toBe(1);
    await model.close();
  });
});

describe.runIf(firstGpuDevice)('what cannot run', () => {
  const options: LoadOptions = { ...(firstGpuDevice ? { adapter: firstGpuDevice } : {}), weights };
  const changed = (change: (artifact: Artifact) => Partial<Artifact>): Artifact => ({
    ...handArtifact,
    ...change(handArtifact),
  });
  const affine = handArtifact.kernels.affine;
  const withAffine = (change: Partial<NonNullable<typeof affine>>): Artifact => {
    if (!affine) throw new Error('no kernel');
    return changed(({ kernels }) => ({ kernels: { ...kernels, affine: { ...affine, ...change } } }));
  };

  test('a kernel that is not WGSL is refused by name, with the line', async () => {
    const broken = withAffine({ code: `${affine?.code}\nfn broken() { let a: f32 = 1u; }\n` });
    await expect(createModel(broken, options)).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6006', message: expect.stringMatching(/kernel `affine`[\s\S]*\d+:\d+/) }),
    );
  });

  test('a kernel that binds more than it says is refused', async () => {
    await expect(createModel(withAffine({ bindings: 'rrrw' }), options)).rejects.toEqual(coded('SORA6006'));
  });

  test('a feature that no adapter has is named', async () => {
    await expect(createModel(withAffine({ features: ['time-travel'] }), options)).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6004', message: expect.stringContaining('time-travel') }),
    );
  });

  test('weights that are left out, missing or of another shape', async () => {
    const { weights: _, ...none } = options;
    await expect(createModel(handArtifact, none)).rejects.toEqual(coded('SORA7201'));
    await expect(createModel(handArtifact, { ...options, weights: encodeSafetensors([]) })).rejects.toEqual(
      coded('SORA7201'),
    );
    const wrong = encodeSafetensors([
      { name: 'table.first', shape: [3, 2], data: new Float32Array(6) },
      { name: 'table.second', shape: [3, 3], data: new Float32Array(9) },
      { name: 'bias', shape: [3], data: new Float32Array(3) },
    ]);
    await expect(createModel(handArtifact, { ...options, weights: wrong })).rejects.toEqual(coded('SORA7202'));
  });

  test('a weight beyond the binding limit is named, before anything is allocated', async () => {
    const rows = 2 ** 31;
    const huge = changed(({ weights: specs }) => ({
      weights: [{ sources: [], shape: [rows, 64], dtype: 'f32', layout: { kind: 'row-major' } }, ...specs.slice(1)],
    }));
    await expect(createModel(huge, options)).rejects.toEqual(coded('SORA6004'));
  });

  test('an input beyond the device is refused and the model goes on', async () => {
    const entry = handArtifact.entries[0];
    if (!entry) throw new Error('no entry');
    const plan = entry.plans.software;
    const buffers = plan.buffers.map((spec) =>
      spec.kind === 'scratch' ? { ...spec, bytes: ['max', 16, ['*', 2 ** 40, ['-', 'B', 3]]] as const } : spec,
    );
    const plans = { software: { ...plan, buffers }, gpu: { ...plan, buffers } };
    const model = await createModel({ ...handArtifact, entries: [{ ...entry, plans }] }, options);
    await expect(model.call('apply', batch(10).inputs)).rejects.toEqual(coded('SORA6004'));
    await check(model, 1, 1);
    await model.close();
    expect(model.stats().buffers).toBe(0);
  });

  test('a call of an entry that does not exist', async () => {
    const model = await createModel(handArtifact, options);
    await expect(model.call('applied', {})).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6011', message: '`Hand` has no entry `applied`, it has `apply`' }),
    );
    await model.close();
  });
});
