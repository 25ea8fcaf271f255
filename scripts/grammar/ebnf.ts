/**
 * grammar/sora.ebnf: the productions in the notation of W3C specifications.
 */
import { grammarRules, type Production, tokenClasses } from './productions.ts';

const head = `/* Made by scripts/make-grammar.mjs from src/parser. Do not edit.

   The notation is that of the XML specification: a? at most once, a* any number of times, a | b one of the two.
   Beyond the grammar:
   - White space and comments ("//" to the end of the line, "///" before what it documents) stand between any tokens.
   - A line that starts with "(", "[", "{" or "-" outside "( )" and "[ ]" does not continue the expression before it.
   - Commas between items are needed although they are optional here, except where grammar/sora.md says that a line end is
     enough: a parser that knows where one is missing gives one message.
   - A block holds lets and then exactly one expression. An entry needs its result. Binary operators have the precedence that
     grammar/sora.md gives. */
`;

/** A literal in quotes; no text of the language holds both kinds. */
function quote(text: string): string {
  return text.includes('"') ? `'${text}'` : `"${text}"`;
}

function print(production: Production, isOperand: boolean): string {
  switch (production.kind) {
    case 'rule':
    case 'token':
      return production.name;
    case 'text':
      return quote(production.text);
    case 'sequence': {
      const text = production.items.map((item) => print(item, item.kind === 'choice')).join(' ');
      return isOperand ? `(${text})` : text;
    }
    case 'choice': {
      const text = production.items.map((item) => print(item, false)).join(' | ');
      return isOperand ? `(${text})` : text;
    }
    case 'optional':
      return `${print(production.item, true)}?`;
    case 'many':
      return `${print(production.item, true)}*`;
  }
}

/** A rule with one alternative a line when it has several. */
function printRule(name: string, body: Production): string {
  if (body.kind !== 'choice') return `${name} ::= ${print(body, false)}\n`;
  const lines = body.items.map((item, at) => `  ${at === 0 ? ' ' : '|'} ${print(item, false)}\n`);
  return `${name} ::=\n${lines.join('')}`;
}

export function ebnf(): string {
  const rules = grammarRules().map(({ name, body }) => printRule(name, body));
  const classes = tokenClasses().map(({ name, pattern, members }) => {
    const parts = [...(pattern === '' ? [] : [`/${pattern}/`]), ...members.map(quote)];
    return `${name} ::= ${parts.join(' | ')}\n`;
  });
  return [head, ...rules, '/* Tokens. Words that are never names are no Identifier. */\n', ...classes].join('\n');
}
