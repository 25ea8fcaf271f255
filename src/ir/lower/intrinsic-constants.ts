/**
 * Built-in functions that make tensors of known numbers (`tensor`, `full`), and those about chance: `dropout`, which does
 * something in a training step alone, and `rng`.
 */
import { constantDim, productOfDims } from '../symbolic.ts';
import { type DType, isFloat, type Shape } from '../types.ts';
import { type Binding, describe, numberOf, poison } from './binding.ts';
import { report } from './context.ts';
import { probability, streamOf } from './dropout.ts';
import { argument, type Intrinsic, integer, shapeOf, wrap } from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { writtenType } from './origin.ts';
import { asTensor, broadcastTo, fitsFloat, reshapeTo } from './tensors.ts';

/** More numbers than this belong into the checkpoint. */
const mostNumbers = 4096;

interface Numbers {
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly isInteger: boolean;
}

/** A number, or lists of equal length inside lists; otherwise what is wrong with it. */
function numbersOf(binding: Binding): Numbers | string {
  if (binding.kind !== 'list') {
    const value = numberOf(binding);
    if (value === undefined) return `a list of numbers is needed here, found ${describe(binding)}`;
    return { shape: [], values: [value], isInteger: binding.kind === 'int' };
  }
  const items = binding.items.map(numbersOf);
  const wrong = items.find((item) => typeof item === 'string');
  if (typeof wrong === 'string') return wrong;
  const lists = items.filter((item) => typeof item !== 'string');
  const [first] = lists;
  if (first === undefined) return 'this list is empty';
  if (lists.some((item) => item.shape.join() !== first.shape.join())) return 'the rows of this list differ in length';
  return {
    shape: [lists.length, ...first.shape],
    values: lists.flatMap((item) => item.values),
    isInteger: lists.every((item) => item.isInteger),
  };
}

function fits(value: number, dtype: DType): boolean {
  return isFloat(dtype) ? fitsFloat(value, dtype) : value === (value | 0);
}

export const tensor: Intrinsic = {
  parameters: ['numbers'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    const numbers = binding.kind === 'poison' ? undefined : numbersOf(binding);
    if (numbers === undefined) return poison;
    if (typeof numbers === 'string') {
      report(context, 'SORA2006', numbers, span);
      return poison;
    }
    if (numbers.values.length > mostNumbers) {
      report(context, 'SORA5002', `${numbers.values.length} numbers are more than ${mostNumbers}`, span, {
        help: 'make it a field: `table: f32[…]`, with the numbers in the checkpoint',
      });
      return poison;
    }
    const dtype = numbers.isInteger ? 'i32' : 'f32';
    const wrong = numbers.values.find((value) => !fits(value, dtype));
    if (wrong !== undefined) {
      report(context, 'SORA2204', `${wrong} does not fit in \`${dtype}\``, span);
      return poison;
    }
    if (context.site === undefined) {
      report(context, 'SORA2203', '`tensor` makes a tensor, which cannot stand here', call.span);
      return poison;
    }
    const shape: Shape = numbers.shape.map(constantDim);
    return wrap(emitNode(context, 'constant', [], { values: numbers.values, dtype, shape }, call.span));
  },
};

export const full: Intrinsic = {
  parameters: ['shape', 'value'],
  apply(context, call) {
    const shape = shapeOf(context, argument(call, 0));
    const value = asTensor(context, argument(call, 1));
    if (shape === undefined || value === undefined) return poison;
    return wrap(broadcastTo(context, value, shape, call.span));
  },
};

export const dropout: Intrinsic = {
  parameters: ['x', 'p', 'seed?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const given = argument(call, 1);
    const p = probability(context, given);
    const seed = call.arguments[2] && integer(context, call.arguments[2], 'the seed');
    if (x === undefined || p === undefined || (call.arguments[2] && seed === undefined)) return poison;
    if (!isFloat(x.type.dtype)) {
      const message = `\`dropout\` takes floats, found \`${writtenType(x.type)}\``;
      report(context, 'SORA2103', message, argument(call, 0).span);
      return poison;
    }
    if (p === 0) return wrap(x);
    return wrap(emitNode(context, 'dropout', [x], { p, stream: streamOf(context, seed) }, call.span));
  },
};

/** Uniform numbers in [0, 1): a tensor of the shape for an i32 seed, which may be a number or a scalar tensor. */
export const rng: Intrinsic = {
  parameters: ['shape', 'seed'],
  apply(context, call) {
    const shape = shapeOf(context, argument(call, 0));
    const given = argument(call, 1);
    const seed = asTensor(context, given, 'i32');
    if (shape === undefined || seed === undefined) return poison;
    if (seed.type.dtype !== 'i32' || seed.type.shape.length > 0) {
      report(
        context,
        'SORA2103',
        `the seed of \`rng\` is one \`i32\`, found \`${writtenType(seed.type)}\``,
        given.span,
      );
      return poison;
    }
    const length = productOfDims(shape);
    const counter = emitNode(context, 'iota', [], { length, dtype: 'u32' }, call.span);
    const places = counter && reshapeTo(context, counter, shape, call.span);
    const key = emitNode(context, 'cast', [seed], { dtype: 'u32' }, call.span);
    const keys = key && broadcastTo(context, key, shape, call.span);
    return places && keys ? wrap(emitNode(context, 'random', [places, keys], {}, call.span)) : poison;
  },
};
