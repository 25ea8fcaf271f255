/**
 * Operators on tensors: element types, broadcasting, numbers that meet tensors.
 *
 * Both sides must have one element type; nothing is converted silently. A number takes the element type of the tensor it
 * meets, and a number that the type cannot hold (0.5 with i32) is a mistake.
 */
import type { BinaryOperator } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { negateDim } from '../symbolic.ts';
import { type DType, isFloat } from '../types.ts';
import { type Binding, describe, intBinding, numberOf, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { emitNode } from './nodes.ts';
import { writtenType } from './origin.ts';
import { safeDim, scalarBinary } from './scalars.ts';
import { asTensor, broadcastTogether, isTensor, type Operand, tensorOf } from './tensors.ts';

const binaryOps: Readonly<Record<BinaryOperator, string>> = {
  '+': 'add',
  '-': 'sub',
  '*': 'mul',
  '/': 'div',
  '%': 'rem',
  '**': 'pow',
  '==': 'equal',
  '!=': 'not_equal',
  '<': 'less',
  '<=': 'less_equal',
  '>': 'greater',
  '>=': 'greater_equal',
  and: 'and',
  or: 'or',
};

/** `f32(mask)`, for the help of a dtype mistake. */
function castHelp(from: DType, to: DType): string {
  return `convert one side: \`${to}(…)\` makes ${to} of ${from}`;
}

/** Two operands in one element type and one shape; says what does not fit. */
export function matchTensors(
  context: Context,
  left: Operand,
  right: Operand,
  at: Span,
  operation: string,
): readonly [Value, Value] | undefined {
  const a = tensorOf(context, left.binding);
  const b = tensorOf(context, right.binding);
  const fraction = left.binding.kind === 'float' ? left : right.binding.kind === 'float' ? right : undefined;
  const other = fraction === left ? { value: b, span: right.span } : { value: a, span: left.span };
  if (fraction?.binding.kind === 'float' && other.value && !isFloat(other.value.type.dtype)) {
    const { dtype } = other.value.type;
    report(context, 'SORA2103', `the number ${fraction.binding.value} meets a tensor of \`${dtype}\``, fraction.span, {
      labels: [{ span: other.span, text: `this is \`${writtenType(other.value.type)}\`` }],
      help: 'convert the tensor first: `f32(…)`',
    });
    return undefined;
  }
  const x = asTensor(context, left, b?.type.dtype);
  const y = asTensor(context, right, a?.type.dtype);
  if (x === undefined || y === undefined) return undefined;
  if (x.type.dtype !== y.type.dtype) {
    const wanted = isFloat(x.type.dtype) ? x.type.dtype : y.type.dtype;
    const converted = wanted === x.type.dtype ? y.type.dtype : x.type.dtype;
    report(context, 'SORA2103', `\`${operation}\` cannot combine \`${x.type.dtype}\` and \`${y.type.dtype}\``, at, {
      labels: [
        { span: left.span, text: `this is \`${writtenType(x.type)}\`` },
        { span: right.span, text: `this is \`${writtenType(y.type)}\`` },
      ],
      help: castHelp(converted, wanted),
    });
    return undefined;
  }
  const sides = [
    { value: x, span: left.span },
    { value: y, span: right.span },
  ];
  const joined = broadcastTogether(context, sides, at, operation);
  const [first, second] = joined ?? [];
  return first === undefined || second === undefined ? undefined : [first, second];
}

/** An elementwise op of two operands, at least one a tensor. */
export function tensorBinary(
  context: Context,
  op: string,
  left: Operand,
  right: Operand,
  span: Span,
  operation: string,
  at: Span = span,
): Binding {
  const matched = matchTensors(context, left, right, at, operation);
  if (matched === undefined) return poison;
  const value = emitNode(context, op, matched, {}, span, [left.span, right.span]);
  return value === undefined ? poison : tensorBinding(value);
}

/** `x ** 3` as products: exact for negative x, where the general power has no value on a GPU. */
function smallPower(context: Context, base: Value, exponent: number, span: Span): Value | undefined {
  const times = (a: Value | undefined, b: Value | undefined): Value | undefined =>
    a === undefined || b === undefined ? undefined : emitNode(context, 'mul', [a, b], {}, span);
  let product: Value | undefined;
  let square: Value | undefined = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) product = product === undefined ? square : times(product, square);
    if (rest > 1) square = times(square, square);
  }
  return product;
}

function power(context: Context, left: Operand, right: Operand, span: Span, at: Span): Binding {
  const base = tensorOf(context, left.binding);
  const exponent = numberOf(right.binding);
  if (base !== undefined && base.type.dtype !== 'bool' && exponent !== undefined) {
    let value: Value | undefined | false = false;
    if (Number.isInteger(exponent) && exponent >= 1 && exponent <= 16)
      value = smallPower(context, base, exponent, span);
    else if (exponent === 0.5 && isFloat(base.type.dtype)) value = emitNode(context, 'sqrt', [base], {}, span);
    else if (exponent === -1 && isFloat(base.type.dtype)) value = emitNode(context, 'reciprocal', [base], {}, span);
    if (value !== false) return value === undefined ? poison : tensorBinding(value);
  }
  return tensorBinary(context, 'pow', left, right, span, '**', at);
}

function conditionOperand(context: Context, operand: Operand, operator: string): boolean {
  const { binding } = operand;
  if (binding.kind === 'poison') return false;
  const value = tensorOf(context, binding);
  if (binding.kind === 'bool' || value?.type.dtype === 'bool') return true;
  report(context, 'SORA2103', `\`${operator}\` needs conditions, found ${describe(binding)}`, operand.span, {
    help: 'compare first: `x != 0`',
  });
  return false;
}

/** Any binary operator; both operands are evaluated. */
export function binary(
  context: Context,
  operator: BinaryOperator,
  left: Operand,
  right: Operand,
  span: Span,
  operatorSpan: Span,
): Binding {
  if (left.binding.kind === 'poison' || right.binding.kind === 'poison') return poison;
  const tensors = isTensor(left.binding) || isTensor(right.binding);
  if (operator === 'and' || operator === 'or') {
    if (!conditionOperand(context, left, operator) || !conditionOperand(context, right, operator)) return poison;
    if (tensors) return tensorBinary(context, operator, left, right, span, operator, operatorSpan);
    const a = left.binding.kind === 'bool' && left.binding.value;
    const b = right.binding.kind === 'bool' && right.binding.value;
    return { kind: 'bool', value: operator === 'and' ? a && b : a || b };
  }
  if (!tensors) return scalarBinary(context, operator, left, right, span);
  if (operator === '**') return power(context, left, right, span, operatorSpan);
  return tensorBinary(context, binaryOps[operator], left, right, span, operator, operatorSpan);
}

export function unary(context: Context, operator: '-' | 'not', operand: Operand, span: Span): Binding {
  const { binding } = operand;
  if (binding.kind === 'poison') return poison;
  if (operator === 'not') {
    if (!conditionOperand(context, operand, 'not')) return poison;
    if (binding.kind === 'bool') return { kind: 'bool', value: !binding.value };
  } else if (binding.kind === 'float') return { kind: 'float', value: -binding.value };
  else if (binding.kind === 'int') {
    const dim = safeDim(context, span, () => negateDim(binding.dim));
    return dim === undefined ? poison : intBinding(dim, binding.literal);
  }
  const value = asTensor(context, operand);
  if (value === undefined) return poison;
  const result = emitNode(context, operator === 'not' ? 'not' : 'neg', [value], {}, span, [operand.span]);
  return result === undefined ? poison : tensorBinding(result);
}
