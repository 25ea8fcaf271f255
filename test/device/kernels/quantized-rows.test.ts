/**
 * Rows of int8 with scales on every adapter against the interpreter, in both profiles: heads of one word and of several, prime numbers of
 * heads, no rows; alone, and as the keys and values of an attention.
 */
import { describe, expect, test } from 'vitest';
import type { Value } from '../../../src/ir/graph.ts';
import { runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { randomTensor } from '../../null/ir/support.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { B, programOf, type Sketch, sketch, T } from '../../support/graphs.ts';
import { runPlan } from './execute.ts';

function greatestOf(s: Sketch, x: Value, heads: number, width: number): Value {
  const apart = s.emit('reshape', [x], { shape: [B, T, constantDim(heads), constantDim(width)] });
  return s.emit('reduce', [s.emit('abs', [apart])], { kind: 'max', axes: [3], keep: false });
}

/** Bytes of whole numbers and scales as numbers, so that a difference of one is one. */
function bytesOf(words: ArrayLike<number>): number[] {
  return Array.from(words, (word) => [24, 16, 8, 0].map((shift) => (word << shift) >> 24)).flat();
}

/** By name of the result. */
type Numbers = ReadonlyMap<string, ArrayLike<number>>;

async function results(
  device: GPUDevice,
  write: (s: Sketch, x: Value) => Readonly<Record<string, Value>>,
  inputs: ReadonlyMap<string, Tensor>,
  width: number,
  check: (got: Numbers, want: Numbers) => void,
): Promise<void> {
  const s = sketch();
  const program = programOf(s.finish(write(s, s.argument('x', 'f32', [B, T, width]))));
  const { value: artifact, diagnostics } = compiled(program);
  expect(diagnostics).toEqual([]);
  const weight = (): Tensor => {
    throw new Error('no weights');
  };
  const [rows = 0, steps = 0] = inputs.get('x')?.shape ?? [];
  const dims = { B: rows, T: steps };
  const want = runProgram(program, 'run', { inputs, weight, precision: 'f32', dims: new Map(Object.entries(dims)) });
  const numbers = new Map([...want].map(([name, { data }]) => [name, data] as const));
  for (const profile of profileNames)
    check(await runPlan(device, artifact, { profile, dims, inputs, weight }), numbers);
}

const shapes = [
  { rows: 1, steps: 1, heads: 1, width: 4 },
  { rows: 2, steps: 5, heads: 3, width: 20 },
  { rows: 1, steps: 67, heads: 2, width: 64 },
  { rows: 3, steps: 0, heads: 2, width: 8 },
];

/** A part of rows is all zeros, and some are a thousand times as large. */
function rowsOf(rows: number, steps: number, size: number): Tensor {
  const plain = randomTensor('f32', [rows, steps, size], 23);
  const data = Float32Array.from(plain.data, (value, at) => {
    const row = Math.floor(at / size);
    return row % 3 === 1 ? 0 : row % 3 === 2 ? 1000 * value : value;
  });
  return { ...plain, data };
}

describe.each(gpuDevices)('rows of int8 on %s', (adapter) => {
  test.each(shapes)('$rows x $steps rows of $heads heads of $width', async ({ rows, steps, heads, width }) => {
    const { device } = await testDevice(adapter);
    const size = heads * width;
    const inputs = new Map([['x', rowsOf(rows, steps, size)]]);
    const write = (s: Sketch, x: Value) => {
      const words = s.emit('quantize_rows', [x, greatestOf(s, x, heads, width)], { width });
      return { words, y: s.emit('dequantize_rows', [words], { width }) };
    };
    await results(device, write, inputs, size, (got, want) => {
      const [words, right] = [got, want].map((all) => bytesOf(all.get('words') ?? []));
      // A quotient within rounding of a half may fall to the other side, and a scale may differ in its last bit: the lowest byte.
      const off = words?.map((byte, at) => Math.abs(byte - (right?.[at] ?? 0))) ?? [];
      expect(off.length).toBe(4 * rows * steps * (size / 4 + heads));
      expect(Math.max(0, ...off.map((by) => Math.min(by, 256 - by)))).toBeLessThanOrEqual(1);
      const x = inputs.get('x')?.data ?? [];
      Array.from(got.get('y') ?? []).forEach((value, at) => {
        const head = Math.floor(at / width) * width;
        const most = Math.max(
          ...Array.from(x)
            .slice(head, head + width)
            .map(Math.abs),
        );
        // Half a step, and a little for the division.
        expect(Math.abs(value - (x[at] ?? 0))).toBeLessThanOrEqual((most / 127) * 0.501);
      });
    });
  });

  test('as keys and values they are read where attention reads them', async () => {
    const { device } = await testDevice(adapter);
    const [heads, width] = [3, 20];
    const inputs = new Map([['x', randomTensor('f32', [2, 11, heads * width], 5)]]);
    const stored = (s: Sketch, x: Value) =>
      s.emit('dequantize_rows', [s.emit('quantize_rows', [x, greatestOf(s, x, heads, width)], { width })], { width });
    const write = (s: Sketch, x: Value) => {
      const rows = stored(s, x);
      return { y: s.emit('attention', [x, rows, rows], { heads, kv_heads: heads, scale: 0.2 }) };
    };
    await results(device, write, inputs, heads * width, (got, want) => {
      const [y, right] = [got, want].map((all) => Array.from(all.get('y') ?? []));
      // Numbers near 1, of which one in some thousands may fall to the other side: a step of 1 / 127 in a mixture of eleven.
      expect(Math.max(...(y ?? []).map((value, at) => Math.abs(value - (right?.[at] ?? 0))))).toBeLessThan(1e-3);
    });
  });
});

test('no kernel stores what a conversion gives an attention', () => {
  const s = sketch();
  const x = s.argument('x', 'f32', [B, T, 16]);
  const words = s.argument('words', 'i32', [B, T, 5]);
  const rows = s.emit('dequantize_rows', [words], { width: 16 });
  const program = programOf(s.finish({ y: s.emit('attention', [x, rows, rows], { heads: 1, kv_heads: 1, scale: 1 }) }));
  const { value } = compiled(program);
  expect(value?.entries[0]?.plans.gpu.steps.length).toBe(1);
});
