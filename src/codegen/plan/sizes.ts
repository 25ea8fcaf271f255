/**
 * Sizes of the plan: polynomials of runtime dims as the `SizeExpression`s that the runtime evaluates.
 */
import {
  constantDim,
  constantValue,
  type Dim,
  type DimRange,
  dimBounds,
  evaluateDim,
  multiplyDims,
} from '../../ir/symbolic.ts';
import type { TensorType } from '../../ir/types.ts';
import type { SizeExpression } from '../../runtime/artifact.ts';
import type { GroupCount } from '../wgsl/kernel.ts';

/** Bytes of an element on the device; `bool` is a u32. */
export function bytesPerElement(dtype: TensorType['dtype']): number {
  return dtype === 'f16' ? 2 : 4;
}

function product(factors: readonly SizeExpression[]): SizeExpression {
  let constant = 1;
  const rest: SizeExpression[] = [];
  for (const factor of factors) {
    if (typeof factor === 'number') constant *= factor;
    else rest.push(factor);
  }
  const [only] = rest;
  if (only === undefined) return constant;
  if (constant === 1) return rest.length === 1 ? only : ['*', ...rest];
  return ['*', constant, ...rest];
}

export function sizeOf(dim: Dim): SizeExpression {
  const terms = dim.terms.map((term) => product([term.coefficient, ...term.factors]));
  const [only] = terms;
  if (only === undefined) return 0;
  return terms.length === 1 ? only : ['+', ...terms];
}

export function groupsOf(count: GroupCount): SizeExpression {
  const { behind = [] } = count;
  if (behind.length > 0) return ['+', groupsOf({ factors: count.factors }), ...behind.map(groupsOf)];
  return product(
    count.factors.map(({ size, divisor }) => {
      const constant = constantValue(size);
      if (constant !== undefined) return Math.ceil(constant / divisor);
      return divisor === 1 ? sizeOf(size) : ['ceil', sizeOf(size), divisor];
    }),
  );
}

/** Bytes of a tensor. */
export function bytesOf(type: TensorType): Dim {
  return type.shape.reduce(multiplyDims, constantDim(bytesPerElement(type.dtype)));
}

/** The greatest value that the ranges allow. */
export function greatest(dim: Dim, ranges: ReadonlyMap<string, DimRange>): number {
  const maxima = new Map([...ranges].map(([name, range]) => [name, range.maximum]));
  const bound = dimBounds(dim, ranges).maximum;
  // No device holds so much: what compares sizes needs no exact one.
  if (bound > Number.MAX_SAFE_INTEGER) return bound;
  // Where no term falls, the value at the maxima is exact; interval arithmetic may overshoot otherwise.
  return dim.terms.every((term) => term.coefficient > 0) ? evaluateDim(dim, maxima) : bound;
}

/** Value of an expression for given dims: what the runtime does, here for the checks of the plan. */
export function evaluateSize(size: SizeExpression, dims: Readonly<Record<string, number>>): number {
  if (typeof size === 'number') return size;
  if (typeof size === 'string') {
    const value = dims[size];
    if (value === undefined) throw new RangeError(`no value for dim ${size}`);
    return value;
  }
  const [operator, ...operands] = size;
  const values = operands.map((operand) => evaluateSize(operand, dims));
  const [first = 0, second = 0] = values;
  switch (operator) {
    case '+':
      return values.reduce((sum, value) => sum + value, 0);
    case '*':
      return values.reduce((all, value) => all * value, 1);
    case 'max':
      return Math.max(...values);
    case '-':
      return first - second;
    case 'ceil':
      return Math.ceil(first / second);
  }
}
