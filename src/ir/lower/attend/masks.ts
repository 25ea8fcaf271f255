/**
 * `mask: …`: what a query may see.
 *
 * A mask is a conjunction; `causal` and `window(n)` in it become attributes of the node, because they bound loops. The rest
 * becomes the mask operand, bool of full rank, each axis possibly 1.
 */
import type { Expression, RecordField } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import { constantDim, constantValue, type Dim, sameDim } from '../../symbolic.ts';
import type { Shape } from '../../types.ts';
import { describe } from '../binding.ts';
import { type Context, report } from '../context.ts';
import { conditionValue, enterBlock, evaluate } from '../expressions.ts';
import { emitNode } from '../nodes.ts';
import { originLabels, writtenDim, writtenType } from '../origin.ts';
import { lookup, type Scope } from '../scope.ts';
import { asTensor, broadcastTogether, emitTogether, isTensor, type Operand, reshapeTo, tensorOf } from '../tensors.ts';
import { type Building, fullShape, geometryOf, type ScoreGeometry } from './building.ts';
import { keyPositions, positionsMeet, queryPositions } from './positions.ts';

/** Words that stand only in masks. */
export const maskWords: readonly string[] = ['padding', 'causal', 'window'];

export function applyMask(building: Building, field: RecordField): boolean {
  const mask = conjunction(building, field.value, building.scope);
  if (mask === undefined) return false;
  if (mask !== 'everything') building.extras.push({ role: 'mask', value: mask, span: field.value.span });
  return true;
}

/** Takes `causal` and `window(n)` out of the conjunction; gives the rest. */
function conjunction(building: Building, expression: Expression, scope: Scope): Mask | undefined {
  const { context } = building;
  switch (expression.kind) {
    case 'name':
      if (expression.name !== 'causal' || lookup(scope, 'causal')) break;
      if (!positionsMeet(building, 'causal', expression.span)) return undefined;
      building.causal = true;
      return 'everything';
    case 'call': {
      if (maskCall(expression, scope) !== 'window') break;
      const size = windowSize(building, expression, scope);
      if (size === undefined) return undefined;
      building.window = building.window === 0 ? size : Math.min(building.window, size);
      return 'everything';
    }
    case 'if': {
      const condition = conditionValue(context, expression.condition, scope);
      if (condition === undefined) return undefined;
      const branch = condition ? expression.then : expression.otherwise;
      return branch === undefined ? 'everything' : conjunction(building, branch, scope);
    }
    case 'block':
      return conjunction(building, expression.result, enterBlock(context, expression.lets, scope));
    case 'binary': {
      if (expression.operator !== 'and') break;
      const left = conjunction(building, expression.left, scope);
      const right = conjunction(building, expression.right, scope);
      if (left === undefined || right === undefined) return undefined;
      return both(context, expression, left, right);
    }
    default:
  }
  return maskValue(building, expression, scope);
}

/** `and` or `or` of two masks. */
function both(
  context: Context,
  expression: Extract<Expression, { kind: 'binary' }>,
  left: Mask,
  right: Mask,
): Mask | undefined {
  if (left === 'everything') return expression.operator === 'and' ? right : 'everything';
  if (right === 'everything') return expression.operator === 'and' ? left : 'everything';
  const sides = [
    { value: left, span: expression.left.span },
    { value: right, span: expression.right.span },
  ];
  const joined = broadcastTogether(context, sides, expression.operatorSpan, expression.operator);
  return joined && emitNode(context, expression.operator, joined, {}, expression.span);
}

type Call = Extract<Expression, { kind: 'call' }>;

/** The mask word that is called, unless the model gives the name another meaning. */
function maskCall(expression: Call, scope: Scope): string | undefined {
  const { callee } = expression;
  if (callee.kind !== 'name' || !['padding', 'window'].includes(callee.name)) return undefined;
  return lookup(scope, callee.name) ? undefined : callee.name;
}

/** Whether an operator or a list holds a mask word, which no value can stand for. */
function holdsMaskWord(expression: Expression, scope: Scope): boolean {
  switch (expression.kind) {
    case 'name':
      return maskWords.includes(expression.name) && !lookup(scope, expression.name);
    case 'call':
      return maskCall(expression, scope) === 'padding' || isWindowWord(expression, scope);
    case 'binary':
      return holdsMaskWord(expression.left, scope) || holdsMaskWord(expression.right, scope);
    case 'unary':
      return holdsMaskWord(expression.operand, scope);
    case 'list':
      return expression.items.some((item) => holdsMaskWord(item, scope));
    default:
      return false;
  }
}

/** `window(n)`; the function `window` takes more than that. */
function isWindowWord(call: Call, scope: Scope): boolean {
  return maskCall(call, scope) === 'window' && call.arguments.length === 1;
}

/** The n of `window(n)`. */
function windowSize(building: Building, call: Call, scope: Scope): number | undefined {
  const { context } = building;
  const [argument] = call.arguments;
  if (call.arguments.length !== 1 || argument === undefined) {
    report(context, 'SORA2007', '`window` of a mask takes one argument: how many keys a query sees', call.span);
    return undefined;
  }
  const binding = evaluate(context, argument.value, scope);
  if (binding.kind === 'poison') return undefined;
  const size = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (size === undefined || size < 1 || size >= 2 ** 31) {
    report(
      context,
      'SORA2204',
      `a window is a known number of keys, at least 1, found ${describe(binding)}`,
      argument.value.span,
    );
    return undefined;
  }
  return positionsMeet(building, 'window', call.span) ? size : undefined;
}

/** A mask of full rank, each axis possibly 1; `everything` when it hides nothing whatever the input. */
type Mask = Value | 'everything';

function maskValue(building: Building, expression: Expression, scope: Scope): Mask | undefined {
  const { context } = building;
  const geometry = geometryOf(building);
  switch (expression.kind) {
    case 'name':
      if (expression.name !== 'causal' || lookup(scope, 'causal')) break;
      return causal(building, expression.span);
    case 'call': {
      const word = maskCall(expression, scope);
      if (word === undefined) break;
      if (word === 'window') {
        const size = windowSize(building, expression, scope);
        return size === undefined ? undefined : windowMask(building, size, expression.span);
      }
      const [argument] = expression.arguments;
      if (expression.arguments.length !== 1 || argument === undefined) {
        report(context, 'SORA2007', '`padding` takes one argument: lengths or a mask', expression.span);
        return undefined;
      }
      const operand = { binding: evaluate(context, argument.value, scope), span: argument.value.span };
      return padding(context, operand, geometry);
    }
    case 'if': {
      const condition = conditionValue(context, expression.condition, scope);
      if (condition === undefined) return undefined;
      const branch = condition ? expression.then : expression.otherwise;
      return branch === undefined ? 'everything' : maskValue(building, branch, scope);
    }
    case 'block': {
      const inner = enterBlock(context, expression.lets, scope);
      return maskValue(building, expression.result, inner);
    }
    case 'unary': {
      if (expression.operator !== 'not') break;
      const operand = maskValue(building, expression.operand, scope);
      if (operand === undefined) return undefined;
      if (operand === 'everything') {
        report(context, 'SORA2110', 'this mask hides everything', expression.span);
        return undefined;
      }
      return emitNode(context, 'not', [operand], {}, expression.span);
    }
    case 'binary': {
      if (expression.operator !== 'and' && expression.operator !== 'or') break;
      const left = maskValue(building, expression.left, scope);
      const right = maskValue(building, expression.right, scope);
      if (left === undefined || right === undefined) return undefined;
      return both(context, expression, left, right);
    }
    default:
  }
  if ((expression.kind === 'binary' || expression.kind === 'list') && holdsMaskWord(expression, scope)) {
    const { span } = expression.kind === 'binary' ? { span: expression.operatorSpan } : expression;
    report(context, 'SORA2110', 'masks are joined by `and`, `or` and `not` alone', span, {
      help: 'write `causal and window(128)`',
    });
    return undefined;
  }
  return boolMask(context, { binding: evaluate(context, expression, scope), span: expression.span }, geometry);
}

/** Key j is visible to the query at position i when j <= i. */
function causal(building: Building, span: Span): Value | undefined {
  if (!positionsMeet(building, 'causal', span)) return undefined;
  return comparePositions(building, 'less_equal', span);
}

function comparePositions(building: Building, op: string, span: Span): Value | undefined {
  const key = keyPositions(building, span);
  const query = key && queryPositions(building, span);
  return query && emitTogether(building.context, op, [key, query], span);
}

/** Keys nearer than `size`, on both sides. */
function windowMask(building: Building, size: number, span: Span): Value | undefined {
  const { context } = building;
  const behind = comparePositions(building, 'sub', span);
  const distance = behind && emitNode(context, 'abs', [behind], {}, span);
  const limit = distance && emitNode(context, 'constant', [], { values: [size], dtype: 'i32', shape: [] }, span);
  return limit && emitTogether(context, 'less', [distance, limit], span, 'window');
}

/** Lengths [batch…], or one number per key [batch…, S]. */
function padding(context: Context, operand: Operand, geometry: ScoreGeometry): Value | undefined {
  const given = asTensor(context, operand);
  if (given === undefined) return undefined;
  const { span } = operand;
  const { batch, keys } = geometry;
  const one = constantDim(1);
  const { shape, dtype } = given.type;
  const perKey = [...batch, keys];
  const fits = (wanted: Shape) =>
    shape.length === wanted.length && shape.every((dim, at) => sameDim(dim, wanted[at] as Dim));
  if (fits(perKey)) {
    const spread = reshapeTo(context, given, [...batch, one, one, keys], span);
    if (spread === undefined || dtype === 'bool') return spread;
    const zero = asTensor(
      context,
      { binding: { kind: 'float', value: 0 }, span },
      dtype === 'f32' || dtype === 'f16' ? dtype : undefined,
    );
    const nothing =
      dtype === 'i32' || dtype === 'u32'
        ? emitNode(context, 'constant', [], { values: [0], dtype, shape: [] }, span)
        : zero;
    return nothing && emitTogether(context, 'not_equal', [spread, nothing], span, 'padding');
  }
  if (fits(batch) && dtype === 'i32') {
    const index = emitNode(context, 'iota', [], { length: keys, dtype: 'i32' }, span);
    const row = index && reshapeTo(context, index, [...batch.map(() => one), one, one, keys], span);
    const lengths = reshapeTo(context, given, [...batch, one, one, one], span);
    if (row === undefined || lengths === undefined) return undefined;
    return emitTogether(context, 'less', [row, lengths], span, 'padding');
  }
  const text = (wanted: Shape) => `[${wanted.map(writtenDim).join(', ')}]`;
  report(
    context,
    'SORA2110',
    `\`padding\` needs lengths \`i32${text(batch)}\` or one number per key, \`i32${text(perKey)}\`; found \`${writtenType(given.type)}\``,
    span,
    { labels: originLabels([keys, shape.at(-1)], [span]) },
  );
  return undefined;
}

/** Any condition, aligned at the end with [batch…, heads, T, S]. */
function boolMask(context: Context, operand: Operand, geometry: ScoreGeometry): Mask | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  if (binding.kind === 'bool' && binding.value) return 'everything';
  const value = isTensor(binding) ? tensorOf(context, binding) : undefined;
  if (value === undefined || value.type.dtype !== 'bool') {
    report(context, 'SORA2110', `a mask is a condition, found ${describe(binding)}`, span, {
      help: 'use `padding(…)`, `causal`, or compare: `x != 0`',
    });
    return undefined;
  }
  const full = fullShape(geometry);
  const { shape } = value.type;
  const missing = full.length - shape.length;
  const wrong =
    missing < 0
      ? undefined
      : shape.find((dim, at) => constantValue(dim) !== 1 && !sameDim(dim, full[at + missing] as Dim));
  if (missing < 0 || wrong) {
    report(
      context,
      'SORA2110',
      `the mask \`${writtenType(value.type)}\` does not broadcast to \`bool[${full.map(writtenDim).join(', ')}]\``,
      span,
      {
        labels: originLabels([...(wrong ? [wrong] : []), geometry.queries, geometry.keys], [span]),
        notes: ['the axes of a mask are batch, head, query and key'],
      },
    );
    return undefined;
  }
  return reshapeTo(context, value, [...Array.from({ length: missing }, () => constantDim(1)), ...shape], span);
}
