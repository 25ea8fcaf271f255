/**
 * Every modifier of `attend`, from text to numbers: kernels of both profiles on every adapter against the interpreter in
 * f64, over widths and lengths that are no multiple of anything, on devices with and without optional features.
 *
 * SORAC_ALL_SHAPES=1 runs every modifier on every shape and length, 1,000 positions too, and all choices of features; it
 * takes some minutes on lavapipe.
 */
import { describe, expect, test } from 'vitest';
import { runProgram } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { lowered } from '../../null/lower/kit.ts';
import {
  deviceWith,
  gpuDevices,
  type OptionalFeature,
  optionalFeatures,
  type TestDevice,
} from '../../support/devices.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { generator, inputOf, modifiers, type Sizes, shapes, textOf, tolerance, worst } from './attend-cases.ts';
import { runPlan } from './execute.ts';

const all = Boolean(process.env.SORAC_ALL_SHAPES);
const noWeights = (): never => {
  throw new Error('no weights here');
};

/** What is the same for all devices is made once: the artifact, inputs and results of the interpreter. */
const made = new Map<string, ReturnType<typeof make>>();

function make(text: string) {
  const program = lowered(text);
  const { value: artifact, diagnostics } = compiled(program);
  expect(describeDiagnostics(diagnostics)).toEqual([]);
  // Nothing that a device may lack: no `enable`, no `requires` but for immediates, which are replaced where they are missing.
  for (const { code, features } of Object.values(artifact.kernels)) {
    expect(features ?? []).toEqual([]);
    expect(code).not.toMatch(/^\s*(enable|diagnostic)\b/m);
  }
  const results = new Map<number, { inputs: ReadonlyMap<string, Tensor>; want: Tensor }>();
  const at = (T: number) => {
    const known = results.get(T);
    if (known) return known;
    const next = generator(11 + T);
    const dims = new Map(Object.entries(dimsOf(T)));
    const parameters = program.entries[0]?.parameters ?? [];
    const inputs = new Map(parameters.map(({ name, type }) => [name, inputOf(type, dims, next)]));
    const want = runProgram(program, 'run', { inputs, weight: noWeights, precision: 'f64', dims }).get('y');
    const result = { inputs, want: want ?? noWeights() };
    results.set(T, result);
    return result;
  };
  return { artifact, at };
}

function dimsOf(T: number) {
  return { B: T > 100 ? 1 : 2, T };
}

const opened = new Map<string, Promise<GPUDevice | undefined>>();

function deviceOf(kind: TestDevice, features: readonly OptionalFeature[]): Promise<GPUDevice | undefined> {
  const key = `${kind} ${features.join()}`;
  const known = opened.get(key) ?? deviceWith(kind, features);
  opened.set(key, known);
  return known;
}

interface Case {
  readonly modifier: string;
  readonly sizes: Sizes;
  readonly lengths: readonly number[];
}

async function compare(device: GPUDevice, { modifier, sizes, lengths }: Case) {
  const text = textOf(modifier, sizes);
  const known = made.get(text) ?? make(text);
  made.set(text, known);
  for (const T of lengths) {
    const { inputs, want } = known.at(T);
    for (const profile of profileNames) {
      const got = await runPlan(device, known.artifact, { profile, dims: dimsOf(T), inputs, weight: noWeights });
      expect(worst(got.get('y'), want), `${profile}, T = ${T}`).toBeLessThanOrEqual(tolerance);
    }
  }
}

describe.skipIf(gpuDevices.length > 0)('attend', () => {
  test.skip('skipped: no adapter here; `npx sorac gpu install` brings one', () => {});
});

function caseOf(name: string, modifier: string, sizes: Sizes, lengths: readonly number[]) {
  return { name: `${name}, ${sizes.heads} heads of ${sizes.width}, ${sizes.kv} of keys`, modifier, sizes, lengths };
}

const cases = Object.entries(modifiers).flatMap(([name, modifier], at) => {
  // Every modifier meets two shapes, and every shape many modifiers; together with the lengths below all pairs are met.
  const more: Sizes = { width: 40, heads: 12, kv: 1 };
  if (all) return [...shapes, more].map((sizes) => caseOf(name, modifier, sizes, [1, 7, 33, 129]));
  const picked = [at, at + 1 + (at % 4)].map((index) => shapes[index % shapes.length] as Sizes);
  return picked.map((sizes, turn) => caseOf(name, modifier, sizes, turn === 0 ? [1, 33] : [7]));
});

/** Few and narrow heads: the interpreter takes some seconds for a million scores per head. */
const narrow: Sizes = { width: 20, heads: 3, kv: 1 };
const longCases = all
  ? Object.entries(modifiers).map(([name, modifier]) => caseOf(name, modifier, narrow, [1000]))
  : ['everything', 'entmax per head', 'a causal span in padding', 'a window behind'].map((name) =>
      caseOf(name, modifiers[name] ?? '', narrow, [129]),
    );

/** All features, none, and one each. */
const choices: readonly (readonly OptionalFeature[])[] = [
  optionalFeatures,
  [],
  ...(all ? optionalFeatures.map((feature) => [feature]) : []),
];
const places = gpuDevices.flatMap((kind) => choices.map((features) => ({ kind, features })));

describe.each(places)('on $kind with $features', ({ kind, features }) => {
  const isWhole = features === optionalFeatures;
  const isPartial = features.length === 1;
  // SwiftShader has no f16: all that it has is subgroups.
  const own = isWhole && kind === 'swiftshader' ? features.filter((feature) => feature !== 'shader-f16') : features;

  /** The device, with what was asked for and nothing else; the test is skipped where the adapter lacks it. */
  async function device(skip: (note: string) => never): Promise<GPUDevice> {
    const found = (await deviceOf(kind, own)) ?? skip(`${kind} lacks ${own.join(', ')}`);
    for (const feature of optionalFeatures) expect(found.features.has(feature)).toBe(own.includes(feature));
    return found;
  }

  // What is not about the features runs with all of them; without, every other modifier runs once.
  const short = cases.filter((_, at) => all || isWhole || at % 4 === 1);
  const lengthsOf = (lengths: readonly number[]) => (isPartial ? [7] : lengths);
  test.for(short)('$name', { timeout: 240_000 }, async ({ modifier, sizes, lengths }, { skip }) =>
    compare(await device(skip), { modifier, sizes, lengths: lengthsOf(lengths) }),
  );

  test.for(isWhole ? longCases : [])('long: $name', { timeout: 600_000 }, async (item, { skip }) =>
    compare(await device(skip), item),
  );
});
