/**
 * The interpreter against vectors made elsewhere (test/golden/ops/README.md), in f32 and in f64.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { opNamed } from '../../../src/ir/ops/index.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { type DType, isFloat } from '../../../src/ir/types.ts';
import { difference, dimAttributes, precisions, runOp } from './support.ts';

interface StoredTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
}

interface StoredCase {
  readonly name: string;
  readonly attributes: Readonly<Record<string, unknown>> | readonly Readonly<Record<string, unknown>>[];
  readonly inputs: readonly StoredTensor[];
  readonly output: StoredTensor;
}

const folder = new URL('../../golden/ops/', import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith('.json'));

/**
 * The vectors were computed in f32 (f16 where an operand is f16) by other orders of summation: a few units in the last
 * place of values of order one.
 */
const tolerance = { f32: 2e-6, f16: 2e-3 };

test('there are vectors for at least 40 ops', () => {
  expect(files.length).toBeGreaterThanOrEqual(40);
});

describe.each(files)('%s', (file) => {
  const { op, cases } = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as { op: string; cases: StoredCase[] };

  test('names an op', () => {
    expect(opNamed(op).name).toBe(op);
    expect(cases.length).toBeGreaterThan(0);
  });

  test.each(cases.flatMap((item) => precisions.map((precision) => ({ ...item, precision }))))(
    '$name in $precision',
    ({ attributes, inputs, output, precision }) => {
      const tensors = inputs.map((input) => tensorOf(input.dtype, input.shape, input.values.map(Number), precision));
      const given = [attributes].flat().map((one) => dimAttributes(op, one));
      const actual = runOp(op, tensors, given, precision);
      expect(actual.dtype).toBe(output.dtype);
      expect(actual.shape).toEqual(output.shape);
      const isHalf = [...inputs, output].some((tensor) => tensor.dtype === 'f16');
      const allowed = isHalf ? tolerance.f16 : isFloat(output.dtype) ? tolerance.f32 : 0;
      expect(difference(actual.data, output.values.map(Number))).toBeLessThanOrEqual(allowed);
    },
  );
});
