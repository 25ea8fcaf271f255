/**
 * The interpreter against formulas written out as loops here, and its behaviour at the edges.
 */
import { describe, expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import type { Program } from '../../../src/ir/graph.ts';
import { GraphBuilder } from '../../../src/ir/graph.ts';
import { interpretGraph, runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { fillLike } from '../../../src/ir/ops/build.ts';
import { erf } from '../../../src/ir/ops/erf.ts';
import { halfRound, tensorOf } from '../../../src/ir/tensor.ts';
import { SoraError } from '../../../src/support/error.ts';
import {
  bool,
  buildGraph,
  difference,
  f32,
  floats,
  i32,
  precisions,
  randomTensor,
  runGraph,
  runOp,
  typed,
} from './support.ts';

/** f32 rounds about once per op: 2^-24 times a few. */
const tolerances = { f32: 2e-6, f64: 1e-13 };

const at = (tensor: Tensor, index: number) => tensor.data[index] ?? Number.NaN;

describe('erf', () => {
  // Abramowitz & Stegun, table 7.1, and the complement at 3 and 5 (table 7.3), to the digits of a double.
  test.each([
    [0, 0],
    [0.1, 0.1124629160182849],
    [0.4, 0.4283923550466685],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
    [4.5, 0.9999999998033839],
    [7, 1],
  ])('erf(%d)', (x, expected) => {
    expect(erf(x)).toBeCloseTo(expected, 14);
    expect(erf(-x)).toBeCloseTo(-expected, 14);
  });

  test('agrees with its power series', () => {
    for (let x = 0; x <= 3; x += 0.0625) {
      let term = x;
      let sum = x;
      for (let n = 1; n < 120; n++) {
        term *= (2 * x * x) / (2 * n + 1);
        sum += term;
      }
      const expected = (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
      expect(Math.abs(erf(x) - expected)).toBeLessThan(3e-15);
    }
  });
});

test('halves: values, ties to even, overflow and subnormals', () => {
  const cases = [
    [1, 1],
    [1 + 2 ** -11, 1],
    [1 + 3 * 2 ** -11, 1 + 2 ** -9],
    [65504, 65504],
    [65519.9, 65504],
    [65520, Number.POSITIVE_INFINITY],
    [-65520, Number.NEGATIVE_INFINITY],
    [2 ** -24, 2 ** -24],
    [2 ** -25, 0],
    [1.5 * 2 ** -24, 2 ** -23],
    [0.1, 0.0999755859375],
  ] as const;
  for (const [value, expected] of cases) expect(halfRound(value)).toBe(expected);
  expect(halfRound(Number.NaN)).toBeNaN();
  expect(Object.is(halfRound(-0), -0)).toBe(true);
});

describe.each(precisions)('in %s', (precision) => {
  const tolerance = tolerances[precision];

  test('linear is a matrix product with a bias', () => {
    // Sizes around the tile of 4 by 4.
    for (const [m, n, k] of [
      [1, 1, 1],
      [4, 4, 8],
      [5, 7, 3],
      [9, 3, 16],
      [3, 13, 2],
    ] as const) {
      const [x, weight, bias] = [
        randomTensor('f32', [m, k], 1),
        randomTensor('f32', [n, k], 2),
        randomTensor('f32', [n], 3),
      ];
      const expected = Array.from({ length: m * n }, (_, index) => {
        const [row, column] = [Math.floor(index / n), index % n];
        let sum = at(bias, column);
        for (let i = 0; i < k; i++) sum += at(x, row * k + i) * at(weight, column * k + i);
        return sum;
      });
      const y = runOp('linear', [x, weight, bias], {}, precision);
      expect(difference(y.data, expected)).toBeLessThanOrEqual(tolerance);
    }
  });

  test('dot_general: batch axes anywhere, two contracted axes', () => {
    const [b, c, m, k, l, n] = [2, 3, 5, 2, 4, 7];
    const lhs = randomTensor('f32', [k, b, m, c, l], 4);
    const rhs = randomTensor('f32', [c, n, l, k, b], 5);
    const attributes = { lhs_batch: [1, 3], rhs_batch: [4, 0], lhs_contract: [0, 4], rhs_contract: [3, 2] };
    const expected: number[] = [];
    for (let ib = 0; ib < b; ib++)
      for (let ic = 0; ic < c; ic++)
        for (let im = 0; im < m; im++)
          for (let jn = 0; jn < n; jn++) {
            let sum = 0;
            for (let ik = 0; ik < k; ik++)
              for (let il = 0; il < l; il++)
                sum +=
                  at(lhs, (((ik * b + ib) * m + im) * c + ic) * l + il) *
                  at(rhs, (((ic * n + jn) * l + il) * k + ik) * b + ib);
            expected.push(sum);
          }
    const y = runOp('dot_general', [lhs, rhs], attributes, precision);
    expect(y.shape).toEqual([b, c, m, n]);
    expect(difference(y.data, expected)).toBeLessThanOrEqual(tolerance);
  });

  test('integer products wrap around', () => {
    const attributes = { lhs_batch: [], rhs_batch: [], lhs_contract: [0], rhs_contract: [0] };
    const big = tensorOf('i32', [2], [0x7fffffff, 3]);
    const y = runOp('dot_general', [big, big], attributes, precision);
    // 2^62 - 2^32 + 1 + 9 modulo 2^32.
    expect(at(y, 0)).toBe(10);
    expect(at(runOp('mul', [big, big], {}, precision), 0)).toBe(1);
    expect(at(runOp('add', [big, big], {}, precision), 0)).toBe(-2);
  });

  test('integer division truncates, division by zero gives the dividend, remainders have the sign of the divisor', () => {
    const a = tensorOf('i32', [6], [7, -7, 7, -7, 5, -2147483648]);
    const b = tensorOf('i32', [6], [2, 2, -2, -2, 0, -1]);
    expect([...runOp('div', [a, b], {}, precision).data]).toEqual([3, -3, -3, 3, 5, -2147483648]);
    expect([...runOp('rem', [a, b], {}, precision).data]).toEqual([1, 1, -1, -1, 0, 0]);
    const x = floats([4], [5.5, -5.5, 5.5, -5.5]);
    expect([...runOp('rem', [x, floats([4], [2, 2, -2, -2])], {}, precision).data]).toEqual([1.5, 0.5, -0.5, -1.5]);
  });

  test('casts truncate toward zero and clamp to the range', () => {
    const x = floats([6], [1.9, -1.9, 3e9, -3e9, Number.NaN, 0.5]);
    expect([...runOp('cast', [x], { dtype: 'i32' }, precision).data]).toEqual([1, -1, 2147483647, -2147483648, 0, 0]);
    expect([...runOp('cast', [x], { dtype: 'u32' }, precision).data]).toEqual([1, 0, 3e9, 0, 0, 0]);
    const bits = tensorOf('i32', [1], [-1]);
    expect([...runOp('cast', [bits], { dtype: 'u32' }, precision).data]).toEqual([4294967295]);
  });

  test('layer_norm has mean 0 and variance 1 before gain and bias', () => {
    const [rows, width] = [3, 7];
    const x = randomTensor('f32', [rows, width], 6);
    const [gain, bias] = [randomTensor('f32', [width], 7), randomTensor('f32', [width], 8)];
    const expected = Array.from({ length: rows }, (_, row) => {
      const values = Array.from(x.data.subarray(row * width, (row + 1) * width));
      const mean = values.reduce((sum, value) => sum + value, 0) / width;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
      return values.map((value, d) => ((value - mean) / Math.sqrt(variance + 1e-5)) * at(gain, d) + at(bias, d));
    }).flat();
    const y = runOp('layer_norm', [x, gain, bias], { eps: 1e-5 }, precision);
    expect(difference(y.data, expected)).toBeLessThanOrEqual(4 * tolerance);
  });

  test('layer_norm of large values with a small spread does not cancel', () => {
    const x = floats([1, 4], [4096, 4097, 4098, 4099]);
    const y = runOp('layer_norm', [x], { eps: 1e-12 }, precision);
    const expected = [-1.5, -0.5, 0.5, 1.5].map((value) => value / Math.sqrt(1.25 + 1e-12));
    expect(difference(y.data, expected)).toBeLessThanOrEqual(tolerance);
  });

  test('softmax does not overflow', () => {
    const y = runOp('softmax', [floats([1, 3], [1000, 1001, -1000])], { axis: 1 }, precision);
    const e = Math.exp(-1);
    expect(difference(y.data, [e / (1 + e), 1 / (1 + e), 0])).toBeLessThanOrEqual(tolerance);
  });

  test.each([
    ['one head for each', 4, 4],
    ['grouped heads', 6, 2],
    ['one key head', 3, 1],
  ])('attention by loops: %s', (_name, heads, kvHeads) => {
    const [batch, t, s, d, e] = [2, 3, 5, 4, 3];
    const query = randomTensor('f32', [batch, t, heads * d], 9);
    const key = randomTensor('f32', [batch, s, kvHeads * d], 10);
    const value = randomTensor('f32', [batch, s, kvHeads * e], 11);
    const mask = randomTensor('bool', [batch, heads, t, s], 12);
    mask.data.fill(0, 0, s);
    const scale = 0.4;
    const expected = new Float64Array(batch * t * heads * e);
    for (let b = 0; b < batch; b++)
      for (let h = 0; h < heads; h++)
        for (let i = 0; i < t; i++) {
          const g = Math.floor(h / (heads / kvHeads));
          const weights = Array.from({ length: s }, (_, j) => {
            if (at(mask, ((b * heads + h) * t + i) * s + j) === 0) return 0;
            let score = 0;
            for (let n = 0; n < d; n++) {
              score += at(query, (b * t + i) * heads * d + h * d + n) * at(key, (b * s + j) * kvHeads * d + g * d + n);
            }
            return Math.exp(score * scale);
          });
          const sum = weights.reduce((total, weight) => total + weight, 0);
          for (let n = 0; n < e; n++) {
            const mixed = weights.reduce(
              (total, weight, j) => total + weight * at(value, (b * s + j) * kvHeads * e + g * e + n),
              0,
            );
            expected[(b * t + i) * heads * e + h * e + n] = sum === 0 ? 0 : mixed / sum;
          }
        }
    const attributes = { heads, kv_heads: kvHeads, scale, extras: ['mask'] };
    const y = runOp('attention', [query, key, value, mask], attributes, precision);
    expect(difference(y.data, expected)).toBeLessThanOrEqual(8 * tolerance);
    // The first query of the first head sees nothing.
    expect([...y.data.subarray(0, e)]).toEqual(new Array(e).fill(0));
  });

  test('gather gives zeros for indices outside of the table', () => {
    const table = floats([2, 2], [1, 2, 3, 4]);
    const y = runOp('gather', [table, tensorOf('i32', [4], [1, -1, 2, 0])], {}, precision);
    expect([...y.data]).toEqual([3, 4, 0, 0, 0, 0, 1, 2]);
  });

  test('reductions over nothing', () => {
    const x = floats([2, 0], []);
    const reduce = (kind: string) => [...runOp('reduce', [x], { kind, axes: [1], keep: false }, precision).data];
    expect(reduce('sum')).toEqual([0, 0]);
    expect(reduce('prod')).toEqual([1, 1]);
    expect(reduce('max')).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(reduce('min')).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  test('a region computes what its nodes compute outside', () => {
    const region = buildGraph((emitter) => {
      const a = emitter.input('a', f32('T', 3));
      const b = emitter.input('b', f32('T', 3));
      const sum = emitter.emit('add', [a, b]);
      return { sum, product: emitter.emit('mul', [sum, b]) };
    });
    const graph = buildGraph((emitter) => {
      const x = emitter.input('x', f32('T', 3));
      const y = emitter.input('y', f32('T', 3));
      const node = emitter.fused('map', [x, y], region);
      return Object.fromEntries(node.outputs.map((output, index) => [`r${index}`, output]));
    });
    const [x, y] = [randomTensor('f32', [2, 3], 1), randomTensor('f32', [2, 3], 2)];
    const results = runGraph(graph, { x, y }, precision, { T: 2 });
    const sum = Array.from(x.data, (value, index) => value + at(y, index));
    expect(difference(results.get('r0')?.data ?? [], sum)).toBeLessThanOrEqual(tolerance);
    const product = sum.map((value, index) => value * at(y, index));
    expect(difference(results.get('r1')?.data ?? [], product)).toBeLessThanOrEqual(tolerance);
  });

  test('weights with several paths are concatenated along axis 0', () => {
    const emitter = createEmitter(new GraphBuilder(), { ranges: new Map() });
    const weight = emitter.weight(['a', 'b'], f32(3, 2));
    const graph = emitter.builder.finish('packed', [{ name: 'w', value: weight }]);
    const stored = new Map([
      ['a', tensorOf('f32', [1, 2], [1, 2])],
      ['b', tensorOf('f32', [2, 2], [3, 4, 5, 6])],
    ]);
    const run = (tensors: ReadonlyMap<string, Tensor>) =>
      interpretGraph(graph, {
        inputs: new Map(),
        dims: new Map(),
        precision,
        weight: (path) => tensors.get(path) ?? tensorOf('f32', [0, 2], []),
      });
    expect([...(run(stored).get('w')?.data ?? [])]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(() => run(new Map([...stored].slice(0, 1)))).toThrow(/should be \[3, 2\] and is \[1, 2\]/);
  });
});

test('f16 rounds after every op in f32 precision and not at all in f64', () => {
  const third = (precision: 'f32' | 'f64') => {
    const one = tensorOf('f16', [1], [1], precision);
    return at(runOp('div', [one, tensorOf('f16', [1], [3], precision)], {}, precision), 0);
  };
  expect(third('f32')).toBe(0.333251953125);
  expect(third('f64')).toBe(1 / 3);
});

function scaled(): Program {
  const emitter = createEmitter(new GraphBuilder(), { ranges: new Map() });
  const x = emitter.input('x', f32('B', 'T'));
  const mask = emitter.input('mask', i32('B', 'T'));
  const count = emitter.emit('cast', [emitter.emit('reduce', [mask], { kind: 'sum', axes: [1], keep: true })], {
    dtype: 'f32',
  });
  const y = emitter.emit('mul', [x, emitter.emit('broadcast', [count], { shape: x.type.shape })]);
  const value = emitter.emit('add', [y, fillLike(emitter, 0.5, y)]);
  const graph = emitter.builder.finish('scale', [{ name: 'y', value }]);
  return {
    name: 'Scale',
    doc: undefined,
    config: {},
    dims: new Map([
      ['B', { minimum: 1, maximum: 8, multiple: 1 }],
      ['T', { minimum: 1, maximum: 8, multiple: 1 }],
    ]),
    weights: [],
    states: [],
    entries: [
      {
        name: 'scale',
        doc: undefined,
        parameters: [
          { name: 'x', type: f32('B', 'T'), doc: undefined, initial: undefined },
          { name: 'mask', type: i32('B', 'T'), doc: undefined, initial: 1 },
        ],
        results: [{ name: 'y', type: f32('B', 'T') }],
        graph,
        span: undefined,
      },
    ],
  };
}

describe('calls of entries', () => {
  const noWeights = { precision: 'f32' as const, weight: () => tensorOf('f32', [], [0]) };
  const call = (inputs: Readonly<Record<string, Tensor>>, entry = 'scale') =>
    runProgram(scaled(), entry, { ...noWeights, inputs: new Map(Object.entries(inputs)) });
  const x = tensorOf('f32', [2, 3], [1, 2, 3, 4, 5, 6]);

  test('dims come from the inputs and what is left out is filled', () => {
    expect([...(call({ x }).get('y')?.data ?? [])]).toEqual([3.5, 6.5, 9.5, 12.5, 15.5, 18.5]);
    const mask = tensorOf('i32', [2, 3], [1, 1, 0, 1, 0, 0]);
    expect([...(call({ x, mask }).get('y')?.data ?? [])]).toEqual([2.5, 4.5, 6.5, 4.5, 5.5, 6.5]);
  });

  test.each([
    ['a missing input', {}, 'scale', 'SORA7102'],
    ['another rank', { x: tensorOf('f32', [3], [1, 2, 3]) }, 'scale', 'SORA7102'],
    ['dims that disagree', { x, mask: tensorOf('i32', [2, 1], [1, 1]) }, 'scale', 'SORA7102'],
    ['another element type', { x: tensorOf('i32', [1, 1], [1]) }, 'scale', 'SORA7102'],
    ['an unknown entry', { x }, 'scales', 'SORA7104'],
  ])('refuses %s', (_what, inputs, entry, code) => {
    const run = () => call(inputs as Readonly<Record<string, Tensor>>, entry);
    expect(run).toThrow(SoraError);
    expect(run).toThrow(expect.objectContaining({ code }));
  });
});

test('a value that is read again later is kept, others are dropped', () => {
  const graph = buildGraph((emitter) => {
    const x = emitter.input('x', f32(2));
    const flag = emitter.input('flag', bool(2));
    const negative = emitter.emit('neg', [x]);
    const twice = emitter.emit('add', [negative, negative]);
    return { y: emitter.emit('select', [flag, negative, twice]), x, twice };
  });
  const inputs = { x: floats([2], [1, 2]), flag: tensorOf('bool', [2], [1, 0]) };
  const results = runGraph(graph, inputs, 'f64');
  expect([...(results.get('y')?.data ?? [])]).toEqual([-1, -4]);
  expect([...(results.get('x')?.data ?? [])]).toEqual([1, 2]);
  expect([...(results.get('twice')?.data ?? [])]).toEqual([-2, -4]);
});

test('runtime dims reach the numbers: iota, dim_value and a mean over a runtime axis', () => {
  const graph = buildGraph((emitter) => {
    const x = emitter.input('x', f32('T', 2));
    const [t] = x.type.shape;
    if (!t) throw new Error('no dim');
    return {
      positions: emitter.emit('iota', [], { length: t, dtype: 'i32' }),
      count: emitter.emit('dim_value', [], { value: t }),
      mean: emitter.emit('mean', [x], { axes: [0], keep: false }),
    };
  });
  for (const size of [1, 2, 5]) {
    const values = Array.from({ length: size * 2 }, (_, index) => index);
    const results = runGraph(graph, { x: floats([size, 2], values) }, 'f64', { T: size });
    expect([...(results.get('positions')?.data ?? [])]).toEqual(Array.from({ length: size }, (_, index) => index));
    expect([...(results.get('count')?.data ?? [])]).toEqual([size]);
    expect([...(results.get('mean')?.data ?? [])]).toEqual([size - 1, size]);
  }
  expect(typed('i32', []).shape).toEqual([]);
});
