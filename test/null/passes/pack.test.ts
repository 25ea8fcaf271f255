import { expect, test } from 'vitest';
import type { Value } from '../../../src/ir/graph.ts';
import { pack } from '../../../src/passes/pack.ts';
import { B, bertGraph, type Sketch, smallBert, T, testDims } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

function projection(s: Sketch, x: Value, name: string, outputs: number, withBias = true): Value {
  const bias = withBias ? [s.parameter(`${name}.bias`, [outputs])] : [];
  return s.emit('linear', [x, s.parameter(`${name}.weight`, [outputs, 4]), ...bias]);
}

test('query, key and value become one projection on a weight of three tensors', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 4]);
    const [q, k, v] = ['query', 'key', 'value'].map((name) => projection(s, x, name, 6)) as [Value, Value, Value];
    return { y: s.emit('mul', [s.emit('add', [q, k]), v]) };
  });
  expect(bodyOf(check(pack, before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = weight {paths = ["query.weight", "key.weight", "value.weight"]} : f32[18, 4]
    %2 = weight {paths = ["query.bias", "key.bias", "value.bias"]} : f32[18]
    %3 = linear(%0, %1, %2) : f32[B, T, 18]
    %4 = slice(%3) {axis = 2, start = 0, size = 6} : f32[B, T, 6]
    %5 = slice(%3) {axis = 2, start = 6, size = 6} : f32[B, T, 6]
    %6 = slice(%3) {axis = 2, start = 12, size = 6} : f32[B, T, 6]
    %7 = add(%4, %5) : f32[B, T, 6]
    %8 = mul(%7, %6) : f32[B, T, 6]
    return "y" = %8"
  `);
});

test('projections of different widths are packed too, written as products or as linear', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 4]);
    const sides = { lhs_batch: [], rhs_batch: [], lhs_contract: [2], rhs_contract: [1] };
    return {
      gate: s.emit('dot_general', [x, s.parameter('gate', [6, 4])], sides),
      up: s.emit('dot_general', [x, s.parameter('up', [5, 4])], sides),
      left: projection(s, x, 'left', 3, false),
      right: projection(s, x, 'right', 2, false),
    };
  });
  expect(bodyOf(check(pack, before, 2))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = weight {paths = ["gate", "up"]} : f32[11, 4]
    %2 = dot_general(%0, %1) {lhs_batch = [], rhs_batch = [], lhs_contract = [2], rhs_contract = [1]} : f32[B, T, 11]
    %3 = slice(%2) {axis = 2, start = 0, size = 6} : f32[B, T, 6]
    %4 = slice(%2) {axis = 2, start = 6, size = 5} : f32[B, T, 5]
    %5 = weight {paths = ["left.weight", "right.weight"]} : f32[5, 4]
    %6 = linear(%0, %5) : f32[B, T, 5]
    %7 = slice(%6) {axis = 2, start = 0, size = 3} : f32[B, T, 3]
    %8 = slice(%6) {axis = 2, start = 3, size = 2} : f32[B, T, 2]
    return "gate" = %3, "up" = %4, "left" = %7, "right" = %8"
  `);
});

test('what is no sibling stays: other input, bias or not, shared or computed weight', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 4]);
    const y = s.emit('tanh', [x]);
    const shared = s.parameter('shared', [4, 4]);
    const computed = s.emit('neg', [s.parameter('computed', [4, 4])]);
    const parts = [
      projection(s, x, 'with', 4),
      projection(s, x, 'without', 4, false),
      projection(s, y, 'elsewhere', 4),
      s.emit('linear', [x, shared]),
      s.emit('linear', [y, shared]),
      s.emit('linear', [x, computed]),
    ];
    return { z: parts.reduce((sum, part) => s.emit('add', [sum, part])) };
  });
  check(pack, before, 0);
});

test('many siblings are packed by four, so that the packed result does not live through the whole model', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 4]);
    const parts = Array.from({ length: 9 }, (_, at) => projection(s, x, `p${at}`, 3));
    return { z: parts.reduce((sum, part) => s.emit('add', [sum, part])) };
  });
  check(pack, before, 2);
});

test('fires once per BERT layer', () => {
  expect(pack.run(bertGraph({ ...smallBert, layers: 3 }), { ranges: testDims }).fired).toBe(3);
});
