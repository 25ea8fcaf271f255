import { expect, test } from 'vitest';
import type { Value } from '../../../src/ir/graph.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { alignReductions } from '../../../src/passes/align-reductions.ts';
import { B, bertGraph, type Sketch, T, testDims } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

const one = constantDim(1);

/** A mean over axis 1 of x [B, T, 4] with weights w [B, T]; `count` sums the weights. */
function weightedMean(s: Sketch, count: (w: Value) => Value): Value {
  const x = s.argument('x', 'f32', [B, T, 4]);
  const w = s.argument('w', 'f32', [B, T]);
  const column = s.emit('reshape', [w], { shape: [B, T, one] });
  const sum = s.emit('reduce', [s.emit('mul', [x, s.like(column, x)])], { kind: 'sum', axes: [1], keep: false });
  return s.emit('div', [sum, s.like(count(w), sum)]);
}

test('the weights of a weighted mean are summed beside the values', () => {
  const before = graphOf((s) => {
    const mean = weightedMean(s, (w) => {
      const sum = s.emit('reduce', [w], { kind: 'sum', axes: [1], keep: true });
      return s.emit('max', [sum, s.fill(1e-9, sum)]);
    });
    return { mean };
  });
  expect(bodyOf(check(alignReductions, before, 1))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = input {name = "w"} : f32[B, T] "w"
    %2 = reshape(%1) {shape = [B, T, 1]} : f32[B, T, 1]
    %3 = broadcast(%2) {shape = [B, T, 4]} : f32[B, T, 4]
    %4 = mul(%0, %3) : f32[B, T, 4]
    %5 = reduce(%4) {kind = "sum", axes = [1], keep = false} : f32[B, 4]
    %6 = constant {values = [1e-9], dtype = "f32", shape = []} : f32
    %7 = broadcast(%6) {shape = [B, 1]} : f32[B, 1]
    %8 = reshape(%1) {shape = [B, T, 1]} : f32[B, T, 1]
    %9 = broadcast(%8) {shape = [B, T, 4]} : f32[B, T, 4]
    %10 = reduce(%9) {kind = "sum", axes = [1], keep = false} : f32[B, 4]
    %11 = broadcast(%7) {shape = [B, 4]} : f32[B, 4]
    %12 = max(%10, %11) : f32[B, 4]
    %13 = div(%5, %12) : f32[B, 4]
    return "mean" = %13"
  `);
});

test('reductions that keep their axes are aligned too', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 4]);
    const w = s.argument('w', 'f32', [T, 1]);
    const sum = s.emit('reduce', [x], { kind: 'sum', axes: [1], keep: true });
    return { y: s.emit('sub', [sum, s.like(s.emit('reduce', [w], { kind: 'max', axes: [0], keep: true }), sum)]) };
  });
  check(alignReductions, before, 1);
});

test('a count that others read stays where it is', () => {
  const before = graphOf((s) => {
    let count: Value | undefined;
    const mean = weightedMean(s, (w) => {
      count = s.emit('reduce', [w], { kind: 'sum', axes: [1], keep: true });
      return count;
    });
    return { mean, count: count as Value };
  });
  check(alignReductions, before, 0);
});

test('a reduction over other extents stays apart', () => {
  const before = graphOf((s) => {
    const mean = weightedMean(s, (w) => {
      const other = s.argument('other', 'f32', [B, 3]);
      return s.emit('reduce', [s.emit('add', [other, s.fill(2, other)])], {
        kind: 'sum',
        axes: [1],
        keep: w.type.shape.length > 0,
      });
    });
    return { mean };
  });
  check(alignReductions, before, 0);
});

test('rows that would have to be turned around stay apart', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [T, T, T]);
    const w = s.argument('w', 'f32', [T, T, T]);
    const sum = s.emit('reduce', [x], { kind: 'sum', axes: [2], keep: false });
    const other = s.emit('reduce', [w], { kind: 'sum', axes: [2], keep: false });
    const turned = s.emit('transpose', [other], { permutation: [1, 0] });
    const column = s.emit('slice', [turned], { axis: 0, start: constantDim(0), size: one });
    return { y: s.emit('add', [sum, s.like(column, sum)]) };
  });
  check(alignReductions, before, 0);
});

test('fires on the masked mean of a sentence model', () => {
  expect(alignReductions.run(bertGraph(), { ranges: testDims }).fired).toBe(1);
});
