/**
 * What built-in functions share: reading matched arguments as integers, axes, flags and numbers.
 */
import type { Span } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { constantValue } from '../symbolic.ts';
import type { EvaluatedArgument } from './arguments.ts';
import { type Binding, describe, numberOf, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { writtenType } from './origin.ts';
import type { Operand } from './tensors.ts';

export interface Call {
  readonly name: string;
  readonly span: Span;
  /** By parameter; undefined where an optional one was left out. */
  readonly arguments: readonly (EvaluatedArgument | undefined)[];
}

export interface Intrinsic {
  /** A name ending in `?` is optional. */
  readonly parameters: readonly string[];
  readonly apply: (context: Context, call: Call) => Binding;
}

const missing = (span: Span): Operand => ({ binding: poison, span });

export function argument(call: Call, at: number): Operand {
  return call.arguments[at] ?? missing(call.span);
}

export function wrap(value: Value | undefined): Binding {
  return value === undefined ? poison : tensorBinding(value);
}

/** A constant integer, or undefined (reported). */
export function integer(context: Context, operand: Operand, what: string): number | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  const value = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (value === undefined)
    report(context, 'SORA2006', `${what} must be a known integer, found ${describe(binding)}`, span);
  return value;
}

export function integerList(context: Context, operand: Operand, what: string): readonly number[] | undefined {
  if (operand.binding.kind !== 'list') {
    const one = integer(context, operand, what);
    return one === undefined ? undefined : [one];
  }
  const numbers = operand.binding.items.map((binding) => integer(context, { binding, span: operand.span }, what));
  return numbers.every((number) => number !== undefined) ? numbers : undefined;
}

/** A given axis as 0..rank-1; undefined when there is none (reported). */
export function normalAxis(context: Context, axis: number, value: Value, span: Span): number | undefined {
  const rank = value.type.shape.length;
  const normal = axis < 0 ? rank + axis : axis;
  if (normal >= 0 && normal < rank) return normal;
  report(context, 'SORA2102', `there is no axis ${axis}: the tensor is \`${writtenType(value.type)}\``, span);
  return undefined;
}

export function axisOf(context: Context, call: Call, at: number, value: Value, fallback: number): number | undefined {
  const given = call.arguments[at];
  const axis = given === undefined ? fallback : integer(context, given, 'the axis');
  return axis === undefined ? undefined : normalAxis(context, axis, value, given?.span ?? call.span);
}

export function flag(context: Context, operand: EvaluatedArgument | undefined): boolean | undefined {
  if (operand === undefined) return false;
  if (operand.binding.kind === 'bool') return operand.binding.value;
  if (operand.binding.kind !== 'poison') {
    report(context, 'SORA2006', `expected true or false, found ${describe(operand.binding)}`, operand.span);
  }
  return undefined;
}

export function float(context: Context, operand: EvaluatedArgument | undefined, fallback: number): number | undefined {
  if (operand === undefined) return fallback;
  const value = numberOf(operand.binding);
  if (value === undefined && operand.binding.kind !== 'poison') {
    report(context, 'SORA2006', `expected a number, found ${describe(operand.binding)}`, operand.span);
  }
  return value;
}
