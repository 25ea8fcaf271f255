/**
 * The losses that `train` blocks know: what each takes, and what builds its graph.
 */
import type { Scored, Value } from '../graph.ts';
import { contrastiveLoss } from '../loss-contrastive.ts';
import { ctcLoss } from '../loss-ctc.ts';
import { binaryCrossEntropy, crossEntropy, meanAbsoluteError, meanSquaredError, nextToken } from '../losses.ts';
import type { Emitter } from '../op.ts';
import { constantDim, type Dim } from '../symbolic.ts';
import { type TensorType, tensorType } from '../types.ts';
import type { ValueKind } from './use-methods.ts';

/** A tensor that a loss takes. The first of them is a float tensor, the types of the others follow from it. */
export interface LossOperand {
  readonly name: string;
  readonly required: boolean;
  /** What it must be, given the first operand and itself, where some axis of it is free. */
  wanted(first: TensorType, own: TensorType): TensorType;
}

export interface Loss {
  /** Name of the first operand, and how many axes it has when that is fixed. */
  readonly first: { readonly name: string; readonly rank?: number };
  readonly operands: readonly LossOperand[];
  readonly options: readonly { readonly name: string; readonly value: ValueKind }[];
  /** What a comparison of the first two operands is good for besides. */
  readonly scored?: Scored['kind'];
  build(
    emitter: Emitter,
    first: Value,
    operands: Readonly<Record<string, Value | undefined>>,
    options: Readonly<Record<string, number>>,
  ): Value;
}

const one = constantDim(1);
const axis = (type: TensorType, at: number): Dim => type.shape[at] ?? one;
const rows = (type: TensorType): readonly Dim[] => type.shape.slice(0, -1);

const required = (name: string, wanted: LossOperand['wanted']): LossOperand => ({ name, required: true, wanted });
const optional = (name: string, wanted: LossOperand['wanted']): LossOperand => ({ name, required: false, wanted });

/** One class where the first operand has a row of scores. */
const classes = (first: TensorType): TensorType => ({ dtype: 'i32', shape: rows(first) });
const alike = (first: TensorType): TensorType => first;
const perRow = (first: TensorType): TensorType => ({ dtype: 'i32', shape: [axis(first, 0)] });

const share: ValueKind = { kind: 'number', minimum: 0, below: 1 };
const smoothing = { name: 'smoothing', value: share } as const;
const ignore = { name: 'ignore', value: { kind: 'number' } } as const;

/** A table has all operands; this says so to the types. */
function need(operands: Readonly<Record<string, Value | undefined>>, name: string): Value {
  const value = operands[name];
  if (value === undefined) throw new RangeError(`a loss without \`${name}\``);
  return value;
}

export const losses: Readonly<Record<string, Loss>> = {
  cross_entropy: {
    first: { name: 'logits' },
    operands: [
      required('target', classes),
      optional('weights', (first) => tensorType('f32', [axis(first, first.shape.length - 1)])),
    ],
    options: [ignore, smoothing],
    scored: 'classes',
    build: (emitter, logits, operands, options) => {
      const { weights } = operands;
      const target = need(operands, 'target');
      return crossEntropy(emitter, { logits, target, ...(weights ? { weights } : {}), ...options });
    },
  },
  next_token: {
    first: { name: 'logits', rank: 3 },
    operands: [required('tokens', classes)],
    options: [ignore, smoothing],
    scored: 'next',
    build: (emitter, logits, operands, options) =>
      nextToken(emitter, { logits, tokens: need(operands, 'tokens'), ...options }),
  },
  binary_cross_entropy: {
    first: { name: 'logits' },
    operands: [required('target', alike)],
    options: [{ name: 'positive', value: { kind: 'number', above: 0 } }],
    scored: 'binary',
    build: (emitter, logits, operands, options) =>
      binaryCrossEntropy(emitter, { logits, target: need(operands, 'target'), ...options }),
  },
  mse: {
    first: { name: 'prediction' },
    operands: [required('target', alike)],
    options: [],
    build: (emitter, prediction, operands) =>
      meanSquaredError(emitter, { prediction, target: need(operands, 'target') }),
  },
  mae: {
    first: { name: 'prediction' },
    operands: [required('target', alike)],
    options: [],
    build: (emitter, prediction, operands) =>
      meanAbsoluteError(emitter, { prediction, target: need(operands, 'target') }),
  },
  ctc: {
    first: { name: 'logits', rank: 3 },
    operands: [
      required('target', (first, own) => tensorType('i32', [axis(first, 0), axis(own, 1)])),
      optional('input_lengths', perRow),
      optional('target_lengths', perRow),
    ],
    options: [{ name: 'blank', value: { kind: 'int', minimum: 0 } }],
    build: (emitter, logits, operands, options) => {
      const { input_lengths: inputLengths, target_lengths: targetLengths } = operands;
      return ctcLoss(emitter, {
        logits,
        target: need(operands, 'target'),
        ...(inputLengths ? { inputLengths } : {}),
        ...(targetLengths ? { targetLengths } : {}),
        ...options,
      });
    },
  },
  contrastive: {
    first: { name: 'left', rank: 2 },
    operands: [required('right', alike), optional('temperature', (first) => ({ dtype: first.dtype, shape: [] }))],
    options: [],
    build: (emitter, left, operands) => {
      const { temperature } = operands;
      return contrastiveLoss(emitter, {
        left,
        right: need(operands, 'right'),
        ...(temperature ? { temperature } : {}),
      });
    },
  },
};
