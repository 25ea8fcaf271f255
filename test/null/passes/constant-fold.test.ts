import { expect, test } from 'vitest';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { constantFold } from '../../../src/passes/constant-fold.ts';
import { B, T } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

test('an expression of scalars becomes one scalar', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T]);
    const two = s.constant(2, 'f32');
    const root = s.emit('sqrt', [s.emit('add', [two, s.constant(7, 'f32')])]);
    return { y: s.emit('mul', [x, s.like(root, x)]) };
  });
  expect(bodyOf(check(constantFold, before, 2))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T] "x"
    %1 = constant {values = [3], dtype = "f32", shape = []} : f32
    %2 = broadcast(%1) {shape = [B, T]} : f32[B, T]
    %3 = mul(%0, %2) : f32[B, T]
    return "y" = %3"
  `);
});

test('an expression of broadcast scalars becomes one broadcast scalar, whatever the runtime dims are', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T]);
    return { y: s.emit('add', [x, s.emit('mul', [s.fill(3, x), s.fill(0.5, x)])]) };
  });
  expect(bodyOf(check(constantFold, before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T] "x"
    %1 = constant {values = [1.5], dtype = "f32", shape = []} : f32
    %2 = broadcast(%1) {shape = [B, T]} : f32[B, T]
    %3 = add(%0, %2) : f32[B, T]
    return "y" = %3"
  `);
});

test('small constant tensors are computed, reductions and views of them too', () => {
  const before = graphOf((s) => {
    const shape = [constantDim(2), constantDim(3)];
    const table = s.constant([1, 2, 3, 4, 5, 6], 'f32', shape);
    const turned = s.emit('transpose', [s.emit('mul', [table, table])], { permutation: [1, 0] });
    return { y: s.emit('reduce', [turned], { kind: 'sum', axes: [1], keep: false }) };
  });
  expect(bodyOf(check(constantFold, before, 3))).toMatchInlineSnapshot(`
    "%0 = constant {values = [17, 29, 45], dtype = "f32", shape = [3]} : f32[3]
    return "y" = %0"
  `);
});

test('nothing grows: a broadcast stays a broadcast', () => {
  const before = graphOf((s) => ({
    y: s.emit('broadcast', [s.constant([1, 2], 'f32', [constantDim(2)])], { shape: [constantDim(3), constantDim(2)] }),
  }));
  check(constantFold, before, 0);
});

test('integers fold as integers', () => {
  const before = graphOf((s) => ({
    y: s.emit('div', [s.constant([-7, 9], 'i32', [constantDim(2)]), s.constant([2, 2], 'i32', [constantDim(2)])]),
  }));
  expect(bodyOf(check(constantFold, before, 1))).toMatchInlineSnapshot(`
    "%0 = constant {values = [-3, 4], dtype = "i32", shape = [2]} : i32[2]
    return "y" = %0"
  `);
});

test('integers wrap around as on a device', () => {
  const before = graphOf((s) => ({
    y: s.emit('add', [s.constant(2147483647, 'i32'), s.constant(1, 'i32')]),
  }));
  expect(bodyOf(check(constantFold, before, 1))).toContain('values = [-2147483648]');
});

test('what is not finite is left to the device', () => {
  const before = graphOf((s) => ({ y: s.emit('exp', [s.constant(1000, 'f32')]) }));
  check(constantFold, before, 0);
});
