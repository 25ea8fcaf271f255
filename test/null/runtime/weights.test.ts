import { describe, expect, test } from 'vitest';
import type { WeightSpec } from '../../../src/runtime/artifact.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import {
  checkCheckpoint,
  fillWeight,
  hostWeight,
  openCheckpoint,
  weightElements,
} from '../../../src/runtime/weights.ts';

function numbers(shape: readonly number[], start: number): Float32Array {
  return Float32Array.from({ length: shape.reduce((product, dim) => product * dim, 1) }, (_, i) => start + i);
}

function spec(shapes: readonly (readonly number[])[], width?: number): WeightSpec {
  const rows = shapes.reduce((sum, [first = 1]) => sum + first, 0);
  return {
    sources: shapes.map((shape, at) => ({ path: `w${at}`, shape })),
    shape: [rows, ...(shapes[0]?.slice(1) ?? [])],
    dtype: 'f32',
    layout: width === undefined ? { kind: 'row-major' } : { kind: 'panels', width },
  };
}

function checkpointOf(shapes: readonly (readonly number[])[]) {
  const tensors = shapes.map((shape, at) => ({ name: `w${at}`, shape, data: numbers(shape, 1000 * at + 1) }));
  return openCheckpoint(encodeSafetensors(tensors));
}

async function fill(shapes: readonly (readonly number[])[], width?: number): Promise<number[]> {
  const weight = spec(shapes, width);
  const buffer = new ArrayBuffer(weightElements(weight) * 4);
  await fillWeight(await checkpointOf(shapes), weight, buffer);
  return Array.from(new Float32Array(buffer));
}

describe('layouts', () => {
  test('row-major puts sources one after the other', async () => {
    const shapes = [
      [2, 3],
      [1, 3],
    ];
    expect(await fill(shapes)).toEqual([1, 2, 3, 4, 5, 6, 1001, 1002, 1003]);
  });

  test.each([undefined, 4])(
    'rows of a weight in parts come from the sources that hold them (panels %s)',
    async (width) => {
      const shapes = [
        [9, 3],
        [2, 3],
        [6, 3],
      ];
      const whole = spec(shapes, width);
      const expected = await fill(shapes, width);
      for (const [first, rows] of [
        [0, 8],
        [8, 4],
        [12, 5],
      ] as const) {
        const part: WeightSpec = { ...whole, shape: [rows, 3], first };
        const buffer = new ArrayBuffer(weightElements(part) * 4);
        await fillWeight(await checkpointOf(shapes), part, buffer);
        expect(Array.from(new Float32Array(buffer))).toEqual(
          expected.slice(first * 3, first * 3 + weightElements(part)),
        );
      }
    },
  );

  test.each([
    [[[4, 3]], 4],
    [[[5, 3]], 4],
    [[[1, 7]], 8],
    [
      [
        [3, 2],
        [2, 2],
        [4, 2],
      ],
      4,
    ],
    [[[17, 5]], 1],
  ])('panels of %j, width %d: value n, k lies at [n / width][k][n mod width], zeros past N', async (shapes, width) => {
    const rows = shapes.flatMap((shape, at) => {
      const data = numbers(shape, 1000 * at + 1);
      const columns = shape[1] ?? 1;
      return Array.from({ length: shape[0] ?? 0 }, (_, row) => data.slice(row * columns, (row + 1) * columns));
    });
    const columns = shapes[0]?.[1] ?? 1;
    const expected: number[] = [];
    for (let panel = 0; panel < Math.ceil(rows.length / width); panel++) {
      for (let k = 0; k < columns; k++) {
        for (let lane = 0; lane < width; lane++) expected.push(rows[panel * width + lane]?.[k] ?? 0);
      }
    }
    expect(await fill(shapes, width)).toEqual(expected);
  });

  test('a vector and a scalar', async () => {
    expect(await fill([[3]])).toEqual([1, 2, 3]);
    expect(await fill([[]])).toEqual([1]);
  });

  test('f16 on the device', async () => {
    const weight: WeightSpec = { ...spec([[3]]), dtype: 'f16' };
    const buffer = new ArrayBuffer(8);
    await fillWeight(await checkpointOf([[3]]), weight, buffer);
    expect(Array.from(new Uint16Array(buffer))).toEqual([0x3c00, 0x4000, 0x4200, 0]);
  });
});

describe('a checkpoint that does not fit', () => {
  const tensor = (name: string, ...shape: number[]) => ({ name, shape, data: numbers(shape, 0) });
  const wanted = (path: string, ...shape: number[]): WeightSpec => ({
    sources: [{ path, shape }],
    shape,
    dtype: 'f32',
    layout: { kind: 'row-major' },
  });

  test('names every missing tensor, and the nearest one that nothing uses', async () => {
    const checkpoint = await openCheckpoint(
      encodeSafetensors([tensor('encoder.layers.0.weight', 1), tensor('encoder.layers.1.weight', 1), tensor('x', 1)]),
    );
    const specs = [
      wanted('encoder.layer.0.weight', 1),
      wanted('encoder.layer.1.weight', 1),
      wanted('pooler', 1),
      wanted('x', 1),
    ];
    expect(() => checkCheckpoint(checkpoint, specs)).toThrow(
      expect.objectContaining({
        code: 'SORA7201',
        message:
          '3 of 4 weights are not in `weights`\n' +
          '  `encoder.layer.0.weight`: did you mean `encoder.layers.0.weight`?\n' +
          '  `encoder.layer.1.weight`: did you mean `encoder.layers.1.weight`?\n' +
          '  `pooler`',
      }),
    );
  });

  test('reads the file of a base model under the names of one with a head', async () => {
    const checkpoint = await openCheckpoint(encodeSafetensors([tensor('h.0.norm.gamma', 1), tensor('wte.weight', 1)]));
    const specs = [wanted('transformer.h.0.norm.weight', 1), wanted('transformer.wte.weight', 1)];
    checkCheckpoint(checkpoint, specs);
    const missing = [...specs, wanted('transformer.wpe.weight', 1)];
    expect(() => checkCheckpoint(checkpoint, missing)).toThrow(/^1 of 3 weights/);
  });

  test('asks for the config where no name is alike', async () => {
    const checkpoint = await openCheckpoint(encodeSafetensors([tensor('layers.0', 1)]));
    expect(() => checkCheckpoint(checkpoint, [wanted('layers.0', 1), wanted('other', 1)])).toThrow(
      expect.objectContaining({ code: 'SORA7201', help: expect.stringContaining('--config config.json') }),
    );
  });

  test('shows both shapes', async () => {
    const checkpoint = await openCheckpoint(encodeSafetensors([tensor('a', 2, 3), tensor('b', 4)]));
    expect(() => checkCheckpoint(checkpoint, [wanted('a', 3, 2), wanted('b', 4)])).toThrow(
      expect.objectContaining({
        code: 'SORA7202',
        message: '1 weights of `weights` have another shape\n  `a`: the model has [3, 2], the file [2, 3]',
      }),
    );
  });

  test('counts what it does not list', async () => {
    const checkpoint = await openCheckpoint(encodeSafetensors([]));
    const specs = Array.from({ length: 20 }, (_, i) => wanted(`w${i}`, 1));
    expect(() => checkCheckpoint(checkpoint, specs)).toThrow(/20 of 20[\s\S]*and 12 more$/);
  });
});

test('several files share the tensors, but not one name', async () => {
  const first = encodeSafetensors([{ name: 'a', shape: [1], data: Float32Array.of(1) }]);
  const second = encodeSafetensors([{ name: 'b', shape: [1], data: Float32Array.of(2) }]);
  const checkpoint = await openCheckpoint([first, second]);
  expect(Array.from((await hostWeight(checkpoint, 'b', [])).data)).toEqual([2]);
  await expect(openCheckpoint([first, first])).rejects.toEqual(expect.objectContaining({ code: 'SORA7004' }));
});
