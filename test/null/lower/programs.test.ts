/**
 * Three programs that the language was made for: an encoder that can be trained, a decoder with a cache and 4-bit weights, a
 * pruned diffusion transformer. They are in the formatter's style and compile, up to what is not built yet.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { printType } from '../../../src/ir/types.ts';
import { formatSource } from '../../../src/parser/index.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';
import { lower, lowered } from './kit.ts';

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
  /** The lines of `attend` that nothing builds yet. */
  const later = /^ +rope: .*\n/gm;

  test('what is not built is refused, once each', () => {
    const { diagnostics } = lower(text);
    for (const { code } of diagnostics) expect(code).toBe('SORA5001');
    const lines = text.split('\n');
    const expected = [...text.matchAll(later)].map(([line]) => lines.indexOf(line.trimEnd()) + 1);
    expect(describeDiagnostics(diagnostics).map((line) => Number(line.split(':')[0]))).toEqual(expected);
  });

  test('compiles without them', () => {
    const config = { num_hidden_layers: 2 };
    expect(signatures(text.replaceAll(later, ''), { config })).toEqual([
      // The last parameter is for sessions and hidden from callers.
      'prefill(i32[B, T], i32[B]) -> f32[B, 32000]',
      'decode(i32[B, 1], i32[B]) -> f32[B, 32000]',
    ]);
    const head = lowered(text.replaceAll(later, ''), { config }).weights.find(({ path }) => path === 'lm_head.weight');
    expect(head?.tied).toBe('model.embed_tokens.weight');
  });
});

describe('dit.sora', () => {
  test('compiles', () => {
    expect(signatures(read('dit'))).toEqual(['denoise(f32[B, N, 384], f32[B, 384]) -> f32[B, N, 384]']);
  });
});
