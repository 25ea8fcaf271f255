/**
 * Products of one row that compute their left operand themselves, beside the same products of more rows, which read it: every adapter
 * against the interpreter, over rows shorter than a workgroup and ends of panels, in all forms of weights.
 */
import { describe, expect, test } from 'vitest';
import { createModel, type Inputs } from '../../../src/runtime/index.ts';
import { gpuDevices, type TestDevice } from '../../support/devices.ts';
import { randomNumbers } from '../../support/equivalence.ts';
import { compiled, randomCheckpoint } from '../../support/packed.ts';
import { rowsText } from '../../support/staged-rows.ts';

const cases: readonly (readonly [width: number, outputs: number, format: string])[] = [
  [4, 1, ''],
  [36, 33, ''],
  [132, 7, ''],
  [260, 129, ''],
  [96, 34, '"**": int8'],
  [64, 129, '"**": int4(group: 32, symmetric: false)'],
];

function callsOf(width: number): readonly (readonly [entry: string, inputs: Inputs])[] {
  const next = randomNumbers(width);
  const tensor = (...shape: number[]) => ({
    data: Float32Array.from({ length: shape.reduce((all, size) => all * size, 1) }, () => 4 * next() - 1),
    shape,
  });
  return [1, 2, 5].flatMap((rows): (readonly [string, Inputs])[] => [
    ['normed', { x: tensor(rows, width) }],
    ['centred', { x: tensor(rows, width) }],
    ['gated', { x: tensor(rows, 2 * width) }],
    ['ending', { x: tensor(rows, 3, width) }],
    ['kept', { x: tensor(rows, width) }],
  ]);
}

describe.each(cases)('%i inputs, %i outputs %s', (width, outputs, format) => {
  const { artifact } = compiled(rowsText(width, outputs) + (format && `quantize Rows { ${format} }\n`));
  const weights = randomCheckpoint(artifact);
  const calls = callsOf(width);

  async function results(adapter: TestDevice | 'cpu'): Promise<readonly ArrayLike<number>[]> {
    const model = await createModel(artifact, { weights, adapter, cpu: () => import('../../../src/cpu.ts') });
    try {
      const found: ArrayLike<number>[] = [];
      for (const [entry, inputs] of calls) found.push((await model.call(entry, inputs)).y?.data ?? []);
      return found;
    } finally {
      await model.close();
    }
  }
  const wanted = results('cpu');

  test.each(gpuDevices)('%s', { timeout: 240_000 }, async (device) => {
    for (const [at, found] of (await results(device)).entries()) {
      const want = Array.from((await wanted)[at] ?? []);
      const scale = Math.max(...want.map(Math.abs));
      const apart = Math.max(...want.map((value, place) => Math.abs(value - (found[place] ?? Number.NaN))));
      // Sums of up to 260 products of normed numbers round in another order, and so do those of the norm.
      expect(apart / scale, `${calls[at]?.[0]}, call ${at}: ${apart} of ${scale}`).toBeLessThanOrEqual(1e-5);
    }
  });
});
