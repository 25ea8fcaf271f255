/**
 * Layers that are computed again in the backward part: the same gradients bit for bit, and less memory for what lies between.
 */
import { describe, expect, test } from 'vitest';
import type { Program } from '../../../src/ir/graph.ts';
import { runProgram } from '../../../src/ir/interpret.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import type { ProfileName } from '../../../src/runtime/artifact.ts';
import { evaluateSize } from '../../../src/runtime/size.ts';
import { layeredSource } from '../../support/layered.ts';
import { type Trainable, trainable } from '../../support/training.ts';

const layers = 6;
const plain = trainable(layeredSource('', layers));
const again = trainable(layeredSource('recompute: true', layers));
const shallow = trainable(layeredSource('recompute: true', layers - 2));
const [rows, columns] = [8, 64];

/** Bytes between the kernels of a step's gradients. */
function scratchBytes({ artifact }: Trainable, profile: ProfileName): number {
  const entry = artifact.entries.find(({ name }) => name === artifact.training?.gradients);
  const dims = new Map([
    ['B', rows],
    ['T', columns],
  ]);
  return (entry?.plans[profile].buffers ?? []).reduce(
    (sum, buffer) => sum + (buffer.kind === 'scratch' ? evaluateSize(buffer.bytes, dims) : 0),
    0,
  );
}

function gradients(program: Program): ReadonlyMap<string, ArrayLike<number>> {
  const numbers = (count: number, seed: number) =>
    Array.from({ length: count }, (_, at) => Math.sin((at + 1) * seed) / 4);
  const pieces = new Map(
    program.training?.pieces.map((piece) => [piece.path, piece.type.shape.map((dim) => Number(dim.key))]),
  );
  const [B, T] = [2, 5];
  const ints = (most: number) =>
    tensorOf(
      'i32',
      [B, T],
      Array.from({ length: B * T }, (_, at) => (at * 7 + 3) % most),
      'f64',
    );
  const inputs = new Map([
    ['ids', ints(50)],
    ['mask', tensorOf('i32', [B, T], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0], 'f64')],
    ['label', ints(5)],
    [':seed', tensorOf('u32', [2], [3, 4], 'f64')],
  ]);
  const states = {
    read(path: string) {
      const shape = pieces.get(path) ?? [];
      return tensorOf(
        'f32',
        shape,
        numbers(
          shape.reduce((all, one) => all * one, 1),
          path.length + 0.7,
        ),
        'f64',
      );
    },
    write() {},
  };
  const weight = () => {
    throw new Error('everything trains');
  };
  const results = runProgram(program, program.training?.gradients ?? '', { inputs, weight, precision: 'f64', states });
  return new Map([...results].map(([name, { data }]) => [name, data as ArrayLike<number>]));
}

describe('recompute', () => {
  test('gives the same bits', () => {
    const [one, two] = [gradients(plain.program), gradients(again.program)];
    expect([...two.keys()]).toEqual([...one.keys()]);
    for (const [name, data] of one) {
      expect(Math.max(...Array.from(data, Math.abs)), name).toBeGreaterThan(0);
      expect(two.get(name), name).toEqual(data);
    }
  });

  test.each(['software', 'gpu'] as const)('keeps what flows into each layer, and no more: %s', (profile) => {
    // Measured: 10.9 MB and 2.95 MB.
    expect(scratchBytes(again, profile)).toBeLessThan(0.3 * scratchBytes(plain, profile));
    const perLayer = (scratchBytes(again, profile) - scratchBytes(shallow, profile)) / 2;
    expect(perLayer).toBe(rows * columns * 32 * 4);
  });

  test('of named parts leaves the others as they are', () => {
    const some = trainable(layeredSource('recompute: "encoder.layer.0", "encoder.layer.3"', layers));
    const [least, most] = [again, plain].map((own) => scratchBytes(own, 'software'));
    expect(scratchBytes(some, 'software')).toBeGreaterThan(least ?? 0);
    expect(scratchBytes(some, 'software')).toBeLessThan(0.8 * (most ?? 0));
    const off = trainable(layeredSource('recompute: false', layers));
    expect(off.artifact.entries).toEqual(plain.artifact.entries);
  });

  test('computes each layer twice: products of its forward part stand again behind the loss', () => {
    const steps = ({ artifact }: Trainable) =>
      artifact.entries.find(({ name }) => name === artifact.training?.gradients)?.plans.software.steps.length ?? 0;
    // 182 and 140 for six layers: the norms, products and the attention of each.
    expect(steps(again) - steps(plain)).toBeGreaterThanOrEqual(6 * layers);
    expect(again.artifact.program).toMatch(/barrier\(.*phase = 6/);
  });
});
