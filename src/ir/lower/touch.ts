/**
 * Looks up every name of an expression that is not evaluated (a branch not taken, a module that nobody makes): typos are
 * found there too and nothing in it counts as unused.
 */
import type { Expression, IndexItem, Let } from '../../parser/ast.ts';
import { attendWords } from './attend/vocabulary.ts';
import { poison } from './binding.ts';
import type { Context } from './context.ts';
import { resolveName } from './names.ts';
import { childScope, lookup, type Scope } from './scope.ts';

function touchItem(context: Context, item: IndexItem, scope: Scope): void {
  if (item.kind === 'at') touchNames(context, item.index, scope);
  if (item.kind === 'slice') {
    if (item.start) touchNames(context, item.start, scope);
    if (item.end) touchNames(context, item.end, scope);
  }
}

export function touchLets(context: Context, lets: readonly Let[], outer: Scope): Scope {
  const scope = childScope(outer);
  for (const statement of lets) {
    touchNames(context, statement.value, scope);
    for (const name of statement.names) {
      context.used.add(name);
      scope.names.set(name.text, { binding: poison, span: name.span, declaration: name });
    }
  }
  return scope;
}

export function touchNames(context: Context, expression: Expression, scope: Scope): void {
  const all = (expressions: readonly (Expression | undefined)[]): void => {
    for (const each of expressions) if (each) touchNames(context, each, scope);
  };
  switch (expression.kind) {
    case 'name': {
      // `padding`, `rotary` and the like have a meaning in modifiers only; where this stands is not known here.
      const isWord = attendWords.has(expression.name) && !lookup(scope, expression.name);
      if (!isWord) resolveName(context, expression.name, expression.span, scope);
      return;
    }
    case 'member':
      touchNames(context, expression.object, scope);
      return;
    case 'call':
      all([expression.callee, ...expression.arguments.map((argument) => argument.value)]);
      return;
    case 'index':
      touchNames(context, expression.object, scope);
      for (const item of expression.items) touchItem(context, item, scope);
      return;
    case 'unary':
      touchNames(context, expression.operand, scope);
      return;
    case 'binary':
      all([expression.left, expression.right]);
      return;
    case 'list':
      all(expression.items);
      return;
    case 'record':
      all(expression.fields.map((field) => field.value));
      return;
    case 'if':
      all([expression.condition, expression.then, expression.otherwise]);
      return;
    case 'block':
      touchNames(context, expression.result, touchLets(context, expression.lets, scope));
      return;
    case 'lambda': {
      const inner = childScope(scope);
      for (const name of expression.parameters) {
        inner.names.set(name.text, { binding: poison, span: name.span, declaration: name });
      }
      touchNames(context, expression.body, inner);
      return;
    }
    case 'attend':
      all([expression.query, expression.key, expression.value, ...expression.modifiers.map((field) => field.value)]);
      return;
    default:
  }
}
