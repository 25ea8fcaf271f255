import { describe, expect, test } from 'vitest';
import { compareTensors } from '../../../src/cli/compare.ts';

const tensor = (shape: readonly number[], values: readonly number[]) => ({ shape, data: Float32Array.from(values) });

describe('compareTensors', () => {
  test('the error is the largest difference over the largest wanted value', () => {
    const difference = compareTensors(tensor([3], [10, 0.5, -4]), tensor([3], [10, 0.25, -4]), 0.03);
    expect(difference).toMatchObject({ maxAbsolute: 0.25, maxRelative: 0.025, compared: 3, isEqual: true });
  });

  test('a larger error than the tolerance fails', () => {
    expect(compareTensors(tensor([1], [1.001]), tensor([1], [1]), 1e-4).isEqual).toBe(false);
  });

  test('NaN where a number is expected is an infinite error', () => {
    const difference = compareTensors(tensor([2], [Number.NaN, 1]), tensor([2], [0, 1]), 1e-4);
    expect(difference).toMatchObject({ maxAbsolute: Number.POSITIVE_INFINITY, isEqual: false });
  });

  test('infinities of the same sign are equal, of different sign are not', () => {
    const plus = tensor([2], [Number.POSITIVE_INFINITY, 1]);
    const minus = tensor([2], [Number.NEGATIVE_INFINITY, 1]);
    expect(compareTensors(plus, plus, 1e-4).isEqual).toBe(true);
    expect(compareTensors(plus, minus, 1e-4).isEqual).toBe(false);
  });

  test('all zeros are compared by the absolute error', () => {
    expect(compareTensors(tensor([1], [1e-6]), tensor([1], [0]), 1e-4)).toMatchObject({ isEqual: true });
    expect(compareTensors(tensor([1], [1e-3]), tensor([1], [0]), 1e-4)).toMatchObject({ isEqual: false });
  });

  test('padded positions of per-token outputs do not count', () => {
    const mask = { shape: [1, 3], values: [1, 1, 0] };
    const got = tensor([1, 3, 2], [1, 2, 3, 4, 99, 99]);
    const want = tensor([1, 3, 2], [1, 2, 3, 4, 5, 6]);
    expect(compareTensors(got, want, 1e-4, mask)).toMatchObject({ compared: 4, isEqual: true });
    expect(compareTensors(got, want, 1e-4)).toMatchObject({ compared: 6, isEqual: false });
  });

  test('outputs per sentence ignore the mask', () => {
    const mask = { shape: [1, 3], values: [0, 0, 0] };
    expect(compareTensors(tensor([1, 2], [1, 2]), tensor([1, 2], [1, 3]), 1e-4, mask)).toMatchObject({
      compared: 2,
      isEqual: false,
    });
  });

  test('integers must be equal', () => {
    const integers = (value: number) => ({ shape: [1], data: Int32Array.of(value) });
    expect(compareTensors(integers(1000000), integers(1000001), 1e-4).isEqual).toBe(false);
    expect(compareTensors(integers(7), integers(7), 1e-4).isEqual).toBe(true);
  });

  test('another shape is told, not compared', () => {
    expect(compareTensors(tensor([2], [1, 2]), tensor([1, 2], [1, 2]), 1e-4).problem).toBe(
      'shape [2] where [1, 2] is expected',
    );
  });
});
