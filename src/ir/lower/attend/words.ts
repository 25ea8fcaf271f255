/**
 * Words that have a meaning in one modifier only: `rotary(theta: …)`, `linear(factor)`, `none`. `if` chooses between them
 * under a config.
 */
import type { Argument, Expression } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import { closest } from '../../../support/suggest.ts';
import { type Context, report } from '../context.ts';
import { conditionValue, enterBlock, evaluate } from '../expressions.ts';
import type { Scope } from '../scope.ts';
import { touchNames } from '../touch.ts';

export interface Word {
  readonly name: string;
  readonly arguments: readonly Argument[];
  readonly scope: Scope;
  readonly span: Span;
}

/** The word that an expression comes to; undefined when it is none of them (reported). */
export function readWord(
  context: Context,
  expression: Expression,
  scope: Scope,
  modifier: string,
  words: readonly string[],
): Word | undefined {
  const { span } = expression;
  if (expression.kind === 'if') {
    const condition = conditionValue(context, expression.condition, scope);
    const { then, otherwise } = expression;
    const [taken, other] = condition === false ? [otherwise, then] : [then, otherwise];
    if (condition === undefined) return undefined;
    if (other) touchWords(context, other, scope, words);
    return taken
      ? readWord(context, taken, scope, modifier, words)
      : readWord(context, { kind: 'name', name: 'none', span }, scope, modifier, words);
  }
  if (expression.kind === 'block') {
    return readWord(context, expression.result, enterBlock(context, expression.lets, scope), modifier, words);
  }
  const called = expression.kind === 'call' && expression.callee.kind === 'name' ? expression.callee.name : undefined;
  const name = called ?? (expression.kind === 'name' ? expression.name : '');
  if (words.includes(name)) {
    return { name, arguments: expression.kind === 'call' ? expression.arguments : [], scope, span };
  }
  if (expression.kind === 'missing') return undefined;
  // The model says itself what is wrong with the config.
  if (called === 'fail' && evaluate(context, expression, scope).kind === 'poison') return undefined;
  const guess = closest(name, words);
  report(context, 'SORA2115', `\`${modifier}\` takes ${words.map((word) => `\`${word}\``).join(', ')}`, span, {
    ...(guess === undefined ? {} : { help: `did you mean \`${guess}\`?` }),
  });
  return undefined;
}

/** Looks up the names in a word that is not taken. */
function touchWords(context: Context, expression: Expression, scope: Scope, words: readonly string[]): void {
  if (expression.kind === 'call' && expression.callee.kind === 'name' && words.includes(expression.callee.name)) {
    for (const argument of expression.arguments) {
      const { value } = argument;
      if (value.kind === 'number' || value.kind === 'member') touchNames(context, value, scope);
    }
  } else if (expression.kind === 'block') touchWords(context, expression.result, scope, words);
  else if (expression.kind === 'if') {
    touchWords(context, expression.then, scope, words);
    if (expression.otherwise) touchWords(context, expression.otherwise, scope, words);
  }
}
