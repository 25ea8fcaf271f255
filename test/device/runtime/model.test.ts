import { describe, expect, test } from 'vitest';
import { createModel, encodeSafetensors, type Model } from '../../../src/runtime/index.ts';
import { gpuDevices } from '../../support/devices.ts';
import { handArtifact, handBias, handExpected, handTable } from '../../support/hand-artifact.ts';

const weights = encodeSafetensors([
  { name: 'table.first', shape: [2, 3], data: Float32Array.from(handTable.slice(0, 2).flat()) },
  { name: 'table.second', shape: [3, 3], data: Float32Array.from(handTable.slice(2).flat()) },
  { name: 'bias', shape: [3], data: Float32Array.from(handBias) },
]);

function batch(rows: number, seed = 1) {
  const x = Float32Array.from({ length: rows * 3 }, (_, i) => ((i * 7 + seed * 13) % 29) - 14);
  const ids = Int32Array.from({ length: rows }, (_, i) => (i * 3 + seed) % 5);
  return { x, ids, inputs: { x: { data: x, shape: [rows, 3] }, ids: { data: ids, shape: [rows] } } };
}

async function check(model: Model, rows: number, seed: number): Promise<void> {
  const { x, ids, inputs } = batch(rows, seed);
  const { total, y } = await model.call('apply', inputs);
  const expected = handExpected(x, ids);
  expect(y?.shape).toEqual([rows, 3]);
  expect(Array.from(y?.data ?? [])).toEqual(expected.y);
  expect(Array.from(total?.data ?? [])).toEqual(expected.total);
}

describe.each(gpuDevices)('a model written by hand on %s', (adapter) => {
  test('gives the right numbers for few, many and no rows', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    for (const rows of [1, 3, 8, 9, 200, 0, 2]) await check(model, rows, rows);
    expect(model.device.kind).toBe(adapter);
    await model.close();
  });

  test('fills a missing input with its initial value', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    const { x, inputs } = batch(4);
    const { total } = await model.call('apply', { x: inputs.x });
    expect(Array.from(total?.data ?? [])).toEqual(handExpected(x, undefined).total);
    await model.close();
  });

  test('makes no pipeline and leaks no buffer when shapes change', async () => {
    const model = await createModel(handArtifact, { adapter, weights });
    for (const rows of [1, 50, 3]) await check(model, rows, 2);
    const before = model.stats();
    expect(before.pipelines).toBe(3);
    for (let rows = 1; rows <= 50; rows++) await check(model, rows, rows);
    const after = model.stats();
    expect(after.pipelines).toBe(3);
    expect(after.buffers).toBeLessThanOrEqual(before.buffers + 3);
    await model.close();
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });
});
