/**
 * The built-in functions of `.sora`: one table. Everything else of the standard library is written in `.sora`.
 *
 * A built-in gets its arguments matched to parameters, as bindings; it folds config numbers and makes nodes of tensors.
 */
import type { Span } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { constantDim, constantValue, type Dim, dimBounds, divideDim, multiplyDims, subtractDims } from '../symbolic.ts';
import { type DType, isFloat } from '../types.ts';
import { type EvaluatedArgument, matchArguments } from './arguments.ts';
import { matchTensors, tensorBinary } from './arithmetic.ts';
import { type Binding, describe, intBinding, numberOf, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { emitNode } from './nodes.ts';
import { dimWithNumber, originLabels, withOrigin, writtenType } from './origin.ts';
import { foldUnary } from './scalars.ts';
import { asTensor, broadcastTo, broadcastTogether, convert, isTensor, type Operand, reshapeTo } from './tensors.ts';

interface Call {
  readonly name: string;
  readonly span: Span;
  /** By parameter; undefined where an optional one was left out. */
  readonly arguments: readonly (EvaluatedArgument | undefined)[];
}

interface Intrinsic {
  /** A name ending in `?` is optional. */
  readonly parameters: readonly string[];
  readonly apply: (context: Context, call: Call) => Binding;
}

const missing = (span: Span): Operand => ({ binding: poison, span });

function argument(call: Call, at: number): Operand {
  return call.arguments[at] ?? missing(call.span);
}

function wrap(value: Value | undefined): Binding {
  return value === undefined ? poison : tensorBinding(value);
}

/** A constant integer, or undefined (reported). */
function integer(context: Context, operand: Operand, what: string): number | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  const value = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (value === undefined)
    report(context, 'SORA2006', `${what} must be a known integer, found ${describe(binding)}`, span);
  return value;
}

function integerList(context: Context, operand: Operand, what: string): readonly number[] | undefined {
  if (operand.binding.kind !== 'list') {
    const one = integer(context, operand, what);
    return one === undefined ? undefined : [one];
  }
  const numbers = operand.binding.items.map((binding) => integer(context, { binding, span: operand.span }, what));
  return numbers.every((number) => number !== undefined) ? numbers : undefined;
}

/** A given axis as 0..rank-1; undefined when there is none (reported). */
function normalAxis(context: Context, axis: number, value: Value, span: Span): number | undefined {
  const rank = value.type.shape.length;
  const normal = axis < 0 ? rank + axis : axis;
  if (normal >= 0 && normal < rank) return normal;
  report(context, 'SORA2102', `there is no axis ${axis}: the tensor is \`${writtenType(value.type)}\``, span);
  return undefined;
}

function axisOf(context: Context, call: Call, at: number, value: Value, fallback: number): number | undefined {
  const given = call.arguments[at];
  const axis = given === undefined ? fallback : integer(context, given, 'the axis');
  return axis === undefined ? undefined : normalAxis(context, axis, value, given?.span ?? call.span);
}

function flag(context: Context, operand: EvaluatedArgument | undefined): boolean | undefined {
  if (operand === undefined) return false;
  if (operand.binding.kind === 'bool') return operand.binding.value;
  if (operand.binding.kind !== 'poison') {
    report(context, 'SORA2006', `expected true or false, found ${describe(operand.binding)}`, operand.span);
  }
  return undefined;
}

function float(context: Context, operand: EvaluatedArgument | undefined, fallback: number): number | undefined {
  if (operand === undefined) return fallback;
  const value = numberOf(operand.binding);
  if (value === undefined && operand.binding.kind !== 'poison') {
    report(context, 'SORA2006', `expected a number, found ${describe(operand.binding)}`, operand.span);
  }
  return value;
}

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
      const given = integerList(context, argument(call, 1), 'the axis');
      if (given === undefined) return poison;
      const axes = given.map((axis) => normalAxis(context, axis, x, argument(call, 1).span));
      if (!axes.every((axis) => axis !== undefined)) return poison;
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
      if (number !== undefined && dtype !== 'bool') return intBinding(Math.trunc(number));
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

const linear: Intrinsic = {
  parameters: ['x', 'weight', 'bias?'],
  apply(context, call) {
    const given = call.arguments.flatMap((operand) => operand ?? []);
    const [x, weight, bias] = given.map((operand) => asTensor(context, operand));
    if (x === undefined || weight === undefined || (given.length === 3 && bias === undefined)) return poison;
    const inner = x.type.shape.at(-1);
    const expected = weight.type.shape[1];
    if (inner && expected && weight.type.shape.length === 2 && inner.key !== expected.key) {
      report(
        context,
        'SORA2101',
        `\`linear\` sums over the last axis of \`x\`, ${dimWithNumber(inner)}, but the weight has ${dimWithNumber(expected)} there`,
        call.span,
        {
          labels: [
            ...given.slice(0, 2).map((operand, at) => ({
              span: operand.span,
              text: `this is \`${writtenType((at === 0 ? x : weight).type)}\``,
            })),
            ...originLabels(
              [expected, inner],
              given.map((operand) => operand.span),
            ),
          ],
          help: 'a weight is [outputs, inputs], as in PyTorch',
        },
      );
      return poison;
    }
    const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
    return wrap(
      emitNode(
        context,
        'linear',
        inputs,
        {},
        call.span,
        given.map((operand) => operand.span),
      ),
    );
  },
};

/** `matmul(a, b)`: last two axes multiplied, leading axes broadcast. */
const matmul: Intrinsic = {
  parameters: ['a', 'b'],
  apply(context, call) {
    const [left, right] = [argument(call, 0), argument(call, 1)];
    const [a, b] = [asTensor(context, left), asTensor(context, right)];
    if (a === undefined || b === undefined) return poison;
    const odd = a.type.shape.length < 2 ? left : b.type.shape.length < 2 ? right : undefined;
    if (odd) {
      report(context, 'SORA2102', `\`matmul\` needs at least two axes, found ${describe(odd.binding)}`, odd.span);
      return poison;
    }
    const [rows, inner] = a.type.shape.slice(-2) as [Dim, Dim];
    const [other, columns] = b.type.shape.slice(-2) as [Dim, Dim];
    if (inner.key !== other.key) {
      report(
        context,
        'SORA2101',
        `\`matmul\` multiplies rows of ${dimWithNumber(inner)} with columns of ${dimWithNumber(other)}`,
        call.span,
        {
          labels: [
            { span: left.span, text: `this is \`${writtenType(a.type)}\`` },
            { span: right.span, text: `this is \`${writtenType(b.type)}\`` },
            ...originLabels([inner, other], [left.span, right.span]),
          ],
        },
      );
      return poison;
    }
    // The matrices themselves must not broadcast, so the leading axes are joined on stand-ins of size 1.
    const leadingOf = (value: Value) => value.type.shape.slice(0, -2);
    const joined = joinLeading(context, call, leadingOf(a), leadingOf(b));
    if (joined === undefined) return poison;
    const x = broadcastTo(context, a, [...joined, rows, inner], left.span);
    const y = broadcastTo(context, b, [...joined, other, columns], right.span);
    if (x === undefined || y === undefined) return poison;
    const batch = joined.map((_, axis) => axis);
    const attributes = {
      lhs_batch: batch,
      rhs_batch: batch,
      lhs_contract: [batch.length + 1],
      rhs_contract: [batch.length],
    };
    return wrap(emitNode(context, 'dot_general', [x, y], attributes, call.span, [left.span, right.span]));
  },
};

function joinLeading(
  context: Context,
  call: Call,
  left: readonly Dim[],
  right: readonly Dim[],
): readonly Dim[] | undefined {
  const shape: Dim[] = [];
  for (let fromEnd = 1; fromEnd <= Math.max(left.length, right.length); fromEnd++) {
    const a = left[left.length - fromEnd];
    const b = right[right.length - fromEnd];
    if (a === undefined || b === undefined || a.key === b.key) shape.unshift((a ?? b) as Dim);
    else if (constantValue(a) === 1) shape.unshift(b);
    else if (constantValue(b) === 1) shape.unshift(a);
    else {
      report(
        context,
        'SORA2105',
        `the leading axes ${dimWithNumber(a)} and ${dimWithNumber(b)} do not broadcast`,
        call.span,
        {
          labels: originLabels([a, b], [call.span]),
        },
      );
      return undefined;
    }
  }
  return shape;
}

const gather: Intrinsic = {
  parameters: ['table', 'indices'],
  apply(context, call) {
    const [tableAt, indicesAt] = [argument(call, 0), argument(call, 1)];
    const [table, indices] = [asTensor(context, tableAt), asTensor(context, indicesAt)];
    if (table === undefined || indices === undefined) return poison;
    const rows = table.type.shape[0];
    const last = rows && greatestIndex(indices);
    if (rows && last && dimBounds(subtractDims(rows, last), context.ranges).minimum < 1) {
      const most = dimBounds(last, context.ranges).maximum;
      report(
        context,
        'SORA2106',
        `the index may be ${most}, but the table has ${dimWithNumber(rows)} rows`,
        call.span,
        { labels: originLabels([rows], [call.span]), help: 'declare a smaller range for the runtime dim' },
      );
      return poison;
    }
    // One known row is a view of the table: no lookup at run time.
    const row = indices.type.shape.length === 0 && indices.node.op === 'constant' ? last : undefined;
    if (row) {
      const taken = emitNode(context, 'slice', [table], { axis: 0, start: row, size: constantDim(1) }, call.span);
      return wrap(taken && reshapeTo(context, taken, table.type.shape.slice(1), call.span));
    }
    return wrap(emitNode(context, 'gather', [table, indices], {}, call.span, [tableAt.span, indicesAt.span]));
  },
};

/** The greatest index where it is known when compiling: positions counted by `iota`, a constant. */
function greatestIndex(indices: Value): Dim | undefined {
  const { op, attributes } = indices.node;
  if (op === 'iota') {
    const [length] = indices.type.shape;
    return length && subtractDims(length, constantDim(1));
  }
  const values = op === 'constant' && Array.isArray(attributes.values) ? attributes.values : [];
  const numbers = values.filter((value): value is number => typeof value === 'number');
  return numbers.length === 0 ? undefined : constantDim(Math.max(...numbers));
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

const iota: Intrinsic = {
  parameters: ['length'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    if (binding.kind === 'poison') return poison;
    if (binding.kind !== 'int') {
      report(context, 'SORA2006', `\`iota\` needs a dim, found ${describe(binding)}`, span);
      return poison;
    }
    const length = withOrigin(binding.dim, binding.origin ?? { text: binding.dim.key, span });
    if (context.site === undefined) {
      report(context, 'SORA2203', '`iota` makes a tensor, which cannot stand here', call.span);
      return poison;
    }
    return wrap(emitNode(context, 'iota', [], { length, dtype: 'i32' }, call.span));
  },
};

const reshape: Intrinsic = {
  parameters: ['x', 'shape'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const { binding, span } = argument(call, 1);
    if (x === undefined || binding.kind === 'poison') return poison;
    if (binding.kind !== 'list') {
      report(context, 'SORA2006', `the shape must be a list of dims, found ${describe(binding)}`, span);
      return poison;
    }
    const shape = binding.items.flatMap((item) =>
      item.kind === 'int' ? [item.origin ? withOrigin(item.dim, item.origin) : item.dim] : [],
    );
    const odd = binding.items.find((item) => item.kind !== 'int');
    if (odd) {
      if (odd.kind !== 'poison') report(context, 'SORA2006', `a dim must be an integer, found ${describe(odd)}`, span);
      return poison;
    }
    return wrap(emitNode(context, 'reshape', [x], { shape }, call.span, [argument(call, 0).span]));
  },
};

const transpose: Intrinsic = {
  parameters: ['x', 'axes'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const given = integerList(context, argument(call, 1), 'an axis');
    if (x === undefined || given === undefined) return poison;
    const permutation = given.map((axis) => normalAxis(context, axis, x, argument(call, 1).span));
    if (!permutation.every((axis) => axis !== undefined)) return poison;
    return wrap(emitNode(context, 'transpose', [x], { permutation }, call.span, [argument(call, 0).span]));
  },
};

const concat: Intrinsic = {
  parameters: ['parts', 'axis?'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    if (binding.kind === 'poison') return poison;
    if (binding.kind !== 'list' || binding.items.length === 0) {
      report(context, 'SORA2006', `\`concat\` needs a list of tensors, found ${describe(binding)}`, span);
      return poison;
    }
    const parts = binding.items.map((item) => asTensor(context, { binding: item, span }));
    if (!parts.every((part) => part !== undefined)) return poison;
    const axis = axisOf(context, call, 1, parts[0] as Value, -1);
    if (axis === undefined) return poison;
    return wrap(
      emitNode(
        context,
        'concat',
        parts,
        { axis },
        call.span,
        parts.map(() => span),
      ),
    );
  },
};

const split: Intrinsic = {
  parameters: ['x', 'count', 'axis?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const count = integer(context, argument(call, 1), 'the number of parts');
    const axis = x === undefined ? undefined : axisOf(context, call, 2, x, -1);
    if (x === undefined || count === undefined || axis === undefined) return poison;
    const whole = x.type.shape[axis] as Dim;
    const size = count >= 1 ? divideDim(whole, constantDim(count)) : undefined;
    if (size === undefined) {
      report(
        context,
        'SORA2101',
        `${dimWithNumber(whole)} does not divide into ${count} parts`,
        argument(call, 1).span,
        {
          labels: [
            { span: argument(call, 0).span, text: `this is \`${writtenType(x.type)}\`` },
            ...originLabels([whole], [argument(call, 0).span]),
          ],
        },
      );
      return poison;
    }
    const items = Array.from({ length: count }, (_, at) => {
      const start = multiplyDims(size, constantDim(at));
      return wrap(emitNode(context, 'slice', [x], { axis, start, size }, call.span, [argument(call, 0).span]));
    });
    return { kind: 'list', items };
  },
};

const fail: Intrinsic = {
  parameters: ['message'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    if (binding.kind === 'string') report(context, 'SORA2205', binding.value, call.span);
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
  softmax,
  linear,
  matmul,
  gather,
  layer_norm: normalization('layer_norm', ['x', 'gain?', 'bias?'], 1e-5),
  rms_norm: normalization('rms_norm', ['x', 'gain?'], 1e-5),
  iota,
  f32: cast('f32'),
  f16: cast('f16'),
  i32: cast('i32'),
  u32: cast('u32'),
  bool: cast('bool'),
  reshape,
  transpose,
  concat,
  split,
  fail,
};

const names = Object.keys(table);

export function intrinsicNames(): readonly string[] {
  return names;
}

export function applyIntrinsic(
  context: Context,
  name: string,
  given: readonly EvaluatedArgument[],
  span: Span,
): Binding {
  const intrinsic = table[name];
  if (intrinsic === undefined) return poison;
  const parameters = intrinsic.parameters.map((parameter) => ({
    name: parameter.replace(/\?$/, ''),
    required: !parameter.endsWith('?'),
  }));
  const matched = matchArguments(context, { name, parameters, span: undefined }, given, span);
  if (matched === undefined || given.some((argument) => argument.binding.kind === 'poison')) return poison;
  return intrinsic.apply(context, { name, span, arguments: matched });
}
