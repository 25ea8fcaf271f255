/**
 * Arithmetic on what is known when compiling: config numbers, dims, strings and conditions.
 *
 * `+ - *` of integers stay integers, also with runtime dims in them. `/` of integers gives an integer when nothing
 * remains (`c.hidden / c.heads`) and a float otherwise; an integer counts as a float wherever a float is wanted, so
 * only a dim or a count notices, and then says so. A runtime dim divides only without remainder. Comparisons of
 * runtime dims fold when the declared ranges decide them.
 */
import type { BinaryOperator } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import {
  addDims,
  constantValue,
  type Dim,
  dimBounds,
  divideDim,
  multiplyDims,
  sameDim,
  subtractDims,
} from '../symbolic.ts';
import { type Binding, describe, intBinding, numberOf, poison } from './binding.ts';
import { type Context, rangeLabels, report } from './context.ts';
import type { Operand } from './tensors.ts';

type Arithmetic = '+' | '-' | '*' | '/' | '%' | '**';

function finite(context: Context, value: number, span: Span): Binding {
  if (Number.isFinite(value)) return { kind: 'float', value };
  report(context, 'SORA2204', `this is ${Number.isNaN(value) ? 'not a number' : 'infinite'}`, span);
  return poison;
}

/** Runs dim arithmetic; leaving the safe integer range is the model's mistake. */
export function safeDim(context: Context, span: Span, compute: () => Dim): Dim | undefined {
  try {
    return compute();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    report(context, 'SORA2204', 'this integer is too large to be exact (beyond 2^53)', span);
    return undefined;
  }
}

/** With the sign of the divisor, as the op `rem` has it. */
function remainder(left: number, right: number): number {
  const rest = left % right;
  return rest !== 0 && rest < 0 !== right < 0 ? rest + right : rest;
}

function integerArithmetic(context: Context, operator: Arithmetic, left: Dim, right: Dim, span: Span): Binding {
  const whole = (compute: () => Dim): Binding => {
    const dim = safeDim(context, span, compute);
    return dim === undefined ? poison : intBinding(dim);
  };
  if (operator === '+') return whole(() => addDims(left, right));
  if (operator === '-') return whole(() => subtractDims(left, right));
  if (operator === '*') return whole(() => multiplyDims(left, right));
  const a = constantValue(left);
  const b = constantValue(right);
  if (b === 0 && operator !== '**') {
    report(context, 'SORA2204', 'division by zero', span);
    return poison;
  }
  if (operator === '/') {
    const quotient = divideDim(left, right);
    if (quotient !== undefined) return intBinding(quotient);
    if (a !== undefined && b !== undefined) return finite(context, a / b, span);
    report(context, 'SORA2204', `\`${left.key}\` is not divisible by \`${right.key}\` for every size`, span, {
      help: 'runtime dims divide only when nothing can remain',
    });
    return poison;
  }
  if (a === undefined || b === undefined) {
    report(
      context,
      'SORA2203',
      `\`${operator}\` needs numbers that are known when compiling, found a runtime dim`,
      span,
    );
    return poison;
  }
  if (operator === '%') return intBinding(remainder(a, b));
  const power = a ** b;
  return Number.isSafeInteger(power) ? intBinding(power) : finite(context, power, span);
}

function floatArithmetic(operator: Arithmetic, left: number, right: number): number {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return left / right;
    case '%':
      return remainder(left, right);
    case '**':
      return left ** right;
  }
}

/** Whether the sign of `dim` is known: -1, 0, 1; undefined when it depends on the call. */
function sign(context: Context, dim: Dim): number | undefined {
  const { minimum, maximum } = dimBounds(dim, context.ranges);
  if (minimum > 0) return 1;
  if (maximum < 0) return -1;
  return minimum === 0 && maximum === 0 ? 0 : undefined;
}

function decide(operator: BinaryOperator, order: number): boolean {
  switch (operator) {
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    default:
      return order >= 0;
  }
}

function compare(context: Context, operator: BinaryOperator, left: Operand, right: Operand, span: Span): Binding {
  const { binding: a } = left;
  const { binding: b } = right;
  if ((a.kind === 'string' && b.kind === 'string') || (a.kind === 'bool' && b.kind === 'bool')) {
    if (operator === '==' || operator === '!=')
      return { kind: 'bool', value: (a.value === b.value) === (operator === '==') };
    report(context, 'SORA2006', `\`${operator}\` compares numbers, found ${describe(a)}`, left.span);
    return poison;
  }
  if (a.kind === 'int' && b.kind === 'int') {
    if (sameDim(a.dim, b.dim)) return { kind: 'bool', value: decide(operator, 0) };
    const dim = safeDim(context, span, () => subtractDims(a.dim, b.dim));
    if (dim === undefined) return poison;
    const order = sign(context, dim);
    if (order !== undefined) return { kind: 'bool', value: decide(operator, order) };
    report(context, 'SORA2203', `whether \`${a.dim.key}\` ${operator} \`${b.dim.key}\` depends on the call`, span, {
      labels: rangeLabels(context, dim),
      help: 'a condition must be known when compiling; use `where(condition, a, b)` on tensors',
    });
    return poison;
  }
  const x = numberOf(a);
  const y = numberOf(b);
  if (x !== undefined && y !== undefined) return { kind: 'bool', value: decide(operator, x - y) };
  const odd = numberOf(a) === undefined ? left : right;
  report(context, 'SORA2006', `\`${operator}\` cannot compare ${describe(a)} and ${describe(b)}`, odd.span);
  return poison;
}

/** Arithmetic and comparison of two values that are no tensors. */
export function scalarBinary(
  context: Context,
  operator: Exclude<BinaryOperator, 'and' | 'or'>,
  left: Operand,
  right: Operand,
  span: Span,
): Binding {
  const { binding: a } = left;
  const { binding: b } = right;
  if (a.kind === 'poison' || b.kind === 'poison') return poison;
  if (
    operator === '==' ||
    operator === '!=' ||
    operator === '<' ||
    operator === '<=' ||
    operator === '>' ||
    operator === '>='
  ) {
    return compare(context, operator, left, right, span);
  }
  if (operator === '+' && a.kind === 'string' && b.kind === 'string')
    return { kind: 'string', value: a.value + b.value };
  if (a.kind === 'int' && b.kind === 'int') return integerArithmetic(context, operator, a.dim, b.dim, span);
  const x = numberOf(a);
  const y = numberOf(b);
  if (x !== undefined && y !== undefined) return finite(context, floatArithmetic(operator, x, y), span);
  const odd = x === undefined ? left : right;
  if (odd.binding.kind === 'int') {
    report(
      context,
      'SORA2203',
      `the runtime dim \`${odd.binding.dim.key}\` cannot be combined with a float here`,
      odd.span,
    );
  } else {
    report(context, 'SORA2006', `\`${operator}\` needs numbers or tensors, found ${describe(odd.binding)}`, odd.span);
  }
  return poison;
}

const folds: Readonly<Record<string, (x: number) => number>> = {
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  abs: Math.abs,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  floor: Math.floor,
  ceil: Math.ceil,
  // Half to even, as the op does.
  round: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
  sign: Math.sign,
};

/** `sqrt(c.head_dim)` on config numbers. Whole results of rounding functions are integers again. */
export function foldUnary(context: Context, name: string, operand: Operand, span: Span): Binding {
  const number = numberOf(operand.binding);
  const fold = folds[name];
  if (number === undefined || fold === undefined) {
    report(
      context,
      'SORA2006',
      `\`${name}\` needs a tensor or a number, found ${describe(operand.binding)}`,
      operand.span,
    );
    return poison;
  }
  const value = fold(number);
  const whole = ['abs', 'floor', 'ceil', 'round', 'sign'].includes(name) && Number.isSafeInteger(value);
  return whole ? intBinding(value) : finite(context, value, span);
}
