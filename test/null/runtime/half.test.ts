import { describe, expect, test } from 'vitest';
import { bfloatToSingle, halfToSingle, halfValues, singleToBfloat, singleToHalf } from '../../../src/runtime/half.ts';

/** The definition of IEEE 754 binary16, in f64. */
function byDefinition(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
function single(pattern: number): number {
  bits[0] = pattern;
  return float[0] ?? 0;
}

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

describe('f16', () => {
  test('every one of the 65,536 patterns has the value of its definition, and comes back', () => {
    const wrong: number[] = [];
    for (let half = 0; half < 65536; half++) {
      const expected = byDefinition(half);
      const value = halfToSingle(half);
      const isNan = Number.isNaN(expected);
      const back = singleToHalf(value);
      const returns = isNan ? (back & 0x7c00) === 0x7c00 && (back & 0x3ff) !== 0 : back === half;
      if (!Object.is(value, expected) || !returns || !Object.is(halfValues()[half], value)) wrong.push(half);
    }
    expect(wrong).toEqual([]);
  });

  test('rounds to the nearest value, ties to the even one', () => {
    const finite = Array.from({ length: 0x7c00 }, (_, half) => byDefinition(half));
    const wrong: string[] = [];
    for (let half = 0; half + 1 < finite.length; half++) {
      const low = finite[half] ?? 0;
      const high = finite[half + 1] ?? 0;
      const middle = (low + high) / 2;
      bits[0] = 0;
      float[0] = middle;
      const pattern = bits[0] ?? 0;
      const even = half % 2 === 0 ? half : half + 1;
      if (singleToHalf(middle) !== even) wrong.push(`tie after ${half}`);
      if (singleToHalf(single(pattern - 1)) !== half) wrong.push(`below the tie after ${half}`);
      if (singleToHalf(single(pattern + 1)) !== half + 1) wrong.push(`above the tie after ${half}`);
      if (singleToHalf(-middle) !== (even | 0x8000)) wrong.push(`negative tie after ${half}`);
    }
    expect(wrong).toEqual([]);
  });

  test('is infinite from 65520 on, zero up to 2^-25', () => {
    expect(singleToHalf(65519.996)).toBe(0x7bff);
    expect(singleToHalf(65520)).toBe(0x7c00);
    expect(singleToHalf(-3e38)).toBe(0xfc00);
    expect(singleToHalf(2 ** -25)).toBe(0);
    expect(singleToHalf(-(2 ** -26))).toBe(0x8000);
    expect(singleToHalf(2 ** -25 * 1.0000001)).toBe(1);
  });
});

describe('bf16', () => {
  test('every pattern comes back', () => {
    const wrong: number[] = [];
    for (let bfloat = 0; bfloat < 65536; bfloat++) {
      const value = bfloatToSingle(bfloat);
      const expected = single((bfloat << 16) >>> 0);
      const back = singleToBfloat(value);
      const returns = Number.isNaN(value) ? Number.isNaN(bfloatToSingle(back)) : back === bfloat;
      if (!Object.is(value, expected) || !returns) wrong.push(bfloat);
    }
    expect(wrong).toEqual([]);
  });

  test('rounds random values to the nearest (seed 7)', () => {
    const next = random(7);
    for (let i = 0; i < 20_000; i++) {
      const value = single(next());
      if (!Number.isFinite(value)) continue;
      const rounded = bfloatToSingle(singleToBfloat(value));
      const pattern = singleToBfloat(value);
      for (const neighbour of [pattern - 1, pattern + 1]) {
        const other = bfloatToSingle(neighbour & 0xffff);
        if (!Number.isFinite(other) || !Number.isFinite(rounded)) continue;
        expect(Math.abs(rounded - value)).toBeLessThanOrEqual(Math.abs(other - value));
      }
    }
  });
});
