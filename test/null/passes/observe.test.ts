/**
 * The entry that gives Xᵀ X of what matrices are multiplied with.
 */
import { describe, expect, test } from 'vitest';
import type { Entry } from '../../../src/ir/graph.ts';
import { interpretGraph } from '../../../src/ir/interpret.ts';
import { observable, observedForm, observeEntry } from '../../../src/passes/index.ts';
import { lowered } from '../lower/kit.ts';

const program = lowered(`import { Linear } from "sora:nn"
dim B in 1..8, T in 1..8
module Flipped { w: f32[3, 5]  fn (x: f32[B, T, 3]) -> f32[B, T, 5] = matmul(x, w) }
model Test {
  a = Linear(3, 3)
  b = Linear(3, 3)
  c = Flipped()
  table: f32[4, 3]
  entry run(x: f32[B, T, 3]) -> y: f32[B, T, 5] = c(a(x) + b(x) + table[0]) + c(a(a(x)))
}
`);
const [lone] = program.entries as [Entry];
const entry = observedForm(program, lone);
const all = new Set(program.weights.map(({ path }) => path));

const numbers = (count: number, seed: number) =>
  Float64Array.from({ length: count }, (_, at) => Math.sin(seed + at * 1.7));

function weight(path: string) {
  const shape = program.weights.find((each) => each.path === path)?.type.shape.map((dim) => Number(dim.key)) ?? [];
  return {
    dtype: 'f32',
    shape,
    data: numbers(
      shape.reduce((a, b) => a * b, 1),
      path.length,
    ),
  } as const;
}

function moments(paths: ReadonlySet<string>): ReadonlyMap<string, number[]> {
  const observed = observeEntry(program, entry, paths);
  const results = interpretGraph(observed.entry.graph, {
    inputs: new Map([['x', { dtype: 'f32', shape: [2, 3, 3], data: numbers(18, 1) }]]),
    weight,
    dims: new Map([
      ['B', 2],
      ['T', 3],
    ]),
    precision: 'f64',
  });
  const sums = new Map<string, number[]>();
  for (const { result, paths: own } of observed.observations)
    for (const path of own) {
      const data = Array.from(results.get(result)?.data ?? []);
      sums.set(
        path,
        data.map((value, at) => value + (sums.get(path)?.[at] ?? 0)),
      );
    }
  return sums;
}

describe('observed inputs', () => {
  test('every matrix that maps a last axis, with all its places', () => {
    const found = moments(all);
    expect([...found.keys()].sort()).toEqual(['a.weight', 'b.weight', 'c.w']);
    const x = numbers(18, 1);
    const outer = (rows: ArrayLike<number>): number[] => {
      const sum = new Array<number>(9).fill(0);
      for (let row = 0; row < rows.length; row += 3)
        for (let i = 0; i < 3; i++)
          for (let j = 0; j < 3; j++)
            sum[i * 3 + j] = (sum[i * 3 + j] ?? 0) + (rows[row + i] ?? 0) * (rows[row + j] ?? 0);
      return sum;
    };
    const near = (got: readonly number[] | undefined, want: readonly number[]) => {
      for (const [at, value] of want.entries()) expect(got?.[at]).toBeCloseTo(value, 9);
    };
    near(found.get('b.weight'), outer(x));
    // `a` also maps what it gave itself.
    const a = weight('a.weight').data;
    const bias = weight('a.bias').data;
    const mapped = Array.from(x, (_, at) => {
      const [row, n] = [Math.floor(at / 3) * 3, at % 3];
      return [0, 1, 2].reduce((sum, k) => sum + (x[row + k] ?? 0) * (a[n * 3 + k] ?? 0), bias[n] ?? 0);
    });
    near(
      found.get('a.weight'),
      outer(mapped).map((value, at) => value + (outer(x)[at] ?? 0)),
    );
  });

  test('groups hold what fits, and each matrix once', () => {
    expect(observable(entry, 1e9).map((group) => [...group].sort())).toEqual([['a.weight', 'b.weight', 'c.w']]);
    const single = observable(entry, 1);
    expect(single.flat().sort()).toEqual(['a.weight', 'b.weight', 'c.w']);
    expect(single.length).toBeGreaterThan(1);
  });
});
