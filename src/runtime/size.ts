/**
 * Size expressions: evaluated on the host with the dims of a call, and solved for a dim when a shape is known.
 */
import type { SizeExpression } from './artifact.ts';

export type Dims = ReadonlyMap<string, number>;

/** The value of an expression. Every dim in it must be bound. */
export function evaluateSize(expression: SizeExpression, dims: Dims): number {
  if (typeof expression === 'number') return expression;
  if (typeof expression === 'string') {
    const value = dims.get(expression);
    if (value === undefined) throw new RangeError(`dim \`${expression}\` has no value`);
    return value;
  }
  const [operator, ...operands] = expression;
  const [first = 0, ...rest] = operands.map((operand) => evaluateSize(operand, dims));
  switch (operator) {
    case '+':
      return rest.reduce((sum, value) => sum + value, first);
    case '*':
      return first * product(rest);
    case 'max':
      return rest.reduce((greatest, value) => Math.max(greatest, value), first);
    case '-':
      return first - (rest[0] ?? 0);
    case 'ceil':
      return Math.ceil(first / (rest[0] ?? 1));
  }
}

/** How many elements a shape has. */
export function product(shape: readonly number[]): number {
  return shape.reduce((value, dim) => value * dim, 1);
}

/** Different expressions, each evaluated once per call however often it stands in a plan. */
export interface SizeTable {
  /** The expression's place. */
  add(expression: SizeExpression): number;
  /** Values by place. */
  values(dims: Dims): readonly number[];
}

export function makeSizeTable(): SizeTable {
  const places = new Map<string, number>();
  const expressions: SizeExpression[] = [];
  return {
    add(expression) {
      const key = JSON.stringify(expression);
      const known = places.get(key);
      if (known !== undefined) return known;
      places.set(key, expressions.length);
      expressions.push(expression);
      return expressions.length - 1;
    },
    values: (dims) => expressions.map((expression) => evaluateSize(expression, dims)),
  };
}

export function dimsOf(expression: SizeExpression): readonly string[] {
  if (typeof expression === 'number') return [];
  if (typeof expression === 'string') return [expression];
  const [, ...operands] = expression;
  return operands.flatMap(dimsOf);
}

/**
 * Finds the one unbound dim of `expression` from its value: `T + 1 = 5` gives T = 4. Undefined when more than one dim is
 * unbound, when the dim stands in several places, or when no whole number fits.
 */
export function solveSize(
  expression: SizeExpression,
  value: number,
  dims: Dims,
): readonly [name: string, value: number] | undefined {
  if (typeof expression === 'number') return undefined;
  if (typeof expression === 'string') return dims.has(expression) ? undefined : [expression, value];
  const [operator, ...operands] = expression;
  const isOpen = (operand: SizeExpression): boolean => dimsOf(operand).some((name) => !dims.has(name));
  const open = operands.filter(isOpen);
  const [unknown] = open;
  if (open.length !== 1 || unknown === undefined) return undefined;
  const known = operands.filter((operand) => operand !== unknown).map((operand) => evaluateSize(operand, dims));
  if (operator === '+') return solveSize(unknown, value - known.reduce((sum, next) => sum + next, 0), dims);
  if (operator === '*') {
    const quotient = value / product(known);
    return Number.isInteger(quotient) ? solveSize(unknown, quotient, dims) : undefined;
  }
  if (operator === '-') {
    const [other = 0] = known;
    return solveSize(unknown, operands[0] === unknown ? value + other : other - value, dims);
  }
  return undefined;
}

/** `4*T + 1`, for messages and types. */
export function printSize(expression: SizeExpression): string {
  if (typeof expression !== 'object') return String(expression);
  const [operator, ...operands] = expression;
  const parts = operands.map((operand) => {
    const text = printSize(operand);
    const isSum = typeof operand === 'object' && (operand[0] === '+' || operand[0] === '-');
    return operator !== '+' && isSum ? `(${text})` : text;
  });
  if (operator === '*') return parts.join('*');
  if (operator === '+' || operator === '-') return parts.join(` ${operator} `);
  return `${operator}(${parts.join(', ')})`;
}
