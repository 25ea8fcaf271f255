import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addDims,
  constantDim,
  constantValue,
  type Dim,
  dimBounds,
  divideDim,
  evaluateDim,
  isDivisible,
  multiplyDims,
  negateDim,
  parseDim,
  sameDim,
  substituteDim,
  subtractDims,
  symbolDim,
} from '../../../src/ir/symbolic.ts';

const B = symbolDim('B');
const T = symbolDim('T');

/** A random polynomial together with the plain function it stands for: the brute-force judge. */
interface Judged {
  readonly dim: Dim;
  readonly at: (values: ReadonlyMap<string, number>) => number;
}

const leaf: fc.Arbitrary<Judged> = fc.oneof(
  fc.integer({ min: -6, max: 6 }).map((value) => ({ dim: constantDim(value), at: () => value })),
  fc.constantFrom('B', 'T', 'S').map((name) => ({
    dim: symbolDim(name),
    at: (values: ReadonlyMap<string, number>) => values.get(name) ?? Number.NaN,
  })),
);

const judged: fc.Arbitrary<Judged> = fc.letrec<{ node: Judged }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.tuple(fc.constantFrom('+', '-', '*'), tie('node'), tie('node')).map(([operator, left, right]): Judged => {
      if (operator === '+') return { dim: addDims(left.dim, right.dim), at: (v) => left.at(v) + right.at(v) };
      if (operator === '-') return { dim: subtractDims(left.dim, right.dim), at: (v) => left.at(v) - right.at(v) };
      return { dim: multiplyDims(left.dim, right.dim), at: (v) => left.at(v) * right.at(v) };
    }),
  ),
})).node;

const point = fc
  .tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }))
  .map(
    ([b, t, s]) =>
      new Map([
        ['B', b],
        ['T', t],
        ['S', s],
      ]),
  );

describe('symbolic dims', () => {
  test('arithmetic agrees with numbers at every point', () => {
    fc.assert(
      fc.property(judged, point, (polynomial, values) => {
        // `+ 0` folds -0 into 0: dims have no negative zero.
        expect(evaluateDim(polynomial.dim, values) + 0).toBe(polynomial.at(values) + 0);
      }),
      { seed: 1, numRuns: 3000 },
    );
  });

  test('equal functions have equal keys: the form is canonical', () => {
    fc.assert(
      fc.property(judged, judged, judged, (a, b, c) => {
        expect(
          sameDim(
            multiplyDims(a.dim, addDims(b.dim, c.dim)),
            addDims(multiplyDims(b.dim, a.dim), multiplyDims(a.dim, c.dim)),
          ),
        ).toBe(true);
        expect(sameDim(subtractDims(a.dim, b.dim), negateDim(subtractDims(b.dim, a.dim)))).toBe(true);
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  test('the key is text that reads back', () => {
    fc.assert(
      fc.property(judged, (polynomial) => {
        expect(parseDim(polynomial.dim.key)?.key).toBe(polynomial.dim.key);
      }),
      { seed: 3, numRuns: 1000 },
    );
  });

  test('a quotient times the divisor is the dim, and a refused quotient has a remainder somewhere or is no polynomial', () => {
    fc.assert(
      fc.property(judged, fc.integer({ min: 1, max: 6 }), (polynomial, divisor) => {
        const quotient = divideDim(polynomial.dim, constantDim(divisor));
        if (quotient) expect(sameDim(multiplyDims(quotient, constantDim(divisor)), polynomial.dim)).toBe(true);
        else expect(polynomial.dim.terms.some((term) => term.coefficient % divisor !== 0)).toBe(true);
      }),
      { seed: 4, numRuns: 1000 },
    );
  });

  test('bounds hold at every point of the ranges', () => {
    const ranges = new Map(['B', 'T', 'S'].map((name) => [name, { minimum: 0, maximum: 9, multiple: 1 }]));
    fc.assert(
      fc.property(judged, point, (polynomial, values) => {
        const { minimum, maximum } = dimBounds(polynomial.dim, ranges);
        const value = polynomial.at(values);
        expect(value).toBeGreaterThanOrEqual(minimum);
        expect(value).toBeLessThanOrEqual(maximum);
      }),
      { seed: 5, numRuns: 1000 },
    );
  });

  test('a declared multiple proves divisibility, nothing else does', () => {
    const ranges = new Map([['T', { minimum: 4, maximum: 64, multiple: 4 }]]);
    expect(isDivisible(T, 4, ranges)).toBe(true);
    expect(isDivisible(multiplyDims(constantDim(3), T), 12, ranges)).toBe(true);
    expect(isDivisible(addDims(T, constantDim(2)), 4, ranges)).toBe(false);
    expect(isDivisible(B, 4, ranges)).toBe(false);
  });

  test('substitution binds T = 1', () => {
    const dim = addDims(multiplyDims(B, T), constantDim(3));
    expect(substituteDim(dim, new Map([['T', constantDim(1)]])).key).toBe('B + 3');
    expect(constantValue(substituteDim(T, new Map([['T', constantDim(1)]])))).toBe(1);
  });

  test.each(['', '+', 'T T', '2 *', '1.5', '*T', 'T**2', 'a-b c', '-', '99999999999999999999'])(
    '%j is not a dim',
    (text) => {
      expect(parseDim(text)).toBeUndefined();
    },
  );

  test('arithmetic that leaves the safe integers throws, it does not round', () => {
    expect(() => multiplyDims(constantDim(2 ** 40), constantDim(2 ** 40))).toThrow(RangeError);
    expect(() =>
      evaluateDim(
        multiplyDims(B, T),
        new Map([
          ['B', 2 ** 30],
          ['T', 2 ** 30],
        ]),
      ),
    ).toThrow(RangeError);
  });
});
