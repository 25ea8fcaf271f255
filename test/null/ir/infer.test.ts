/**
 * What ops say about operands that do not fit: the words and the operand to blame reach people through lowering.
 */
import { expect, test } from 'vitest';
import type { InferFailure } from '../../../src/ir/op.ts';
import { isFailure } from '../../../src/ir/op.ts';
import { inferOp, opNamed } from '../../../src/ir/ops/index.ts';
import { constantDim, type DimRange, parseDim, symbolDim } from '../../../src/ir/symbolic.ts';
import { printType, type TensorType } from '../../../src/ir/types.ts';
import { bool, dimAttributes, f32, i32, typed } from './support.ts';

const ranges = new Map<string, DimRange>([
  ['B', { minimum: 1, maximum: 32, multiple: 1 }],
  ['T', { minimum: 2, maximum: 512, multiple: 1 }],
]);

function infer(op: string, inputs: readonly TensorType[], attributes: Readonly<Record<string, unknown>> = {}) {
  return inferOp(opNamed(op), inputs, dimAttributes(op, attributes), { ranges });
}

function failureOf(...call: Parameters<typeof infer>): InferFailure {
  const result = infer(...call);
  if (!isFailure(result)) throw new Error(`accepted: ${result.map(printType).join()}`);
  return result;
}

const dot = (lhs: readonly number[], rhs: readonly number[]) => ({
  lhs_batch: [],
  rhs_batch: [],
  lhs_contract: lhs,
  rhs_contract: rhs,
});
const heads = { heads: 12, kv_heads: 12, scale: 1 };
const grouped = { heads: 12, kv_heads: 5, scale: 1 };
const hidden = f32('B', 'T', 384);

type Refusal = readonly [
  op: string,
  inputs: readonly TensorType[],
  attributes: Readonly<Record<string, unknown>>,
  message: string,
  operand: number | undefined,
];

const refusals: readonly Refusal[] = [
  ['linear', [hidden, f32(16, 48)], {}, 'last dim of `x` is `384`, `weight` expects `48`', 0],
  ['linear', [hidden, f32(16)], {}, '`weight` must have two axes, not `f32[16]`', 1],
  ['linear', [hidden, f32(16, 384), f32(15)], {}, '`bias` must be `f32[16]`, not `f32[15]`', 2],
  ['linear', [f32(), f32(1, 1)], {}, '`x` must have at least one axis, not `f32`', 0],
  ['linear', [i32(384), f32(16, 384)], {}, '`x` must be a float tensor, not `i32[384]`', 0],
  ['layer_norm', [hidden, f32(48)], { eps: 1e-5 }, 'last dim of `x` is `384`, `gain` has `48`', 1],
  ['layer_norm', [hidden, f32(384), f32(1, 384)], { eps: 1e-5 }, '`bias` must be `f32[384]`, not `f32[1, 384]`', 2],
  ['layer_norm', [f32()], { eps: 1 }, '`x` must be a float tensor with at least one axis, not `f32`', 0],
  ['rms_norm', [i32(3)], { eps: 1 }, '`x` must be a float tensor with at least one axis, not `i32[3]`', 0],
  ['softmax', [hidden], { axis: 3 }, '`f32[B, T, 384]` has no axis 3', 0],
  ['softmax', [i32(3)], { axis: 0 }, '`softmax` takes floats, not `i32[3]`', 0],
  ['mean', [i32(3)], { axes: [0], keep: true }, '`mean` takes floats, not `i32[3]`', 0],
  ['mean', [hidden], { axes: [3], keep: true }, 'axis 3 is out of range for rank 3', 0],
  ['reduce', [hidden], { kind: 'sum', axes: [1, -2], keep: true }, 'axis -2 stands twice', 0],
  ['reduce', [hidden], { kind: 'median', axes: [1], keep: true }, '`median` is no reduction', undefined],
  ['reduce', [bool(3)], { kind: 'sum', axes: [0], keep: true }, 'cannot take the sum of `bool[3]`', 0],
  ['reduce', [hidden], { kind: 'sum', axes: [], keep: true }, '`reduce` needs at least one axis', 0],
  ['attention', [hidden, hidden, hidden], grouped, '`heads` is 12, which is no multiple of `kv_heads`, 5', undefined],
  [
    'attention',
    [f32('B', 'T', 100), hidden, hidden],
    heads,
    'last dim of `query` is `100`, which does not divide into 12 heads',
    0,
  ],
  ['attention', [f32('B', 'T', 96), hidden, hidden], heads, 'heads of `query` are `8` wide, heads of `key` `32`', 1],
  ['attention', [hidden, f32('B', 'S', 384), hidden], heads, '`key` has `S` positions, `value` has `T`', 2],
  ['attention', [hidden, f32(1, 'T', 384), hidden], heads, 'batch axes differ', 1],
  [
    'attention',
    [hidden, hidden, hidden, bool('B', 'T')],
    { ...heads, extras: ['mask'] },
    '`mask` is `bool[B, T]`, which does not broadcast to `bool[B, 12, T, T]`',
    3,
  ],
  [
    'attention',
    [hidden, hidden, hidden, f32('B', 1, 1, 'T')],
    { ...heads, extras: ['mask'] },
    '`mask` is `f32[B, 1, 1, T]`',
    3,
  ],
  ['add', [f32('B'), f32('T')], {}, 'operands have different shapes: `f32[B]` and `f32[T]`', 1],
  ['add', [f32('B'), i32('B')], {}, '`add` needs operands of one element type, got `f32` and `i32`', 1],
  ['add', [bool(1), bool(1)], {}, '`add` takes numbers, not `bool[1]`', 0],
  ['exp', [i32(1)], {}, '`exp` takes floats, not `i32[1]`', 0],
  ['neg', [typed('u32', [1])], {}, '`neg` takes signed numbers, not `u32[1]`', 0],
  ['and', [f32(1), f32(1)], {}, '`and` takes booleans, not `f32[1]`', 0],
  ['select', [f32(1), f32(1), f32(1)], {}, 'the condition must be `bool`, not `f32[1]`', 0],
  ['select', [bool(1), f32(1), i32(1)], {}, '`select` needs values of one element type', 2],
  ['cast', [f32(1)], { dtype: 'f8' }, '`f8` is no element type', undefined],
  ['reshape', [hidden], { shape: [384, 3] }, 'it has `384*B*T` elements, not `1152`', 0],
  ['transpose', [hidden], { permutation: [0, 0, 1] }, '`[0, 0, 1]` is no permutation', 0],
  ['transpose', [hidden], { permutation: [0, 1] }, '`[0, 1]` is no permutation', 0],
  ['broadcast', [f32(3)], { shape: [5] }, 'cannot broadcast `f32[3]` to `[5]`', 0],
  ['broadcast', [f32(1, 3)], { shape: [3] }, 'cannot broadcast `f32[1, 3]` to `[3]`', 0],
  ['slice', [hidden], { axis: 3, start: 0, size: 1 }, 'has no axis 3', 0],
  ['slice', [hidden], { axis: 1, start: 0, size: 3 }, 'the slice ends at `3`, which may lie past the end of axis 1', 0],
  ['slice', [f32(4)], { axis: 0, start: -1, size: 1 }, 'the slice starts at `-1`', 0],
  ['concat', [hidden, f32('B', 'T', 3), f32('B', 3, 3)], { axis: 2 }, 'cannot join', 2],
  ['concat', [f32()], { axis: 0 }, '`f32` has no axis 0', 0],
  [
    'dot_general',
    [f32(2, 3), f32(5, 4)],
    dot([1], [1]),
    'axis 1 of `f32[2, 3]` is `3`, but axis 1 of `f32[5, 4]` is `4`',
    1,
  ],
  ['dot_general', [f32(2, 3), f32(5, 3)], dot([2], [1]), '`f32[2, 3]` has no axis 2', 0],
  ['dot_general', [f32(2, 3), f32(5, 3)], dot([1, 1], [0, 1]), 'an axis of `f32[2, 3]` is named twice', 0],
  ['dot_general', [f32(2, 3), f32(5, 3)], dot([1], []), 'as many batch and contracted axes', 1],
  ['gather', [f32(), i32(2)], {}, 'the table must have at least one axis', 0],
  ['gather', [f32(5, 3), f32(2)], {}, 'indices must be `i32` or `u32`, not `f32[2]`', 1],
  ['take_along', [f32(5, 3), f32(5, 2)], { axis: 1 }, 'indices must be `i32` or `u32`, not `f32[5, 2]`', 1],
  ['take_along', [f32(5, 3), i32(4, 2)], { axis: 1 }, 'differ from `f32[5, 3]` on other axes than 1', 1],
  ['take_along', [f32(5, 3), i32(5, 2)], { axis: 2 }, '`f32[5, 3]` has no axis 2', 0],
  ['ctc', [f32(2, 9, 4), i32(2, 3), i32(2), i32(3)], { blank: 0 }, 'lengths must be i32 [2], not `i32[3]`', 3],
  [
    'ctc',
    [f32(2, 9, 4), i32(3, 3), i32(2), i32(2)],
    { blank: 0 },
    'the targets must be i32 [2, S], not `i32[3, 3]`',
    1,
  ],
  ['ctc', [f32(2, 9), i32(2, 3), i32(2), i32(2)], { blank: 0 }, '`ctc` takes f32 [B, T, V], not `f32[2, 9]`', 0],
  ['ctc', [f32(1, 9, 4), i32(1, 1024), i32(1), i32(1)], { blank: 0 }, 'there may be 1024 labels, more than 1023', 1],
  ['ctc_paths', [f32(2, 9, 5), bool(2, 4)], {}, '`skips` must be `bool[2, 5]`, not `bool[2, 4]`', 1],
  ['ctc_paths', [f32(1, 9, 2048), bool(1, 2048)], {}, 'there may be 2048 states, more than 2047', 0],
  ['dropout', [f32(3)], { p: 1, stream: 0 }, 'a probability of dropout is at least 0 and below 1, not 1', undefined],
  ['dropout', [f32(3)], { p: 0.5, stream: -2 }, 'a stream of random numbers is a u32, not -2', undefined],
  ['dropout', [i32(3)], { p: 0.5, stream: 0 }, '`dropout` takes floats, not `i32[3]`', 0],
  [
    'attention',
    [f32(1, 2, 4), f32(1, 2, 4), f32(1, 2, 4)],
    { heads: 1, kv_heads: 1, scale: 1, dropout: 0.1 },
    '`dropout` and `stream` go together',
    undefined,
  ],
  ['top_k', [f32(5, 3)], { k: 4 }, 'a row of `f32[5, 3]` may have 3 elements, fewer than 4', 0],
  ['top_k', [f32(5, 300)], { k: 257 }, '`k` must be 1 to 256, not 257', undefined],
  ['top_k', [bool(5, 3)], { k: 1 }, '`top_k` takes numbers, not `bool[5, 3]`', 0],
  ['argmax', [f32(5, 3)], { axis: 2, keep: false }, '`f32[5, 3]` has no axis 2', 0],
  ['argmax', [f32(5, 0)], { axis: 1, keep: false }, 'axis 1 of `f32[5, 0]` has no element', 0],
  ['constant', [], { values: [1, 2], dtype: 'f32', shape: [3] }, 'shape `[3]` needs 3 values, 2 given', undefined],
  ['iota', [], { length: 3, dtype: 'bool' }, '`iota` counts numbers', undefined],
];

test.each(refusals)('%s %#', (op, inputs, attributes, message, operand) => {
  const failure = failureOf(op, inputs, attributes);
  expect(failure.failure).toContain(message);
  expect(failure.operand).toBe(operand);
});

test('dims are polynomials: splitting and joining heads needs no numbers', () => {
  const types = infer('reshape', [hidden], { shape: [] });
  expect(isFailure(types)).toBe(true);
  const split = inferOp(
    opNamed('reshape'),
    [hidden],
    { shape: [symbolDim('B'), symbolDim('T'), constantDim(12), constantDim(32)] },
    { ranges },
  );
  expect(isFailure(split)).toBe(false);
  const flat = parseDim('B*T');
  if (!flat) throw new Error('no dim');
  const joined = inferOp(opNamed('reshape'), [hidden], { shape: [flat, constantDim(384)] }, { ranges });
  expect(isFailure(joined)).toBe(false);
});

test('a slice at the end of a runtime dim is legal, one beyond its least value is not', () => {
  const last = parseDim('T - 1');
  if (!last) throw new Error('no dim');
  const take = (start: typeof last, size: number) =>
    inferOp(opNamed('slice'), [hidden], { axis: 1, start, size: constantDim(size) }, { ranges });
  expect(isFailure(take(last, 1))).toBe(false);
  expect(isFailure(take(last, 2))).toBe(true);
  // T is at least 2.
  expect(isFailure(take(constantDim(0), 2))).toBe(false);
});

test('attention infers the width of the values', () => {
  const types = infer('attention', [hidden, f32('B', 'S', 128), f32('B', 'S', 64), bool(1, 12, 'T', 'S')], {
    heads: 12,
    kv_heads: 4,
    scale: 1,
    extras: ['mask'],
  });
  expect(isFailure(types) ? types : types.map(printType)).toEqual(['f32[B, T, 192]']);
});
