/**
 * The built-in functions of `.sora`: one table. Everything else of the standard library is written in `.sora`.
 *
 * A built-in gets its arguments matched to parameters, as bindings; it folds config numbers and makes nodes of tensors.
 */
import type { Span } from '../../support/source.ts';
import { type DType, isFloat } from '../types.ts';
import { type EvaluatedArgument, matchArguments } from './arguments.ts';
import { matchTensors, tensorBinary } from './arithmetic.ts';
import { type Binding, describe, intBinding, numberOf, poison } from './binding.ts';
import { type Context, report } from './context.ts';
import { argument, axesOf, axisOf, flag, float, type Intrinsic, wrap } from './intrinsic-call.ts';
import { argmax, takeAlong, topK } from './intrinsic-choice.ts';
import { dropout, full, rng, tensor } from './intrinsic-constants.ts';
import { einsum, rearrange } from './intrinsic-patterns.ts';
import { gather, linear, matmul } from './intrinsic-products.ts';
import { last, positions } from './intrinsic-session.ts';
import { concat, iota, reshape, split, transpose } from './intrinsic-shapes.ts';
import { conv, convTranspose, flip, pad, window } from './intrinsic-windows.ts';
import { emitNode } from './nodes.ts';
import { writtenType } from './origin.ts';
import { foldUnary } from './scalars.ts';
import { asTensor, broadcastTogether, convert, fitsFloat, isTensor } from './tensors.ts';

function unaryOp(op: string, parameter = 'x'): Intrinsic {
  return {
    parameters: [parameter],
    apply(context, call) {
      const operand = argument(call, 0);
      if (operand.binding.kind === 'poison') return poison;
      if (!isTensor(operand.binding)) return foldUnary(context, op, operand, call.span);
      const value = asTensor(context, operand);
      return value === undefined ? poison : wrap(emitNode(context, op, [value], {}, call.span, [operand.span]));
    },
  };
}

/** `erf` of a config number has no use; tensors only. */
const erf: Intrinsic = {
  parameters: ['x'],
  apply(context, call) {
    const operand = argument(call, 0);
    const value = asTensor(context, operand);
    return value === undefined ? poison : wrap(emitNode(context, 'erf', [value], {}, call.span, [operand.span]));
  },
};

function binaryOp(op: string, fold: (a: number, b: number) => number): Intrinsic {
  return {
    parameters: ['a', 'b'],
    apply(context, call) {
      const [a, b] = [argument(call, 0), argument(call, 1)];
      if (a.binding.kind === 'poison' || b.binding.kind === 'poison') return poison;
      if (isTensor(a.binding) || isTensor(b.binding)) return tensorBinary(context, op, a, b, call.span, call.name);
      const [x, y] = [numberOf(a.binding), numberOf(b.binding)];
      if (x === undefined || y === undefined) {
        const odd = x === undefined ? a : b;
        report(
          context,
          'SORA2006',
          `\`${call.name}\` needs numbers or tensors, found ${describe(odd.binding)}`,
          odd.span,
        );
        return poison;
      }
      const value = fold(x, y);
      const whole = a.binding.kind === 'int' && b.binding.kind === 'int' && Number.isSafeInteger(value);
      if (whole) return intBinding(value);
      if (Number.isFinite(value)) return { kind: 'float', value };
      report(context, 'SORA2204', `this is ${value}`, call.span);
      return poison;
    },
  };
}

function reduction(op: 'sum' | 'max' | 'min' | 'mean'): Intrinsic {
  return {
    parameters: ['x', 'axis', 'keep?'],
    apply(context, call) {
      const x = asTensor(context, argument(call, 0));
      const keep = flag(context, call.arguments[2]);
      if (x === undefined || keep === undefined) return poison;
      const axes = axesOf(context, argument(call, 1), x);
      if (axes === undefined) return poison;
      const attributes = { axes, keep };
      const spans = [argument(call, 0).span];
      const value =
        op === 'mean'
          ? emitNode(context, 'mean', [x], attributes, call.span, spans)
          : emitNode(context, 'reduce', [x], { kind: op, ...attributes }, call.span, spans);
      return wrap(value);
    },
  };
}

function cast(dtype: DType): Intrinsic {
  return {
    parameters: ['x'],
    apply(context, call) {
      const operand = argument(call, 0);
      const number = numberOf(operand.binding);
      if (number !== undefined && isFloat(dtype)) return { kind: 'float', value: number };
      if (number !== undefined && dtype !== 'bool') {
        const whole = Math.trunc(number);
        if (Number.isSafeInteger(whole)) return intBinding(whole);
        report(context, 'SORA2204', 'this integer is too large to be exact (beyond 2^53)', call.span);
        return poison;
      }
      const value = asTensor(context, operand);
      return value === undefined ? poison : wrap(convert(context, value, dtype, call.span));
    },
  };
}

/** An op whose operands are tensors, the last ones optional, plus one `eps`. */
function normalization(op: 'layer_norm' | 'rms_norm', operands: readonly string[], eps: number): Intrinsic {
  return {
    parameters: [...operands, 'eps?'],
    apply(context, call) {
      const given = call.arguments.slice(0, operands.length).flatMap((operand) => operand ?? []);
      const inputs = given.map((operand) => asTensor(context, operand));
      const epsilon = float(context, call.arguments[operands.length], eps);
      if (epsilon !== undefined && (epsilon < 0 || !fitsFloat(epsilon, 'f32'))) {
        const place = call.arguments[operands.length]?.span ?? call.span;
        report(context, 'SORA2204', `\`eps\` is added to a square: it is at least 0, found ${epsilon}`, place);
        return poison;
      }
      if (epsilon === undefined || !inputs.every((input) => input !== undefined)) return poison;
      return wrap(
        emitNode(
          context,
          op,
          inputs,
          { eps: epsilon },
          call.span,
          given.map((operand) => operand.span),
        ),
      );
    },
  };
}

const where: Intrinsic = {
  parameters: ['condition', 'a', 'b'],
  apply(context, call) {
    const condition = asTensor(context, argument(call, 0), 'bool');
    const matched = matchTensors(context, argument(call, 1), argument(call, 2), call.span, 'where');
    if (condition === undefined || matched === undefined) return poison;
    if (condition.type.dtype !== 'bool') {
      report(
        context,
        'SORA2103',
        `\`where\` needs a bool condition, found \`${writtenType(condition.type)}\``,
        argument(call, 0).span,
        {
          help: 'compare first: `x != 0`',
        },
      );
      return poison;
    }
    const values = [condition, ...matched];
    const sides = values.map((value, at) => ({ value, span: argument(call, at).span }));
    const joined = broadcastTogether(context, sides, call.span, 'where');
    return joined === undefined ? poison : wrap(emitNode(context, 'select', joined, {}, call.span));
  },
};

const softmax: Intrinsic = {
  parameters: ['x', 'axis?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const axis = x === undefined ? undefined : axisOf(context, call, 1, x, -1);
    if (x === undefined || axis === undefined) return poison;
    return wrap(emitNode(context, 'softmax', [x], { axis }, call.span, [argument(call, 0).span]));
  },
};

const fail: Intrinsic = {
  parameters: ['message'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    if (binding.kind === 'string')
      report(context, 'SORA2205', binding.value.trim() || 'the model refuses this config', call.span);
    else if (binding.kind !== 'poison')
      report(context, 'SORA2006', `\`fail\` needs a string, found ${describe(binding)}`, span);
    return poison;
  },
};

const table: Readonly<Record<string, Intrinsic>> = {
  exp: unaryOp('exp'),
  log: unaryOp('log'),
  sqrt: unaryOp('sqrt'),
  rsqrt: unaryOp('rsqrt'),
  abs: unaryOp('abs'),
  sin: unaryOp('sin'),
  cos: unaryOp('cos'),
  tanh: unaryOp('tanh'),
  floor: unaryOp('floor'),
  ceil: unaryOp('ceil'),
  round: unaryOp('round'),
  sign: unaryOp('sign'),
  erf,
  min: binaryOp('min', Math.min),
  max: binaryOp('max', Math.max),
  pow: binaryOp('pow', (a, b) => a ** b),
  where,
  sum: reduction('sum'),
  mean: reduction('mean'),
  amax: reduction('max'),
  amin: reduction('min'),
  argmax,
  top_k: topK,
  softmax,
  linear,
  matmul,
  gather,
  take_along: takeAlong,
  conv,
  conv_transpose: convTranspose,
  pad,
  window,
  flip,
  layer_norm: normalization('layer_norm', ['x', 'gain?', 'bias?'], 1e-5),
  rms_norm: normalization('rms_norm', ['x', 'gain?'], 1e-5),
  iota,
  positions,
  last,
  f32: cast('f32'),
  f16: cast('f16'),
  i32: cast('i32'),
  u32: cast('u32'),
  bool: cast('bool'),
  reshape,
  transpose,
  concat,
  split,
  rearrange,
  einsum,
  tensor,
  full,
  dropout,
  rng,
  fail,
};

const names = Object.keys(table);

export function intrinsicNames(): readonly string[] {
  return names;
}

/** Parameters of every built-in, in the order of the table; a name ending in `?` is optional. For the reference. */
export function intrinsicParameters(): ReadonlyMap<string, readonly string[]> {
  return new Map(Object.entries(table).map(([name, { parameters }]) => [name, parameters]));
}

export function applyIntrinsic(
  context: Context,
  name: string,
  given: readonly EvaluatedArgument[],
  span: Span,
): Binding {
  const intrinsic = table[name];
  if (intrinsic === undefined) return poison;
  const isOpen = intrinsic.parameters.at(-1)?.endsWith('…') === true;
  const parameters = intrinsic.parameters.slice(0, isOpen ? -1 : undefined).map((parameter) => ({
    name: parameter.replace(/\?$/, ''),
    required: !parameter.endsWith('?'),
  }));
  const positional = given.filter((argument) => argument.name === undefined);
  const isMore = (argument: EvaluatedArgument): boolean =>
    isOpen &&
    (argument.name === undefined
      ? positional.indexOf(argument) >= parameters.length
      : parameters.every((parameter) => parameter.name !== argument.name?.text));
  const own = given.filter((argument) => !isMore(argument));
  const matched = matchArguments(context, { name, parameters, span: undefined }, own, span);
  if (matched === undefined || given.some((argument) => argument.binding.kind === 'poison')) return poison;
  return intrinsic.apply(context, { name, span, arguments: matched, more: given.filter(isMore) });
}
