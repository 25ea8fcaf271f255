/**
 * Choosing from rows on every adapter against the interpreter: rows of one element to those of a vocabulary, ties, NaN,
 * infinities and subnormal numbers. Indices must be the same, not close.
 */
import { describe, expect, test } from 'vitest';
import type { Value } from '../../../src/ir/graph.ts';
import { runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { addDims, constantDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import type { DType } from '../../../src/ir/types.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { B, programOf, type Sketch, sketch, T } from '../../support/graphs.ts';
import { runPlan } from './execute.ts';

/** Numerical Recipes' generator: the same numbers on every machine. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** Rows by what is hard about them; the values of element `i` of `n`. */
const rows: Readonly<Record<string, (next: () => number, i: number, n: number) => number>> = {
  random: (next) => 8 * next(),
  'few values': (next) => Math.round(2 * next()),
  equal: () => -0.25,
  rising: (_, i) => i,
  falling: (_, i) => -i,
  'infinities, NaN and zeros of both signs': (next) => {
    const pick = next();
    if (pick < -0.9) return Number.NaN;
    if (pick < -0.6) return Number.NEGATIVE_INFINITY;
    if (pick > 0.98) return Number.POSITIVE_INFINITY;
    return pick < 0 ? -0 : 0;
  },
  'a subnormal among greater numbers': (next, i) => (i === 0 ? 1e-40 : 1 + next()),
};

function rowsOf(kind: string, shape: readonly number[], dtype: DType = 'f32'): Tensor {
  const next = generator(11);
  const count = shape.reduce((all, size) => all * size, 1);
  const width = shape.at(-1) ?? 1;
  const value = rows[kind];
  if (!value) throw new Error(`no rows ${kind}`);
  const numbers = Array.from({ length: count }, (_, at) => value(next, at % width, width));
  const data = dtype === 'f32' ? Float32Array.from(numbers) : dtype === 'i32' ? Int32Array.from(numbers) : undefined;
  return { dtype, shape, data: data ?? Uint32Array.from(numbers, (number) => Math.round(number) >>> 0) };
}

async function expectSame(
  device: GPUDevice,
  write: (s: Sketch) => Readonly<Record<string, Value>>,
  inputs: ReadonlyMap<string, Tensor>,
  dims: Readonly<Record<string, number>> = {},
): Promise<void> {
  const s = sketch();
  const program = programOf(s.finish(write(s)));
  const { value: artifact, diagnostics } = compiled(program);
  expect(diagnostics).toEqual([]);
  const weight = (): Tensor => {
    throw new Error('no weights');
  };
  const known = new Map(Object.entries(dims));
  const want = runProgram(program, 'run', { inputs, weight, precision: 'f64', dims: known });
  for (const profile of profileNames) {
    const got = await runPlan(device, artifact, { profile, dims, inputs, weight });
    for (const [name, tensor] of want) expect(Array.from(got.get(name) ?? []), name).toEqual(Array.from(tensor.data));
  }
}

describe.skipIf(gpuDevices.length > 0)('selection', () => {
  test.skip('skipped: no adapter here; `npx sorac gpu install` brings one', () => {});
});

const widths = [1, 7, 33, 256, 1000, 32_000, 50_257];

describe.each(gpuDevices)('on %s', (kind) => {
  test.each(widths)(
    'rows of %i, each hard in its own way',
    async (width) => {
      const { device } = await testDevice(kind);
      const ks = [1, 3, 64].filter((k) => k <= width);
      const parts = Object.keys(rows).map((name) => rowsOf(name, [1, width]));
      for (const tensors of [parts, parts.slice(0, 1)]) {
        const shape = [tensors.length, width];
        const x: Tensor = { dtype: 'f32', shape, data: Float32Array.from(tensors.flatMap(({ data }) => [...data])) };
        const write = (s: Sketch) => {
          const value = s.argument('x', 'f32', shape);
          const chosen = ks.map((k) => [`top${k}`, s.emit('top_k', [value], { k })] as const);
          return { ...Object.fromEntries(chosen), best: s.emit('argmax', [value], { axis: -1, keep: false }) };
        };
        await expectSame(device, write, new Map([['x', x]]));
      }
    },
    60_000,
  );

  test('rows of a runtime width, of integers, of expressions and of many rows', async () => {
    const { device } = await testDevice(kind);
    const x = rowsOf('random', [5, 3, 134]);
    const write = (s: Sketch) => {
      const value = s.argument('bound', 'f32', [B, 3, addDims(T, constantDim(5))]);
      const ids = s.emit('top_k', [s.emit('neg', [value])], { k: 5 });
      return {
        ids: s.emit('cast', [ids], { dtype: 'f32' }),
        values: s.emit('take_along', [value, ids], { axis: -1 }),
        middle: s.emit('argmax', [value], { axis: 1, keep: true }),
      };
    };
    await expectSame(device, write, new Map([['bound', x]]), { B: 5, T: 129 });
    for (const dtype of ['i32', 'u32'] as const) {
      const whole = rowsOf('few values', [300, 40], dtype);
      const ofIntegers = (s: Sketch) => ({ ids: s.emit('top_k', [s.argument('key', dtype, [300, 40])], { k: 7 }) });
      await expectSame(device, ofIntegers, new Map([['key', whole]]));
    }
    const wide = rowsOf('few values', [2, 4096]);
    const widest = (s: Sketch) => ({ ids: s.emit('top_k', [s.argument('x', 'f32', [2, 4096])], { k: 256 }) });
    await expectSame(device, widest, new Map([['x', wide]]));
  }, 60_000);

  test('lookups along an axis; an index outside of it gives 0', async () => {
    const { device } = await testDevice(kind);
    const table = rowsOf('random', [2, 5, 4]);
    const at: Tensor = { dtype: 'i32', shape: [2, 3, 4], data: Int32Array.from({ length: 24 }, (_, i) => (i % 7) - 1) };
    const write = (s: Sketch) => {
      const [from, by] = [s.argument('table', 'f32', [2, 5, 4]), s.argument('at', 'i32', [2, 3, 4])];
      return { y: s.emit('take_along', [from, by], { axis: 1 }) };
    };
    await expectSame(
      device,
      write,
      new Map([
        ['table', table],
        ['at', at],
      ]),
    );
  });
});
