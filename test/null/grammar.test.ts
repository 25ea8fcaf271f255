/**
 * The files of grammar/ that come from the code are those that the code gives, and they say what the code does.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { grammarFiles } from '../../scripts/grammar/index.ts';
import { grammarRules, type Production } from '../../scripts/grammar/productions.ts';
import { intrinsicNames } from '../../src/ir/lower/intrinsics.ts';
import { lex } from '../../src/parser/lex.ts';
import { tokenTable } from '../../src/parser/tokens.ts';
import { sourceFile } from '../support/language.ts';
import { samples } from './parser/samples.ts';

function read(name: string): string {
  return readFileSync(new URL(`../../grammar/${name}`, import.meta.url), 'utf8');
}

const files = grammarFiles(read('sora.md'));

test.each([...files.keys()])('grammar/%s is fresh', (name) => {
  expect(read(name), 'run `node scripts/make-grammar.mjs`').toBe(files.get(name));
});

describe('the reference', () => {
  test('says something about every built-in', () => {
    const rows = new Map(
      [...read('sora.md').matchAll(/^\| `(\w+)\([^`]*\)` \|[^|]*\| ([^|]*) \|$/gm)].map(([, name, text]) => [
        name,
        text,
      ]),
    );
    for (const name of intrinsicNames()) {
      expect(
        rows.get(name)?.trim().length ?? 0,
        `${name}: write its meaning in scripts/grammar/built-ins.ts`,
      ).toBeGreaterThan(5);
    }
  });
});

describe('the diagrams', () => {
  const page = read('railroad.html');

  function namesIn(production: Production): readonly string[] {
    if (production.kind === 'rule' || production.kind === 'token') return [production.name];
    if (production.kind === 'text') return [];
    return 'items' in production ? production.items.flatMap(namesIn) : namesIn(production.item);
  }

  test('draw every rule, and every link has a target', () => {
    for (const { name, body } of grammarRules()) {
      expect(page).toContain(`<section id="${name}">`);
      for (const target of namesIn(body)) expect(page).toContain(`<section id="${target}">`);
    }
  });

  test('need nothing from elsewhere and run nothing', () => {
    expect(page).not.toMatch(/https?:|<script|<link|@import|url\(/);
    expect(page).toContain("default-src 'none'");
  });
});

describe('the TextMate grammar', () => {
  interface Pattern {
    readonly name: string;
    readonly match?: string;
    readonly begin?: string;
    readonly end?: string;
  }
  const { patterns } = JSON.parse(read('sora.tmLanguage.json')) as { readonly patterns: readonly Pattern[] };
  const compiled = patterns.map(({ name, match, begin, end }) => ({
    name,
    pattern: new RegExp(match ?? `${begin}(?:\\\\.|[^"\\\\\\n])*(?:${end})`, 'my'),
  }));

  /** Scope by offset of every token, the way editors do it: at each place the first pattern that fits. */
  function highlight(text: string): ReadonlyMap<number, string> {
    const scopes = new Map<number, string>();
    for (let at = 0; at < text.length; ) {
      let length = 0;
      for (const { name, pattern } of compiled) {
        pattern.lastIndex = at;
        length = pattern.exec(text)?.[0].length ?? 0;
        if (length === 0) continue;
        scopes.set(at, name);
        break;
      }
      at += Math.max(length, 1);
    }
    return scopes;
  }

  test('gives every token of real text its scope', () => {
    const scopeOf = new Map(tokenTable.map(({ type, scope }) => [type, `${scope}.sora`]));
    for (const text of samples) {
      const scopes = highlight(text);
      const { tokens } = lex(sourceFile(text));
      expect(tokens.length).toBeGreaterThan(50);
      for (const token of tokens) {
        const wanted = scopeOf.get(token.tokenType);
        // A word of the language that is a name here, and a type, which is a name to the lexer.
        const allowed = [wanted, ...(wanted === 'keyword.other.sora' ? ['variable.other.sora'] : [])];
        if (wanted === 'variable.other.sora') allowed.push('storage.type.sora');
        expect(allowed, `\`${token.image}\` at ${token.startOffset}`).toContain(scopes.get(token.startOffset));
      }
    }
  });

  test('does not take a name for a keyword that begins it', () => {
    const scopes = highlight('lets model_x from: dim.y');
    expect([...scopes.values()].filter((scope) => scope.startsWith('keyword'))).toEqual([]);
  });
});
