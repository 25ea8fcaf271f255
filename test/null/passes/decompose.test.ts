import { expect, test } from 'vitest';
import { opNamed } from '../../../src/ir/ops/index.ts';
import { decompose } from '../../../src/passes/decompose.ts';
import { narrowConcat } from '../../../src/passes/narrow-concat.ts';
import { B, bertGraph, T, testDims } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

test('model-level ops become tensor-level ones', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T, 4]);
    const y = s.emit('linear', [x, s.parameter('weight', [3, 4]), s.parameter('bias', [3])]);
    return { y: s.emit('softmax', [y], { axis: -1 }) };
  });
  expect(bodyOf(check(decompose('software'), before, 2))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 4] "x"
    %1 = weight {paths = ["weight"]} : f32[3, 4]
    %2 = weight {paths = ["bias"]} : f32[3]
    %3 = dot_general(%0, %1) {lhs_batch = [], rhs_batch = [], lhs_contract = [2], rhs_contract = [1]} : f32[B, T, 3]
    %4 = broadcast(%2) {shape = [B, T, 3]} : f32[B, T, 3]
    %5 = add(%3, %4) : f32[B, T, 3]
    %6 = reduce(%5) {kind = "max", axes = [2], keep = true} : f32[B, T, 1]
    %7 = broadcast(%6) {shape = [B, T, 3]} : f32[B, T, 3]
    %8 = sub(%5, %7) : f32[B, T, 3]
    %9 = exp(%8) : f32[B, T, 3]
    %10 = reduce(%9) {kind = "sum", axes = [2], keep = true} : f32[B, T, 1]
    %11 = broadcast(%10) {shape = [B, T, 3]} : f32[B, T, 3]
    %12 = div(%9, %11) : f32[B, T, 3]
    return "y" = %12"
  `);
});

test('attention stays whole on GPUs and is written out for software drivers', () => {
  const levels = (profile: 'software' | 'gpu') => {
    const { graph } = decompose(profile).run(bertGraph(), { ranges: testDims });
    return new Set(graph.nodes.filter((node) => opNamed(node.op).level === 'model').map((node) => node.op));
  };
  expect([...levels('software')]).toEqual([]);
  expect([...levels('gpu')]).toEqual(['attention']);
});

test('what is emitted keeps the label of what it stands for', () => {
  const { graph } = decompose('software').run(bertGraph(), { ranges: testDims });
  const labels = graph.nodes.filter((node) => node.op === 'dot_general').map((node) => node.label);
  expect(new Set(labels)).toEqual(new Set(['encoder.layer.0', 'encoder.layer.1']));
});

test('a concatenation of nine is a tree of concatenations of at most four', () => {
  const before = graphOf((s) => {
    const parts = Array.from({ length: 9 }, (_, at) => s.argument(`x${at}`, 'f32', [B, 2]));
    return { y: s.emit('concat', parts, { axis: 0 }) };
  });
  const after = check(narrowConcat, before, 1);
  const widths = after.nodes.filter((node) => node.op === 'concat').map((node) => node.inputs.length);
  expect(widths).toEqual([4, 4, 3]);
});
