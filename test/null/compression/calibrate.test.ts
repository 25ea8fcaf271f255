import { describe, expect, test } from 'vitest';
import { calibrate } from '../../../src/compression/calibrate.ts';
import { inverseFactor } from '../../../src/compression/gptq.ts';
import { decodeRows, encodeRows, type NumberFormat } from '../../../src/runtime/number-formats.ts';

/** The same numbers on every machine. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  const next = () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
  // Near to normal, with tails: a sum of uniform ones, cubed now and then.
  return Float32Array.from({ length: count }, () => {
    const sum = next() + next() + next() - 1.5;
    return next() < 0.02 ? sum * 6 : sum;
  });
}

const formats: readonly NumberFormat[] = [
  { kind: 'int8' },
  { kind: 'int8', group: 16 },
  { kind: 'int4', group: 32 },
  { kind: 'int4', group: 32, asymmetric: true },
  { kind: 'int4' },
];

const squared = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, at) => sum + (value - (b[at] ?? 0)) ** 2, 0);

/** Inputs that hang together, as activations do: few directions and some noise. */
function inputs(rows: number, columns: number): Float64Array {
  const directions = numbers(8 * columns, 5);
  const shares = numbers(rows * 8, 6);
  const noise = numbers(rows * columns, 7);
  return Float64Array.from({ length: rows * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    let value = (noise[at] ?? 0) * 0.2;
    for (let k = 0; k < 8; k++) value += (shares[row * 8 + k] ?? 0) * (directions[k * columns + column] ?? 0);
    return value;
  });
}

function momentsOf(x: Float64Array, columns: number): Float64Array {
  const moments = new Float64Array(columns * columns);
  for (let row = 0; row < x.length; row += columns)
    for (let i = 0; i < columns; i++)
      for (let j = 0; j < columns; j++)
        moments[i * columns + j] = (moments[i * columns + j] ?? 0) + (x[row + i] ?? 0) * (x[row + j] ?? 0);
  return moments;
}

describe('calibration', () => {
  const [rows, columns] = [12, 72];
  const weight = numbers(rows * columns, 1);
  const decoded = (format: NumberFormat, kind: 'mse' | 'percentile' | 'minmax') => {
    const calibration = kind === 'percentile' ? { kind, share: 0.97 } : ({ kind } as const);
    return decodeRows(calibrate({ weight, columns, format, calibration }).encoded, columns, format);
  };

  test.each(formats)('minmax is the formula: %o', (format) => {
    const { encoded } = calibrate({ weight, columns, format, calibration: { kind: 'minmax' } });
    expect(encoded).toEqual(encodeRows(weight, columns, format));
  });

  test.each(formats)('percentile of all is minmax: %o', (format) => {
    const { encoded } = calibrate({ weight, columns, format, calibration: { kind: 'percentile', share: 1 } });
    expect(encoded).toEqual(encodeRows(weight, columns, format));
  });

  test.each(formats)('mse is never worse than minmax: %o', (format) => {
    const [mse, minmax] = [decoded(format, 'mse'), decoded(format, 'minmax')];
    expect(squared(mse, weight)).toBeLessThanOrEqual(squared(minmax, weight));
  });

  test('mse cuts off what stands out where whole rows share 15 steps', () => {
    const format = { kind: 'int4' } as const;
    expect(squared(decoded(format, 'mse'), weight)).toBeLessThan(0.9 * squared(decoded(format, 'minmax'), weight));
  });

  test('a group of zeros stays one', () => {
    const format = { kind: 'int4', group: 32, asymmetric: true } as const;
    const zeros = new Float32Array(64);
    for (const kind of ['mse', 'gptq'] as const) {
      const moments = momentsOf(inputs(4, 64), 64);
      const { encoded } = calibrate({ weight: zeros, columns: 64, format, calibration: { kind }, moments });
      expect([...encoded.scales]).toEqual([1, 1]);
      expect([...decodeRows(encoded, 64, format)]).toEqual([...zeros]);
    }
  });
});

describe('gptq', () => {
  test('the factor is that of the inverse', () => {
    const size = 9;
    const moments = momentsOf(inputs(40, size), size);
    for (let at = 0; at < size; at++) moments[at * size + at] = (moments[at * size + at] ?? 0) + 0.1;
    const factor = Float64Array.from(moments);
    expect(inverseFactor(factor, size)).toBe(true);
    // H Uᵀ U = 1
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        let sum = 0;
        for (let k = 0; k < size; k++)
          for (let m = 0; m < size; m++)
            sum += (moments[i * size + k] ?? 0) * (factor[m * size + k] ?? 0) * (factor[m * size + j] ?? 0);
        expect(sum).toBeCloseTo(i === j ? 1 : 0, 8);
      }
    }
  });

  test('no factor without a positive definite matrix', () => {
    expect(inverseFactor(Float64Array.of(1, 2, 2, 1), 2)).toBe(false);
    expect(inverseFactor(Float64Array.of(0), 1)).toBe(false);
    expect(inverseFactor(Float64Array.of(Number.NaN), 1)).toBe(false);
  });

  const [rows, columns, samples] = [16, 96, 300];
  const weight = numbers(rows * columns, 2);
  const x = inputs(samples, columns);
  const moments = momentsOf(x, columns);
  const outputError = (numbersUsed: Float32Array) => {
    let sum = 0;
    for (let sample = 0; sample < samples; sample++)
      for (let row = 0; row < rows; row++) {
        let lost = 0;
        for (let k = 0; k < columns; k++)
          lost +=
            ((weight[row * columns + k] ?? 0) - (numbersUsed[row * columns + k] ?? 0)) * (x[sample * columns + k] ?? 0);
        sum += lost * lost;
      }
    return sum;
  };

  test.each(formats)('halves the error of outputs at least: %o', (format) => {
    const nearest = decodeRows(encodeRows(weight, columns, format), columns, format);
    const found = calibrate({ weight, columns, format, calibration: { kind: 'gptq' }, moments });
    expect(found.by).toBe('gptq');
    expect(outputError(decodeRows(found.encoded, columns, format))).toBeLessThan(0.5 * outputError(nearest));
  });

  test('a sample of one row is enough for a factor, and none of zeros is a mistake', () => {
    const format = { kind: 'int4', group: 32 } as const;
    for (const few of [momentsOf(inputs(1, columns), columns), new Float64Array(columns * columns)]) {
      const { by, encoded } = calibrate({ weight, columns, format, calibration: { kind: 'gptq' }, moments: few });
      expect(by).toBe('gptq');
      expect(encoded.values.every((value) => value >= -7 && value <= 7)).toBe(true);
    }
  });

  test('without inputs it is the least squared error', () => {
    const format = { kind: 'int4', group: 32 } as const;
    const { by, encoded } = calibrate({ weight, columns, format, calibration: { kind: 'gptq' } });
    expect(by).toBe('mse');
    expect(encoded).toEqual(calibrate({ weight, columns, format, calibration: { kind: 'mse' } }).encoded);
  });
});
