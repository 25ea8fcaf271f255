import { expect, test } from 'vitest';
import { splitWeights } from '../../../src/passes/split-weights.ts';
import { B, T } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

/** 200 rows of three f32 are 2,400 bytes: two parts of 128 and 72 rows. */
const limit = 1600;

test('a table is looked up in each part, with rows of zeros elsewhere', () => {
  const before = graphOf((s) => ({
    y: s.emit('gather', [s.parameter('table', [200, 3]), s.argument('ids', 'i32', [B, T])]),
  }));
  expect(bodyOf(check(splitWeights(limit), before, 1))).toMatchInlineSnapshot(`
    "%0 = weight {paths = ["table"], first = 0} : f32[128, 3]
    %1 = weight {paths = ["table"], first = 128} : f32[72, 3]
    %2 = input {name = "ids"} : i32[B, T] "ids"
    %3 = gather(%0, %2) : f32[B, T, 3]
    %4 = constant {values = [128], dtype = "i32", shape = []} : i32
    %5 = broadcast(%4) {shape = [B, T]} : i32[B, T]
    %6 = sub(%2, %5) : i32[B, T]
    %7 = gather(%1, %6) : f32[B, T, 3]
    %8 = add(%3, %7) : f32[B, T, 3]
    return "y" = %8"
  `);
});

test('products with the rows as columns stand side by side, whatever follows', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 3]);
    const table = s.parameter('table', [200, 3]);
    const axes = { lhs_batch: [], rhs_batch: [], lhs_contract: [2], rhs_contract: [1] };
    return { y: s.emit('tanh', [s.emit('dot_general', [x, table], axes)]) };
  });
  expect(bodyOf(check(splitWeights(limit), before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 3] "x"
    %1 = weight {paths = ["table"], first = 0} : f32[128, 3]
    %2 = weight {paths = ["table"], first = 128} : f32[72, 3]
    %3 = dot_general(%0, %1) {lhs_batch = [], rhs_batch = [], lhs_contract = [2], rhs_contract = [1]} : f32[B, T, 128]
    %4 = dot_general(%0, %2) {lhs_batch = [], rhs_batch = [], lhs_contract = [2], rhs_contract = [1]} : f32[B, T, 72]
    %5 = concat(%3, %4) {axis = 2} : f32[B, T, 200]
    %6 = tanh(%5) : f32[B, T, 200]
    return "y" = %6"
  `);
});

test('so do products with the weight on the left', () => {
  const before = graphOf((s) => {
    const axes = { lhs_batch: [], rhs_batch: [], lhs_contract: [1], rhs_contract: [2] };
    const x = s.argument('x', 'f32', [B, T, 3]);
    return { y: s.emit('dot_general', [s.parameter('table', [200, 3]), x], axes) };
  });
  const after = check(splitWeights(limit), before, 1);
  expect(after.results[0]?.value.node.attributes).toEqual({ axis: 0 });
});

test('products along the rows are added', () => {
  const before = graphOf((s) => {
    const axes = { lhs_batch: [], rhs_batch: [], lhs_contract: [1], rhs_contract: [0] };
    return { y: s.emit('dot_general', [s.argument('x', 'f32', [B, 200]), s.parameter('table', [200, 3])], axes) };
  });
  expect(bodyOf(check(splitWeights(limit), before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, 200] "x"
    %1 = weight {paths = ["table"], first = 0} : f32[128, 3]
    %2 = weight {paths = ["table"], first = 128} : f32[72, 3]
    %3 = slice(%0) {axis = 1, start = 0, size = 128} : f32[B, 128]
    %4 = slice(%0) {axis = 1, start = 128, size = 72} : f32[B, 72]
    %5 = dot_general(%3, %1) {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]} : f32[B, 3]
    %6 = dot_general(%4, %2) {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]} : f32[B, 3]
    %7 = add(%5, %6) : f32[B, 3]
    return "y" = %7"
  `);
});

test('a tied table is split once for all its readers', () => {
  const before = graphOf((s) => {
    const table = s.parameter('table', [200, 3]);
    const x = s.emit('gather', [table, s.argument('ids', 'i32', [B, T])]);
    const axes = { lhs_batch: [], rhs_batch: [], lhs_contract: [2], rhs_contract: [1] };
    return { y: s.emit('dot_general', [x, table], axes) };
  });
  const after = check(splitWeights(limit), before, 2);
  const weights = after.nodes.filter((node) => node.op === 'weight');
  expect(weights.map((node) => [node.attributes.first, node.outputs[0]?.type.shape[0]?.key])).toEqual([
    [0, '128'],
    [128, '72'],
  ]);
});

test.each([
  ['what is read in other ways', 1600, 1],
  ['what has no 64 rows that fit', 600, 0],
  ['what fits', 2400, 0],
])('%s stays whole', (_, bytes, others) => {
  const before = graphOf((s) => {
    const table = s.parameter('table', [200, 3]);
    const row = s.emit('gather', [table, s.argument('ids', 'i32', [B])]);
    return others === 0 ? { row } : { row, sum: s.emit('reduce', [table], { kind: 'sum', axes: [0], keep: false }) };
  });
  check(splitWeights(bytes), before, 0);
});
