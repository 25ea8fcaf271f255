/**
 * Zeros of pruned weights stay zeros in the update of every optimizer; everything else is what it would be without the rule.
 */
import { describe, expect, test } from 'vitest';
import { lowerSource } from '../../../src/compile.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { transposedMatrices } from '../../../src/ir/summed-axis.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { shareAt } from '../../../src/runtime/trainer-pruning.ts';
import { sourceFile } from '../../support/language.ts';
import { inputOf, pruned } from '../../support/pruning.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';

const model = (settings: string, rules: string) => `import { Linear } from "sora:nn"
dim B in 1..8
model Scores {
  up = Linear(3, 4)
  head = Linear(4, 4)
  entry score(x: f32[B, 3]) -> f32[B, 4] = head(tanh(up(x)))
}
train Scores.score {
  target y: f32[B, 4]
  loss: mse(score, y)
  ${settings}
}
${rules}`;

const rule = 'prune Scores { "up.weight": keep 0.5 by magnitude }';
const numbers = (count: number, seed: number) =>
  Array.from({ length: count }, (_, at) => Math.sin((at + 1) * (seed + 1.3)));
/** Every third element is 0, in pruned and in other weights. */
const holes = (count: number, seed: number) => numbers(count, seed).map((value, at) => (at % 3 === 0 ? 0 : value));

function trained(settings: string, rules: string) {
  const { value, diagnostics } = lowerSource({ file: sourceFile(model(settings, rules)) });
  expect(diagnostics).toEqual([]);
  if (!value) throw new Error('does not lower');
  const start: Record<string, Tensor> = {
    'up.weight': tensorOf('f32', [4, 3], holes(12, 1), 'f64'),
    'up.bias': tensorOf('f32', [4], holes(4, 2), 'f64'),
    'head.weight': tensorOf('f32', [4, 4], holes(16, 3), 'f64'),
    'head.bias': tensorOf('f32', [4], holes(4, 4), 'f64'),
  };
  const trainer = referenceTrainer(value, (path) => start[path] as Tensor);
  // One step: from the second on, other gradients would follow from the zeros.
  const batch = new Map([
    ['x', tensorOf('f32', [2, 3], numbers(6, 5), 'f64')],
    ['y', tensorOf('f32', [2, 4], numbers(8, 6), 'f64')],
  ]);
  trainer.step(batch, 0.05);
  return { trainer, batch, program: value };
}

describe('optimizers', () => {
  test.each([
    'optimizer: sgd(0.05)',
    'optimizer: sgd(0.05, momentum: 0.9, nesterov: true, weight_decay: 0.1)',
    'optimizer: adam(0.05, weight_decay: 0.1)',
    'optimizer: adamw(0.05, weight_decay: 0.1)',
    'optimizer: lion(0.05, weight_decay: 0.1)',
    'optimizer: adamw(0.05, weight_decay: 0.1)\n  ema: 0.9\n  clip_norm: 0.5',
  ])('%s', (settings) => {
    const { trainer, batch } = trained(settings, rule);
    const plain = trained(settings, '').trainer;
    plain.weight('up.weight').forEach((value, at) => {
      expect(trainer.weight('up.weight')[at], `up.weight[${at}]`).toBe(at % 3 === 0 ? 0 : value);
      if (at % 3 === 0) expect(value).not.toBe(0);
    });
    for (const path of ['up.bias', 'head.weight', 'head.bias'])
      expect(trainer.weight(path)).toEqual(plain.weight(path));
    for (let at = 0; at < 3; at++) trainer.step(batch, 0.05);
    expect([...trainer.weight('up.weight')].map((value) => value === 0)).toEqual(
      holes(12, 1).map((value) => value === 0),
    );
    if (settings.includes('ema'))
      expect([...trainer.average('up.weight')].map((value) => value === 0)).toEqual(
        holes(12, 1).map((value) => value === 0),
      );
  });

  test('pruned weights are a group of their own; the last rule that names one holds', () => {
    const rules = 'prune Scores { "**.weight": keep 0.5\n "head.weight": gradual(keep: 0.25, to: 0.5) }';
    const groups = trained('optimizer: adam(0.05)', rules).program.training?.groups ?? [];
    const told = groups.map(({ isPruned, parameters }) => [
      isPruned,
      ...parameters.map(({ weight, pruning }) => [weight.path, pruning?.sparsity.kind]),
    ]);
    expect(told).toEqual([
      [true, ['up.weight', 'share'], ['head.weight', 'gradual']],
      [false, ['up.bias', undefined], ['head.bias', undefined]],
    ]);
  });
});

test('weights that a rule watches by movement are a group of their own, with one vector more', () => {
  const rules = 'prune Scores { "**.weight": keep 0.5\n "head.weight": gradual(keep: 0.25, to: 0.5) by movement }';
  const { program } = trained('optimizer: sgd(0.05)\n  ema: 0.9', rules);
  const groups = program.training?.groups ?? [];
  const arenas = program.training?.arenas ?? [];
  const told = groups.map(({ parameters, slots }) => [
    ...parameters.map(({ weight }) => weight.path),
    ...slots.map((slot) => arenas[slot]?.path.split(':')[0]),
  ]);
  expect(told).toEqual([
    ['up.weight', 'average'],
    ['up.bias', 'head.bias', 'average'],
    ['head.weight', 'movement', 'average'],
  ]);
});

test('matrices [inputs, outputs] are told apart, repeated over a batch as they are', () => {
  const config = { n_layer: 1, n_embd: 32, n_head: 4, vocab_size: 13, eos_token_id: 1 };
  const { dense } = pruned(inputOf({ path: 'gpt2/gpt2.sora' }, undefined, config));
  const found = transposedMatrices(dense.entries.map(({ graph }) => graph));
  expect([...found].sort()).toEqual(
    ['attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_proj'].map((name) => `transformer.h.0.${name}.weight`),
  );
});

describe('when weights go', () => {
  test('at the start, once', () => {
    expect([0, 1, 2].map((step) => shareAt({ kind: 'nm', keep: 2, of: 4 }, step, 10))).toEqual([
      2,
      undefined,
      undefined,
    ]);
    expect([0, 1].map((step) => shareAt({ kind: 'share', keep: 0.5 }, step, 10))).toEqual([0.5, undefined]);
  });

  test('step by step along a cubic curve, and then no more', () => {
    const spec = { kind: 'gradual', keep: 0.1, from: 0.1, to: 0.6 } as const;
    const shares = Array.from({ length: 100 }, (_, step) => shareAt(spec, step, 100));
    expect(shares.slice(0, 10).every((share) => share === undefined)).toBe(true);
    expect(shares[10]).toBe(1);
    // Half of the way: 1 - 0.9 (1 - 0.5^3).
    expect(shareAt({ ...spec, from: 0, to: 0.8 }, 40, 100)).toBeCloseTo(1 - 0.9 * (1 - 0.125), 12);
    expect(shares[60]).toBe(0.1);
    expect(shares.slice(61).every((share) => share === undefined)).toBe(true);
    const told = shares.filter((share) => share !== undefined);
    expect(told.length).toBeGreaterThan(20);
    expect(told.length).toBeLessThanOrEqual(42);
    expect(told).toEqual([...told].sort((a, b) => b - a));
  });

  test('a run of a few steps gets there too', () => {
    for (const total of [1, 2, 3, 7]) {
      const shares = Array.from({ length: total }, (_, step) => shareAt({ kind: 'gradual', keep: 0.1 }, step, total));
      expect(shares.at(-1), `${total} steps`).toBe(0.1);
    }
  });
});
