/** Kernels whose packed weights lie in textures: the same text but for the lines that declare them. */
import { expect, test } from 'vitest';
import { wordTextures, wordTexturesFor } from '../../../src/runtime/word-textures.ts';
import { decoderText } from '../../support/decoder.ts';
import { compiled, matrixText } from '../../support/packed.ts';

test.each(['int8', 'int4(group: 8, symmetric: false)'])('every kernel that reads words in %s', (format) => {
  const { artifact } = compiled(`${decoderText}quantize Decoder { "**": ${format} }\n`);
  const kernels = Object.values(artifact.kernels);
  const reading = kernels.filter(({ bindings }) => bindings.includes('p'));
  // Products of both profiles, for one row, few and many, and the lookup of the embedding.
  expect(reading.length).toBeGreaterThan(10);
  for (const { code, bindings } of kernels) {
    const text = wordTextures.declare(code);
    const places = [...bindings].flatMap((access, at) => (access === 'p' ? [at] : []));
    expect([...text.matchAll(/@binding\((\d+)\) var \w+: texture_storage_2d/g)].map(([, at]) => Number(at))).toEqual(
      places,
    );
    expect(text.includes('array<vec4<u32>>')).toBe(false);
    // Two lines for each.
    const lines = code.split('\n');
    expect(text.split('\n').filter((line, at) => line !== lines[at])).toHaveLength(2 * places.length);
  }
});

test('only for kernels and weights that fit, and where they are quicker', () => {
  const { artifact } = compiled(matrixText(33, 64, 'int8'));
  const plans = artifact.entries.map((entry) => entry.plans.software);
  const limits = { maxStorageTexturesPerShaderStage: 4, maxTextureDimension2D: 8192 };
  const found = (kind: 'lavapipe' | 'swiftshader' | 'gpu', given: Partial<typeof limits> = {}) =>
    wordTexturesFor({ limits: { ...limits, ...given } } as unknown as GPUDevice, kind, artifact, plans);
  expect(found('lavapipe')).toBe(wordTextures);
  expect([found('swiftshader'), found('gpu')]).toEqual([undefined, undefined]);
  // One entry reads both weights in one kernel.
  expect(found('lavapipe', { maxStorageTexturesPerShaderStage: 2 })).toBe(wordTextures);
  expect(found('lavapipe', { maxStorageTexturesPerShaderStage: 1 })).toBeUndefined();
  expect(found('lavapipe', { maxTextureDimension2D: 0 })).toBeUndefined();
});
