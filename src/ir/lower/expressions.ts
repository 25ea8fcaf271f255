/**
 * Expressions: one function per kind of syntax, everything evaluated where it stands.
 *
 * `if` is decided when compiling. The branch that is not taken makes no nodes, but its names are looked up, so a typo
 * there is found under every config.
 */
import type { Expression, Let } from '../../parser/ast.ts';
import { limits } from '../../support/limits.ts';
import { joinSpans, type Span } from '../../support/source.ts';
import { binary, unary } from './arithmetic.ts';
import { attendExpression } from './attend.ts';
import { type Binding, describe, intBinding, poison } from './binding.ts';
import { callExpression } from './calls.ts';
import { type Context, report, reportOnce } from './context.ts';
import { foreignMember } from './foreign-names.ts';
import { indexExpression } from './indexing.ts';
import { intrinsicNames } from './intrinsics.ts';
import { libraryNames } from './library.ts';
import { nearMember, resolveName } from './names.ts';
import { childScope, type Scope } from './scope.ts';
import { isTensor } from './tensors.ts';
import { touchNames } from './touch.ts';
import { originOfExpression } from './typing.ts';

type Kind<K extends Expression['kind']> = Extract<Expression, { kind: K }>;

export function evaluate(context: Context, expression: Expression, scope: Scope): Binding {
  if (context.depth >= limits.elaborationDepth) {
    report(context, 'SORA5002', `more than ${limits.elaborationDepth} expressions inside each other`, expression.span);
    return poison;
  }
  context.depth += 1;
  const binding = evaluateKind(context, expression, scope);
  context.depth -= 1;
  return binding;
}

function evaluateKind(context: Context, expression: Expression, scope: Scope): Binding {
  switch (expression.kind) {
    case 'number':
      return numberLiteral(context, expression);
    case 'string':
      return { kind: 'string', value: expression.value };
    case 'boolean':
      return { kind: 'bool', value: expression.value };
    case 'name':
      return nameExpression(context, expression.name, expression.span, scope);
    case 'member':
      return memberExpression(context, expression, scope);
    case 'call':
      return callExpression(context, expression, scope);
    case 'index':
      return indexExpression(context, expression, scope);
    case 'unary': {
      const binding = evaluate(context, expression.operand, scope);
      return unary(context, expression.operator, { binding, span: expression.operand.span }, expression.span);
    }
    case 'binary': {
      const left = { binding: evaluate(context, expression.left, scope), span: expression.left.span };
      const right = { binding: evaluate(context, expression.right, scope), span: expression.right.span };
      return binary(context, expression.operator, left, right, expression.span, expression.operatorSpan);
    }
    case 'list':
      return { kind: 'list', items: expression.items.map((item) => listItem(context, item, scope)) };
    case 'record':
      return recordExpression(context, expression, scope);
    case 'if':
      return ifExpression(context, expression, scope);
    case 'block':
      return evaluate(context, expression.result, enterBlock(context, expression.lets, scope));
    case 'attend':
      return attendExpression(context, expression, scope);
    case 'lambda':
      report(context, 'SORA2114', 'a function cannot stand here', expression.span, {
        help: '`score` and `bias` of `attend` take functions',
      });
      touchNames(context, expression, scope);
      return poison;
    case 'missing':
      return poison;
  }
}

function numberLiteral(context: Context, expression: Kind<'number'>): Binding {
  const { value, isInteger, span } = expression;
  if (!Number.isFinite(value)) {
    report(context, 'SORA2204', 'this number is too large', span);
    return poison;
  }
  if (!isInteger) return { kind: 'float', value };
  if (Number.isSafeInteger(value)) return intBinding(value, true);
  report(context, 'SORA2204', 'this integer is too large to be exact (beyond 2^53)', span);
  return poison;
}

/** Dims in a list keep where they were written, for the shape of `reshape`. */
function listItem(context: Context, expression: Expression, scope: Scope): Binding {
  const binding = evaluate(context, expression, scope);
  return binding.kind === 'int' ? { ...binding, origin: originOfExpression(expression, binding) } : binding;
}

function nameExpression(context: Context, name: string, span: Span, scope: Scope): Binding {
  const binding = resolveName(context, name, span, scope);
  if (binding.kind !== 'absent') return binding;
  report(context, 'SORA2005', `\`${name}\` does not exist under this config`, span, {
    labels: [{ span: binding.condition, text: 'its condition is false' }],
    help: 'use it under the same condition: `if … { … } else { … }`',
  });
  return poison;
}

/** What to write for a member of what has none. */
function memberHelp(object: Binding, name: string): string | undefined {
  if (object.kind === 'repeat') return 'pick one first: `layer[0].name`';
  if (object.kind !== 'tensor') return undefined;
  const isFunction = [...intrinsicNames(), ...libraryNames()].includes(name);
  return isFunction ? `functions are called with the tensor: \`${name}(x)\`` : foreignMember(name);
}

function memberExpression(context: Context, expression: Kind<'member'>, scope: Scope): Binding {
  const object = evaluate(context, expression.object, scope);
  const { member } = expression;
  if (object.kind === 'poison') return poison;
  const noMember = (what: string, names: Iterable<string>, declared?: Span): Binding => {
    reportOnce(context, `${what}.${member.text}`, 'SORA2004', `${what} has no member \`${member.text}\``, member.span, {
      labels: declared === undefined ? [] : [{ span: declared, text: 'declared here' }],
      ...nearMember(member, names),
    });
    return poison;
  };
  switch (object.kind) {
    case 'config': {
      const field = object.declaration.fields.find((candidate) => candidate.name.text === member.text);
      if (field) context.used.add(field);
      const names = object.declaration.fields.map((candidate) => candidate.name.text);
      return object.values.get(member.text) ?? noMember(describe(object), names, object.declaration.name.span);
    }
    case 'module': {
      const { instance } = object;
      const isMember = instance.declaration.members.some(
        (candidate) =>
          candidate.name?.text === member.text && candidate.kind !== 'entry' && candidate.kind !== 'derived-entry',
      );
      if (isMember) return nameExpression(context, member.text, member.span, instance.scope);
      const names = instance.declaration.members.flatMap((candidate) => candidate.name?.text ?? []);
      return noMember(describe(object), names, instance.declaration.name.span);
    }
    case 'record':
      return object.fields.get(member.text) ?? noMember('this record', object.fields.keys());
    default: {
      const help = memberHelp(object, member.text);
      report(context, 'SORA2004', `${describe(object)} has no members`, member.span, {
        labels: [{ span: expression.object.span, text: 'this one' }],
        ...(help === undefined ? {} : { help }),
      });
      return poison;
    }
  }
}

function recordExpression(context: Context, expression: Kind<'record'>, scope: Scope): Binding {
  const fields = new Map<string, Binding>();
  const places = new Map<string, Span>();
  for (const field of expression.fields) {
    const name = field.name.text;
    const earlier = places.get(name);
    if (earlier) {
      report(context, 'SORA2002', `\`${name}\` stands twice in this record`, field.name.span, {
        labels: [{ span: earlier, text: 'first here' }],
      });
    }
    places.set(name, field.name.span);
    fields.set(name, evaluate(context, field.value, scope));
  }
  return { kind: 'record', fields };
}

/** A condition that is known when compiling; undefined otherwise (reported). */
export function conditionValue(context: Context, expression: Expression, scope: Scope): boolean | undefined {
  const binding = evaluate(context, expression, scope);
  if (binding.kind === 'bool') return binding.value;
  if (binding.kind === 'poison') return undefined;
  if (isTensor(binding)) {
    report(
      context,
      'SORA2203',
      `a condition must be known when compiling, found ${describe(binding)}`,
      expression.span,
      {
        help: 'choose between tensors with `where(condition, a, b)`',
      },
    );
  } else report(context, 'SORA2006', `a condition is true or false, found ${describe(binding)}`, expression.span);
  return undefined;
}

function ifExpression(context: Context, expression: Kind<'if'>, scope: Scope): Binding {
  const condition = conditionValue(context, expression.condition, scope);
  if (condition === undefined) {
    touchNames(context, expression.then, scope);
    if (expression.otherwise) touchNames(context, expression.otherwise, scope);
    return poison;
  }
  const [taken, other] = condition ? [expression.then, expression.otherwise] : [expression.otherwise, expression.then];
  if (other) touchNames(context, other, scope);
  if (taken) return evaluate(context, taken, scope);
  report(
    context,
    'SORA2203',
    'this `if` has no value: its condition is false and there is no `else`',
    expression.span,
    {
      labels: [{ span: expression.condition.span, text: 'false under this config' }],
    },
  );
  return poison;
}

/** The scope inside a block, after its lets. */
export function enterBlock(context: Context, lets: readonly Let[], outer: Scope): Scope {
  const scope = childScope(outer);
  for (const statement of lets) {
    const binding = evaluate(context, statement.value, scope);
    bindLet(context, statement, binding, scope);
  }
  return scope;
}

function bindLet(context: Context, statement: Let, binding: Binding, scope: Scope): void {
  const declare = (at: number, value: Binding): void => {
    const name = statement.names[at];
    if (name === undefined) return;
    const earlier = scope.names.get(name.text);
    if (earlier?.span) {
      report(context, 'SORA2002', `\`${name.text}\` is declared twice in this block`, name.span, {
        labels: [{ span: earlier.span, text: 'first here' }],
      });
    }
    scope.names.set(name.text, { binding: value, span: name.span, declaration: name });
  };
  if (!statement.isList) {
    declare(0, binding);
    return;
  }
  const items = binding.kind === 'list' ? binding.items : undefined;
  if (binding.kind !== 'poison' && items === undefined) {
    report(context, 'SORA2006', `\`let [ … ]\` takes a list apart, found ${describe(binding)}`, statement.value.span);
  } else if (items && items.length !== statement.names.length) {
    const [first, last] = [statement.names[0], statement.names.at(-1)];
    const span = first && last ? joinSpans(first.span, last.span) : statement.span;
    report(context, 'SORA2007', `${statement.names.length} names for a list of ${items.length}`, span, {
      labels: [{ span: statement.value.span, text: `this gives ${items.length}` }],
    });
  }
  const fits = items?.length === statement.names.length;
  statement.names.forEach((_, at) => {
    declare(at, (fits ? items?.[at] : undefined) ?? poison);
  });
}
