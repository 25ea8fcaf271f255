import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { matchInputs } from '../../../src/cli/match-inputs.ts';
import { readTensorFile } from '../../../src/cli/tensor-file.ts';
import type { EntrySpec } from '../../../src/runtime/artifact.ts';
import { encodeSafetensors, type TensorToWrite } from '../../../src/runtime/safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-match-'));
afterAll(() => rmSync(folder, { recursive: true }));

const plan = { buffers: [], steps: [] };
const entry: EntrySpec = {
  name: 'classify',
  inputs: [
    { name: 'input_ids', dtype: 'i32', shape: ['B', 'T'] },
    { name: 'attention_mask', dtype: 'i32', shape: ['B', 'T'], initial: 1 },
    { name: 'scale', dtype: 'f32', shape: [['*', 2, 'B']], initial: 0 },
  ],
  results: [],
  plans: { software: plan, gpu: plan },
};

async function tensorsOf(...tensors: readonly TensorToWrite[]) {
  const path = join(folder, 'inputs.safetensors');
  writeFileSync(path, encodeSafetensors(tensors));
  return readTensorFile(path);
}

const i64 = (name: string, shape: readonly number[], values: readonly bigint[]): TensorToWrite => ({
  name,
  shape,
  data: new Uint8Array(BigInt64Array.from(values).buffer),
  dtype: 'I64',
});

describe('matchInputs', () => {
  test('narrows 64-bit ids and leaves optional parameters out', async () => {
    const tensors = await tensorsOf(i64('input_ids', [1, 3], [101n, 7592n, 102n]), i64('lengths', [1], [3n]));
    const { inputs, unused } = matchInputs(entry, tensors);
    expect(inputs).toEqual({ input_ids: { data: Int32Array.of(101, 7592, 102), shape: [1, 3] } });
    expect(unused).toEqual(['lengths']);
  });

  test.each([2n ** 31n, -(2n ** 31n) - 1n, 2n ** 32n + 5n, 2n ** 63n - 1n])('refuses the id %s', async (id) => {
    const tensors = await tensorsOf(i64('input_ids', [1, 1], [id]));
    expect(() => matchInputs(entry, tensors)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^SORA7/) }),
    );
  });

  test('f16 becomes f32', async () => {
    const tensors = await tensorsOf(i64('input_ids', [1, 1], [1n]), {
      name: 'scale',
      shape: [2],
      data: new Uint8Array(Uint16Array.of(0x3c00, 0xc100).buffer),
      dtype: 'F16',
    });
    expect(matchInputs(entry, tensors).inputs.scale).toEqual({ data: Float32Array.of(1, -2.5), shape: [2] });
  });

  test('a missing input names the nearest tensor', async () => {
    const tensors = await tensorsOf(i64('inputs_ids', [1, 1], [1n]));
    expect(() => matchInputs(entry, tensors)).toThrow(
      expect.objectContaining({
        message: 'the inputs have no tensor `input_ids`, which entry `classify` needs as i32[B, T]',
        help: 'there is a `inputs_ids`: rename it',
      }),
    );
  });

  test('another rank is refused with both shapes', async () => {
    const tensors = await tensorsOf(i64('input_ids', [3], [1n, 2n, 3n]));
    expect(() => matchInputs(entry, tensors)).toThrow('input `input_ids` has 1 axis [3], expected i32[B, T]');
  });

  test('floats are no ids', async () => {
    const tensors = await tensorsOf({ name: 'input_ids', shape: [1, 1], data: Float32Array.of(1) });
    expect(() => matchInputs(entry, tensors)).toThrow(expect.objectContaining({ code: 'SORA7203' }));
  });
});
