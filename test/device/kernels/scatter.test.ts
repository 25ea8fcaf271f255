/**
 * Rows added up by index on every adapter against the interpreter: indices that repeat, that nobody has, that lie outside.
 */
import { describe, expect, test } from 'vitest';
import { runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomNumbers } from '../../support/equivalence.ts';
import { programOf, sketch, T } from '../../support/graphs.ts';
import { runPlan } from './execute.ts';

interface Case {
  readonly rows: number;
  /** Behind the axis of the updates. */
  readonly inner: readonly number[];
  readonly count: number;
  /** Index of update `at`. */
  readonly index: (at: number, next: () => number) => number;
  readonly dtype?: 'i32' | 'u32';
}

const bytes = (numbers: ArrayLike<number>) => Buffer.from(Float32Array.from(numbers).buffer);

const within = (rows: number) => (_at: number, next: () => number) => Math.floor(rows * next());

const cases: Readonly<Record<string, Case>> = {
  'of one number': { rows: 1, inner: [], count: 1, index: () => 0 },
  'of primes, in rows of fours': { rows: 13, inner: [12], count: 37, index: within(13) },
  'in odd rows': { rows: 7, inner: [3, 5], count: 29, index: within(7) },
  'all to one row': { rows: 5, inner: [8], count: 67, index: () => 3 },
  'each to its own, backwards': { rows: 19, inner: [4], count: 19, index: (at) => 18 - at },
  'nothing but outside': { rows: 3, inner: [4], count: 6, index: (at) => (at % 2 === 0 ? -1 - at : 3 + at) },
  'some outside': { rows: 6, inner: [70], count: 33, index: (_, next) => Math.floor(12 * next()) - 3 },
  'unsigned, some outside': {
    rows: 6,
    inner: [2],
    count: 33,
    index: (_, next) => (next() < 0.2 ? 4294967295 : Math.floor(8 * next())),
    dtype: 'u32',
  },
  'to a vocabulary': { rows: 30522, inner: [32], count: 513, index: within(30522) },
};

describe.each(gpuDevices)('on %s', (kind) => {
  test.each(Object.keys(cases))('sums %s', async (name) => {
    const { device } = await testDevice(kind);
    const { rows, inner, count, index, dtype = 'i32' } = cases[name] as Case;
    const s = sketch();
    const ids = s.argument('ids', dtype, [T]);
    const updates = s.argument('updates', 'f32', [T, ...inner]);
    const table = s.emit('scatter_add', [s.emit('mul', [updates, updates]), ids], {
      rows: constantDim(rows),
    });
    const program = programOf(s.finish({ table: s.emit('neg', [table]) }));
    const next = randomNumbers(rows + count);
    const width = inner.reduce((all, size) => all * size, 1);
    const inputs = new Map<string, Tensor>([
      [
        'ids',
        tensorOf(
          dtype,
          [count],
          Array.from({ length: count }, (_, at) => index(at, next)),
        ),
      ],
      [
        'updates',
        tensorOf(
          'f32',
          [count, ...inner],
          Array.from({ length: count * width }, () => 2 * next() - 1),
        ),
      ],
    ]);
    const weight = () => {
      throw new Error('no weights');
    };
    const wanted = runProgram(program, 'run', { inputs, weight, precision: 'f64' }).get('table');
    const stage = compiled(program);
    expect(stage.diagnostics).toEqual([]);
    for (const profile of profileNames) {
      const results = await runPlan(device, stage.value, { profile, dims: { T: count }, inputs, weight });
      const actual = results.get('table') ?? [];
      expect(actual).toHaveLength(wanted?.data.length ?? 0);
      let worst = 0;
      wanted?.data.forEach((value, at) => {
        const gap = Math.abs((actual[at] ?? Number.NaN) - value);
        worst = Math.max(worst, Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap);
      });
      // Sums of up to 67 numbers below one, rounded at each step.
      expect(worst).toBeLessThan(1e-5);
      const again = await runPlan(device, stage.value, { profile, dims: { T: count }, inputs, weight });
      expect(Buffer.compare(bytes(again.get('table') ?? []), bytes(actual))).toBe(0);
    }
  });
});
