import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addIndices,
  constantIndex,
  type Index,
  indexAlgebra,
  scaleIndex,
  variableIndex,
} from '../../../src/codegen/wgsl/index-algebra.ts';
import { reshapeIndex } from '../../../src/codegen/wgsl/views.ts';
import { constantDim, type Dim, evaluateDim, multiplyDims, symbolDim } from '../../../src/ir/symbolic.ts';

const ranges = new Map([
  ['B', { minimum: 1, maximum: 8, multiple: 1 }],
  ['T', { minimum: 1, maximum: 9, multiple: 1 }],
]);
const algebra = indexAlgebra(ranges);
const B = symbolDim('B');
const T = symbolDim('T');

type Numbers = ReadonlyMap<string, number>;

function evaluate(index: Index, variables: Numbers, dims: Numbers): number {
  const terms = index.terms.map(({ coefficient, atom }) => {
    const factor = evaluateDim(coefficient, dims);
    if (atom.kind === 'variable') return factor * (variables.get(atom.name) ?? Number.NaN);
    const of = evaluate(atom.of, variables, dims);
    const by = evaluateDim(atom.by, dims);
    return factor * (atom.kind === 'quotient' ? Math.floor(of / by) : of % by);
  });
  return terms.reduce((sum, term) => sum + term, evaluateDim(index.constant, dims));
}

/** An index of three variables with known extents, and a way to give them values. */
const indexCase = fc.record({
  extents: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 3, maxLength: 3 }),
  coefficients: fc.array(fc.integer({ min: 0, max: 24 }), { minLength: 3, maxLength: 3 }),
  constant: fc.integer({ min: 0, max: 30 }),
  divisor: fc.integer({ min: 1, max: 48 }),
  inner: fc.integer({ min: 1, max: 12 }),
  picks: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 3, maxLength: 3 }),
});

describe('index algebra', () => {
  test('quotients and remainders are those of the numbers', () => {
    fc.assert(
      fc.property(indexCase, ({ extents, coefficients, constant, divisor, inner, picks }) => {
        const variables = new Map(extents.map((extent, at) => [`v${at}`, Math.floor((picks[at] ?? 0) * extent)]));
        const parts = extents.map((extent, at) =>
          scaleIndex(variableIndex(`v${at}`, constantDim(extent)), coefficients[at] ?? 0),
        );
        const sum = addIndices(...parts, constantIndex(constant));
        // A variable of extent 1 is 0 by construction.
        const value = evaluate(sum, variables, new Map());
        const by = constantDim(divisor);
        expect(evaluate(algebra.quotient(sum, by), variables, new Map())).toBe(Math.floor(value / divisor));
        expect(evaluate(algebra.remainder(sum, by), variables, new Map())).toBe(value % divisor);
        const nested = algebra.remainder(algebra.quotient(sum, by), constantDim(inner));
        expect(evaluate(nested, variables, new Map())).toBe(Math.floor(value / divisor) % inner);
      }),
      { numRuns: 400 },
    );
  });

  const shapes: readonly (readonly [string, readonly Dim[]])[] = [
    ['constant', [constantDim(2), constantDim(3), constantDim(8)]],
    ['runtime outer', [B, T, constantDim(384)]],
    ['runtime inner', [B, constantDim(12), T, T]],
    ['with ones', [B, constantDim(1), constantDim(1), T]],
  ];

  test.each(shapes)('what was delinearised linearises to the same index: %s', (_, shape) => {
    const count = shape.reduce(multiplyDims, constantDim(1));
    const position = variableIndex('i', count);
    const back = algebra.linearize(algebra.delinearize(position, shape), shape);
    expect(back.key).toBe(position.key);
  });

  test('four neighbours stay neighbours through a split of the last axis', () => {
    const i = addIndices(scaleIndex(variableIndex('v', constantDim(96)), 4), variableIndex('lane', constantDim(4)));
    const [head, place] = algebra.delinearize(i, [constantDim(12), constantDim(32)]);
    expect(head?.key).toBe(algebra.quotient(variableIndex('v', constantDim(96)), constantDim(8)).key);
    expect(place?.terms.some((term) => term.atom.key === 'lane')).toBe(true);
  });

  test('remainders that differ by a constant are different ones', () => {
    const quarter = scaleIndex(variableIndex('q', constantDim(16)), 4);
    const at = (lane: number) => algebra.remainder(addIndices(quarter, constantIndex(lane)), constantDim(8)).key;
    expect(new Set([0, 1, 2, 3].map(at)).size).toBe(4);
  });

  test('an index below the divisor needs no division', () => {
    const row = addIndices(scaleIndex(variableIndex('t', T), 384), variableIndex('d', constantDim(384)));
    const bound = multiplyDims(T, constantDim(384));
    expect(algebra.quotient(row, bound).key).toBe('0');
    expect(algebra.remainder(row, bound).key).toBe(row.key);
  });

  test('a difference that may be negative is not split', () => {
    const shifted = addIndices(scaleIndex(variableIndex('i', constantDim(9)), 4), constantIndex(constantDim(-3)));
    const quotient = algebra.quotient(shifted, constantDim(4));
    for (let i = 1; i < 9; i++) {
      expect(evaluate(quotient, new Map([['i', i]]), new Map())).toBe(Math.floor((4 * i - 3) / 4));
    }
  });

  test('reshapes of any two shapes with equal counts go to the same position', () => {
    const factorizations = [[24], [2, 12], [3, 8], [2, 3, 4], [4, 6], [1, 24, 1], [2, 2, 2, 3], [6, 1, 4]];
    fc.assert(
      fc.property(
        fc.constantFrom(...factorizations),
        fc.constantFrom(...factorizations),
        fc.integer({ min: 0, max: 23 }),
        fc.integer({ min: 1, max: 5 }),
        (from, to, at, b) => {
          const dims = new Map([['B', b]]);
          const place = at % 24;
          const shapeOf = (sizes: readonly number[]) => [B, ...sizes.map(constantDim)];
          const names = ['b', ...from.map((_, axis) => `x${axis}`)];
          const variables = names.map((name, axis) => variableIndex(name, shapeOf(from)[axis]));
          const values = new Map<string, number>([['b', b - 1]]);
          let left = place;
          for (let axis = from.length - 1; axis >= 0; axis--) {
            values.set(`x${axis}`, left % (from[axis] ?? 1));
            left = Math.floor(left / (from[axis] ?? 1));
          }
          const moved = reshapeIndex(algebra, variables, shapeOf(from), shapeOf(to));
          const numbers = moved.map((index) => evaluate(index, values, dims));
          const position = numbers.reduce((sum, number, axis) => sum * ([b, ...to][axis] ?? 1) + number, 0);
          expect(position).toBe((b - 1) * 24 + place);
        },
      ),
      { numRuns: 300 },
    );
  });
});
