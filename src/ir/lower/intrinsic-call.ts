/**
 * What built-in functions share: reading matched arguments as integers, axes, flags and numbers.
 */
import type { Span } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { constantValue, type Dim, dimBounds, sameDim } from '../symbolic.ts';
import type { Shape } from '../types.ts';
import type { EvaluatedArgument } from './arguments.ts';
import { type Binding, describe, numberOf, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { withOrigin, writtenType } from './origin.ts';
import type { Operand } from './tensors.ts';

export interface Call {
  readonly name: string;
  readonly span: Span;
  /** By parameter; undefined where an optional one was left out. */
  readonly arguments: readonly (EvaluatedArgument | undefined)[];
  /** What the `…` parameter takes: the other arguments, in order. */
  readonly more?: readonly EvaluatedArgument[];
}

export interface Intrinsic {
  /** A name ending in `?` is optional; a last one ending in `…` takes every argument that the others do not. */
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

/** The axis whose size is this runtime dim; undefined when there is not exactly one (reported). */
function axisOfSize(context: Context, size: Dim, value: Value, span: Span): number | undefined {
  const axes = value.type.shape.flatMap((dim, axis) => (sameDim(dim, size) ? [axis] : []));
  const [only] = axes;
  if (axes.length === 1) return only;
  const shown = `the tensor is \`${writtenType(value.type)}\``;
  const message =
    axes.length === 0
      ? `no axis has size \`${size.key}\`: ${shown}`
      : `${axes.length} axes have size \`${size.key}\`: ${shown}`;
  report(
    context,
    'SORA2102',
    message,
    span,
    axes.length === 0 ? {} : { help: `give the axis by number: ${axes.join(' or ')}` },
  );
  return undefined;
}

/** An axis by number, or by the runtime dim that is its size: `axis: T`. */
function axisBy(context: Context, operand: Operand, value: Value): number | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'int' && constantValue(binding.dim) === undefined) {
    return axisOfSize(context, binding.dim, value, span);
  }
  const axis = integer(context, operand, 'the axis');
  return axis === undefined ? undefined : normalAxis(context, axis, value, span);
}

export function axisOf(context: Context, call: Call, at: number, value: Value, fallback: number): number | undefined {
  const given = call.arguments[at];
  return given === undefined ? normalAxis(context, fallback, value, call.span) : axisBy(context, given, value);
}

/** One axis or a list of them. */
export function axesOf(context: Context, operand: Operand, value: Value): readonly number[] | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  const items = binding.kind === 'list' ? binding.items : [binding];
  const axes = items.map((item) => axisBy(context, { binding: item, span }, value));
  return axes.every((axis) => axis !== undefined) ? axes : undefined;
}

/** A list of dims; undefined when it is none (reported). */
export function shapeOf(context: Context, operand: Operand): Shape | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  if (binding.kind !== 'list') {
    report(context, 'SORA2006', `the shape must be a list of dims, found ${describe(binding)}`, span);
    return undefined;
  }
  const odd = binding.items.find((item) => item.kind !== 'int');
  if (odd) {
    if (odd.kind !== 'poison') report(context, 'SORA2006', `a dim must be an integer, found ${describe(odd)}`, span);
    return undefined;
  }
  const shape = binding.items.flatMap((item) => (item.kind === 'int' ? [item] : []));
  const small = shape.find(({ dim }) => dimBounds(dim, context.ranges).minimum < 1);
  if (small) {
    report(context, 'SORA2204', `a dim must be at least 1, found ${small.dim.key}`, span);
    return undefined;
  }
  return shape.map(({ dim, origin }) => (origin ? withOrigin(dim, origin) : dim));
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
