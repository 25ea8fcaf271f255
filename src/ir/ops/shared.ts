/**
 * What op definitions share: reading attributes, wording of inference failures, WGSL literals for a vector width.
 */
import { InternalError } from '../../support/error.ts';
import type { Attributes, AttributeValue } from '../graph.ts';
import type { InferFailure, Lanes } from '../op.ts';
import type { Dim } from '../symbolic.ts';
import { type DType, dtypes, printType, type Shape, sameShape, type TensorType } from '../types.ts';

export function fail(failure: string, operand?: number, help?: string): InferFailure {
  return {
    failure,
    ...(operand === undefined ? {} : { operand }),
    ...(help === undefined ? {} : { help }),
  };
}

/** `f32[B, T]` in backquotes. */
export function quoteType(type: TensorType): string {
  return `\`${printType(type)}\``;
}

export function isDim(value: AttributeValue | undefined): value is Dim {
  return typeof value === 'object' && 'terms' in value;
}

function wrong(name: string, wanted: string): never {
  throw new InternalError(`attribute \`${name}\` is not ${wanted}`);
}

export function numberOf(attributes: Attributes, name: string): number {
  const value = attributes[name];
  return typeof value === 'number' ? value : wrong(name, 'a number');
}

export function boolOf(attributes: Attributes, name: string): boolean {
  const value = attributes[name];
  return typeof value === 'boolean' ? value : wrong(name, 'a boolean');
}

export function stringOf(attributes: Attributes, name: string): string {
  const value = attributes[name];
  return typeof value === 'string' ? value : wrong(name, 'a string');
}

export function dimOf(attributes: Attributes, name: string): Dim {
  const value = attributes[name];
  return isDim(value) ? value : wrong(name, 'a dim');
}

function listOf<Item extends AttributeValue>(
  attributes: Attributes,
  name: string,
  accepts: (value: AttributeValue) => value is Item,
  wanted: string,
): readonly Item[] {
  const value = attributes[name];
  return Array.isArray(value) && value.every(accepts) ? value : wrong(name, wanted);
}

export function numbersOf(attributes: Attributes, name: string): readonly number[] {
  return listOf(attributes, name, (value) => typeof value === 'number', 'a list of numbers');
}

export function stringsOf(attributes: Attributes, name: string): readonly string[] {
  return listOf(attributes, name, (value) => typeof value === 'string', 'a list of strings');
}

export function dimsOf(attributes: Attributes, name: string): readonly Dim[] {
  return listOf(attributes, name, isDim, 'a list of dims');
}

export function dtypeNamed(text: string): DType | undefined {
  return dtypes.find((dtype) => dtype === text);
}

/** The dtype that a `dtype` attribute names, or the failure to report. */
export function dtypeAttribute(attributes: Attributes): DType | InferFailure {
  const text = stringOf(attributes, 'dtype');
  return dtypeNamed(text) ?? fail(`\`${text}\` is no element type; there are ${dtypes.join(', ')}`);
}

/** Undefined when all shapes are equal. */
export function differingShape(inputs: readonly TensorType[]): InferFailure | undefined {
  const [first] = inputs;
  if (!first) return undefined;
  const operand = inputs.findIndex((type) => !sameShape(type.shape, first.shape));
  const other = inputs[operand];
  return other && fail(`operands have different shapes: ${quoteType(first)} and ${quoteType(other)}`, operand);
}

/** The axis counted from the front, or undefined when it is out of range. Negative axes count from the end. */
export function normalAxis(axis: number, rank: number): number | undefined {
  if (!Number.isInteger(axis)) return undefined;
  const normal = axis < 0 ? axis + rank : axis;
  return normal >= 0 && normal < rank ? normal : undefined;
}

/** Sorted, from the front, each once; a failure when one is out of range or stands twice. */
export function normalAxes(axes: readonly number[], rank: number): readonly number[] | InferFailure {
  const normal: number[] = [];
  for (const axis of axes) {
    const at = normalAxis(axis, rank);
    if (at === undefined) return fail(`axis ${axis} is out of range for rank ${rank}`, 0);
    if (normal.includes(at)) return fail(`axis ${axis} stands twice`, 0);
    normal.push(at);
  }
  return normal.sort((left, right) => left - right);
}

export function lastDim(shape: Shape): Dim | undefined {
  return shape[shape.length - 1];
}

/** `f32`, `vec4<f32>`; f16 is a way to store numbers, computed in f32. */
export function wgslType(dtype: DType, lanes: Lanes = 1): string {
  const scalar = dtype === 'f16' ? 'f32' : dtype;
  return lanes === 1 ? scalar : `vec${lanes}<${scalar}>`;
}

/** A literal as an operand of builtins, which do not mix scalars and vectors. */
export function wgslLiteral(text: string, dtype: DType, lanes: Lanes = 1): string {
  return `${wgslType(dtype, lanes)}(${text})`;
}
