import { expect, test } from 'vitest';
import { commonSubexpression } from '../../../src/passes/common-subexpression.ts';
import { B, bertGraph, T } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

test('equal expressions are computed once, whichever way round commutative operands stand', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T]);
    const y = s.argument('y', 'f32', [B, T]);
    const left = s.emit('tanh', [s.emit('add', [x, y])]);
    const right = s.emit('tanh', [s.emit('add', [y, x])]);
    return { z: s.emit('mul', [left, right]) };
  });
  expect(bodyOf(check(commonSubexpression, before, 2))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T] "x"
    %1 = input {name = "y"} : f32[B, T] "y"
    %2 = add(%0, %1) : f32[B, T]
    %3 = tanh(%2) : f32[B, T]
    %4 = mul(%3, %3) : f32[B, T]
    return "z" = %4"
  `);
});

test('expressions that differ in order, attribute, type or input stay apart', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [T, T]);
    const y = s.argument('y', 'f32', [T, T]);
    const zeros = [s.constant(0, 'f32'), s.constant(-0, 'f32')].map((zero) =>
      s.emit('div', [s.fill(1, x), s.like(zero, x)]),
    );
    return {
      a: s.emit('sub', [x, y]),
      b: s.emit('sub', [y, x]),
      c: s.emit('reduce', [x], { kind: 'sum', axes: [0], keep: false }),
      d: s.emit('reduce', [x], { kind: 'sum', axes: [1], keep: false }),
      e: s.emit('cast', [x], { dtype: 'i32' }),
      f: s.emit('cast', [x], { dtype: 'u32' }),
      g: s.emit('add', zeros),
    };
  });
  // Only the two scalars 1 and their broadcasts are equal.
  check(commonSubexpression, before, 2);
});

test('a weight that is named twice is read once', () => {
  const before = graphOf((s) => ({ y: s.emit('add', [s.parameter('w', [3]), s.parameter('w', [3])]) }));
  expect(bodyOf(check(commonSubexpression, before, 1))).toMatchInlineSnapshot(`
    "%0 = weight {paths = ["w"]} : f32[3]
    %1 = add(%0, %0) : f32[3]
    return "y" = %1"
  `);
});

test('fires on a BERT encoder', () => {
  const result = commonSubexpression.run(bertGraph(), { ranges: new Map() });
  expect(result.fired).toBeGreaterThan(0);
});
