/**
 * The functions that define the number formats: against numpy (test/golden/number-formats/make.py), against PyTorch's reference cases
 * where they are, and the form in files both ways.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  decodeRows,
  describeFormat,
  encodeRows,
  groupsOf,
  matrixOf,
  type NumberFormat,
  packNibbles,
  packTensor,
  readFormat,
  unpackNibbles,
} from '../../../src/runtime/number-formats.ts';
import { openSafetensors } from '../../../src/runtime/safetensors.ts';

const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

const floats = (bits: readonly number[]): Float32Array => new Float32Array(Uint32Array.from(bits).buffer);
/** Whole numbers have no -0, floats of numpy and PyTorch do. */
const bitsOf = (values: Float32Array): readonly number[] => [
  ...new Uint32Array(Float32Array.from(values, (value) => value + 0).buffer),
];

interface Case {
  readonly values: readonly number[];
  readonly scales: readonly number[];
  readonly zeros: readonly number[] | null;
  readonly decoded: readonly number[];
}

const formats: Readonly<Record<string, NumberFormat>> = {
  int8: { kind: 'int8' },
  int8_group4: { kind: 'int8', group: 4 },
  int4_group4: { kind: 'int4', group: 4 },
  int4_group4_asymmetric: { kind: 'int4', group: 4, asymmetric: true },
};

describe('as numpy has it', () => {
  const numpy = JSON.parse(readFileSync(at('test/golden/number-formats/numpy.json'), 'utf8')) as Record<
    string,
    Case
  > & {
    readonly columns: number;
    readonly source: readonly number[];
  };
  test.each(Object.entries(formats))('%s', (name, format) => {
    const wanted = numpy[name];
    const encoded = encodeRows(floats(numpy.source), numpy.columns, format);
    expect([...encoded.values]).toEqual(wanted?.values);
    expect(bitsOf(encoded.scales)).toEqual(wanted?.scales);
    expect(encoded.zeros ? [...encoded.zeros] : null).toEqual(wanted?.zeros);
    expect(bitsOf(decodeRows(encoded, numpy.columns, format))).toEqual(bitsOf(floats(wanted?.decoded ?? [])));
  });
});

const golden = at('../shared/golden');

describe.skipIf(!existsSync(golden))('as PyTorch has it, bit for bit', () => {
  const schemes: readonly (readonly [name: string, format: NumberFormat])[] = [
    ['int8', { kind: 'int8' }],
    ['int4_sym', { kind: 'int4', group: 32 }],
    ['int4_asym', { kind: 'int4', group: 32, asymmetric: true }],
  ];
  const cases = ['compress-bert', 'compress-llama'].flatMap((model) =>
    schemes.map(([scheme, format]) => [model, scheme, format] as const),
  );
  test.each(cases)('%s %s', async (model, scheme, format) => {
    const dense = await openSafetensors(`${golden}/${model}/model.safetensors`);
    const file = await openSafetensors(`${golden}/${model}/${scheme}.safetensors`);
    const names = [...file.tensors.keys()].flatMap((name) => (name.endsWith('.q') ? [name.slice(0, -2)] : []));
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) {
      const { shape = [] } = dense.tensors.get(name) ?? {};
      const { columns } = matrixOf(shape, format);
      const encoded = encodeRows(await dense.readTensor(name, 'f32'), columns, format);
      expect([...encoded.values]).toEqual([...(await file.readTensor(`${name}.q`, 'i32'))]);
      expect(bitsOf(encoded.scales)).toEqual(bitsOf(await file.readTensor(`${name}.scale`, 'f32')));
      if (format.asymmetric) {
        expect([...(encoded.zeros ?? [])]).toEqual([...(await file.readTensor(`${name}.zero`, 'i32'))]);
      }
      expect(bitsOf(decodeRows(encoded, columns, format))).toEqual(
        bitsOf(await file.readTensor(`${name}.dequantised`, 'f32')),
      );
    }
    await Promise.all([dense.close(), file.close()]);
  });
});

describe('in files', () => {
  test.each([0, 1, 2, 7, 8])('rows of %i nibbles, both ways', (columns) => {
    for (const format of [formats.int4_group4, formats.int4_group4_asymmetric]) {
      if (!format) continue;
      const least = format.asymmetric ? 0 : -7;
      const values = Int8Array.from(
        { length: 3 * columns },
        (_, i) => least + ((i * 5) % (format.asymmetric ? 16 : 15)),
      );
      const bytes = packNibbles(values, columns, format);
      expect(bytes.length).toBe(3 * Math.ceil(columns / 2));
      expect([...unpackNibbles(bytes, columns, format)]).toEqual([...values]);
    }
  });

  test('the first of two is the lower half, and 0 is 8 where there is no zero point', () => {
    expect([...packNibbles(Int8Array.of(-7, 7, 0), 3, { kind: 'int4' })]).toEqual([0xf1, 0x08]);
    expect([...packNibbles(Int8Array.of(3, 15, 0), 3, { kind: 'int4', asymmetric: true })]).toEqual([0xf3, 0]);
  });

  test('a packed tensor has its scales and zero points beside it', () => {
    const source = Float32Array.from({ length: 6 * 5 }, (_, i) => Math.sin(i));
    const heads = (format: NumberFormat) =>
      packTensor('w', source, [6, 5], format).map(({ name, dtype, shape }) => `${name} ${dtype} ${shape.join('x')}`);
    expect(heads({ kind: 'int8' })).toEqual(['w I8 6x5', 'w.scale F32 6']);
    expect(heads({ kind: 'int8', transposed: true })).toEqual(['w I8 5x6', 'w.scale F32 5']);
    expect(heads({ kind: 'int4', group: 2 })).toEqual(['w U8 6x3', 'w.scale F32 6x3']);
    expect(heads({ kind: 'int4', group: 4, asymmetric: true })).toEqual([
      'w U8 6x3',
      'w.scale F32 6x2',
      'w.zero U8 6x2',
    ]);
    expect(heads({ kind: 'f16' })).toEqual(['w F16 6x5']);
  });

  test('rows of a transposed matrix are its columns', () => {
    const source = Float32Array.of(1, 10, 2, 20, 3, 30);
    const [, scales] = packTensor('w', source, [3, 2], { kind: 'int8', transposed: true });
    expect(scales?.data).toEqual(Float32Array.of(3 / 127, 30 / 127));
  });

  test('a format is told in words and read again', () => {
    for (const format of [...Object.values(formats), { kind: 'int8', transposed: true } as const]) {
      expect(readFormat(describeFormat(format, [64, 96]))).toEqual({ format, shape: [64, 96] });
    }
    for (const text of [
      '',
      'int3 [1]',
      'int8',
      'int8 group 0 [1]',
      'int8 asymmetric [1]',
      'int4 group 32 [1, -1]',
      'int4 group 32 [1] x',
    ]) {
      expect(readFormat(text)).toBeUndefined();
    }
  });
});

test('what no whole number can stand for is refused', () => {
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => encodeRows(Float32Array.of(1, odd), 2, { kind: 'int8' })).toThrow(/has no place in int8/);
  }
});

test('a group of zeros has the scale 1, rows of no numbers have none', () => {
  expect(encodeRows(new Float32Array(4), 2, { kind: 'int8' }).scales).toEqual(Float32Array.of(1, 1));
  expect(encodeRows(new Float32Array(0), 0, { kind: 'int4', group: 4 }).scales.length).toBe(0);
  expect(groupsOf(33, { kind: 'int4', group: 32 })).toBe(2);
});
