/**
 * What a step makes of weights, against the formulas of the papers written out in loops. Recorded runs of PyTorch
 * (training-goldens.test.ts) hold SGD with momentum, Adam and AdamW to torch's.
 */
import { describe, expect, test } from 'vitest';
import { lowerSource } from '../../../src/compile.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';

const model = (settings: string): string => `import { Linear } from "sora:nn"
dim B in 1..8
model Scores {
  head = Linear(3, 4)
  entry score(x: f32[B, 3]) -> f32[B, 4] = head(x)
}
train Scores.score {
  target y: f32[B, 4]
  loss: mse(score, y)
  ${settings}
}
`;

const numbers = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, at) => Math.sin((at + 1) * (seed + 1.3)));

const paths = ['head.weight', 'head.bias'] as const;
type Path = (typeof paths)[number];

/** One weight's step: the new value, from the old one, the gradient (clipped) and what was kept. */
type Rule = (w: number, g: number, kept: number[], t: number, path: Path) => number;

const lr = 0.03;

function check(settings: string, rule: Rule, clip = Number.POSITIVE_INFINITY): void {
  const stage = lowerSource({ file: { path: 'scores.sora', text: model(settings) } });
  expect(stage.diagnostics).toEqual([]);
  if (!stage.value) throw new Error('does not lower');
  const start: Record<Path, Tensor> = {
    'head.weight': tensorOf('f32', [4, 3], numbers(12, 1), 'f64'),
    'head.bias': tensorOf('f32', [4], numbers(4, 2), 'f64'),
  };
  const trainer = referenceTrainer(stage.value, (path) => start[path as Path]);
  const expected = new Map(paths.map((path) => [path, [...(start[path].data as Float64Array)]]));
  const kept = new Map(
    paths
      .map((path) => [path, start[path].data.length])
      .map(([path, size]) => [path, Array.from({ length: size as number }, () => [0, 0])]),
  );
  for (let t = 1; t <= 5; t++) {
    const batch = new Map([
      ['x', tensorOf('f32', [2, 3], numbers(6, t), 'f64')],
      ['y', tensorOf('f32', [2, 4], numbers(8, t + 0.5), 'f64')],
    ]);
    const { norm } = trainer.step(batch, lr);
    const gradients = new Map(paths.map((path) => [path, trainer.gradient(path)]));
    const squares = [...gradients.values()].flatMap((values) => [...values]).reduce((sum, g) => sum + g * g, 0);
    expect(norm).toBeCloseTo(Math.sqrt(squares), 12);
    const factor = Math.min(1, clip / (norm + 1e-6));
    for (const path of paths) {
      const values = expected.get(path) ?? [];
      values.forEach((w, at) => {
        const own = kept.get(path)?.[at] ?? [];
        values[at] = rule(w, (gradients.get(path)?.[at] ?? 0) * factor, own, t, path);
      });
      trainer.weight(path).forEach((value, at) => {
        expect(Math.abs(value - (values[at] ?? 0)), `${path}[${at}] after step ${t}`).toBeLessThan(1e-12);
      });
    }
  }
}

describe('optimizers', () => {
  test('sgd', () => check(`optimizer: sgd(${lr})`, (w, g) => w - lr * g));

  test('sgd with momentum, Nesterov and decay', () =>
    check(`optimizer: sgd(${lr}, momentum: 0.9, nesterov: true, weight_decay: 0.1)`, (w, g, kept) => {
      const all = g + 0.1 * w;
      kept[0] = 0.9 * (kept[0] ?? 0) + all;
      return w - lr * (all + 0.9 * kept[0]);
    }));

  test('sgd without momentum beside an average of the weights', () =>
    check(`optimizer: sgd(${lr}, weight_decay: 0.1)\n  ema: 0.9`, (w, g) => w - lr * (g + 0.1 * w)));

  test('adam, clipped', () =>
    check(
      `optimizer: adam(${lr}, beta1: 0.8, beta2: 0.95)\n  clip_norm: 0.5`,
      (w, g, kept, t) => {
        kept[0] = 0.8 * (kept[0] ?? 0) + 0.2 * g;
        kept[1] = 0.95 * (kept[1] ?? 0) + 0.05 * g * g;
        return w - (lr * kept[0]) / (1 - 0.8 ** t) / (Math.sqrt(kept[1] / (1 - 0.95 ** t)) + 1e-8);
      },
      0.5,
    ));

  test('adamw: decay apart from the gradient, not for biases', () =>
    check(`optimizer: adamw(${lr}, weight_decay: 0.2)\n  no_decay: "**.bias"`, (w, g, kept, t, path) => {
      kept[0] = 0.9 * (kept[0] ?? 0) + 0.1 * g;
      kept[1] = 0.999 * (kept[1] ?? 0) + 0.001 * g * g;
      const decayed = path === 'head.bias' ? w : w * (1 - lr * 0.2);
      return decayed - (lr * kept[0]) / (1 - 0.9 ** t) / (Math.sqrt(kept[1] / (1 - 0.999 ** t)) + 1e-8);
    }));

  test('lion', () =>
    check(`optimizer: lion(${lr}, weight_decay: 0.1)`, (w, g, kept) => {
      const direction = Math.sign(0.9 * (kept[0] ?? 0) + 0.1 * g);
      kept[0] = 0.99 * (kept[0] ?? 0) + 0.01 * g;
      return w - lr * 0.1 * w - lr * direction;
    }));

  test('a learning rate of its own for some weights', () =>
    check(
      `optimizer: sgd(${lr})\n  "head.bias": lr(0.1)`,
      (w, g, _kept, _t, path) => w - (path === 'head.bias' ? 0.1 : 1) * lr * g,
    ));
});
