import { describe, expect, test } from 'vitest';
import { drawWeight } from '../../../src/runtime/fresh-weights.ts';

const size = 40_000;

function moments(values: Float32Array): { mean: number; deviation: number; least: number; greatest: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return {
    mean,
    deviation: Math.sqrt(variance),
    least: values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY),
    greatest: values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY),
  };
}

/** Five standard errors of a mean of so many. */
const tolerance = (deviation: number): number => (5 * deviation) / Math.sqrt(size);

describe('fresh weights', () => {
  test('constant', () => {
    expect(drawWeight({ kind: 'constant', value: 1.5 }, 1, 'a', 3)).toEqual(Float32Array.of(1.5, 1.5, 1.5));
    expect(drawWeight({ kind: 'normal', mean: 0, std: 1 }, 1, 'a', 0)).toEqual(new Float32Array());
  });

  test('uniform', () => {
    const { mean, deviation, least, greatest } = moments(
      drawWeight({ kind: 'uniform', low: -1, high: 3 }, 5, 'w', size),
    );
    expect(Math.abs(mean - 1)).toBeLessThan(tolerance(4 / Math.sqrt(12)));
    expect(deviation).toBeCloseTo(4 / Math.sqrt(12), 1);
    expect(least).toBeGreaterThanOrEqual(-1);
    expect(greatest).toBeLessThanOrEqual(3);
    expect(greatest - least).toBeGreaterThan(3.99);
  });

  test('normal', () => {
    const { mean, deviation, greatest } = moments(drawWeight({ kind: 'normal', mean: 2, std: 0.5 }, 5, 'w', size));
    expect(Math.abs(mean - 2)).toBeLessThan(tolerance(0.5));
    expect(deviation).toBeCloseTo(0.5, 2);
    expect(greatest).toBeGreaterThan(2 + 3 * 0.5);
  });

  test('truncated normal ends at two deviations, and is not what the ends would be pushed to', () => {
    const values = drawWeight({ kind: 'normal', mean: 2, std: 0.5, truncated: true }, 5, 'w', size);
    const { mean, deviation, least, greatest } = moments(values);
    expect(Math.abs(mean - 2)).toBeLessThan(tolerance(0.5));
    // Of a normal distribution cut off there: 0.8796 of the whole one's.
    expect(deviation).toBeCloseTo(0.5 * 0.8796, 2);
    expect(least).toBeGreaterThanOrEqual(1);
    expect(greatest).toBeLessThanOrEqual(3);
    expect(values.filter((value) => value > 2.99).length).toBeLessThan(200);
  });

  test('are a matter of seed, name and place alone', () => {
    const initial = { kind: 'normal', mean: 0, std: 1 } as const;
    const weight = drawWeight(initial, 7, 'encoder.weight', 1000);
    expect(drawWeight(initial, 7, 'encoder.weight', 1000)).toEqual(weight);
    expect(drawWeight(initial, 7, 'encoder.weight', 13)).toEqual(weight.slice(0, 13));
    for (const other of [
      drawWeight(initial, 8, 'encoder.weight', 1000),
      drawWeight(initial, 7, 'encoder.bias', 1000),
    ]) {
      const product = other.reduce((sum, value, at) => sum + value * (weight[at] ?? 0), 0) / 1000;
      expect(Math.abs(product)).toBeLessThan(0.2);
    }
    // The same on every machine.
    expect(Array.from(drawWeight(initial, 1, 'w', 4), (value) => value.toFixed(5))).toMatchInlineSnapshot(`
      [
        "-0.89513",
        "-0.74829",
        "-0.01771",
        "-1.15009",
      ]
    `);
  });
});
