/**
 * Tensors of modifiers: which shapes a modifier takes, and what is said when it gets another.
 */
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import { constantValue, sameDim } from '../../symbolic.ts';
import { printType, type Shape, sameShape, type TensorType } from '../../types.ts';
import { type Binding, describe } from '../binding.ts';
import { report } from '../context.ts';
import { emitNode } from '../nodes.ts';
import { originLabels, writtenDim, writtenType } from '../origin.ts';
import { asTensor, broadcastTo, convert, type Operand } from '../tensors.ts';
import { type Building, fullShape, geometryOf } from './building.ts';

/** A shape in words of this model, with its numbers where they differ. */
function written(shape: Shape): string {
  return `[${shape.map(writtenDim).join(', ')}]`;
}

export function reportMisfit(building: Building, name: string, given: Operand, wanted: readonly Shape[]): void {
  const { binding, span } = given;
  if (binding.kind === 'poison') return;
  const shapes = wanted.map((shape) => (shape.length === 0 ? 'a number' : `\`f32${written(shape)}\``));
  const list = shapes.length < 2 ? shapes.join() : `${shapes.slice(0, -1).join(', ')} or ${shapes.at(-1)}`;
  const type: TensorType | undefined =
    binding.kind === 'tensor' ? binding.value.type : binding.kind === 'weight' ? binding.weight.type : undefined;
  const found = type ? `\`${writtenType(type)}\`` : describe(binding);
  const numbers = wanted
    .filter((shape) => shape.length > 0)
    .map((shape) => `\`${printType({ dtype: 'f32', shape })}\``);
  const differs = numbers.some((text) => !shapes.includes(text));
  report(building.context, 'SORA2115', `\`${name}\` takes ${list}, found ${found}`, span, {
    labels: originLabels(type?.shape ?? [], [span]),
    ...(differs ? { notes: [`here that is ${numbers.join(' or ')}`] } : {}),
  });
}

/** One of the shapes, as f32; numbers become tensors of rank 0 when that is a shape. Undefined otherwise (reported). */
export function fitting(building: Building, name: string, given: Operand, wanted: readonly Shape[]): Value | undefined {
  const { context } = building;
  const { binding, span } = given;
  if (binding.kind === 'poison') return undefined;
  const isNumber = binding.kind === 'int' || binding.kind === 'float';
  const takesNumber = wanted.some((shape) => shape.length === 0);
  const isTensor = binding.kind === 'tensor' || binding.kind === 'weight';
  if (isTensor || (isNumber && takesNumber)) {
    const value = asTensor(context, given, isNumber ? 'f32' : undefined);
    if (value === undefined) return undefined;
    const fits = wanted.some((shape) => sameShape(shape, value.type.shape));
    if (fits && (value.type.dtype === 'f32' || value.type.dtype === 'f16')) return convert(context, value, 'f32', span);
  }
  reportMisfit(building, name, given, wanted);
  return undefined;
}

/** A value that broadcasts to the scores when aligned at the end; undefined otherwise (reported). */
export function broadcastingToScores(building: Building, name: string, given: Operand): Value | undefined {
  const { context } = building;
  const full = fullShape(geometryOf(building));
  if (given.binding.kind === 'poison') return undefined;
  const isNumber = given.binding.kind === 'int' || given.binding.kind === 'float';
  const isTensor = given.binding.kind === 'tensor' || given.binding.kind === 'weight';
  const value = isNumber || isTensor ? asTensor(context, given, isNumber ? 'f32' : undefined) : undefined;
  const missing = value === undefined ? -1 : full.length - value.type.shape.length;
  const fits =
    value !== undefined &&
    value.type.dtype !== 'bool' &&
    missing >= 0 &&
    value.type.shape.every((dim, at) => constantValue(dim) === 1 || sameDim(dim, full[at + missing] ?? dim));
  if (fits) return convert(context, value, 'f32', given.span);
  if (isNumber && value === undefined) return undefined;
  reportMisfit(building, name, given, [full]);
  return undefined;
}

/** One number per head, f32[H], from that or from a single number. */
export function perHead(building: Building, name: string, given: Operand): Value | undefined {
  const { heads } = geometryOf(building);
  const value = fitting(building, name, given, [[heads], []]);
  return value && broadcastTo(building.context, value, [heads], given.span);
}

/** The product of two values of one shape. */
export function multiplied(building: Building, left: Value, right: Value, span: Span): Value | undefined {
  return emitNode(building.context, 'mul', [left, right], {}, span);
}

export function operandOf(binding: Binding, span: Span): Operand {
  return { binding, span };
}
