/**
 * The registry: every op there is, by name.
 */
import { unreachable } from '../../support/error.ts';
import type { Attributes, Node } from '../graph.ts';
import type { AttributeKind, InferContext, InferResult, OpDefinition, Trait } from '../op.ts';
import type { TensorType } from '../types.ts';
import { append } from './append.ts';
import { argmax } from './argmax.ts';
import { assign } from './assign.ts';
import { attention } from './attention.ts';
import { barrier } from './barrier.ts';
import { binaryOps } from './binary.ts';
import { cast } from './cast.ts';
import { compareOps } from './compare.ts';
import { conv, convTranspose } from './conv.ts';
import { ctc, ctcPaths } from './ctc.ts';
import { dotGeneral } from './dot-general.ts';
import { dropout } from './dropout.ts';
import { entmax, entmaxThreshold } from './entmax.ts';
import { fakeQuantize } from './fake-quantize.ts';
import { fused } from './fused.ts';
import { gather } from './gather.ts';
import { isFiniteOp } from './is-finite.ts';
import { layerNorm } from './layer-norm.ts';
import { leafOps } from './leaf.ts';
import { linear } from './linear.ts';
import { maskedSoftmax } from './masked-softmax.ts';
import { mean } from './mean.ts';
import { movementOps } from './movement.ts';
import { orderKey } from './order.ts';
import { pad } from './pad.ts';
import { dequantizeRows, quantizeRows } from './quantize-rows.ts';
import { random } from './random.ts';
import { reduce } from './reduce.ts';
import { reverse } from './reverse.ts';
import { rmsNorm } from './rms-norm.ts';
import { scatterAdd } from './scatter-add.ts';
import { segmentSum } from './segment-sum.ts';
import { select } from './select.ts';
import { fail, isDim } from './shared.ts';
import { softmax } from './softmax.ts';
import { sortOrder } from './sort-order.ts';
import { stopGradient } from './stop-gradient.ts';
import { takeAlong } from './take-along.ts';
import { topK } from './top-k.ts';
import { unaryOps } from './unary.ts';
import { window } from './window.ts';

const definitions: readonly OpDefinition[] = [
  ...leafOps,
  ...unaryOps,
  ...binaryOps,
  ...compareOps,
  isFiniteOp,
  orderKey,
  select,
  cast,
  stopGradient,
  dropout,
  barrier,
  random,
  ...movementOps,
  pad,
  window,
  reverse,
  reduce,
  dotGeneral,
  gather,
  scatterAdd,
  segmentSum,
  sortOrder,
  takeAlong,
  topK,
  linear,
  conv,
  convTranspose,
  layerNorm,
  rmsNorm,
  softmax,
  maskedSoftmax,
  entmax,
  entmaxThreshold,
  mean,
  fakeQuantize,
  argmax,
  ctc,
  ctcPaths,
  attention,
  append,
  quantizeRows,
  dequantizeRows,
  assign,
  fused,
];

export const ops: ReadonlyMap<string, OpDefinition> = new Map(
  definitions.map((definition) => [definition.name, definition]),
);

export function opNamed(name: string): OpDefinition {
  return ops.get(name) ?? unreachable(`there is no op \`${name}\``);
}

export function hasTrait(node: Node, trait: Trait): boolean {
  return opNamed(node.op).traits.includes(trait);
}

/** The attributes without those that only training understands; undefined when there are none. */
export function inferenceAttributes(node: Node): Attributes | undefined {
  const specs = opNamed(node.op).attributes;
  const kept = Object.entries(node.attributes).filter(([name]) => specs[name]?.isForTraining !== true);
  return kept.length === Object.keys(node.attributes).length ? undefined : Object.fromEntries(kept);
}

const kindTests: Readonly<Record<AttributeKind, (value: unknown) => boolean>> = {
  int: (value) => Number.isSafeInteger(value),
  float: (value) => typeof value === 'number',
  bool: (value) => typeof value === 'boolean',
  string: (value) => typeof value === 'string',
  dim: (value) => isDim(value as never),
  ints: (value) => Array.isArray(value) && value.every((item) => Number.isSafeInteger(item)),
  floats: (value) => Array.isArray(value) && value.every((item) => typeof item === 'number'),
  strings: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string'),
  dims: (value) => Array.isArray(value) && value.every((item) => isDim(item)),
};

/** What is wrong with the attributes of an op; empty when nothing is. */
export function attributeProblems(definition: OpDefinition, attributes: Attributes): readonly string[] {
  const unknown = Object.keys(attributes)
    .filter((name) => !Object.hasOwn(definition.attributes, name))
    .map((name) => `\`${definition.name}\` has no attribute \`${name}\``);
  const wrong = Object.entries(definition.attributes).flatMap(([name, spec]) => {
    const value = attributes[name];
    if (value === undefined) return spec.optional ? [] : [`\`${definition.name}\` needs the attribute \`${name}\``];
    return kindTests[spec.kind](value)
      ? []
      : [`attribute \`${name}\` of \`${definition.name}\` must be of kind ${spec.kind}`];
  });
  return [...unknown, ...wrong];
}

/** How many operands an op takes. */
export function operandRange(definition: OpDefinition): { readonly minimum: number; readonly maximum: number } {
  const isVariadic = definition.operands.some((name) => name.endsWith('...'));
  const required = definition.operands.filter((name) => !name.endsWith('?') && !name.endsWith('...'));
  return {
    minimum: required.length,
    maximum: isVariadic ? Number.POSITIVE_INFINITY : definition.operands.length,
  };
}

/** `infer` after a check of the number of operands and of the attributes. */
export function inferOp(
  definition: OpDefinition,
  inputs: readonly TensorType[],
  attributes: Attributes,
  context: InferContext,
): InferResult {
  const { minimum, maximum } = operandRange(definition);
  if (inputs.length < minimum || inputs.length > maximum) {
    const takes = minimum === maximum ? `${minimum}` : `${minimum} to ${maximum}`;
    return fail(
      `\`${definition.name}\` takes ${takes} operands (${definition.operands.join(', ')}), not ${inputs.length}`,
    );
  }
  const [problem] = attributeProblems(definition, attributes);
  return problem === undefined ? definition.infer(inputs, attributes, context) : fail(problem);
}
