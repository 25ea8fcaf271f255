/**
 * grammar/sora.tmLanguage.json: highlighting for editors, from the token table. One pattern per scope and kind, in the order in
 * which the lexer tries them.
 */
import { dtypes } from '../../src/ir/types.ts';
import { Identifier, reservedTypes, type TokenInfo, tokenTable } from '../../src/parser/tokens.ts';

interface Pattern {
  readonly name: string;
  readonly match?: string;
  readonly begin?: string;
  readonly end?: string;
  readonly patterns?: readonly Pattern[];
}

const scalarTypes = ['int', 'float', 'bool', 'string'];

function sourceOf({ type }: TokenInfo): string {
  const { PATTERN } = type;
  if (PATTERN instanceof RegExp) return PATTERN.source;
  return String(PATTERN).replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function isWord({ type }: TokenInfo): boolean {
  return typeof type.PATTERN === 'string' && /^\w+$/.test(type.PATTERN);
}

function words(infos: readonly TokenInfo[]): string {
  return infos.map(sourceOf).join('|');
}

export function textMate(): string {
  const keywords = tokenTable.filter(isWord);
  const reserved = keywords.filter(({ type }) => reservedTypes.has(type));
  const contextual = keywords.filter(({ type }) => !reservedTypes.has(type));
  const patterns: Pattern[] = [];
  let isBeforeWords = true;
  for (const info of tokenTable) {
    if (isWord(info)) {
      if (isBeforeWords) {
        patterns.push(
          { name: `${reserved[0]?.scope}.sora`, match: `\\b(?:${words(reserved)})\\b` },
          { name: 'storage.type.sora', match: `\\b(?:${[...new Set([...dtypes, ...scalarTypes])].join('|')})\\b` },
          // These words are names too: before what follows a name they are not highlighted.
          { name: `${contextual[0]?.scope}.sora`, match: `\\b(?:${words(contextual)})\\b(?!\\s*[:=.,)\\]])` },
        );
        isBeforeWords = false;
      }
      continue;
    }
    // The lexer tries names after all words.
    if (info.type === Identifier) continue;
    if (info.scope === 'string.quoted.double') {
      const escaped: Pattern = {
        name: 'constant.character.escape.sora',
        match: '\\\\(?:[nt"\\\\]|u\\{[0-9A-Fa-f]{1,6}\\})',
      };
      patterns.push({ name: `${info.scope}.sora`, begin: '"', end: '"|$', patterns: [escaped] });
      continue;
    }
    // A string without end is a string here while it is typed.
    if (info.scope === 'invalid' && sourceOf(info).startsWith('"')) continue;
    patterns.push({ name: `${info.scope}${info.scope === 'invalid' ? '.illegal' : ''}.sora`, match: sourceOf(info) });
  }
  const names = tokenTable.find(({ type }) => type === Identifier);
  if (names) patterns.push({ name: `${names.scope}.sora`, match: sourceOf(names) });
  const grammar = {
    $comment: 'Made by scripts/make-grammar.mjs from src/parser/tokens.ts. Do not edit.',
    name: 'sora',
    scopeName: 'source.sora',
    fileTypes: ['sora'],
    patterns,
  };
  return `${JSON.stringify(grammar, null, 2)}\n`;
}
