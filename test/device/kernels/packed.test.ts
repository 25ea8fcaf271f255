/**
 * Weights of number formats: kernels of both profiles on every adapter against the interpreter, which is given the dequantized
 * numbers. What is left is rounding: f32 sums in another order.
 */
import { describe, expect, test, vi } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { decoderText } from '../../support/decoder.ts';
import { gpuDevices, type TestDevice, testDevice } from '../../support/devices.ts';
import { compiled, matrixText, randomCheckpoint, withProfile } from '../../support/packed.ts';
import { callsOf, distance, placesOf, resultsOf } from '../../support/packed-calls.ts';

/** Ends of panels, of words, of groups; sums that words do not divide are read element by element. */
const cases: readonly (readonly [outputs: number, inputs: number, format: string])[] = [
  [1, 1, 'int8'],
  [7, 33, 'int8'],
  [33, 64, 'int8'],
  [129, 132, 'int8(group: 33)'],
  [31, 128, 'int8(group: 64)'],
  [129, 36, 'int4'],
  [13, 129, 'int4'],
  [160, 96, 'int4(group: 32)'],
  [5, 256, 'int4(group: 128, symmetric: false)'],
  [34, 72, 'int4(group: 24, symmetric: false)'],
  // Words in runs, in panels of several vectors.
  [290, 64, 'int8'],
  [260, 96, 'int8(group: 32)'],
  [300, 160, 'int4(group: 32)'],
  [97, 64, 'int4(group: 64, symmetric: false)'],
  [40, 66, 'f16'],
];

describe.each(cases.map((one, at) => [...one, at] as const))('[%i, %i] in %s', (outputs, inputs, format, at) => {
  const { artifact } = compiled(matrixText(outputs, inputs, format));
  const weights = randomCheckpoint(artifact);
  const calls = callsOf(outputs, inputs);
  const wanted = resultsOf(artifact, weights, 'cpu', calls);

  test.each(placesOf(at))('%s, %s', { timeout: 240_000 }, async (device, profile) => {
    const results = await resultsOf(withProfile(artifact, profile), weights, device, calls);
    for (const [call, want] of (await wanted).entries()) {
      // Sums of up to 256 products round in another order; lookups are exact.
      const [entry = ''] = calls[call] ?? [];
      const tolerance = entry === 'product' || entry === 'turned' ? 2e-6 : 0;
      expect(distance(results[call] ?? [], want), `${entry}, call ${call}`).toBeLessThanOrEqual(tolerance);
    }
  });
});

test.each(gpuDevices)('lie in textures on lavapipe alone: %s', async (kind) => {
  const { artifact } = compiled(matrixText(33, 64, 'int8'));
  const { device } = await testDevice(kind);
  const textures = vi.spyOn(device, 'createTexture');
  const model = await createModel(artifact, { weights: randomCheckpoint(artifact), device });
  expect(textures).toHaveBeenCalledTimes(kind === 'lavapipe' ? artifact.weights.length : 0);
  const { buffers, bytes } = model.stats();
  expect(buffers).toBe(artifact.weights.length);
  expect(bytes).toBeGreaterThanOrEqual(33 * 64 * artifact.weights.length);
  await model.close();
  expect(model.stats().buffers).toBe(0);
});

describe.each(['int8', 'int4(group: 8, symmetric: false)'])('a decoder in %s', (format) => {
  // Query, key and value are one matrix; `head` is the table where a file has none.
  const text = decoderText.replace('bias: false)\n\n  ///', 'bias: false) tied embed.weight if missing\n\n  ///');
  const { artifact } = compiled(`${text}quantize Decoder { "**": ${format} }\n`);
  const weights = randomCheckpoint(artifact);

  async function logitsOf(adapter: TestDevice): Promise<readonly ArrayLike<number>[]> {
    const model = await createModel(artifact, { weights, adapter });
    const session = model.session();
    const ids = (...data: number[]) => ({ ids: { data: Int32Array.from(data), shape: [1, data.length] } });
    const all = [await session.call('prefill', ids(3, 1, 4, 1, 5)), await session.call('decode', ids(9))];
    await model.close();
    return all.map((results) => results.logits?.data ?? []);
  }

  test.each(format === 'int8' ? gpuDevices : gpuDevices.slice(0, 1))('%s', { timeout: 240_000 }, async (device) => {
    const wanted = await logitsOf('cpu');
    for (const [at, logits] of (await logitsOf(device)).entries()) {
      // Two layers of norms and softmax.
      expect(distance(logits, wanted[at] ?? [])).toBeLessThanOrEqual(2e-5);
    }
  });

  test('a tied table is one buffer, and weights take what the format says', async () => {
    const [device] = gpuDevices;
    if (!device) return;
    const sizes = new Map<string, number>();
    for (const [name, block] of [
      ['packed', `quantize Decoder { "**": ${format} }\n`],
      ['plain', ''],
    ] as const) {
      const own = compiled(`${text}${block}`).artifact;
      let total = 0;
      const onProgress = (progress: { readonly total: number }) => {
        total = progress.total;
      };
      const model = await createModel(own, { weights: randomCheckpoint(own), adapter: device, onProgress });
      await model.close();
      sizes.set(name, total);
    }
    // Matrices of width 24 are padded to 32, and the norms stay f32.
    expect((sizes.get('packed') ?? 0) / (sizes.get('plain') ?? 1)).toBeLessThan(format === 'int8' ? 0.5 : 0.45);
  });
});
