/**
 * Every modifier of `attend`, from text to numbers: kernels of both profiles on every adapter against the interpreter in
 * f64, over widths and lengths that are no multiple of anything.
 */
import { describe, expect, test } from 'vitest';
import { runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { lowered } from '../../null/lower/kit.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { generator, inputOf, modifiers, type Sizes, shapes, textOf, tolerance, worst } from './attend-cases.ts';
import { runPlan } from './execute.ts';

describe.skipIf(gpuDevices.length > 0)('attend', () => {
  test.skip('skipped: no adapter here; `npx sorac gpu install` brings one', () => {});
});

function caseOf(name: string, modifier: string, sizes: Sizes, lengths: readonly number[]) {
  return { name: `${name}, ${sizes.heads} heads of ${sizes.width}, ${sizes.kv} of keys`, modifier, sizes, lengths };
}

const cases = Object.entries(modifiers).flatMap(([name, modifier], at) => {
  // Every modifier meets two shapes, and every shape many modifiers; together with the lengths below all pairs are met.
  // SORAC_ALL_SHAPES=1 runs every modifier on every shape and length, which takes minutes.
  if (process.env.SORAC_ALL_SHAPES) return shapes.map((sizes) => caseOf(name, modifier, sizes, [1, 7, 33, 129]));
  const picked = [at, at + 1 + (at % 4)].map((index) => shapes[index % shapes.length] as Sizes);
  return picked.map((sizes, turn) => caseOf(name, modifier, sizes, turn === 0 ? [1, 33] : [7]));
});

async function compare(kind: (typeof gpuDevices)[number], modifier: string, sizes: Sizes, lengths: readonly number[]) {
  const { device } = await testDevice(kind);
  const program = lowered(textOf(modifier, sizes));
  const { value: artifact, diagnostics } = compiled(program);
  expect(describeDiagnostics(diagnostics)).toEqual([]);
  const next = generator(11);
  const weight = (): never => {
    throw new Error('no weights here');
  };
  for (const T of lengths) {
    const dims = { B: T > 100 ? 1 : 2, T };
    const known = new Map(Object.entries(dims));
    const parameters = program.entries[0]?.parameters ?? [];
    const inputs = new Map(parameters.map(({ name, type }) => [name, inputOf(type, known, next)]));
    const want = runProgram(program, 'run', { inputs, weight, precision: 'f64', dims: known }).get('y');
    for (const profile of profileNames) {
      const got = await runPlan(device, artifact, { profile, dims, inputs, weight });
      expect(worst(got.get('y'), want as Tensor), `${profile}, T = ${T}`).toBeLessThanOrEqual(tolerance);
    }
  }
}

describe.each(gpuDevices)('on %s', (kind) => {
  test.each(cases)('$name', ({ modifier, sizes, lengths }) => compare(kind, modifier, sizes, lengths), 120_000);

  test.each([
    ['everything', [129]],
    ['entmax per head', [129]],
    ['a causal span in padding', [129]],
    ['a window behind', kind === 'lavapipe' ? [129, 1000] : [129]],
  ] as const)(
    'long: %s',
    (name, lengths) => compare(kind, modifiers[name] ?? '', shapes[0] as Sizes, lengths),
    240_000,
  );
});
