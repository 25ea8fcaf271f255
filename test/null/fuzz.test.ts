/**
 * A short fuzzing run with fixed seeds, and every finding of longer ones. Longer: `npm run fuzz` (docs/fuzzing.md).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { caseSeed, type Kind, newFigures, runCase } from '../fuzz/campaign.ts';
import { checkText } from '../fuzz/oracles.ts';
import { randomModel } from '../fuzz/random-model.ts';
import { textKinds } from '../fuzz/sources.ts';

function run(kind: Kind, seed: number, count: number) {
  const figures = newFigures();
  for (let index = 0; index < count; index++) {
    const failure = runCase(kind, caseSeed(seed, index), figures);
    if (failure) throw new Error(`--replay ${kind}:${failure.seed}\n${failure.message}\n${failure.source}`);
  }
  return figures;
}

test.each(textKinds)('random sources give diagnostics only: %s', (kind) => {
  const { parses, checks } = run(kind, 7, 700);
  // A generator whose texts never mean anything tests only the lexer.
  if (kind === 'tokens') expect(Math.min(parses, checks)).toBeGreaterThan(30);
});

describe('random valid models', () => {
  test('compile without a word and compute the same at every stage', () => {
    run('valid', 7, 40);
  });

  test('reach what the language has', () => {
    const seen = new Map<string, number>();
    const words = ['attend', 'Linear', 'LayerNorm', 'repeat', 'split', 'concat', 'matmul', 'softmax', 'where', 'iota'];
    words.push(
      'Embedding',
      'transpose',
      'reshape',
      'kv_heads',
      'causal',
      'padding',
      'new]',
      'sum(',
      'amax(',
      'rms_norm',
      'if ',
    );
    const models = Array.from({ length: 400 }, (_, seed) => randomModel(seed).source);
    words.push('rearrange', 'einsum', 'axis: T');
    for (const word of words) seen.set(word, models.filter((text) => text.includes(word)).length);
    for (const [word, count] of seen) expect(count, word).toBeGreaterThan(8);
  });

  test('are the same for a seed', () => {
    expect(randomModel(12)).toEqual(randomModel(12));
    expect(randomModel(12).source).not.toBe(randomModel(13).source);
  });
});

describe('findings of fuzzing', () => {
  const folder = new URL('../fuzz/regressions/', import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith('.sora'));

  test.each(names)('%s', (name) => {
    checkText(readFileSync(new URL(name, folder), 'utf8'), true);
  });
});
