/** Kernels whose packed weights lie in textures: the same text but for the lines that declare them. */
import { expect, test } from 'vitest';
import { wordTextures } from '../../../src/runtime/word-textures.ts';
import { decoderText } from '../../support/decoder.ts';
import { compiled } from '../../support/packed.ts';

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
