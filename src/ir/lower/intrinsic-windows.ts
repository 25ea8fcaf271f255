/**
 * Built-in functions that look at neighbourhoods: `pad`, `window`, `flip`, `conv`, `conv_transpose`.
 *
 * Where a function takes one number for each of several axes, a single number stands for all of them.
 */
import type { Value } from '../graph.ts';
import { poison } from './binding.ts';
import { type Context, report } from './context.ts';
import {
  argument,
  type Call,
  float,
  type Intrinsic,
  integer,
  integerList,
  normalAxis,
  wrap,
} from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { asTensor } from './tensors.ts';

/** Axes from the front; undefined when one is missing (reported). */
function axesAt(context: Context, call: Call, at: number, x: Value): readonly number[] | undefined {
  const given = integerList(context, argument(call, at), 'an axis');
  const axes = given?.map((axis) => normalAxis(context, axis, x, argument(call, at).span));
  return axes?.every((axis) => axis !== undefined) ? axes : undefined;
}

/** One number per axis; `least` is the smallest that makes sense. */
function perAxis(
  context: Context,
  call: Call,
  at: number,
  what: string,
  count: number,
  fallback: number,
  least: number,
): readonly number[] | undefined {
  const given = call.arguments[at];
  if (given === undefined) return new Array<number>(count).fill(fallback);
  const numbers = integerList(context, given, what);
  if (numbers === undefined) return undefined;
  const isList = given.binding.kind === 'list';
  if (isList && numbers.length !== count) {
    report(
      context,
      'SORA2109',
      `${what} needs ${count} numbers, one for each axis, found ${numbers.length}`,
      given.span,
    );
    return undefined;
  }
  const wrong = numbers.find((number) => number < least);
  if (wrong !== undefined) {
    report(context, 'SORA2109', `${what} must be at least ${least}, found ${wrong}`, given.span);
    return undefined;
  }
  return isList ? numbers : new Array<number>(count).fill(numbers[0] ?? fallback);
}

export const pad: Intrinsic = {
  parameters: ['x', 'axis', 'low?', 'high?', 'value?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const axes = x && axesAt(context, call, 1, x);
    const value = float(context, call.arguments[4], 0);
    if (x === undefined || axes === undefined || value === undefined) return poison;
    const low = perAxis(context, call, 2, 'the padding', axes.length, 0, 0);
    const high = perAxis(context, call, 3, 'the padding', axes.length, 0, 0);
    if (low === undefined || high === undefined) return poison;
    const everywhere = (counts: readonly number[]) =>
      x.type.shape.map((_, axis) => (axes.includes(axis) ? (counts[axes.indexOf(axis)] ?? 0) : 0));
    const attributes = { low: everywhere(low), high: everywhere(high), interior: everywhere([]), value };
    return wrap(emitNode(context, 'pad', [x], attributes, call.span, [argument(call, 0).span]));
  },
};

export const window: Intrinsic = {
  parameters: ['x', 'axis', 'size', 'stride?', 'dilation?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const axes = x && axesAt(context, call, 1, x);
    if (x === undefined || axes === undefined) return poison;
    const sizes = perAxis(context, call, 2, 'the size of a window', axes.length, 1, 1);
    const strides = perAxis(context, call, 3, 'the stride', axes.length, 1, 1);
    const dilations = perAxis(context, call, 4, 'the dilation', axes.length, 1, 1);
    if (sizes === undefined || strides === undefined || dilations === undefined) return poison;
    const attributes = { axes, sizes, strides, dilations };
    return wrap(emitNode(context, 'window', [x], attributes, call.span, [argument(call, 0).span]));
  },
};

export const flip: Intrinsic = {
  parameters: ['x', 'axis'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const axes = x && axesAt(context, call, 1, x);
    if (x === undefined || axes === undefined) return poison;
    return wrap(emitNode(context, 'reverse', [x], { axes }, call.span, [argument(call, 0).span]));
  },
};

function convolution(op: 'conv' | 'conv_transpose'): Intrinsic {
  const isTransposed = op === 'conv_transpose';
  const added = isTransposed ? ['output_padding?'] : [];
  return {
    parameters: ['x', 'weight', 'bias?', 'stride?', 'padding?', 'dilation?', 'groups?', ...added],
    apply(context, call) {
      const operands = call.arguments.slice(0, 3).flatMap((operand) => operand ?? []);
      const inputs = operands.map((operand) => asTensor(context, operand));
      const [x] = inputs;
      if (x === undefined || !inputs.every((input) => input !== undefined)) return poison;
      const rank = Math.max(0, x.type.shape.length - 2);
      const strides = perAxis(context, call, 3, 'the stride', rank, 1, 1);
      const padding = perAxis(context, call, 4, 'the padding', rank, 0, 0);
      const dilations = perAxis(context, call, 5, 'the dilation', rank, 1, 1);
      const groups = call.arguments[6] === undefined ? 1 : integer(context, argument(call, 6), 'the number of groups');
      const more = perAxis(context, call, 7, 'the output padding', rank, 0, 0);
      if (!strides || !padding || !dilations || groups === undefined || !more) return poison;
      const high = padding.map((count, at) => count - (more[at] ?? 0));
      const attributes = { strides, low: padding, high, dilations, groups };
      const spans = operands.map((operand) => operand.span);
      return wrap(emitNode(context, op, inputs, attributes, call.span, spans));
    },
  };
}

export const conv = convolution('conv');
export const convTranspose = convolution('conv_transpose');
