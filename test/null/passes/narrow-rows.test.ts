import { expect, test } from 'vitest';
import type { Value } from '../../../src/ir/graph.ts';
import { constantDim, multiplyDims, subtractDims } from '../../../src/ir/symbolic.ts';
import { narrowRows } from '../../../src/passes/narrow-rows.ts';
import { B, type Sketch, T, testDims } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

const four = constantDim(4);
const one = constantDim(1);

function splat(s: Sketch, op: 'constant' | 'dim_value', attributes: Parameters<Sketch['emit']>[2]): Value {
  return s.emit('broadcast', [s.emit(op, [], attributes)], { shape: [B] });
}

/** What `last(x)` is: rows `b * T + clamp(lengths - 1, 0, T - 1)` of x [B, T, 4]. */
function last(s: Sketch, x: Value, isClamped = true): Value {
  const number = (value: number) => splat(s, 'constant', { values: [value], dtype: 'i32', shape: [] });
  const lengths = s.argument('lengths', 'i32', [B]);
  const least = s.emit('max', [s.emit('sub', [lengths, number(1)]), number(0)]);
  const place = isClamped ? s.emit('min', [least, splat(s, 'dim_value', { value: subtractDims(T, one) })]) : least;
  const row = s.emit('mul', [s.emit('iota', [], { length: B, dtype: 'i32' }), splat(s, 'dim_value', { value: T })]);
  const table = s.emit('reshape', [x], { shape: [multiplyDims(B, T), four] });
  return s.emit('gather', [table, s.emit('add', [row, place])]);
}

/** A residual around a norm, a product, a constant and an activation. */
function layer(s: Sketch, x: Value): Value {
  const half = s.emit('broadcast', [s.emit('constant', [], { values: [0.5], dtype: 'f32', shape: [] })], {
    shape: [B, T, four],
  });
  const normed = s.emit('rms_norm', [x, s.argument('gain', 'f32', [four])], { eps: 1e-5 });
  const product = s.emit('linear', [normed, s.argument('weight', 'f32', [four, four])]);
  return s.emit('add', [x, s.emit('tanh', [s.emit('mul', [product, half])])]);
}

test('the last position alone goes through what treats every position alone', () => {
  const before = graphOf((s) => {
    // A softmax over the positions needs all of them.
    const x = s.emit('softmax', [s.argument('x', 'f32', [B, T, four])], { axis: 1 });
    return { y: last(s, layer(s, x)) };
  });
  const body = bodyOf(check(narrowRows, before, 1));
  expect(body).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = softmax(%0) {axis = 1} : f32[B, T, 4]
    %2 = constant {values = [0.5], dtype = "f32", shape = []} : f32
    %3 = input {name = "gain"} : f32[4] "gain"
    %4 = input {name = "weight"} : f32[4, 4] "weight"
    %5 = input {name = "lengths"} : i32[B] "lengths"
    %6 = constant {values = [1], dtype = "i32", shape = []} : i32
    %7 = broadcast(%6) {shape = [B]} : i32[B]
    %8 = sub(%5, %7) : i32[B]
    %9 = constant {values = [0], dtype = "i32", shape = []} : i32
    %10 = broadcast(%9) {shape = [B]} : i32[B]
    %11 = max(%8, %10) : i32[B]
    %12 = dim_value {value = T - 1} : i32
    %13 = broadcast(%12) {shape = [B]} : i32[B]
    %14 = min(%11, %13) : i32[B]
    %15 = iota {length = B, dtype = "i32"} : i32[B]
    %16 = dim_value {value = T} : i32
    %17 = broadcast(%16) {shape = [B]} : i32[B]
    %18 = mul(%15, %17) : i32[B]
    %19 = add(%18, %14) : i32[B]
    %20 = reshape(%1) {shape = [B*T, 4]} : f32[B*T, 4]
    %21 = gather(%20, %19) : f32[B, 4]
    %22 = reshape(%21) {shape = [B, 1, 4]} : f32[B, 1, 4]
    %23 = rms_norm(%22, %3) {eps = 0.00001} : f32[B, 1, 4]
    %24 = linear(%23, %4) : f32[B, 1, 4]
    %25 = broadcast(%2) {shape = [B, 1, 4]} : f32[B, 1, 4]
    %26 = mul(%24, %25) : f32[B, 1, 4]
    %27 = tanh(%26) : f32[B, 1, 4]
    %28 = add(%22, %27) : f32[B, 1, 4]
    %29 = reshape(%28) {shape = [B, 4]} : f32[B, 4]
    return "y" = %29"
  `);
});

test.each([
  ['somebody reads all positions', (s: Sketch, y: Value) => ({ y: last(s, y), all: y })],
  ['the place may lie in the next row', (s: Sketch, y: Value) => ({ y: last(s, y, false) })],
] as const)('not where %s', (_, results) => {
  const before = graphOf((s) => results(s, layer(s, s.argument('x', 'f32', [B, T, four]))));
  check(narrowRows, before, 0);
});

test('not where it would save no product', () => {
  check(
    narrowRows,
    graphOf((s) => ({ y: last(s, s.emit('tanh', [s.argument('x', 'f32', [B, T, four])])) })),
    0,
  );
});

test('what repeats one row is repeated anew, whoever reads it besides', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, four]);
    const gain = s.emit('broadcast', [s.argument('scale', 'f32', [four])], { shape: [B, T, four] });
    const product = s.emit('linear', [s.emit('mul', [x, gain]), s.argument('weight', 'f32', [four, four])]);
    return { y: last(s, product), z: s.emit('add', [x, gain]) };
  });
  const { graph } = narrowRows.run(before, { ranges: testDims });
  // One lookup: that of x.
  expect(graph.nodes.filter(({ op, outputs }) => op === 'gather' && outputs[0]?.type.shape.length === 2)).toHaveLength(
    1,
  );
  check(narrowRows, before, 1);
});
