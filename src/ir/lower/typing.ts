/**
 * Tensor types as written: dims to polynomials, and matching a value against a parameter's type.
 *
 * In a function's parameters a dim that is a single unknown name is a shape variable: it takes the size of the first
 * argument that has it and must agree after that. `...` stands for any leading dims, the same ones wherever it
 * appears in one signature; they are kept in the function's scope under the name `...`.
 */
import type { Expression, TensorTypeSyntax } from '../../parser/ast.ts';
import { limits } from '../../support/limits.ts';
import { type Span, spanText } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { type Dim, dimBounds, sameDim } from '../symbolic.ts';
import { type DType, dtypes, type TensorType } from '../types.ts';
import { type Binding, describe, type IntBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { hasTooManyElements } from './elements.ts';
import { evaluate } from './expressions.ts';
import { numberNotes, type Origin, originLabels, originOf, withOrigin, writtenDim, writtenType } from './origin.ts';
import { lookup, type Scope } from './scope.ts';

/** Where the value of an expression was written: for a plain name that stands for something else, that something. */
export function originOfExpression(expression: Expression, binding: Binding): Origin {
  if (expression.kind === 'name' && binding.kind === 'int' && binding.origin) return binding.origin;
  return { text: spanText(expression.span), span: expression.span };
}

/** What a division that leaves a rest divides. */
function divisionNotes(context: Context, expression: Expression, scope: Scope): readonly string[] {
  if (expression.kind !== 'binary' || expression.operator !== '/') return [];
  const [left, right] = [expression.left, expression.right].map((side) => evaluate(context, side, scope));
  return left?.kind === 'int' && right?.kind === 'int' ? [`this is ${left.dim.key} / ${right.dim.key}`] : [];
}

/** A config integer or dim expression as one dim; undefined when it is none (reported). */
export function evaluateDim(context: Context, expression: Expression, scope: Scope): Dim | undefined {
  const binding = evaluate(context, expression, scope);
  if (binding.kind === 'poison') return undefined;
  if (binding.kind !== 'int') {
    const help = binding.kind === 'float' ? { help: 'a division must leave no remainder here' } : {};
    report(context, 'SORA2204', `a dim must be an integer, found ${describe(binding)}`, expression.span, {
      notes: divisionNotes(context, expression, scope),
      ...help,
    });
    return undefined;
  }
  const { minimum, maximum } = dimBounds(binding.dim, context.ranges);
  if (minimum < 1) {
    report(context, 'SORA2204', `a dim must be at least 1, found ${binding.dim.key}`, expression.span, {
      labels: originLabels([withOrigin(binding.dim, originOfExpression(expression, binding))], [expression.span]),
    });
    return undefined;
  }
  if (Number.isFinite(maximum) && maximum > limits.dim) {
    report(context, 'SORA5002', `this dim may be ${maximum}, more than ${limits.dim}`, expression.span);
    return undefined;
  }
  return withOrigin(binding.dim, originOfExpression(expression, binding));
}

export function resolveDtype(context: Context, syntax: TensorTypeSyntax): DType | undefined {
  const found = dtypes.find((dtype) => dtype === syntax.dtype.text);
  if (found === undefined) {
    report(context, 'SORA1013', `unknown element type \`${syntax.dtype.text}\``, syntax.dtype.span, {
      help: `there is ${dtypes.map((dtype) => `\`${dtype}\``).join(', ')}`,
    });
  }
  return found;
}

/** The dims that `...` stands for in this scope. */
function leadingDims(scope: Scope): readonly Dim[] | undefined {
  const binding = lookup(scope, '...')?.binding;
  return binding?.kind === 'list'
    ? binding.items.flatMap((item) => (item.kind === 'int' ? [item.dim] : []))
    : undefined;
}

/** A type whose every dim is known here (fields, entries, results). */
export function resolveType(context: Context, syntax: TensorTypeSyntax, scope: Scope): TensorType | undefined {
  const dtype = resolveDtype(context, syntax);
  const shape: Dim[] = [];
  let failed = dtype === undefined;
  for (const item of syntax.dims) {
    if (item.kind === 'ellipsis') {
      const leading = leadingDims(scope);
      if (leading) shape.push(...leading);
      else {
        report(context, 'SORA2102', '`...` has no meaning here: no parameter gives it dims', item.span);
        failed = true;
      }
      continue;
    }
    const dim = evaluateDim(context, item, scope);
    if (dim) shape.push(dim);
    else failed = true;
  }
  if (shape.length > limits.rank) {
    report(context, 'SORA5002', `a tensor has at most ${limits.rank} axes, this has ${shape.length}`, syntax.span);
    return undefined;
  }
  if (hasTooManyElements(context, shape, syntax.span)) return undefined;
  return failed || dtype === undefined ? undefined : { dtype, shape };
}

interface Match {
  readonly syntax: TensorTypeSyntax;
  readonly value: Value;
  /** The argument. */
  readonly span: Span;
  /** `up takes x`, for the message. */
  readonly subject: string;
  /** Scope of the function: parameters' types look names up here and shape variables are bound here. */
  readonly scope: Scope;
}

/** The type as this call expects it: known dims by value, shape variables and `...` as written. */
function expectedText(
  match: Match,
  dims: readonly (Dim | undefined)[],
  text: (dim: Dim) => string = writtenDim,
): string {
  const texts = match.syntax.dims.map((item, at) => {
    const dim = dims[at];
    return dim === undefined ? spanText(item.span) : text(dim);
  });
  return texts.length === 0 ? match.syntax.dtype.text : `${match.syntax.dtype.text}[${texts.join(', ')}]`;
}

function variableName(item: TensorTypeSyntax['dims'][number], scope: Scope): string | undefined {
  return item.kind === 'name' && lookup(scope, item.name) === undefined ? item.name : undefined;
}

/** Whether the value has the parameter's type; binds shape variables and `...` in `match.scope`. */
export function matchType(context: Context, match: Match): boolean {
  const { syntax, value, span, subject, scope } = match;
  const dtype = resolveDtype(context, syntax);
  if (dtype === undefined) return false;
  const found = value.type;
  const fails = (
    code: 'SORA2101' | 'SORA2102' | 'SORA2103',
    expected: readonly (Dim | undefined)[],
    clash?: readonly (Dim | undefined)[],
  ) => {
    const castHelp = code === 'SORA2103' ? { help: `convert it: \`${dtype}(…)\`` } : {};
    report(context, code, `${subject}: \`${expectedText(match, expected)}\`, found \`${writtenType(found)}\``, span, {
      labels: [{ span: syntax.span, text: 'declared here' }, ...originLabels(clash ?? [], [span])],
      notes: numberNotes(
        expectedText(match, expected, (dim) => dim.key),
        found,
      ),
      ...castHelp,
    });
    return false;
  };
  // Dims first: the message shows the whole expected type, whichever part of it fails.
  const expected: (Dim | undefined)[] = [];
  for (const item of syntax.dims) {
    if (item.kind === 'ellipsis' || variableName(item, scope) !== undefined) {
      expected.push(undefined);
      continue;
    }
    const dim = evaluateDim(context, item, scope);
    if (dim === undefined) return false;
    expected.push(dim);
  }
  if (found.dtype !== dtype) return fails('SORA2103', expected);
  const ellipsisAt = syntax.dims.findIndex((item) => item.kind === 'ellipsis');
  const fixed = syntax.dims.length - (ellipsisAt < 0 ? 0 : 1);
  const leading = found.shape.length - fixed;
  if (ellipsisAt < 0 ? leading !== 0 : leading < 0) return fails('SORA2102', expected);

  let axis = 0;
  for (const [at, item] of syntax.dims.entries()) {
    if (item.kind === 'ellipsis') {
      const here = found.shape.slice(axis, axis + leading);
      const known = leadingDims(scope);
      if (known === undefined) {
        const items = here.map((dim): IntBinding => ({ kind: 'int', dim, literal: false, origin: originOf(dim) }));
        scope.names.set('...', { binding: { kind: 'list', items }, span: item.span, declaration: undefined });
      } else if (known.length !== here.length) return fails('SORA2102', expected);
      else {
        const wrong = known.findIndex((dim, index) => !sameDim(dim, here[index] as Dim));
        if (wrong >= 0) return fails('SORA2101', expected, [known[wrong], here[wrong]]);
      }
      axis += leading;
      continue;
    }
    const dim = found.shape[axis] as Dim;
    const name = variableName(item, scope);
    if (name !== undefined) {
      const binding: IntBinding = { kind: 'int', dim, literal: false, origin: originOf(dim) ?? { text: name, span } };
      scope.names.set(name, { binding, span: item.span, declaration: undefined });
    } else {
      const wanted = expected[at] ?? (evaluateDim(context, item, scope) as Dim);
      if (!sameDim(wanted, dim)) return fails('SORA2101', expected, [wanted, dim]);
    }
    axis += 1;
  }
  return true;
}
