/**
 * The grammar as data: chevrotain's serialized productions, reduced to five shapes. What gates decide (the line rule, words
 * that are names too) is not in them; grammar/sora.md tells it.
 */
import { theParser } from '../../src/parser/parser.ts';
import { tokenTypes } from '../../src/parser/tokens.ts';

export type Production =
  | { readonly kind: 'rule'; readonly name: string }
  /** Literal text of the language: a word or punctuation. */
  | { readonly kind: 'text'; readonly text: string }
  /** A class of tokens: `Identifier`, `BinaryOperator`. */
  | { readonly kind: 'token'; readonly name: string }
  | { readonly kind: 'sequence' | 'choice'; readonly items: readonly Production[] }
  | { readonly kind: 'optional' | 'many'; readonly item: Production };

export interface Rule {
  readonly name: string;
  readonly body: Production;
}

export interface TokenClass {
  readonly name: string;
  /** A pattern, for classes that are written; empty for classes of other tokens. */
  readonly pattern: string;
  readonly members: readonly string[];
}

interface Serialized {
  readonly type: string;
  readonly name?: string;
  readonly label?: string;
  readonly definition?: readonly Serialized[];
}

/** The text in backquotes of a token's label: `` `->` `` is literal, `a name` is a class. */
function literalOf(label: string | undefined): string | undefined {
  return /^`(.*)`$/.exec(label ?? '')?.[1];
}

function sequence(items: readonly Serialized[]): Production {
  const made = items.map(convert);
  const [only] = made;
  return made.length === 1 && only ? only : { kind: 'sequence', items: made };
}

function convert(node: Serialized): Production {
  const definition = node.definition ?? [];
  switch (node.type) {
    case 'NonTerminal':
      return { kind: 'rule', name: node.name ?? '' };
    case 'Terminal': {
      // The label of a category reads like literals ("`-` or `not`"), so only tokens with a pattern are texts.
      const literal = tokenClasses().some(({ name }) => name === node.name) ? undefined : literalOf(node.label);
      return literal === undefined ? { kind: 'token', name: node.name ?? '' } : { kind: 'text', text: literal };
    }
    case 'Alternative':
      return sequence(definition);
    case 'Alternation':
      return { kind: 'choice', items: definition.map(convert) };
    case 'Option':
      return { kind: 'optional', item: sequence(definition) };
    case 'Repetition':
      return { kind: 'many', item: sequence(definition) };
    default:
      throw new Error(`the grammar uses ${node.type}, which scripts/grammar does not know`);
  }
}

/** Classes of tokens that rules name, in the order of the token table. Malformed tokens are no part of the language. */
export function tokenClasses(): readonly TokenClass[] {
  const named = ['Identifier', 'StringLiteral', 'NumberLiteral', 'BinaryOperator', 'PrefixOperator'];
  return named.map((name) => {
    const type = tokenTypes.find((one) => one.name === name);
    if (type === undefined) throw new Error(`there is no token ${name}`);
    const members = tokenTypes
      .filter((one) => one.CATEGORIES?.includes(type))
      .flatMap((one) => literalOf(one.LABEL) ?? []);
    const pattern =
      type.PATTERN instanceof RegExp && type.PATTERN.source !== 'NOT_APPLICABLE' ? type.PATTERN.source : '';
    return { name, pattern, members };
  });
}

export function grammarRules(): readonly Rule[] {
  const serialized = theParser().getSerializedGastProductions() as readonly Serialized[];
  const rules = serialized.map((rule) => ({ name: rule.name ?? '', body: sequence(rule.definition ?? []) }));
  // The parser's class begins with what it inherits; a reader begins with a file.
  const start = rules.findIndex(({ name }) => name === 'sourceFile');
  return [...rules.slice(start), ...rules.slice(0, start)];
}
