/**
 * From bindings to graph values: weight leaves, constants in the element type of what they meet, numpy broadcasting.
 */
import { type Span, spanText } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { constantValue, type Dim, sameDim } from '../symbolic.ts';
import { type DType, isFloat, type Shape, sameShape } from '../types.ts';
import { type Binding, describe } from './binding.ts';
import { type Context, report } from './context.ts';
import { emitLeaf, emitNode } from './nodes.ts';
import { dimWithNumber, originLabels, originOf, shapeNote, writtenType } from './origin.ts';

/** A binding and the expression it came from. */
export interface Operand {
  readonly binding: Binding;
  readonly span: Span;
}

/** The tensor of a binding that is one already; undefined (and nothing said) for everything else. */
export function tensorOf(context: Context, binding: Binding): Value | undefined {
  if (binding.kind === 'tensor') return binding.value;
  if (binding.kind !== 'weight' || context.site === undefined) return undefined;
  const { weight, field } = binding;
  const known = context.site.weights.get(weight.path);
  if (known) return known;
  const value = emitLeaf(
    context,
    'weight',
    weight.type,
    { paths: [weight.path] },
    weight.span ?? field.span,
    weight.path,
  );
  context.site.weights.set(weight.path, value);
  return value;
}

export function isTensor(binding: Binding): boolean {
  return binding.kind === 'tensor' || binding.kind === 'weight';
}

function integerConstant(context: Context, operand: Operand, dtype: DType, value: number): Value | undefined {
  const low = dtype === 'u32' ? 0 : -(2 ** 31);
  const high = dtype === 'u32' ? 2 ** 32 - 1 : 2 ** 31 - 1;
  if (value < low || value > high) {
    report(context, 'SORA2204', `${value} does not fit in \`${dtype}\``, operand.span);
    return undefined;
  }
  return emitNode(context, 'constant', [], { values: [value], dtype, shape: [] }, operand.span);
}

/** Greatest finite values; beyond them a constant would be infinite on a device. */
const floatLimits = { f32: 3.4028234663852886e38, f16: 65504 } as const;

export function fitsFloat(value: number, dtype: DType): boolean {
  return Math.abs(value) <= (dtype === 'f16' ? floatLimits.f16 : floatLimits.f32);
}

function floatConstant(context: Context, value: number, dtype: DType, span: Span): Value | undefined {
  if (fitsFloat(value, dtype)) return emitNode(context, 'constant', [], { values: [value], dtype, shape: [] }, span);
  report(context, 'SORA2204', `${value} does not fit in \`${dtype}\``, span);
  return undefined;
}

/**
 * A tensor of rank 0 or more. Numbers become constants of `dtype` (without one: integers i32, other numbers f32).
 * Says what is wrong otherwise.
 */
export function asTensor(context: Context, operand: Operand, dtype?: DType): Value | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  if (context.site === undefined) {
    report(
      context,
      'SORA2203',
      `${describe(binding)} cannot be computed here: only what is known when compiling`,
      span,
    );
    return undefined;
  }
  switch (binding.kind) {
    case 'tensor':
    case 'weight':
      return tensorOf(context, binding);
    case 'bool':
      if (dtype !== undefined && dtype !== 'bool') break;
      return emitNode(context, 'constant', [], { values: [binding.value ? 1 : 0], dtype: 'bool', shape: [] }, span);
    case 'float': {
      const wanted = dtype ?? 'f32';
      if (!isFloat(wanted)) {
        report(context, 'SORA2103', `the number ${binding.value} meets a tensor of \`${wanted}\``, span, {
          help: 'convert the tensor first: `f32(…)`',
        });
        return undefined;
      }
      return floatConstant(context, binding.value, wanted, span);
    }
    case 'int': {
      const wanted = dtype ?? 'i32';
      if (wanted === 'bool') break;
      const number = constantValue(binding.dim);
      if (number === undefined) {
        const dim = emitNode(context, 'dim_value', [], { value: binding.dim }, span);
        return dim === undefined ? undefined : convert(context, dim, wanted, span);
      }
      if (!isFloat(wanted)) return integerConstant(context, operand, wanted, number);
      return floatConstant(context, number, wanted, span);
    }
    default:
  }
  const expected = dtype === undefined ? 'a tensor' : `a tensor of \`${dtype}\``;
  const isCallable = binding.kind === 'function' || binding.kind === 'intrinsic' || binding.kind === 'module';
  report(context, 'SORA2006', `expected ${expected}, found ${describe(binding)}`, span, {
    ...(isCallable ? { help: `call it: \`${spanText(span)}(…)\`` } : {}),
  });
  return undefined;
}

/** A cast, or the value itself when it has the type. */
export function convert(context: Context, value: Value, dtype: DType, span: Span): Value | undefined {
  return value.type.dtype === dtype ? value : emitNode(context, 'cast', [value], { dtype }, span);
}

export function reshapeTo(context: Context, value: Value, shape: Shape, span: Span): Value | undefined {
  return sameShape(value.type.shape, shape) ? value : emitNode(context, 'reshape', [value], { shape }, span);
}

/** The value repeated to `shape`, which it is known to broadcast to. */
export function broadcastTo(context: Context, value: Value, shape: Shape, span: Span): Value | undefined {
  return sameShape(value.type.shape, shape) ? value : emitNode(context, 'broadcast', [value], { shape }, span);
}

function isOne(dim: Dim): boolean {
  return constantValue(dim) === 1;
}

interface Clash {
  readonly left: Dim;
  readonly right: Dim;
  /** Counted from the end: 1 is the last axis. */
  readonly fromEnd: number;
}

/** The numpy broadcast of two shapes: trailing axes aligned, equal or 1; else the first pair that clashes. */
export function broadcastShapes(left: Shape, right: Shape): { shape: Shape } | { clash: Clash } {
  const shape: Dim[] = [];
  for (let fromEnd = 1; fromEnd <= Math.max(left.length, right.length); fromEnd++) {
    const a = left[left.length - fromEnd];
    const b = right[right.length - fromEnd];
    if (a === undefined || b === undefined) {
      const only = a ?? b;
      if (only !== undefined) shape.unshift(only);
    } else if (sameDim(a, b)) shape.unshift(originOf(a) === undefined ? b : a);
    else if (isOne(b)) shape.unshift(a);
    else if (isOne(a)) shape.unshift(b);
    else return { clash: { left: a, right: b, fromEnd } };
  }
  return { shape };
}

interface Side {
  readonly value: Value;
  readonly span: Span;
}

/** Both values in their common shape; says where they clash. `at` is the operator. */
export function broadcastTogether(
  context: Context,
  sides: readonly Side[],
  at: Span,
  operation: string,
): readonly Value[] | undefined {
  let shape: Shape = [];
  let widest: Side | undefined;
  for (const side of sides) {
    const joined = broadcastShapes(shape, side.value.type.shape);
    if ('clash' in joined) {
      reportClash(context, joined.clash, widest, side, at, operation);
      return undefined;
    }
    if (side.value.type.shape.length >= shape.length) widest = side;
    shape = joined.shape;
  }
  const values: Value[] = [];
  for (const side of sides) {
    const value = broadcastTo(context, side.value, shape, side.span);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

/** An elementwise op on values that stand at one place, in their common shape; `operation` is what a clash is told of. */
export function emitTogether(
  context: Context,
  op: string,
  values: readonly Value[],
  span: Span,
  operation = op,
): Value | undefined {
  const sides = values.map((value) => ({ value, span }));
  const joined = broadcastTogether(context, sides, span, operation);
  return joined && emitNode(context, op, joined, {}, span);
}

function reportClash(
  context: Context,
  clash: Clash,
  left: Side | undefined,
  right: Side,
  at: Span,
  operation: string,
): void {
  const sides = left === undefined ? [right] : [left, right];
  const taken = sides.map((side) => side.span);
  const axis = clash.fromEnd === 1 ? 'the last axis' : `axis ${-clash.fromEnd}`;
  report(
    context,
    'SORA2105',
    `\`${operation}\` cannot combine these shapes: ${axis} is ${dimWithNumber(clash.left)} on one side, ${dimWithNumber(clash.right)} on the other`,
    at,
    {
      labels: [
        ...sides.map((side) => ({ span: side.span, text: `this is \`${writtenType(side.value.type)}\`` })),
        ...originLabels([clash.left, clash.right], taken),
      ],
      notes: [`shapes: ${sides.map((side) => shapeNote(side.value.type.shape)).join(' and ')}`],
    },
  );
}
