/**
 * Every skeleton on every adapter against the interpreter, over sizes that are no multiple of anything: 1, primes, one
 * past a tile. Both profiles run on every adapter: a schedule for GPUs must be right everywhere.
 */
import { describe, expect, test } from 'vitest';
import type { Attributes, Program, Value } from '../../../src/ir/graph.ts';
import { runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { addDims, constantDim, type Dim, evaluateDim, multiplyDims, symbolDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import type { TensorType } from '../../../src/ir/types.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import {
  B,
  bertEmbeddings,
  bertLayer,
  programOf,
  type Sketch,
  sentenceEmbedding,
  sketch,
  smallBert,
  T,
} from '../../support/graphs.ts';
import { runPlan } from './execute.ts';

const one = constantDim(1);

interface Case {
  readonly write: (s: Sketch) => Readonly<Record<string, Value>>;
  /** Sizes beyond the common ones. */
  readonly dims?: readonly Readonly<Record<string, number>>[];
}

function maskOf(s: Sketch): Value {
  const mask = s.argument('mask', 'i32', [B, T]);
  return s.emit('reshape', [s.emit('not_equal', [mask, s.fill(0, mask)])], { shape: [B, one, one, T] });
}

function linear(s: Sketch, inner: number, outer: number): Value {
  const x = s.argument('x', 'f32', [B, T, inner]);
  return s.emit('linear', [x, s.parameter('w', [outer, inner]), s.parameter('b', [outer])]);
}

function attend(s: Sketch, width: number, heads: number, groups: number, valueWidth = width): Value {
  const query = s.argument('query', 'f32', [B, T, width * heads]);
  const key = s.argument('key', 'f32', [B, T, width * groups]);
  const value = s.argument('value', 'f32', [B, T, valueWidth * groups]);
  const attributes = { heads, kv_heads: groups, scale: 1 / Math.sqrt(width), extras: ['mask'] };
  return s.emit('attention', [query, key, value, maskOf(s)], attributes);
}

const twice = (dim: Dim): Dim => multiplyDims(dim, constantDim(2));

/** A convolution without padding, stride, dilation or groups, but for what is given. */
function convolve(
  s: Sketch,
  shape: readonly (Dim | number)[],
  weight: readonly number[],
  more: Attributes = {},
  op = 'conv',
): Value {
  const [ones, zeros] = [1, 0].map((value) => weight.slice(2).map(() => value));
  const attributes = {
    strides: ones ?? [],
    dilations: ones ?? [],
    low: zeros ?? [],
    high: zeros ?? [],
    groups: 1,
    ...more,
  };
  const groups = Number(attributes.groups);
  const outputs = op === 'conv' ? (weight[0] ?? 1) : (weight[1] ?? 1) * groups;
  return s.emit(op, [s.argument('x', 'f32', shape), s.parameter('w', weight), s.parameter('b', [outputs])], attributes);
}

const cases: Readonly<Record<string, Case>> = {
  'map of vectors': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 12]);
      return { y: s.emit('add', [s.emit('mul', [x, x]), s.like(s.parameter('w', [12]), x)]) };
    },
  },
  'map of odd rows, transposed': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 7]);
      const turned = s.emit('transpose', [x], { permutation: [2, 0, 1] });
      return { erf: s.emit('erf', [x]), tanh: s.emit('tanh', [turned]) };
    },
  },
  'joined, sliced and copied': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 12]);
      const z = s.argument('z', 'f32', [B, T, 5]);
      const last = addDims(symbolDim('T'), constantDim(-1));
      return {
        wide: s.emit('concat', [x, z, x], { axis: 2 }),
        long: s.emit('concat', [x, x], { axis: 1 }),
        last: s.emit('slice', [x], { axis: 1, start: last, size: one }),
        same: x,
      };
    },
  },
  'comparisons and counters': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T]);
      const place = s.like(s.emit('iota', [], { length: T, dtype: 'i32' }), x);
      const size = s.like(s.emit('dim_value', [], { value: T }), place);
      const isEarly = s.emit('less', [s.emit('add', [place, place]), size]);
      return { early: isEarly, y: s.emit('select', [isEarly, x, s.emit('neg', [x])]) };
    },
  },
  softmax: { write: (s) => ({ y: s.emit('softmax', [s.argument('x', 'f32', [B, T, T])], { axis: -1 }) }) },
  'softmax over a middle axis': {
    write: (s) => ({ y: s.emit('softmax', [s.argument('x', 'f32', [B, T, 5])], { axis: 1 }) }),
  },
  'entmax with alpha 1.5': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, T]);
      const near = s.emit('entmax', [s.emit('mul', [x, s.fill(3, x)])]);
      return {
        near,
        far: s.emit('entmax', [s.emit('select', [s.emit('less', [x, s.fill(0, x)]), s.fill(-1e30, x), x])]),
      };
    },
    dims: [{ B: 1, T: 260 }],
  },
  'entmax with an alpha per row': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 12]);
      const a = s.argument('a', 'f32', [B, T, 1]);
      const alpha = s.emit('add', [s.emit('mul', [a, s.fill(0.45, a)]), s.fill(1.52, a)]);
      return { y: s.emit('entmax', [s.emit('mul', [x, s.fill(4, x)]), alpha]) };
    },
  },
  'layer norm': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 24]);
      return { y: s.emit('layer_norm', [x, s.parameter('g', [24]), s.parameter('b', [24])], { eps: 1e-5 }) };
    },
  },
  'layer norm of odd width': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 13]);
      return { y: s.emit('layer_norm', [x, s.parameter('g', [13]), s.parameter('b', [13])], { eps: 1e-5 }) };
    },
  },
  'reductions of every kind': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 3]);
      const reduce = (kind: string, axes: readonly number[]) => s.emit('reduce', [x], { kind, axes, keep: false });
      return {
        sum: reduce('sum', [0, 2]),
        max: reduce('max', [1]),
        min: reduce('min', [0, 1, 2]),
        prod: reduce('prod', [2]),
      };
    },
  },
  'linear and erf': { write: (s) => ({ y: s.emit('erf', [linear(s, 24, 72)]) }), dims: [{ B: 1, T: 129 }] },
  'linear of odd sizes': { write: (s) => ({ y: linear(s, 13, 7) }), dims: [{ B: 1, T: 129 }] },
  'linear to one column': { write: (s) => ({ y: linear(s, 32, 1) }) },
  'linear of three panels of columns': { write: (s) => ({ y: linear(s, 20, 96) }), dims: [{ B: 1, T: 17 }] },
  'linear one past a tile': { write: (s) => ({ y: linear(s, 20, 65) }), dims: [{ B: 1, T: 65 }] },
  'product over a runtime dim': {
    write: (s) => {
      const a = s.argument('a', 'f32', [B, T, 5]);
      const b = s.argument('b', 'f32', [B, T, 6]);
      const attributes = { lhs_batch: [0], rhs_batch: [0], lhs_contract: [1], rhs_contract: [1] };
      return { y: s.emit('dot_general', [a, b], attributes) };
    },
  },
  'product over rows, of widths in fours': {
    write: (s) => {
      const a = s.argument('a', 'f32', [B, T, 12]);
      const b = s.argument('b', 'f32', [B, T, 6]);
      const c = s.argument('c', 'f32', [T, 20]);
      const d = s.argument('d', 'f32', [T, 65]);
      const turned = s.emit('transpose', [s.argument('e', 'f32', [T, 5, 4])], { permutation: [1, 2, 0] });
      const rows = (batch: readonly number[], axis: number) => ({
        lhs_batch: batch,
        rhs_batch: batch,
        lhs_contract: [axis],
        rhs_contract: [axis],
      });
      return {
        batched: s.emit('dot_general', [a, b], rows([0], 1)),
        wide: s.emit('neg', [s.emit('dot_general', [c, d], rows([], 0))]),
        turned: s.emit('dot_general', [turned, d], { ...rows([], 2), rhs_contract: [0] }),
      };
    },
    dims: [{ B: 1, T: 66 }],
  },
  'scores of all pairs': {
    write: (s) => {
      const a = s.argument('a', 'f32', [B, T, 8]);
      const b = s.argument('b', 'f32', [B, T, 8]);
      const attributes = { lhs_batch: [0], rhs_batch: [0], lhs_contract: [2], rhs_contract: [2] };
      return { y: s.emit('dot_general', [a, b], attributes) };
    },
    dims: [{ B: 1, T: 66 }],
  },
  'convolution of a sequence': {
    write: (s) => ({ y: s.emit('erf', [convolve(s, [B, 5, T], [7, 5, 3], { low: [1], high: [1] })]) }),
  },
  'convolution in steps of two': {
    write: (s) => ({ y: convolve(s, [B, 4, twice(T)], [6, 4, 3], { low: [1], high: [1], strides: [2] }) }),
  },
  'convolution of images, dilated and grouped': {
    write: (s) => {
      const more = { low: [2, 1], high: [1, 0], dilations: [1, 2], strides: [1, 3], groups: 2 };
      return { y: convolve(s, [B, 4, T, 11], [6, 2, 3, 2], more) };
    },
  },
  'convolution of patches': {
    write: (s) => {
      const y = convolve(s, [B, 3, twice(T), 8], [8, 3, 2, 4], { strides: [2, 4] });
      return { y: s.emit('transpose', [y], { permutation: [0, 2, 3, 1] }) };
    },
  },
  'convolution by channel': {
    write: (s) => ({ y: convolve(s, [B, 4, T], [4, 1, 5], { low: [4], high: [0], groups: 4 }) }),
  },
  'transposed convolution': {
    write: (s) => {
      const more = { strides: [2, 3], low: [1, 0], high: [0, 1], dilations: [1, 2], groups: 2 };
      return { y: convolve(s, [B, 4, T, 3], [4, 3, 3, 2], more, 'conv_transpose') };
    },
  },
  'padded, turned around and in windows': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 12]);
      const wide = s.emit('pad', [s.emit('erf', [x])], {
        low: [0, 2, 3],
        high: [0, 1, 5],
        interior: [0, 0, 0],
        value: -2,
      });
      const spread = s.emit('pad', [x], { low: [0, 1, 0], high: [0, 0, 4], interior: [0, 2, 1], value: 0.5 });
      const slides = { axes: [2, 1], sizes: [3, 2], strides: [2, 1], dilations: [2, 1] };
      const windows = s.emit('window', [wide], slides);
      return {
        wide,
        spread,
        turned: s.emit('reverse', [s.emit('tanh', [x])], { axes: [1, 2] }),
        windows,
        greatest: s.emit('reduce', [windows], { kind: 'max', axes: [3, 4], keep: false }),
      };
    },
  },
  'attention with a padding mask': { write: (s) => ({ y: attend(s, 16, 2, 2) }), dims: [{ B: 2, T: 129 }] },
  'attention of odd width with shared keys': { write: (s) => ({ y: attend(s, 6, 4, 2, 5) }) },
  'attention from the end to the start': {
    write: (s) => ({ y: s.emit('reverse', [attend(s, 8, 2, 2)], { axes: [1] }) }),
  },
  'attention under an axis of length 1': {
    write(s) {
      const y = attend(s, 8, 1, 1);
      return { y: s.emit('broadcast', [y], { shape: [one, ...y.type.shape] }) };
    },
  },
  'a product from the end to the start, with an axis of length 1': {
    write(s) {
      const y = s.emit('reverse', [linear(s, 12, 20)], { axes: [2] });
      return { y: s.emit('tanh', [s.emit('broadcast', [y], { shape: [one, ...y.type.shape] })]) };
    },
  },
  'attention of wide heads': { write: (s) => ({ y: attend(s, 128, 1, 1) }) },
  'attention to the past in a window': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 24]);
      const key = s.argument('key', 'f32', [B, twice(T), 12]);
      const extras = ['offsets'];
      const attributes = { heads: 2, kv_heads: 1, scale: 0.3, causal: true, window: 9, extras };
      return { y: s.emit('attention', [x, key, key, s.argument('offsets', 'i32', [B])], attributes) };
    },
  },
  'attention whose inputs have the names of its locals': {
    write: (s) => {
      const [query, key, value] = ['score', 'products', 'normalizer'].map((name) =>
        s.argument(name, 'f32', [B, T, 24]),
      );
      const [sinks, reach] = [s.argument('sum_0', 'f32', [2]), s.argument('mixed_0_0', 'f32', [2])];
      const extras = ['sinks', 'reach'];
      const operands = [query, key, value, sinks, reach].filter((operand) => operand !== undefined);
      return {
        y: s.emit('attention', operands, { heads: 2, kv_heads: 2, scale: 0.3, causal: true, window: 9, extras }),
      };
    },
  },
  'attention in a window on both sides': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 24]);
      return { y: s.emit('attention', [x, x, x], { heads: 2, kv_heads: 2, scale: 0.3, window: 4 }) };
    },
  },
  'encoder layer': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, smallBert.hidden]);
      return { y: bertLayer(s, x, maskOf(s), 'layer', smallBert) };
    },
  },
  embeddings: {
    write: (s) => {
      const ids = s.argument('ids', 'i32', [B, T]);
      const types = s.argument('types', 'i32', [B, T]);
      return { y: bertEmbeddings(s, ids, types, { ...smallBert, positions: 40 }) };
    },
  },
  'sentence embedding': {
    write: (s) => {
      const x = s.argument('x', 'f32', [B, T, 12]);
      return { y: sentenceEmbedding(s, x, s.argument('mask', 'i32', [B, T])) };
    },
  },
};

const commonDims: readonly Readonly<Record<string, number>>[] = [
  { B: 1, T: 1 },
  { B: 2, T: 7 },
  { B: 1, T: 33 },
];

/** Numbers in [-1, 1) from a linear congruential generator (Numerical Recipes): the same on every machine. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function sizesOf(shape: readonly Dim[], dims: ReadonlyMap<string, number>): number[] {
  return shape.map((dim) => evaluateDim(dim, dims));
}

/** Floats in [-1, 1); integers are indices, some outside of every table, or 0 and 1 for masks. */
function random(name: string, type: TensorType, dims: ReadonlyMap<string, number>, next: () => number): Tensor {
  const shape = sizesOf(type.shape, dims);
  const length = shape.reduce((all, size) => all * size, 1);
  if (type.dtype === 'f32') return { dtype: 'f32', shape, data: Float32Array.from({ length }, next) };
  const top = name === 'mask' ? 2 : name === 'types' ? 3 : smallBert.vocabulary + 1;
  const data = Int32Array.from({ length }, () => Math.floor(((next() + 1) / 2) * top));
  return { dtype: 'i32', shape, data };
}

/** Sums of a few hundred products of numbers below 1 in f32, and one erf of 3e-7. */
const tolerance = 2e-5;

function expectClose(got: ArrayLike<number> | undefined, want: Tensor): void {
  expect(got?.length).toBe(want.data.length);
  for (let i = 0; i < want.data.length; i++) {
    const expected = Number(want.data[i]);
    const difference = Math.abs(Number(got?.[i]) - expected) / Math.max(1, Math.abs(expected));
    if (!(difference <= tolerance)) expect.fail(`element ${i} is ${got?.[i]}, expected ${expected}`);
  }
}

function programFor(entry: Case): Program {
  const s = sketch();
  return programOf(s.finish(entry.write(s)));
}

describe.skipIf(gpuDevices.length > 0)('kernels', () => {
  test.skip('skipped: no adapter here; `npx sorac gpu install` brings one', () => {});
});

describe.each(gpuDevices)('on %s', (kind) => {
  test.each(Object.entries(cases))(
    '%s',
    async (_, entry) => {
      const { device } = await testDevice(kind);
      const program = programFor(entry);
      const { value: artifact, diagnostics } = compiled(program);
      expect(diagnostics).toEqual([]);
      const next = generator(7);
      const weights = new Map(
        program.weights.map((weight) => [weight.path, random(weight.path, weight.type, new Map(), next)]),
      );
      const weight = (path: string): Tensor => {
        const tensor = weights.get(path);
        if (!tensor) throw new Error(`no weight ${path}`);
        return tensor;
      };
      for (const dims of [...commonDims, ...(entry.dims ?? [])]) {
        const known = new Map(Object.entries(dims));
        const parameters = program.entries[0]?.parameters ?? [];
        const inputs = new Map(parameters.map(({ name, type }) => [name, random(name, type, known, next)]));
        const want = runProgram(program, 'run', { inputs, weight, precision: 'f64', dims: known });
        for (const profile of profileNames) {
          const got = await runPlan(device, artifact, { profile, dims, inputs, weight });
          for (const [name, tensor] of want) expectClose(got.get(name), tensor);
        }
      }
    },
    120_000,
  );

  test.each([
    // 1.5e-7 of the approximation and two roundings of numbers near 1.
    ['erf', 2.5e-7, (i: number) => i / 400 - 5],
    // Angles of the fastest pair of rotary positions, to 131,000, and small ones.
    ['sin', 2e-7, (i: number) => (i < 2000 ? i / 100 - 10 : (i - 3000) * 131)],
    ['cos', 2e-7, (i: number) => (i < 2000 ? i / 100 - 10 : (i - 3000) * 131)],
  ] as const)('%s is within %f everywhere', async (op, bound, at) => {
    const { device } = await testDevice(kind);
    const s = sketch();
    const program = programOf(s.finish({ y: s.emit(op, [s.argument('x', 'f32', [T])]) }));
    const { value: artifact } = compiled(program);
    const x: Tensor = { dtype: 'f32', shape: [4001], data: Float32Array.from({ length: 4001 }, (_, i) => at(i)) };
    const inputs = new Map([['x', x]]);
    const weight = (): Tensor => x;
    const want = runProgram(program, 'run', { inputs, weight, precision: 'f64' }).get('y');
    const got = (await runPlan(device, artifact, { profile: 'gpu', dims: { T: 4001 }, inputs, weight })).get('y');
    let worst = 0;
    for (let i = 0; i < 4001; i++) worst = Math.max(worst, Math.abs(Number(got?.[i]) - Number(want?.data[i])));
    expect(worst).toBeLessThanOrEqual(bound);
  });

  test('random numbers are those of the interpreter, bit for bit', async () => {
    const { device } = await testDevice(kind);
    const s = sketch();
    const seed = s.emit('cast', [s.argument('seed', 'i32', [])], { dtype: 'u32' });
    const counter = s.emit('iota', [], { length: T, dtype: 'u32' });
    const program = programOf(
      s.finish({ y: s.emit('random', [counter, s.emit('broadcast', [seed], { shape: [T] })]) }),
    );
    const { value: artifact } = compiled(program);
    const dims = { T: 1003 };
    for (const number of [0, 1, -5, 2147483647]) {
      const inputs = new Map([['seed', { dtype: 'i32' as const, shape: [], data: Int32Array.of(number) }]]);
      const weight = (): Tensor => expect.fail('no weights');
      const known = new Map(Object.entries(dims));
      const want = runProgram(program, 'run', { inputs, weight, precision: 'f64', dims: known }).get('y');
      for (const profile of profileNames) {
        const got = (await runPlan(device, artifact, { profile, dims, inputs, weight })).get('y');
        expect(Array.from(got ?? [])).toEqual(Array.from(want?.data ?? []));
      }
    }
  });
});
