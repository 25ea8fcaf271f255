/**
 * Steps of small runs of PyTorch 1.13 in f64 (scripts/make-optimizer-vectors.py), repeated by the interpreter in f64.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { lowerSource } from '../../../src/compile.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { learningRates } from '../../../src/runtime/learning-rate.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';

type Tensors = Readonly<Record<string, readonly number[]>>;

interface Recorded {
  readonly start: Tensors;
  readonly batches: readonly { readonly x: number[]; readonly y: number[]; readonly label: number[] }[];
  readonly cases: readonly {
    readonly name: string;
    readonly loss: string;
    readonly block: string;
    readonly steps: readonly {
      readonly lr: number;
      readonly loss: number;
      readonly weights: Tensors;
      readonly averages?: Tensors;
    }[];
  }[];
}

const recorded = JSON.parse(
  readFileSync(new URL('../../golden/training/optimizers.json', import.meta.url), 'utf8'),
) as Recorded;

/** Sums in another order than torch's, in f64. */
const tolerance = 1e-13;

const source = (loss: string, block: string): string => `import { Linear } from "sora:nn"
dim B in 1..8
model Scores {
  head = Linear(3, 4)
  entry score(x: f32[B, 3]) -> f32[B, 4] = head(x)
}
train Scores.score {
  target y: f32[B, 4]
  target label: i32[B]
  loss: ${loss}
  ${block}
}
`;

const shapes: Readonly<Record<string, readonly number[]>> = { 'head.weight': [4, 3], 'head.bias': [4] };

test.each(recorded.cases)('$name', ({ loss, block, steps }) => {
  const stage = lowerSource({ file: { path: 'scores.sora', text: source(loss, block) } });
  expect(stage.diagnostics).toEqual([]);
  if (!stage.value) throw new Error('does not lower');
  const trainer = referenceTrainer(stage.value, (path) =>
    tensorOf('f32', shapes[path] ?? [], recorded.start[path] ?? [], 'f64'),
  );
  const { schedule } = stage.value.train?.optimizer ?? {};
  const rate = schedule && learningRates(schedule, steps.length);
  steps.forEach((step, at) => {
    expect(rate?.(at)).toBeCloseTo(step.lr, 12);
    const { x = [], y = [], label = [] } = recorded.batches[at] ?? {};
    const batch = new Map([
      ['x', tensorOf('f32', [5, 3], x, 'f64')],
      ['y', tensorOf('f32', [5, 4], y, 'f64')],
      ['label', tensorOf('i32', [5], label, 'f64')],
    ]);
    const same = (actual: Float64Array, wanted: readonly number[], what: string): void => {
      expect(actual.length).toBe(wanted.length);
      actual.forEach((value, place) => {
        expect(Math.abs(value - (wanted[place] ?? 0)), `${what}[${place}] of step ${at + 1}`).toBeLessThan(tolerance);
      });
    };
    expect(Math.abs(trainer.step(batch, step.lr).loss - step.loss)).toBeLessThan(tolerance);
    for (const [path, wanted] of Object.entries(step.weights)) same(trainer.weight(path), wanted, path);
    for (const [path, wanted] of Object.entries(step.averages ?? {})) same(trainer.average(path), wanted, path);
  });
});
