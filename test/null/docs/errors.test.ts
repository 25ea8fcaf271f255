/**
 * The pages of `sorac explain`: one for each code, its wrong program wrong in just that way, its right program right.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from '../../../src/parser/index.ts';
import { type Code, codes } from '../../../src/support/codes.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';
import { lower, through } from '../lower/kit.ts';

const folder = new URL('../../../docs/errors/', import.meta.url);
const pages = readdirSync(folder).filter((name) => name.endsWith('.md'));
const all = Object.keys(codes) as Code[];

/** Codes 1xxx to 5xxx are about sources; 4xxx is about what the compiler makes of them. */
const isAboutSources = (code: string): boolean => /^SORA[1235]/.test(code);

function blocks(text: string, kind: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${kind}\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, body = '']) => body);
}

test('every code has a page and every page a code', () => {
  expect(pages.sort()).toEqual(all.map((code) => `${code}.md`).sort());
});

describe.each(all)('%s', (code) => {
  const text = readFileSync(new URL(`${code}.md`, folder), 'utf8');

  test('begins with its title and says something', () => {
    expect(text.startsWith(`# ${code}: ${codes[code].title}\n\n`)).toBe(true);
    expect(text.split('\n')[2]?.length).toBeGreaterThan(20);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(150);
  });

  if (!isAboutSources(code)) {
    test('shows a command', () => {
      expect(blocks(text, 'sh').join()).toMatch(/^(?:sorac|node) /);
      expect(blocks(text, 'sora wrong')).toEqual([]);
    });
    return;
  }

  test('its wrong program has this mistake and no other', () => {
    const [wrong = '', ...others] = blocks(text, 'sora wrong');
    expect(others).toEqual([]);
    const { diagnostics } = through(wrong);
    expect(
      diagnostics.map((each) => each.code),
      describeDiagnostics(diagnostics).join('\n'),
    ).toEqual([code]);
  });

  test('its right program has none', () => {
    const [right = '', ...others] = blocks(text, 'sora right');
    expect(others).toEqual([]);
    expect(describeDiagnostics(lower(right).diagnostics)).toEqual([]);
    expect(parse(sourceFile(right)).value.declarations.length).toBeGreaterThan(0);
  });
});
