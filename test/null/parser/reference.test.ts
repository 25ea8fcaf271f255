/**
 * The language reference cannot lie: its examples parse, its tables agree with the code.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { formatSource, parse } from '../../../src/parser/index.ts';
import { reservedTypes, tokenTable } from '../../../src/parser/tokens.ts';
import { renderDiagnostics } from '../../../src/support/render.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';
import { lower, lowered } from '../lower/kit.ts';

const reference = readFileSync(new URL('../../../grammar/sora.md', import.meta.url), 'utf8');

function examples(language: string): string[] {
  return [...reference.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    (match) => match[1] ?? '',
  );
}

describe('grammar/sora.md', () => {
  test.each([...examples('sora'), ...examples('sora full')])(
    'example %#: parses and is in the style of the formatter',
    (text) => {
      expect(describeDiagnostics(parse(sourceFile(text)).diagnostics), text).toEqual([]);
      expect(formatSource(sourceFile(text)).value).toBe(text);
    },
  );

  test('wrong examples are refused with one message', () => {
    const wrong = examples('sora-wrong');
    expect(wrong.length).toBeGreaterThan(0);
    for (const text of wrong) expect(parse(sourceFile(text)).diagnostics).toHaveLength(1);
  });

  test('names every reserved word', () => {
    const sentence = /These words are never names: `([^`]*)`/.exec(reference)?.[1];
    const words = tokenTable
      .filter(({ type }) => reservedTypes.has(type))
      .map(({ label }) => label.replaceAll('`', ''));
    expect(sentence?.split(/\s+/).sort()).toEqual(words.sort());
  });

  test.each(examples('sora full'))('whole file %#: compiles without a word', (text) => {
    expect(lowered(text).entries.length).toBeGreaterThan(0);
  });

  test('a message is what is printed', () => {
    const shown = [...reference.matchAll(/^```sora refused\n([\s\S]*?)^```\n\n```text\n([\s\S]*?)^```$/gm)];
    expect(shown.length).toBeGreaterThan(0);
    for (const [, text = '', message] of shown) {
      const { diagnostics } = lower(text, {}, 'scorer.sora');
      expect(renderDiagnostics(diagnostics, { format: 'pretty', color: false })).toBe(message);
    }
  });

  test('leads from a first model to a classifier', () => {
    const whole = examples('sora full');
    expect(whole.length).toBeGreaterThan(5);
    expect(whole[0]?.split('\n').length).toBeLessThan(20);
    const paths = lowered(whole.at(-1) ?? '').weights.map(({ path }) => path);
    expect(paths).toContain('bert.encoder.layer.11.attention.self.query.weight');
  });
});
