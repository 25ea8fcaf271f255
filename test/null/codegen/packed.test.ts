/**
 * Kernels that read packed weights: products scale sums, and nothing anywhere is a dequantized copy.
 */
import { describe, expect, test } from 'vitest';
import { profileNames } from '../../../src/ir/target.ts';
import { decoderText } from '../../support/decoder.ts';
import { compiled, matrixText } from '../../support/packed.ts';

describe.each(['int8', 'int4(group: 8)', 'int4(group: 8, symmetric: false)'])('a decoder in %s', (format) => {
  const { artifact } = compiled(`${decoderText}quantize Decoder { "**": ${format} }\n`);

  test('every product with a weight scales its sums', () => {
    for (const profile of profileNames) {
      const used = new Set(artifact.entries.flatMap(({ plans }) => plans[profile].steps.map(({ kernel }) => kernel)));
      const products = [...used].filter((name) => {
        const code = artifact.kernels[name]?.code ?? '';
        return name.includes('matmul') && code.includes('read> weight: array<vec4<u32>>');
      });
      expect(products.length).toBeGreaterThan(2);
      for (const name of products) {
        const code = artifact.kernels[name]?.code ?? '';
        // Tiles in workgroup memory copy numbers as they are needed, scaled.
        const isStaged = code.includes('right_tile');
        expect(code.includes('words_at_0') !== isStaged, name).toBe(true);
      }
    }
  });

  test('query, key and value are one matrix, up and down stay', () => {
    const packed = artifact.weights.filter(({ layout }) => layout.kind === 'packed');
    expect(packed.filter(({ sources }) => sources.length === 3)).toHaveLength(2);
    expect(packed).toHaveLength(3 + 2 * 4);
  });

  test('no memory is as large as a weight', () => {
    const words = artifact.weights.reduce(
      (most, { layout }) => Math.max(most, layout.kind === 'packed' ? layout.words : 0),
      0,
    );
    for (const { plans, name } of artifact.entries.filter((entry) => entry.name === 'decode')) {
      for (const profile of profileNames) {
        for (const spec of plans[profile].buffers) {
          if (spec.kind === 'scratch' && typeof spec.bytes === 'number') expect(spec.bytes, name).toBeLessThan(words);
        }
      }
    }
  });
});

test('weights of different formats stay apart', () => {
  const rules = '"**.q.weight": int8\n"**.k.weight", "**.v.weight": int4(group: 8)';
  const { artifact } = compiled(`${decoderText}quantize Decoder {\n${rules}\n}\n`);
  const names = artifact.weights.map(({ sources }) => sources.map(({ path }) => path.split('.').at(-2)).join('+'));
  expect(names.filter((name) => name === 'k+v')).toHaveLength(2);
  expect(names.filter((name) => name === 'q')).toHaveLength(2);
});

test('the program of the artifact says the formats', () => {
  const { program } = compiled(matrixText(8, 16, 'int4(group: 8, symmetric: false)')).artifact;
  expect(program).toContain('weight "w" : f32[8, 16] format int4 group 8 asymmetric\n');
  expect(program).toContain('weight "t" : f32[16, 8] format int4 group 8 asymmetric transposed\n');
});
