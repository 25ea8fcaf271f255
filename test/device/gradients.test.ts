/**
 * Gradients of random models on every adapter, under both profiles, against the interpreter in f64.
 *
 * A short run by default. A campaign: SORAC_GRADIENT_CASES=1000 SORAC_GRADIENT_SEED=5 npx vitest run test/device/gradients.test.ts
 * (SORAC_TEST_DEVICES=lavapipe takes one adapter only); every case is one model on one adapter under one profile, in turn.
 */
import { describe, expect, test } from 'vitest';
import { checkSource } from '../../src/compile.ts';
import type { Program } from '../../src/ir/graph.ts';
import { interpretGraph } from '../../src/ir/interpret.ts';
import type { Tensor } from '../../src/ir/op.ts';
import { profileNames } from '../../src/ir/target.ts';
import type { Precision } from '../../src/ir/tensor.ts';
import { caseSeed } from '../fuzz/campaign.ts';
import { randomModel } from '../fuzz/random-model.ts';
import { compiled } from '../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../support/devices.ts';
import { randomNumbers, randomTensor, type Sizes } from '../support/equivalence.ts';
import { gradientProgram } from '../support/gradients.ts';
import { programOf } from '../support/graphs.ts';
import { randomGraph } from '../support/random-graph.ts';
import { runPlan } from './kernels/execute.ts';

const cases = Number(process.env.SORAC_GRADIENT_CASES ?? 10);
const firstSeed = Number(process.env.SORAC_GRADIENT_SEED ?? 3);

interface Subject {
  readonly program: Program;
  readonly sizes: Sizes;
}

/** Three in four are small graphs, which drivers compile quickly, the others models from text. */
function subjectOf(index: number, seed: number): Subject {
  if (index % 4 < 3) {
    return { program: programOf(randomGraph(seed, 2 + (seed % 8))), sizes: { B: 1 + (seed % 3), T: 3, S: 1, N: 1 } };
  }
  const { source, sizes } = randomModel(seed);
  const { value } = checkSource({ file: { path: 'model.sora', text: source } });
  if (!value) throw new Error(source);
  return { program: value, sizes };
}

interface Given {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly dims: ReadonlyMap<string, number>;
}

function givenOf(program: Program, sizes: Sizes, seed: number): Given {
  const next = randomNumbers(seed);
  const dims = new Map(Object.entries(sizes));
  const weights = new Map(program.weights.map(({ path, type }) => [path, randomTensor(type, dims, next)]));
  const parameters = program.entries[0]?.parameters ?? [];
  return { inputs: new Map(parameters.map(({ name, type }) => [name, randomTensor(type, dims, next)])), weights, dims };
}

function weightOf(given: Given): (path: string) => Tensor {
  return (path) => {
    const tensor = given.weights.get(path);
    if (!tensor) throw new Error(`no weight ${path}`);
    return tensor;
  };
}

function interpret(program: Program, given: Given, precision: Precision): ReadonlyMap<string, Tensor> {
  const [entry] = program.entries;
  if (!entry) throw new Error('no entry');
  return interpretGraph(entry.graph, { inputs: given.inputs, weight: weightOf(given), dims: given.dims, precision });
}

/** The greatest difference, as a share of the greatest value. */
function gapOf(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  const scale = Math.max(1, ...Array.from(wanted, Math.abs));
  let worst = actual.length === wanted.length ? 0 : Number.POSITIVE_INFINITY;
  for (let at = 0; at < wanted.length; at++) {
    const gap = Math.abs((actual[at] ?? Number.NaN) - (wanted[at] ?? Number.NaN)) / scale;
    worst = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : Math.max(worst, gap);
  }
  return worst;
}

/** Of the scale of a gradient; where f32 itself is further off, ten times what it is off. */
const tolerance = 1e-4;

describe.skipIf(gpuDevices.length === 0)('gradients on devices', () => {
  const list = Array.from({ length: cases }, (_, index) => ({ index, seed: caseSeed(firstSeed, index) % 1_000_000 }));
  let illConditioned = 0;

  test.each(list)('case $index, seed $seed', { timeout: 120_000 }, async ({ index, seed }) => {
    const { program: forward, sizes } = subjectOf(index, seed);
    const program = gradientProgram(forward);
    const given = givenOf(program, sizes, seed);
    const wanted = interpret(program, given, 'f64');
    const rounded = interpret(program, given, 'f32');
    const stage = compiled(program);
    expect(stage.diagnostics).toEqual([]);
    const turn = Math.floor(index / 4);
    const kind = gpuDevices[turn % gpuDevices.length] ?? 'lavapipe';
    const profile = profileNames[Math.floor(turn / gpuDevices.length) % 2] ?? 'software';
    const { device } = await testDevice(kind);
    const { inputs } = given;
    const results = await runPlan(device, stage.value, { profile, dims: sizes, inputs, weight: weightOf(given) });
    for (const [name, tensor] of wanted) {
      const rounding = gapOf(rounded.get(name)?.data ?? [], tensor.data);
      if (rounding > tolerance) illConditioned++;
      const gap = gapOf(results.get(name) ?? [], tensor.data);
      expect(gap, `${name} on ${kind} under ${profile}`).toBeLessThan(tolerance + 10 * rounding);
    }
  });

  test('are hardly ever beyond f32', () => {
    expect(illConditioned).toBeLessThanOrEqual(Math.ceil(cases / 50));
  });
});
