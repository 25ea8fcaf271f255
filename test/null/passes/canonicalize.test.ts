import { expect, test } from 'vitest';
import type { Value } from '../../../src/ir/graph.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { canonicalize } from '../../../src/passes/canonicalize.ts';
import { B, bertGraph, type Sketch, T } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

/** One argument x [B, T, 4] and what the case makes of it. */
function onX(make: (s: Sketch, x: Value) => Value) {
  return graphOf((s) => ({ y: make(s, s.argument('x', 'f32', [B, T, 4])) }));
}

const four = constantDim(4);
const one = constantDim(1);

test('views that change nothing go', () => {
  const before = onX((s, x) => {
    const same = s.emit('reshape', [x], { shape: [B, T, four] });
    const turned = s.emit('transpose', [same], { permutation: [0, 1, 2] });
    const whole = s.emit('slice', [turned], { axis: 2, start: constantDim(0), size: four });
    return s.emit('tanh', [s.emit('cast', [whole], { dtype: 'f32' })]);
  });
  expect(bodyOf(check(canonicalize, before, 4))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = tanh(%0) : f32[B, T, 4]
    return "y" = %1"
  `);
});

test('what only gradients read goes', () => {
  const before = onX((s, x) => s.emit('tanh', [s.emit('stop_gradient', [s.emit('neg', [x])])]));
  expect(bodyOf(check(canonicalize, before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = neg(%0) : f32[B, T, 4]
    %2 = tanh(%1) : f32[B, T, 4]
    return "y" = %2"
  `);
});

test('a transpose is no identity just because the shape stays', () => {
  const before = graphOf((s) => ({
    y: s.emit('transpose', [s.argument('x', 'f32', [T, T])], { permutation: [1, 0] }),
  }));
  check(canonicalize, before, 0);
});

test('views of views become one view', () => {
  const before = onX((s, x) => {
    const split = s.emit('reshape', [x], { shape: [B, T, constantDim(2), constantDim(2)] });
    const again = s.emit('reshape', [split], { shape: [T, B, four] });
    const turned = s.emit('transpose', [again], { permutation: [2, 0, 1] });
    const back = s.emit('transpose', [turned], { permutation: [1, 0, 2] });
    const most = s.emit('slice', [back], { axis: 1, start: one, size: constantDim(3) });
    return s.emit('slice', [most], { axis: 1, start: one, size: constantDim(2) });
  });
  expect(bodyOf(check(canonicalize, before, 3))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = reshape(%0) {shape = [T, B, 4]} : f32[T, B, 4]
    %2 = transpose(%1) {permutation = [0, 2, 1]} : f32[T, 4, B]
    %3 = slice(%2) {axis = 1, start = 2, size = 2} : f32[T, 2, B]
    return "y" = %3"
  `);
});

test('constants stand on the right of commutative ops', () => {
  const before = onX((s, x) => s.emit('sub', [s.fill(3, x), s.emit('mul', [s.fill(2, x), x])]));
  expect(bodyOf(check(canonicalize, before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = constant {values = [3], dtype = "f32", shape = []} : f32
    %2 = broadcast(%1) {shape = [B, T, 4]} : f32[B, T, 4]
    %3 = constant {values = [2], dtype = "f32", shape = []} : f32
    %4 = broadcast(%3) {shape = [B, T, 4]} : f32[B, T, 4]
    %5 = mul(%0, %4) : f32[B, T, 4]
    %6 = sub(%2, %5) : f32[B, T, 4]
    return "y" = %6"
  `);
});

test('neutral operands go, on the side where they are neutral', () => {
  const before = onX((s, x) => {
    const same = s.emit('div', [s.emit('mul', [s.emit('add', [s.fill(0, x), x]), s.fill(1, x)]), s.fill(1, x)]);
    return s.emit('sub', [s.fill(0, x), s.emit('sub', [same, s.fill(0, x)])]);
  });
  expect(bodyOf(check(canonicalize, before, 5))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = constant {values = [0], dtype = "f32", shape = []} : f32
    %2 = broadcast(%1) {shape = [B, T, 4]} : f32[B, T, 4]
    %3 = sub(%2, %0) : f32[B, T, 4]
    return "y" = %3"
  `);
});

test('double negation, unit reductions, decided choices and single concatenations go', () => {
  const before = onX((s, x) => {
    const twice = s.emit('neg', [s.emit('neg', [x])]);
    const column = s.emit('reshape', [twice], { shape: [B, T, one, four] });
    const sum = s.emit('reduce', [column], { kind: 'max', axes: [2], keep: false });
    const chosen = s.emit('select', [s.like(s.constant(1, 'bool'), sum), sum, s.fill(7, sum)]);
    return s.emit('exp', [s.emit('concat', [chosen], { axis: 0 })]);
  });
  expect(bodyOf(check(canonicalize, before, 6))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = exp(%0) : f32[B, T, 4]
    return "y" = %1"
  `);
});

test('has nothing left to do in its own result', () => {
  const context = { ranges: new Map() };
  const first = canonicalize.run(bertGraph(), context);
  expect(first.fired).toBeGreaterThan(0);
  expect(canonicalize.run(first.graph, context).fired).toBe(0);
});

test('the last position of a row of one is found without looking', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, four]);
    const splat = (op: string, attributes: Record<string, unknown>) =>
      s.emit('broadcast', [s.emit(op, [], attributes as never)], { shape: [B] });
    const lengths = s.argument('lengths', 'i32', [B]);
    const zero = splat('constant', { values: [0], dtype: 'i32', shape: [] });
    const most = splat('dim_value', { value: constantDim(0) });
    const within = s.emit('min', [s.emit('max', [lengths, zero]), most]);
    const row = s.emit('mul', [s.emit('iota', [], { length: B, dtype: 'i32' }), splat('dim_value', { value: one })]);
    return { y: s.emit('gather', [x, s.emit('add', [row, within])]) };
  });
  expect(bodyOf(check(canonicalize, before, 7))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, 4] "x"
    %1 = input {name = "lengths"} : i32[B] "lengths"
    return "y" = %0"
  `);
});
