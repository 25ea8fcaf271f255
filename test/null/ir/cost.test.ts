/**
 * The cost model against numbers worked out by hand.
 */
import { expect, test } from 'vitest';
import { costOfGraph, costOfNode } from '../../../src/ir/cost.ts';
import type { Graph } from '../../../src/ir/graph.ts';
import { buildGraph, f32, i32 } from './support.ts';

const dims = new Map([['T', 10]]);

const total = (graph: Graph) => costOfGraph(graph, dims);

test('a matrix product counts a multiplication and an addition per term', () => {
  const graph = buildGraph((emitter) => {
    const x = emitter.input('x', f32('T', 8));
    return { y: emitter.emit('linear', [x, emitter.weight(['w'], f32(3, 8)), emitter.weight(['b'], f32(3))]) };
  });
  // Products, then one addition of the bias per output.
  expect(total(graph)).toEqual({
    flops: 2 * 10 * 3 * 8 + 10 * 3,
    bytesRead: 4 * (10 * 8 + 3 * 8 + 3),
    bytesWritten: 4 * 10 * 3,
  });
});

test('moving costs no arithmetic, reducing one operation per element read', () => {
  const graph = buildGraph((emitter) => {
    const x = emitter.input('x', f32('T', 8));
    const turned = emitter.emit('transpose', [x], { permutation: [1, 0] });
    return { y: emitter.emit('reduce', [turned], { kind: 'sum', axes: [0], keep: false }) };
  });
  const [, turn, sum] = graph.nodes.map((node) => costOfNode(node, dims));
  expect(turn).toEqual({ flops: 0, bytesRead: 320, bytesWritten: 320 });
  expect(sum).toEqual({ flops: 80, bytesRead: 320, bytesWritten: 40 });
});

test('a region costs its arithmetic and only the memory at its border', () => {
  const region = buildGraph((emitter) => {
    const x = emitter.input('x', f32('T', 8));
    return { y: emitter.emit('tanh', [emitter.emit('exp', [x])]) };
  });
  const graph = buildGraph((emitter) => {
    const [y] = emitter.fused('map', [emitter.input('x', f32('T', 8))], region).outputs;
    return y ? { y } : {};
  });
  expect(total(graph)).toEqual({ flops: 160, bytesRead: 320, bytesWritten: 320 });
});

test('attention is dominated by its two products', () => {
  const graph = buildGraph((emitter) => {
    const x = emitter.input('x', f32(1, 'T', 32));
    return { y: emitter.emit('attention', [x, x, x], { heads: 4, kv_heads: 4, scale: 1 }) };
  });
  const products = 2 * (2 * 4 * 10 * 10 * 8);
  // Scale, maximum, difference, exp, sum and quotient over the scores, and the guard of the sums.
  expect(total(graph).flops).toBe(products + 6 * 4 * 10 * 10 + 4 * 10);
});

test('appending reads and writes new rows, not the state', () => {
  const region = buildGraph((emitter) => {
    const [state, rows] = [emitter.input('state', f32(2, 'T', 8)), emitter.input('rows', f32(2, 3, 8))];
    return { y: emitter.emit('append', [state, rows, emitter.input('at', i32(2))]) };
  });
  const graph = buildGraph((emitter) => {
    const [state, rows] = [emitter.input('state', f32(2, 'T', 8)), emitter.input('rows', f32(2, 3, 8))];
    const [y] = emitter.fused('append', [state, rows, emitter.input('at', i32(2))], region).outputs;
    return y ? { y } : {};
  });
  for (const each of [region, graph]) {
    expect(total(each)).toEqual({ flops: 0, bytesRead: 4 * (2 * 3 * 8 + 2), bytesWritten: 4 * 2 * 3 * 8 });
  }
});

test('gathering reads rows and computes nothing', () => {
  const graph = buildGraph((emitter) => {
    const ids = emitter.input('ids', i32('T'));
    return { y: emitter.emit('gather', [emitter.weight(['w'], f32(100, 8)), ids]) };
  });
  expect(total(graph).flops).toBe(0);
  expect(total(graph).bytesWritten).toBe(320);
  // Its own rows and the indices, not the whole table.
  expect(total(graph).bytesRead).toBe(320 + 40);
});
