/**
 * Settings from outside of the file in place of its own.
 */
import { expect, test } from 'vitest';
import { lowerSource } from '../../../src/compile.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';

const text = `import { Linear } from "sora:nn"
dim B in 1..8
model M {
  up = Linear(4, 2)
  entry f(x: f32[B, 4]) -> s: f32[B, 2] = up(x)
}
train M.f {
  target y: i32[B]
  loss: cross_entropy(s, y)
  optimizer: adamw(lr: cosine(peak: 0.25, warmup: 0.5), weight_decay: 0.125)
  accumulate: 2
}
`;

function trained(settings: string) {
  const stage = lowerSource({
    file: sourceFile(text, 'm.sora'),
    settings: sourceFile(`train M.f {\n${settings}\n}`, 'x'),
  });
  return { train: stage.value?.train, diagnostics: describeDiagnostics(stage.diagnostics) };
}

test('a name keeps the schedule of the block and nothing else of its optimizer', () => {
  const { train, diagnostics } = trained('optimizer: sgd');
  expect(diagnostics).toEqual([]);
  expect(train?.optimizer).toEqual({
    name: 'sgd',
    schedule: { kind: 'cosine', peak: 0.25, warmup: 0.5, final: 0 },
    weightDecay: 0,
    momentum: 0,
    nesterov: false,
  });
  expect(train?.microBatches).toBe(2);
});

test('a call keeps the schedule too, unless it has its own', () => {
  const kept = trained('optimizer: adam(beta1: 0.5)').train?.optimizer;
  expect(kept).toMatchObject({ name: 'adam', beta1: 0.5, schedule: { kind: 'cosine', peak: 0.25 } });
  for (const own of ['adam(0.5)', 'adam(lr: 0.5)']) {
    const { optimizer } = trained(`optimizer: ${own}`).train ?? {};
    expect(optimizer).toMatchObject({ name: 'adam', schedule: { kind: 'constant', peak: 0.5 } });
  }
});

test('several settings at once; one that the block lacks is added', () => {
  expect(trained('accumulate: 4, clip_norm: 1, ema: 0.99, precision: f16').train).toMatchObject({
    microBatches: 4,
    clipNorm: 1,
    ema: 0.99,
    precision: 'f16',
  });
});

test('mistakes are told as those of a block', () => {
  expect(trained('optimizer: adan').diagnostics).toEqual([expect.stringContaining('SORA2303')]);
  for (const ema of ['1', '0', 'true'])
    expect(trained(`ema: ${ema}`).diagnostics).toEqual([expect.stringContaining('SORA2304')]);
  expect(trained('accumulat: 4').diagnostics).toEqual([expect.stringContaining('SORA2301')]);
  expect(trained('optimizer: adam(').diagnostics.length).toBeGreaterThan(0);
});
