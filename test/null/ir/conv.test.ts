/**
 * Convolutions against their definitions, element by element; what padding and windows refuse.
 */
import { describe, expect, test } from 'vitest';
import type { Attributes } from '../../../src/ir/graph.ts';
import { isFailure, type Tensor } from '../../../src/ir/op.ts';
import { inferOp, opNamed } from '../../../src/ir/ops/index.ts';
import { symbolDim } from '../../../src/ir/symbolic.ts';
import { printType, tensorType } from '../../../src/ir/types.ts';
import { difference, f32, randomTensor, runOp } from './support.ts';

interface Geometry {
  readonly x: readonly number[];
  readonly weight: readonly number[];
  readonly strides: readonly number[];
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly dilations: readonly number[];
  readonly groups: number;
}

function indices(shape: readonly number[]): readonly (readonly number[])[] {
  return shape.reduce<readonly (readonly number[])[]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, at) => [...index, at])),
    [[]],
  );
}

function place(shape: readonly number[], index: readonly number[]): number | undefined {
  if (index.some((at, axis) => at < 0 || at >= (shape[axis] ?? 0))) return undefined;
  return index.reduce((sum, at, axis) => sum * (shape[axis] ?? 1) + at, 0);
}

/** Where the element `k` of the window of `p` lies. */
function target({ strides, dilations, low }: Geometry, p: readonly number[], k: readonly number[]): number[] {
  return p.map((at, axis) => at * (strides[axis] ?? 1) + (k[axis] ?? 0) * (dilations[axis] ?? 1) - (low[axis] ?? 0));
}

/** Adds every product of the definition to where it belongs. */
function byDefinition(geometry: Geometry, x: Tensor, weight: Tensor, shape: readonly number[], isTransposed: boolean) {
  const out = new Float64Array(shape.reduce((product, size) => product * size, 1));
  const [first = 1, second = 1, ...kernel] = geometry.weight;
  const inner = isTransposed ? first / geometry.groups : second;
  const outer = isTransposed ? second : first / geometry.groups;
  const positions = isTransposed ? geometry.x.slice(2) : shape.slice(2);
  for (const [b = 0, group = 0, i = 0, o = 0] of indices([geometry.x[0] ?? 1, geometry.groups, inner, outer])) {
    for (const p of indices(positions)) {
      for (const k of indices(kernel)) {
        const [from, to] = [group * inner + i, group * outer + o];
        const other = target(geometry, p, k);
        const read = place(geometry.x, [b, from, ...(isTransposed ? p : other)]);
        const write = place(shape, [b, to, ...(isTransposed ? other : p)]);
        const tap = place(geometry.weight, isTransposed ? [from, o, ...k] : [to, i, ...k]);
        if (read === undefined || write === undefined || tap === undefined) continue;
        out[write] = (out[write] ?? 0) + Number(x.data[read]) * Number(weight.data[tap]);
      }
    }
  }
  return out;
}

const plain = { strides: [1], low: [0], high: [0], dilations: [1], groups: 1 };
const cases: Readonly<Record<string, Geometry>> = {
  plain: { ...plain, x: [2, 3, 7], weight: [4, 3, 3] },
  'one element wide': { ...plain, x: [1, 3, 5], weight: [2, 3, 1] },
  strided: { ...plain, x: [1, 2, 9], weight: [2, 2, 3], strides: [2], low: [1], high: [2] },
  'a stride wider than the window': { ...plain, x: [1, 2, 9], weight: [2, 2, 2], strides: [3] },
  patches: { ...plain, x: [2, 3, 8], weight: [5, 3, 4], strides: [4] },
  dilated: { ...plain, x: [1, 1, 11], weight: [1, 1, 3], dilations: [4], low: [2], high: [0] },
  'by channel': { ...plain, x: [1, 4, 5], weight: [4, 1, 3], groups: 4, low: [2], high: [0] },
  'two axes, two groups': {
    x: [2, 4, 6, 5],
    weight: [4, 2, 3, 2],
    strides: [2, 1],
    low: [1, 0],
    high: [0, 1],
    dilations: [1, 2],
    groups: 2,
  },
};

describe.each(Object.entries(cases))('%s', (_, geometry) => {
  test.each(['conv', 'conv_transpose'])('%s', (op) => {
    const isTransposed = op === 'conv_transpose';
    const [first = 1, second = 1, ...kernel] = geometry.weight;
    const weightShape = isTransposed
      ? [(second * geometry.groups) as number, first / geometry.groups, ...kernel]
      : geometry.weight;
    const x = randomTensor('f32', geometry.x, 3);
    const weight = randomTensor('f32', weightShape, 5);
    const { strides, low, high, dilations, groups } = geometry;
    const attributes: Attributes = { strides, low, high, dilations, groups };
    const result = runOp(op, [x, weight], attributes, 'f64');
    const expected = byDefinition({ ...geometry, weight: weightShape }, x, weight, result.shape, isTransposed);
    expect(difference(result.data, expected)).toBeLessThan(1e-12);
    const bias = randomTensor('f32', [result.shape[1] ?? 1], 7);
    const each = result.shape.slice(2).reduce((product, size) => product * size, 1);
    const shifted = expected.map((value, at) => value + Number(bias.data[Math.floor(at / each) % bias.data.length]));
    expect(difference(runOp(op, [x, weight, bias], attributes, 'f64').data, shifted)).toBeLessThan(1e-12);
  });
});

test('more cut off than a window reaches out', () => {
  const geometry: Geometry = { ...plain, x: [1, 2, 6], weight: [2, 3, 2], low: [3], high: [2], strides: [2] };
  const x = randomTensor('f32', geometry.x, 3);
  const weight = randomTensor('f32', geometry.weight, 5);
  const { strides, low, high, dilations, groups } = geometry;
  const result = runOp('conv_transpose', [x, weight], { strides, low, high, dilations, groups }, 'f64');
  expect(result.shape).toEqual([1, 3, 7]);
  expect(difference(result.data, byDefinition(geometry, x, weight, result.shape, true))).toBeLessThan(1e-12);
});

describe('shapes', () => {
  const ranges = new Map([['T', { minimum: 1, maximum: 100, multiple: 1 }]]);
  const T = symbolDim('T');
  const x = tensorType('f32', [1, 2, T]);
  const twice = tensorType('f32', [
    1,
    2,
    { ...symbolDim('T'), terms: [{ coefficient: 2, factors: ['T'] }], key: '2*T' },
  ]);
  const given = { ...plain, low: [1], high: [1] };
  const inferred = (input: typeof x, attributes: Attributes) => {
    const result = inferOp(opNamed('conv'), [input, f32(3, 2, 3)], attributes, { ranges });
    return isFailure(result) ? result.failure : result.map(printType).join();
  };

  test('a runtime length stays a polynomial', () => {
    expect(inferred(x, given)).toBe('f32[1, 3, T]');
    expect(inferred(twice, { ...given, strides: [2] })).toBe('f32[1, 3, T]');
  });

  test('what would be none is refused', () => {
    expect(inferred(x, { ...given, strides: [2] })).toContain('is no polynomial');
    expect(inferred(x, plain)).toContain('does not fit into `T`');
    expect(inferred(f32(1, 4, 9), given)).toBe('`x` has `4` channels, `weight` expects `2`');
    expect(inferred(f32(1, 9), given)).toContain('at least one axis more');
  });
});
