/**
 * Broken text of every kind: the parser never throws, its places lie in the file, and its effort stays bounded.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parse } from '../../../src/parser/index.ts';
import { lex } from '../../../src/parser/lex.ts';
import { tokenTable } from '../../../src/parser/tokens.ts';
import { limits } from '../../../src/support/limits.ts';
import { renderDiagnostics } from '../../../src/support/render.ts';
import { sourceFile } from '../../support/language.ts';
import { samples } from './samples.ts';

const seed = 20262;

function check(text: string): void {
  const file = sourceFile(text);
  const { value, diagnostics } = parse(file);
  for (const { span, labels } of diagnostics) {
    for (const place of [span, ...labels.map((label) => label.span)]) {
      expect(place.file).toBe(file);
      expect(Number.isSafeInteger(place.start) && Number.isSafeInteger(place.end), text).toBe(true);
      expect(place.start >= 0 && place.start <= place.end && place.end <= text.length, text).toBe(true);
    }
  }
  JSON.stringify(value, (key, part: unknown) => {
    if (key === 'span') {
      const { start, end } = part as { start: number; end: number };
      expect(start >= 0 && start <= end && end <= text.length, text).toBe(true);
    }
    return key === 'file' ? undefined : part;
  });
  renderDiagnostics(diagnostics, { format: 'pretty', color: false });
}

test('tokens removed, doubled, swapped and put in', () => {
  const words = [...tokenTable.map(({ label }) => label.replaceAll('`', '')), '"s"', '1', '\n', '"', "'", ';'];
  const edit = fc.record({ at: fc.nat(1000), kind: fc.integer({ min: 0, max: 3 }), word: fc.constantFrom(...words) });
  for (const sample of samples) {
    const { tokens } = lex(sourceFile(sample));
    const pieces = tokens.map((token, index) =>
      sample.slice(tokens[index - 1]?.endOffset ?? -1, (token.endOffset ?? 0) + 1).slice(index === 0 ? 1 : 1),
    );
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const changed = [...pieces];
        for (const { at, kind, word } of edits) {
          const index = at % changed.length;
          if (kind === 0) changed.splice(index, 1);
          else if (kind === 1) changed.splice(index, 0, changed[index] ?? '');
          else if (kind === 2) changed.splice(index, 2, changed[index + 1] ?? '', changed[index] ?? '');
          else changed.splice(index, 0, ` ${word} `);
        }
        check(changed.join(''));
      }),
      { seed, numRuns: 60 },
    );
  }
});

test('any characters at all', () => {
  const character = fc.constantFrom(...'{}()[].,:=-<>*"\'\\/ \n\t\rabmoduleifnt0123u;é\u202e\u{1F600}\0');
  fc.assert(
    fc.property(fc.array(character, { maxLength: 60 }), (characters) => check(characters.join(''))),
    { seed, numRuns: 500 },
  );
});

test.each([
  ['open at line ends', '(a\n'],
  ['open', '['],
  ['closed', ')'],
  ['crossed', '(]{)['],
  ['open then closed', '{ ( }\n'],
])('very many brackets: %s', (_name, text) => {
  const start = performance.now();
  const { diagnostics } = parse(sourceFile(text.repeat(100_000)));
  expect(diagnostics.length).toBeGreaterThan(0);
  expect(diagnostics.length).toBeLessThanOrEqual(limits.syntaxErrors);
  expect(performance.now() - start).toBeLessThan(20_000);
});

test('a long file with a mistake on every line takes linear time and gives a bounded list', () => {
  const text = `module M(c: C) {\n${'  q Linear(c.h)\n  w: f32[,]\n  fn (x: f32) { let a = }\n'.repeat(1_000)}}\n`;
  const start = performance.now();
  const { diagnostics } = parse(sourceFile(text));
  expect(diagnostics.length).toBeGreaterThan(limits.syntaxErrors / 2);
  expect(diagnostics.length).toBeLessThanOrEqual(limits.syntaxErrors);
  // 3 000 lines take about half a second; quadratic effort would take minutes.
  expect(performance.now() - start).toBeLessThan(20_000);
});
