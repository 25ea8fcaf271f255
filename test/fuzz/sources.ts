/**
 * Sources for fuzzing, by kind and seed. `bytes`: any characters, and bytes that are no UTF-8. `tokens`: one to four edits of a corpus
 * program by tokens, or its numbers by those at the edges of integers. `grammar`: random walks through the grammar. Valid models are random-model.ts.
 */
import { grammarRules, type Production, tokenClasses } from '../../scripts/grammar/productions.ts';
import { tokenTable } from '../../src/parser/tokens.ts';
import { randomNumbers } from '../support/equivalence.ts';
import { corpus, edges, identifiers, numbers, strings } from './corpus.ts';

export type TextKind = 'bytes' | 'tokens' | 'grammar';
export const textKinds: readonly TextKind[] = ['bytes', 'tokens', 'grammar'];

class Random {
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = randomNumbers(seed);
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.integer(items.length)] as Item;
  }
}

const pieces = corpus.map((text) => text.match(/\s+|"[^"\n]*"|\/\/.*|[A-Za-z_]\w*|[\d.]+|\W/g) ?? []);
const words: readonly string[] = [
  ...new Set([
    ...pieces.flat().filter((piece) => piece.trim() !== ''),
    ...tokenTable.map(({ label }) => label.replaceAll('`', '')).filter((label) => !label.startsWith('a')),
    ...numbers,
    ...edges,
    ...strings,
  ]),
];

/** Class of a piece: one of the same class in its place mostly keeps the syntax right, so that meanings are reached. */
function classOf(piece: string): string {
  if (/^\s/.test(piece)) return 'blank';
  if (/^[A-Za-z_]/.test(piece)) return 'word';
  if (/^\d/.test(piece)) return 'number';
  if (/^["]/.test(piece)) return 'string';
  return /^[-+*/%<>=]$/.test(piece) ? 'operator' : 'mark';
}

const byClass = new Map<string, readonly string[]>();
for (const piece of [...pieces.flat(), ...numbers, ...edges, ...strings]) {
  byClass.set(classOf(piece), [...(byClass.get(classOf(piece)) ?? []), piece]);
}

/** One or two numbers, sizes of states and positions among them, become numbers at an edge. */
function editNumbers(random: Random, tokens: string[]): string {
  const places = tokens.flatMap((piece, at) => (/^\d+$/.test(piece) ? [at] : []));
  for (let edits = 1 + random.integer(2); edits > 0 && places.length > 0; edits--)
    tokens[random.pick(places)] = random.pick(edges);
  return tokens.join('');
}

function editTokens(random: Random): string {
  const tokens = [...random.pick(pieces)];
  if (random.integer(5) === 0) return editNumbers(random, tokens);
  const at = (): number => random.integer(tokens.length);
  for (let edits = 1 + random.integer(4); edits > 0; edits--) {
    const kind = random.integer(14);
    if (kind >= 6) {
      const place = at();
      tokens[place] = random.pick(byClass.get(classOf(tokens[place] ?? '')) ?? ['x']);
      continue;
    }
    const from = at();
    if (kind === 0) tokens.splice(from, 1);
    else if (kind === 1) tokens.splice(from, 0, tokens[at()] ?? '');
    else if (kind === 2) tokens[from] = tokens[at()] ?? '';
    else if (kind === 3) tokens[from] = ` ${random.pick(words)} `;
    else if (kind === 4) tokens.splice(from, 1 + random.integer(8));
    else tokens.splice(from, 0, ...random.pick(pieces).slice(0, 1 + random.integer(12)));
  }
  return tokens.join('');
}

const alphabet = [...'{}()[].,:=-<>*+/%"\'\\ \n\t\rabmfxTB0123_;#@é\u202e\u2028\ufeff\u{1F600}\0\ud800'];

function anyCharacters(random: Random): string {
  const kind = random.integer(3);
  if (kind === 0) {
    const bytes = Uint8Array.from({ length: random.integer(120) }, () => random.integer(256));
    return new TextDecoder().decode(bytes);
  }
  if (kind === 1) return Array.from({ length: random.integer(160) }, () => random.pick(alphabet)).join('');
  // Real text with a few characters changed.
  const text = [...random.pick(corpus)];
  for (let edits = 1 + random.integer(5); edits > 0; edits--) {
    text.splice(random.integer(text.length), random.integer(3), random.pick(alphabet));
  }
  return text.join('');
}

const rules = new Map(grammarRules().map(({ name, body }) => [name, body]));
const operators = new Map(tokenClasses().map(({ name, members }) => [name, members]));
const startRules = ['dimDeclaration', 'configDeclaration', 'moduleDeclaration', 'functionDeclaration', 'sourceFile'];

/** A random sentence of a production; `depth` goes down to 0, where only the shortest way is taken. */
function sentence(random: Random, production: Production, depth: number): string {
  switch (production.kind) {
    case 'text':
      return production.text;
    case 'token':
      if (production.name === 'Identifier') return random.pick(identifiers);
      if (production.name === 'NumberLiteral') return random.pick(random.integer(3) === 0 ? edges : numbers);
      if (production.name === 'StringLiteral') return random.pick(strings);
      return random.pick(operators.get(production.name) ?? ['+']);
    case 'rule': {
      const body = rules.get(production.name);
      return body === undefined || depth <= 0 ? random.pick(['x', '1', 'T']) : sentence(random, body, depth - 1);
    }
    case 'sequence':
      return production.items.map((item) => sentence(random, item, depth)).join(random.integer(12) === 0 ? '\n' : ' ');
    case 'choice':
      return sentence(random, random.pick(production.items), depth);
    case 'optional':
      return depth > 0 && random.integer(2) === 0 ? sentence(random, production.item, depth - 1) : '';
    case 'many': {
      const count = depth > 0 ? random.integer(4) : 0;
      // Most lists need commas that the grammar does not ask for.
      const comma = random.integer(3) === 0 ? '' : ',';
      const items = Array.from({ length: count }, () => sentence(random, production.item, depth - 1).trim());
      return items.map((item) => (item.endsWith(',') ? item : `${item}${comma}`)).join(comma === '' ? '\n' : ' ');
    }
  }
}

function grammarMade(random: Random): string {
  const parts = Array.from({ length: 1 + random.integer(3) }, () => {
    const rule: Production = { kind: 'rule', name: random.pick(startRules) };
    return sentence(random, rule, 4 + random.integer(8));
  });
  // Half stand beside a whole program, so that their meaning is looked at too.
  if (random.integer(2) === 0) parts.push(random.pick(corpus));
  return parts.join('\n').slice(0, 2000);
}

export function randomSource(kind: TextKind, seed: number): string {
  const random = new Random(seed);
  if (kind === 'bytes') return anyCharacters(random);
  return kind === 'tokens' ? editTokens(random) : grammarMade(random);
}
