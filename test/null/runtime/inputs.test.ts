import { describe, expect, test } from 'vitest';
import type { Artifact, EntrySpec, TensorSpec } from '../../../src/runtime/artifact.ts';
import { bindInputs, type Inputs } from '../../../src/runtime/inputs.ts';
import { evaluateSize, printSize, solveSize } from '../../../src/runtime/size.ts';

const dims: Artifact['dims'] = {
  B: { minimum: 1, maximum: 32, multiple: 1 },
  T: { minimum: 2, maximum: 512, multiple: 2 },
  one: { minimum: 1, maximum: 1, multiple: 1 },
};

const noPlan = { buffers: [], steps: [] };

function entryOf(inputs: readonly TensorSpec[], results: readonly TensorSpec[] = []): EntrySpec {
  return { name: 'embed', inputs, results, plans: { software: noPlan, gpu: noPlan } };
}

const ids: TensorSpec = { name: 'ids', dtype: 'i32', shape: ['B', 'T'], range: [0, 99] };
const mask: TensorSpec = { name: 'mask', dtype: 'i32', shape: ['B', 'T'], initial: 1 };
const pixels: TensorSpec = { name: 'pixels', dtype: 'f32', shape: ['B', 3, ['+', ['*', 4, 'T'], 1]] };
const flags: TensorSpec = { name: 'flags', dtype: 'bool', shape: ['B'] };
const entry = entryOf([ids, mask]);

function int(...shape: number[]) {
  return { data: new Int32Array(shape.reduce((product, dim) => product * dim, 1)), shape };
}

const bind = (inputs: unknown, of: EntrySpec = entry) => bindInputs({ dims }, of, inputs as Inputs);

describe('inputs that fit', () => {
  test('tell the dims', () => {
    const bound = bind({ ids: int(2, 6), mask: int(2, 6) });
    expect([...bound.dims]).toEqual([
      ['B', 2],
      ['T', 6],
    ]);
    expect(bound.shapes).toEqual([
      [2, 6],
      [2, 6],
    ]);
  });

  test('may leave out what has an initial value', () => {
    const bound = bind({ ids: int(1, 4), mask: undefined });
    expect(bound.data[1]).toBeUndefined();
    expect(bound.shapes[1]).toEqual([1, 4]);
  });

  test('tell a dim through arithmetic', () => {
    const shape = [2, 3, 25];
    const bound = bind({ pixels: { data: new Float32Array(150), shape } }, entryOf([pixels]));
    expect(bound.dims.get('T')).toBe(6);
  });

  test('need not tell a dim that has one value', () => {
    const of = entryOf([ids], [{ name: 'y', dtype: 'f32', shape: ['one'] }]);
    expect(bind({ ids: int(1, 2) }, of).dims.get('one')).toBe(1);
  });

  test('may be booleans in bytes or words', () => {
    expect(bind({ flags: { data: Uint8Array.of(0, 1), shape: [2] } }, entryOf([flags])).dims.get('B')).toBe(2);
    expect(bind({ flags: { data: Uint32Array.of(1), shape: [1] } }, entryOf([flags])).dims.get('B')).toBe(1);
  });
});

describe('inputs that do not fit', () => {
  test.each<[string, unknown, string, string]>([
    ['nothing', undefined, 'SORA6011', '`embed` takes an object with `ids`, `mask`'],
    [
      'an unknown name',
      { ids: int(1, 2), masks: int(1, 2) },
      'SORA6011',
      '`embed` has no input `masks`, it takes `ids`, `mask`',
    ],
    ['a missing input', { mask: int(1, 2) }, 'SORA6011', '`embed` needs the input `ids`'],
    ['an inherited input', Object.create({ ids: int(1, 2) }), 'SORA6011', '`embed` needs the input `ids`'],
    [
      'another array type',
      { ids: { data: new Float32Array(2), shape: [1, 2] } },
      'SORA6012',
      '`ids`: `data` must be Int32Array (i32), got Float32Array',
    ],
    [
      'a plain array',
      { ids: { data: [1, 2], shape: [1, 2] } },
      'SORA6012',
      '`ids`: `data` must be Int32Array (i32), got Array',
    ],
    ['no data', { ids: { shape: [1, 2] } }, 'SORA6012', '`ids`: `data` must be Int32Array (i32), got Undefined'],
    ['no shape', { ids: { data: new Int32Array(2) } }, 'SORA6013', '`ids`: `shape` must be a list of whole numbers'],
    [
      'a fractional shape',
      { ids: { data: new Int32Array(2), shape: [1, 1.5] } },
      'SORA6013',
      '`ids`: `shape` must be a list of whole numbers',
    ],
    [
      'a negative shape',
      { ids: { data: new Int32Array(2), shape: [-1, -2] } },
      'SORA6013',
      '`ids`: `shape` must be a list of whole numbers',
    ],
    ['another rank', { ids: int(4) }, 'SORA6013', '`ids`: expected [B, T], got [4]'],
    [
      'data of another length',
      { ids: { data: new Int32Array(3), shape: [1, 2] } },
      'SORA6013',
      '`ids`: shape [1, 2] has 2 elements, `data` 3',
    ],
    ['a dim that is too large', { ids: int(2, 600) }, 'SORA6013', '`ids`: expected [B, T<=512], got [2, 600]'],
    ['a dim that is too small', { ids: int(2, 0) }, 'SORA6013', '`ids`: expected [B, T>=2], got [2, 0]'],
    ['a dim that is no multiple', { ids: int(2, 5) }, 'SORA6013', '`ids`: expected [B, T a multiple of 2], got [2, 5]'],
    ['two values of one dim', { ids: int(2, 4), mask: int(2, 6) }, 'SORA6013', '`mask`: expected [B, T=4], got [2, 6]'],
    [
      'a token beyond the table',
      { ids: { data: Int32Array.of(5, 100), shape: [1, 2] } },
      'SORA6014',
      '`ids`: element 1 is 100, allowed are 0 to 99',
    ],
    [
      'a negative token',
      { ids: { data: Int32Array.of(-1, 0), shape: [1, 2] } },
      'SORA6014',
      '`ids`: element 0 is -1, allowed are 0 to 99',
    ],
  ])('%s', (_what, inputs, code, message) => {
    expect(() => bind(inputs)).toThrow(expect.objectContaining({ code, message }));
  });

  test('a shape that no value of the dim gives', () => {
    const inputs = { pixels: { data: new Float32Array(3 * 24), shape: [1, 3, 24] } };
    expect(() => bind(inputs, entryOf([pixels]))).toThrow(expect.objectContaining({ code: 'SORA6013' }));
  });

  test('a flag that is neither 0 nor 1', () => {
    const inputs = { flags: { data: Uint8Array.of(2), shape: [1] } };
    expect(() => bind(inputs, entryOf([flags]))).toThrow(expect.objectContaining({ code: 'SORA6014' }));
  });

  test('a name of Object.prototype', () => {
    expect(() => bind({ ids: int(1, 2), toString: int(1) })).toThrow(expect.objectContaining({ code: 'SORA6011' }));
  });
});

describe('size expressions', () => {
  const known = new Map([
    ['B', 3],
    ['T', 10],
  ]);

  test.each([
    [7, 7, '7'],
    ['T', 10, 'T'],
    [['+', 'B', 'T', 1], 14, 'B + T + 1'],
    [['*', ['+', 'B', 1], 'T'], 40, '(B + 1)*T'],
    [['-', 'T', ['-', 'B', 1]], 8, 'T - (B - 1)'],
    [['max', 'B', 'T'], 10, 'max(B, T)'],
    [['ceil', 'T', 4], 3, 'ceil(T, 4)'],
  ] as const)('%j', (expression, value, text) => {
    expect(evaluateSize(expression, known)).toBe(value);
    expect(printSize(expression)).toBe(text);
  });

  test('are solved for the one dim that is open', () => {
    const b = new Map([['B', 3]]);
    expect(solveSize(['+', 'B', 'T'], 13, b)).toEqual(['T', 10]);
    expect(solveSize(['*', 'B', ['-', 'T', 1]], 27, b)).toEqual(['T', 10]);
    expect(solveSize(['-', 20, 'T'], 10, b)).toEqual(['T', 10]);
    expect(solveSize(['*', 'B', 'T'], 28, b)).toBeUndefined();
    expect(solveSize(['+', 'T', 'X'], 13, b)).toBeUndefined();
    expect(solveSize(['+', 'T', 'T'], 20, b)).toBeUndefined();
    expect(solveSize('B', 4, b)).toBeUndefined();
  });

  test('with an unknown dim throw', () => {
    expect(() => evaluateSize('X', known)).toThrow(RangeError);
  });
});
