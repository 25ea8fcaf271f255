/**
 * The common part of elementwise ops: one JS function per operand class gives `scalar` and `interpret`.
 */
import type { Attributes } from '../graph.ts';
import type { InferFailure, InterpretContext, OpDefinition, Tensor } from '../op.ts';
import { newTensor, type TensorData } from '../tensor.ts';
import { type DType, isFloat, type TensorType } from '../types.ts';
import { differingShape, fail, quoteType } from './shared.ts';

/** Which element types an op takes. `number`: floats and integers; `signed`: without u32. */
export type OperandClass = 'float' | 'number' | 'signed' | 'bool' | 'any';

const classNames: Readonly<Record<OperandClass, string>> = {
  float: 'floats',
  number: 'numbers',
  signed: 'signed numbers',
  bool: 'booleans',
  any: 'any elements',
};

export function accepts(operandClass: OperandClass, dtype: DType): boolean {
  switch (operandClass) {
    case 'float':
      return isFloat(dtype);
    case 'number':
      return dtype !== 'bool';
    case 'signed':
      return dtype !== 'bool' && dtype !== 'u32';
    case 'bool':
      return dtype === 'bool';
    case 'any':
      return true;
  }
}

/** Undefined when all operands are of one accepted dtype and of one shape. */
export function checkElementwise(
  name: string,
  operandClass: OperandClass,
  inputs: readonly TensorType[],
): InferFailure | undefined {
  const [first] = inputs;
  if (!first) return fail(`\`${name}\` needs an operand`);
  const wrong = inputs.findIndex((type) => !accepts(operandClass, type.dtype));
  const offender = inputs[wrong];
  if (offender) return fail(`\`${name}\` takes ${classNames[operandClass]}, not ${quoteType(offender)}`, wrong);
  const other = inputs.findIndex((type) => type.dtype !== first.dtype);
  const odd = inputs[other];
  if (odd) {
    return fail(
      `\`${name}\` needs operands of one element type, got \`${first.dtype}\` and \`${odd.dtype}\``,
      other,
      `write \`cast\` to convert one of them`,
    );
  }
  return differingShape(inputs);
}

export type UnaryFunction = (x: number) => number;
export type BinaryFunction = (a: number, b: number) => number;

export function applyUnary(apply: UnaryFunction, input: Tensor, dtype: DType, context: InterpretContext): Tensor {
  const result = newTensor(dtype, input.shape, context.precision);
  const { data } = input;
  const to: TensorData = result.data;
  for (let i = 0; i < to.length; i++) to[i] = apply(data[i] as number);
  return result;
}

export function applyBinary(
  apply: BinaryFunction,
  left: Tensor,
  right: Tensor,
  dtype: DType,
  context: InterpretContext,
): Tensor {
  const result = newTensor(dtype, left.shape, context.precision);
  const a = left.data;
  const b = right.data;
  const to: TensorData = result.data;
  for (let i = 0; i < to.length; i++) to[i] = apply(a[i] as number, b[i] as number);
  return result;
}

/** Interprets through `scalar`: for elementwise ops without a fast loop. */
export function interpretByScalar(
  scalar: NonNullable<OpDefinition['scalar']>,
  inputs: readonly Tensor[],
  attributes: Attributes,
  dtype: DType,
  context: InterpretContext,
): Tensor {
  const result = newTensor(dtype, inputs[0]?.shape ?? [], context.precision);
  const dtypes = inputs.map((input) => input.dtype);
  for (let i = 0; i < result.data.length; i++) {
    result.data[i] = scalar(
      inputs.map((input) => input.data[i] as number),
      attributes,
      dtypes,
    );
  }
  return result;
}
