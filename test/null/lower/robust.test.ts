/**
 * Whatever the text, lowering answers with diagnostics: it never throws and never runs away. Random edits of real and of
 * wrong models; the seed of a failure is in its message.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { randomNumbers } from '../../support/equivalence.ts';
import { lower } from './kit.ts';

const root = new URL('../../../', import.meta.url);
const folder = new URL('test/golden/diagnostics/', root);
const reference = readFileSync(new URL('grammar/sora.md', root), 'utf8');
const programs = new URL('test/golden/programs/', root);
const encoder = readFileSync(new URL('models/bert/encoder.sora', root), 'utf8');
const sources = [
  readFileSync(new URL('models/bert/question-answering.sora', root), 'utf8'),
  `${encoder}\ndim N in 1..4\nmodel M(c: Bert) { e = Encoder(c) entry f(ids: i32[N, 8]) -> y: f32[N, 8, c.hidden] { e(ids, ids, 0) } }\n`,
  ...[...reference.matchAll(/^```sora full\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? ''),
  ...['bert-classifier', 'llama', 'dit'].map((name) => readFileSync(new URL(`${name}.sora`, programs), 'utf8')),
  ...readdirSync(folder)
    .filter((name) => name.endsWith('.sora'))
    .map((name) => readFileSync(new URL(name, folder), 'utf8')),
];
const words = [...new Set(sources.flatMap((text) => text.match(/[A-Za-z_]\w*|\d+|[^\s\w]/g) ?? []))];
// Small sizes: what is tested is the walk, not the expansion.
const config = { num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, intermediate_size: 8 };

/** One to three tokens dropped, doubled, swapped or replaced by another word of the corpus. */
function mutate(text: string, next: () => number): string {
  const tokens = text.split(/(\s+|[A-Za-z_]\w*|\d+)/).filter((token) => token !== '');
  const pick = (): number => Math.floor(next() * tokens.length);
  for (let edits = 1 + Math.floor(next() * 3); edits > 0; edits--) {
    const at = pick();
    const kind = Math.floor(next() * 4);
    if (kind === 0) tokens.splice(at, 1);
    else if (kind === 1) tokens.splice(at, 0, tokens[pick()] ?? '');
    else tokens[at] = kind === 2 ? (tokens[pick()] ?? '') : (words[Math.floor(next() * words.length)] ?? '');
  }
  return tokens.join('');
}

test('random edits give diagnostics or a program that verifies', () => {
  const rounds = Number(process.env.SORAC_FUZZ_ROUNDS ?? 300);
  const first = Number(process.env.SORAC_FUZZ_SEED ?? 1);
  for (let seed = first; seed < first + rounds; seed++) {
    const next = randomNumbers(seed);
    const text = mutate(sources[Math.floor(next() * sources.length)] ?? '', next);
    const files = { 'encoder.sora': encoder };
    let outcome: ReturnType<typeof lower>;
    try {
      outcome = lower(text, { files, config });
    } catch (error) {
      throw new Error(`seed ${seed} throws: ${error instanceof Error ? error.stack : error}\n${text}`);
    }
    const { value, diagnostics } = outcome;
    if (value === undefined)
      expect(
        diagnostics.some(({ severity }) => severity === 'error'),
        `seed ${seed}\n${text}`,
      ).toBe(true);
    else expect(verifyProgram(value, { stage: 'model' }), `seed ${seed}\n${text}`).toEqual([]);
  }
});
