/**
 * Three programs that the language was made for: an encoder that can be trained, a decoder with a cache and 4-bit weights, a
 * pruned diffusion transformer. They are in the formatter's style and compile, up to what is not built yet.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { printType } from '../../../src/ir/types.ts';
import { formatSource } from '../../../src/parser/index.ts';
import { sourceFile } from '../../support/language.ts';
import { lowered } from './kit.ts';

const folder = new URL('../../golden/programs/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(`${name}.sora`, folder), 'utf8');

test.each(['bert-classifier', 'llama', 'dit'])('%s.sora is formatted', (name) => {
  const text = read(name);
  const { value, diagnostics } = formatSource(sourceFile(text));
  expect(diagnostics).toEqual([]);
  expect(value).toBe(text);
});

const signatures = (text: string, options = {}) =>
  lowered(text, options).entries.map(
    ({ name, parameters, results }) =>
      `${name}(${parameters.map((one) => printType(one.type)).join(', ')}) -> ${results.map((one) => printType(one.type)).join(', ')}`,
  );

describe('bert-classifier.sora', () => {
  test('compiles', () => {
    const text = read('bert-classifier');
    expect(signatures(text)).toEqual(['classify(i32[B, T], i32[B]) -> f32[B, 2]']);
    const paths = lowered(text).weights.map(({ path }) => path);
    expect(paths).toHaveLength(5 + 12 * 16 + 4);
    expect(paths).toContain('bert.encoder.layer.11.attention.output.LayerNorm.bias');
  });
});

describe('llama.sora', () => {
  const text = read('llama');

  test('compiles', () => {
    const config = { num_hidden_layers: 2 };
    expect(signatures(text, { config })).toEqual([
      // The last parameter is for sessions and hidden from callers.
      'prefill(i32[B, T], i32[B]) -> f32[B, 32000]',
      'decode(i32[B, 1], i32[B]) -> f32[B, 32000]',
    ]);
    const program = lowered(text, { config });
    const head = program.weights.find(({ path }) => path === 'lm_head.weight');
    expect(head?.tied).toBe('model.embed_tokens.weight');
    expect(program.states.map(({ path, dtype, width }) => `${path} ${dtype} ${width}`).slice(0, 2)).toEqual([
      'model.layers.0.kv.key f16 256',
      'model.layers.0.kv.value f16 256',
    ]);
  });
});

describe('dit.sora', () => {
  test('compiles', () => {
    expect(signatures(read('dit'))).toEqual(['denoise(f32[B, N, 384], f32[B, 384]) -> f32[B, N, 384]']);
  });
});
