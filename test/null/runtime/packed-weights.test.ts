/**
 * Weights of number formats from files: what stands in a buffer is what PackedLayout says, whether the file has floats or the packed
 * form; a model without formats reads packed files as floats.
 */
import { describe, expect, test } from 'vitest';
import { packedPlaces } from '../../../src/codegen/plan/weights.ts';
import type { Artifact, PackedFormat, WeightSpec } from '../../../src/runtime/artifact.ts';
import {
  decodeRows,
  describeFormat,
  encodeRows,
  formatKey,
  groupsOf,
  matrixOf,
  packTensor,
  transpose,
} from '../../../src/runtime/number-formats.ts';
import { withPacker } from '../../../src/runtime/packed-weights.ts';
import { encodeSafetensors, type TensorToWrite } from '../../../src/runtime/safetensors.ts';
import { fillWeight, hostWeight, openCheckpoint, weightElements } from '../../../src/runtime/weights.ts';

type Shape = readonly number[];

const count = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);
const numbers = (shape: Shape, seed: number): Float32Array =>
  Float32Array.from({ length: count(shape) }, (_, at) => Math.sin(seed + at * 1.7) * (1 + (at % 5)));

function specOf(shapes: readonly Shape[], format: PackedFormat, first?: number, rows?: number): WeightSpec {
  const all = shapes.reduce((sum, [size = 1]) => sum + size, 0);
  const shape = [rows ?? all, ...(shapes[0]?.slice(1) ?? [])];
  const { width, run, end } = packedPlaces(shape, format);
  return {
    sources: shapes.map((each, at) => ({ path: `w${at}`, shape: each })),
    shape,
    ...(first === undefined ? {} : { first }),
    dtype: 'f32',
    layout: { kind: 'packed', width, run, format, words: end },
  };
}

const artifactOf = (weights: readonly WeightSpec[]): Artifact => ({ weights }) as unknown as Artifact;

function floatFile(shapes: readonly Shape[]): Uint8Array {
  return encodeSafetensors(shapes.map((shape, at) => ({ name: `w${at}`, shape, data: numbers(shape, at) })));
}

function packedFile(shapes: readonly Shape[], format: PackedFormat): Uint8Array {
  const tensors = shapes.flatMap((shape, at) => packTensor(`w${at}`, numbers(shape, at), shape, format));
  const metadata = shapes.map((shape, at) => [formatKey(`w${at}`), describeFormat(format, shape)]);
  return encodeSafetensors(tensors as readonly TensorToWrite[], Object.fromEntries(metadata));
}

async function filled(file: Uint8Array, spec: WeightSpec): Promise<Uint32Array> {
  const checkpoint = withPacker(await openCheckpoint(file), artifactOf([spec]));
  const buffer = new ArrayBuffer(weightElements(spec) * 4);
  await fillWeight(checkpoint, spec, buffer);
  return new Uint32Array(buffer);
}

/** Reads an element back, by the words of PackedLayout. */
function elementAt(words: Uint32Array, spec: WeightSpec, format: PackedFormat, row: number, column: number): number {
  const { width, perWord, words: ofRow, run, groups, scales, zeros } = packedPlaces(spec.shape, format);
  const bits = 32 / perWord;
  const [panel, lane] = [Math.floor(row / width), row % width];
  const inRow = Math.floor(column / perWord);
  // [P][W / run][width / 32][run][32]
  const block = (panel * (ofRow / run) + Math.floor(inRow / run)) * (width / 32) + Math.floor(lane / 32);
  const word = words[(block * run + (inRow % run)) * 32 + (lane % 32)] ?? 0;
  const number = (word >>> (bits * (column % perWord))) & (2 ** bits - 1);
  const group = format.group === undefined ? 0 : Math.floor(column / format.group);
  const place = (panel * groups + group) * width + lane;
  const scale = new Float32Array(words.buffer)[scales + place] ?? 0;
  const zero = format.asymmetric
    ? (new Uint8Array(words.buffer)[4 * zeros + place] ?? 0)
    : format.kind === 'int8'
      ? 128
      : 8;
  return Math.fround((number - zero) * scale);
}

const formats: readonly (readonly [name: string, format: PackedFormat])[] = [
  ['int8', { kind: 'int8' }],
  ['int8 in groups of 4', { kind: 'int8', group: 4 }],
  ['int4', { kind: 'int4', group: 8 }],
  ['int4 with zero points', { kind: 'int4', group: 8, asymmetric: true }],
];

/** Two sources each: the rows of the second wide enough for panels of several vectors, with words in runs and without. */
const sizes: readonly (readonly [first: number, second: number, inputs: number])[] = [
  [33, 7, 20],
  [250, 90, 64],
  [97, 160, 40],
];

describe.each(formats)('%s', (_name, format) => {
  const shapes: readonly Shape[] = [
    [33, 20],
    [7, 20],
  ];

  test.each(sizes)('sources of %i and %i rows of %i stand one after the other', async (first, second, inputs) => {
    const given = [
      [first, inputs],
      [second, inputs],
    ];
    const spec = specOf(given, format);
    const words = await filled(floatFile(given), spec);
    let row = 0;
    for (const [at, shape] of given.entries()) {
      const wanted = decodeRows(encodeRows(numbers(shape, at), inputs, format), inputs, format);
      const same = wanted.every(
        (value, place) => elementAt(words, spec, format, row + Math.floor(place / inputs), place % inputs) === value,
      );
      expect(same).toBe(true);
      row += shape[0] ?? 0;
    }
  });

  test('a packed file gives the same bits', async () => {
    const spec = specOf(shapes, format);
    expect(await filled(packedFile(shapes, format), spec)).toEqual(await filled(floatFile(shapes), spec));
  });

  test('so do a transposed matrix and parts of weights', async () => {
    const turned = { ...format, transposed: true };
    for (const spec of [
      specOf([[24, 40]], turned),
      specOf([[24, 40]], turned, 8, 16),
      specOf(shapes, format, 16, 20),
    ]) {
      const own = spec.shape[1] === 40 ? turned : format;
      const from = spec.shape[1] === 40 ? [[24, 40]] : shapes;
      const words = await filled(floatFile(from), spec);
      expect(await filled(packedFile(from, own), spec)).toEqual(words);
      if (spec.shape[1] !== 40) continue;
      const whole = transpose(numbers([24, 40], 0), 24, 40);
      const wanted = decodeRows(encodeRows(whole, 24, own), 24, own);
      const first = spec.first ?? 0;
      for (let output = 0; output < 40; output++) {
        for (let input = 0; input < (spec.shape[0] ?? 0); input++) {
          expect(elementAt(words, spec, own, output, input) === wanted[output * 24 + first + input]).toBe(true);
        }
      }
    }
  });

  test('the interpreter and models without formats get the dequantized numbers', async () => {
    for (const own of [format, { ...format, transposed: true }]) {
      const shape = [24, 40];
      const { columns, rows } = matrixOf(shape, own);
      const source = numbers(shape, 0);
      const decoded = decodeRows(
        encodeRows(own.transposed ? transpose(source, 24, 40) : source, columns, own),
        columns,
        own,
      );
      const wanted = own.transposed ? transpose(decoded, rows, columns) : decoded;
      const spec = specOf([shape], own);
      for (const file of [floatFile([shape]), packedFile([shape], own)]) {
        const checkpoint = withPacker(await openCheckpoint(file), artifactOf([spec]));
        expect(Array.from((await hostWeight(checkpoint, 'w0', [spec])).data)).toEqual(Array.from(wanted));
      }
      const plain: WeightSpec = { ...spec, layout: { kind: 'row-major' } };
      const buffer = new ArrayBuffer(24 * 40 * 4);
      const checkpoint = await openCheckpoint(packedFile([shape], own));
      expect(checkpoint.names).toEqual(['w0']);
      await fillWeight(checkpoint, plain, buffer);
      expect(Array.from(new Float32Array(buffer))).toEqual(Array.from(wanted));
      const read = await checkpoint.find('w0')?.file.readTensor('w0', 'f32');
      expect(Array.from(read ?? [])).toEqual(Array.from(wanted));
    }
    expect(groupsOf(20, format)).toBeGreaterThan(0);
  });
});

test('f16 weights are rounded for the interpreter too', async () => {
  const spec: WeightSpec = { ...specOf([[2, 3]], { kind: 'int8' }), dtype: 'f16', layout: { kind: 'row-major' } };
  const file = encodeSafetensors([{ name: 'w0', shape: [2, 3], data: Float32Array.of(1, 0.1, 65519, -2, 3, 1e-9) }]);
  const checkpoint = withPacker(await openCheckpoint(file), artifactOf([spec]));
  const { data } = await hostWeight(checkpoint, 'w0', [spec]);
  expect(Array.from(data)).toEqual([1, 0.0999755859375, 65504, -2, 3, 0]);
});

describe('what does not fit', () => {
  const shape = [8, 16];
  const packed = packedFile([shape], { kind: 'int8' });

  test('another format than that of the model', async () => {
    const fill = filled(packed, specOf([shape], { kind: 'int4', group: 8 }));
    await expect(fill).rejects.toMatchObject({
      code: 'SORA7206',
      message: '`w0` of `weights` is int8 [8, 16], the module has int4 group 8 [8, 16]',
    });
  });

  test('numbers that no format has', async () => {
    const data = numbers(shape, 0).fill(Number.NaN, 5, 6);
    const file = encodeSafetensors([{ name: 'w0', shape, data }]);
    await expect(filled(file, specOf([shape], { kind: 'int8' }))).rejects.toMatchObject({
      code: 'SORA7204',
      message: 'tensor `w0` of `weights`: NaN has no place in int8',
    });
  });

  test.each(['int9 [8, 16]', 'int8 [8, 17]', 'int4 group 8 [8, 16]', 'int8 group 4 [8, 16]'])(
    'metadata that say something else: %s',
    async (text) => {
      const tensors = packTensor('w0', numbers(shape, 0), shape, { kind: 'int8' });
      const file = encodeSafetensors(tensors as readonly TensorToWrite[], { [formatKey('w0')]: text });
      await expect(openCheckpoint(file)).rejects.toMatchObject({
        code: 'SORA7009',
        message: `\`weights\` says \`format:w0\`: "${text}", which \`w0\` is not`,
      });
    },
  );
});
