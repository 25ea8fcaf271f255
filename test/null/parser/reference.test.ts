/**
 * The language reference cannot lie: its examples parse, its tables agree with the code.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { formatSource, parse } from '../../../src/parser/index.ts';
import { reservedTypes, tokenTable } from '../../../src/parser/tokens.ts';
import { limits } from '../../../src/support/limits.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';

const reference = readFileSync(new URL('../../../grammar/sora.md', import.meta.url), 'utf8');

function examples(language: string): string[] {
  return [...reference.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    (match) => match[1] ?? '',
  );
}

describe('grammar/sora.md', () => {
  test.each(examples('sora'))('example %#: parses and is in the style of the formatter', (text) => {
    expect(describeDiagnostics(parse(sourceFile(text)).diagnostics), text).toEqual([]);
    expect(formatSource(sourceFile(text)).value).toBe(text);
  });

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

  test('names every limit', () => {
    const numbers = [...reference.matchAll(/\| ([\d ]+) \|$/gm)].map((match) => Number(match[1]?.replaceAll(' ', '')));
    expect(numbers).toEqual([
      limits.sourceLength,
      limits.nesting,
      limits.expressionDepth,
      limits.identifierLength,
      limits.importDepth,
      limits.files,
    ]);
  });
});
