/**
 * Which units stay and what is left of tensors, and masks of single weights: by hand, and against what PyTorch recorded
 * (../shared/golden, where it is present).
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type FileTensor, readTensorFile } from '../../../src/cli/tensor-file.ts';
import { keptCounts, printKept, readKept } from '../../../src/compression/kept.ts';
import {
  chooseUnits,
  columnScores,
  gradientSums,
  sampleScores,
  sliceTensor,
  takeAlong,
} from '../../../src/compression/units.ts';
import type { UnitSet } from '../../../src/ir/pruning.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { observeEntry } from '../../../src/passes/observe.ts';
import { magnitudeMask, masked, nmMask } from '../../../src/runtime/masks.ts';
import { inputOf, pruned, randomWeights, run } from '../../support/pruning.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';

const floats = (...values: number[]) => Float32Array.from(values);

const set = (id: string, change: Partial<UnitSet> = {}): UnitSet => ({
  id,
  kind: 'neurons',
  part: 'mlp',
  rule: 0,
  count: 3,
  keep: 2,
  by: 'l2',
  members: [{ path: 'up', axis: 0, units: [0, 1, 2] }],
  scored: [{ path: 'down', axis: 1, units: [0, 1, 2] }],
  constants: [],
  states: [],
  ...change,
});

describe('scores', () => {
  const down = { shape: [2, 3], data: floats(3, 1, 0, 4, -1, 2) };

  test('norms of columns, over the axis that is scored', () => {
    expect([...columnScores(set('a'), () => down)]).toEqual([5, Math.SQRT2, 2]);
    expect([...columnScores(set('a', { by: 'l1' }), () => down)]).toEqual([7, 2, 2]);
    const turned = set('a', { scored: [{ path: 'down', axis: 0, units: [0, 0, -1] }], count: 1 });
    const other = { shape: [3, 2], data: floats(1, 2, 2, 4, 9, 9) };
    expect([...columnScores(turned, () => other)]).toEqual([5]);
  });

  test('sums of a sample: roots of squares, sizes of what a gradient weighs', () => {
    const heads = set('a', { scored: [{ path: 'mix', axis: 1, units: [0, 0, 1, 1] }], count: 2 });
    expect([...sampleScores({ ...heads, by: 'activation' }, () => [9, 16, 0, 4])]).toEqual([5, 2]);
    expect([...sampleScores({ ...heads, by: 'taylor' }, () => [-3, 1, 2, 2])]).toEqual([2, 4]);
  });
});

describe('scores of a sample', () => {
  const text = `import { Linear, gelu } from "sora:nn"
dim B in 1..8
model Net {
  mlp = Mlp()
  entry go(x: f32[B, 3]) -> y: f32[B, 2] = mlp(x)
}
module Mlp() {
  up = Linear(3, 5)
  down = Linear(5, 2)
  fn (x: f32[B, 3]) -> f32[B, 2] = down(gelu(up(x)))
}
train Net.go {
  target t: f32[B, 2]
  loss: mse(y, t)
  optimizer: sgd(0.1)
}`;
  const numbers = (count: number, seed: number) => Array.from({ length: count }, (_, at) => Math.sin(at * seed + seed));
  const x = tensorOf('f32', [4, 3], numbers(12, 1.7), 'f64');
  const t = tensorOf('f32', [4, 2], numbers(8, 2.3), 'f64');
  const rules = (by: string) => `prune Net { neurons "mlp": keep 0.4 by ${by} }`;

  test('activation: roots of the squares of what comes in', () => {
    const { dense, plan } = pruned(inputOf({ text }, rules('activation')));
    const weights = randomWeights(dense, 5);
    const [only] = plan.sets;
    const [entry] = dense.entries;
    if (!only || !entry) throw new Error('no set');
    const { entry: observing, observations } = observeEntry(
      dense,
      entry,
      new Set([only.id.split(' ')[1] ?? '']),
      'squares',
    );
    const results = run({ ...dense, entries: [observing] }, observing.name, new Map([['x', x]]), weights);
    const sums = results.get(observations[0]?.result ?? '')?.data ?? [];
    const [up, bias] = ['mlp.up.weight', 'mlp.up.bias'].map((path) => weights.get(path)?.data ?? floats());
    const wanted = [0, 1, 2, 3, 4].map((unit) =>
      Math.hypot(
        ...[0, 1, 2, 3].map((row) => {
          const h = [0, 1, 2].reduce(
            (sum, k) => sum + (x.data[row * 3 + k] ?? 0) * (up?.[unit * 3 + k] ?? 0),
            bias?.[unit] ?? 0,
          );
          return gelu(h);
        }),
      ),
    );
    sampleScores(only, () => sums).forEach((score, unit) => {
      expect(score).toBeCloseTo(wanted[unit] ?? 0, 6);
    });
  });

  test('taylor: the loss that goes with a unit, to first order', () => {
    const { dense, plan } = pruned(inputOf({ text }, rules('taylor')));
    const weights = randomWeights(dense, 5);
    const tensor = (path: string) => {
      const { shape, data } = weights.get(path) ?? { shape: [], data: floats() };
      return tensorOf('f32', shape, data, 'f64');
    };
    const trainer = referenceTrainer(dense, tensor);
    const batch = new Map([
      ['x', x],
      ['t', t],
    ]);
    const lossAt = (share: number, unit: number): number => {
      const down = weights.get('mlp.down.weight')?.data ?? floats();
      const changed = down.map((value, at) => (at % 5 === unit ? value * share : value));
      const other = referenceTrainer(dense, (path) =>
        path === 'mlp.down.weight' ? tensorOf('f32', [2, 5], changed, 'f64') : tensor(path),
      );
      return other.evaluate(batch).get(':loss')?.data[0] ?? Number.NaN;
    };
    trainer.step(batch, 0);
    const [only] = plan.sets;
    const own = weights.get('mlp.down.weight');
    if (!only || !own) throw new Error('no set');
    const gradient = { shape: own.shape, data: Float32Array.from(trainer.gradient('mlp.down.weight')) };
    const scores = sampleScores(only, (member) => gradientSums(member, own, gradient));
    const step = 1 / 1024;
    scores.forEach((score, unit) => {
      const slope = (lossAt(1 + step, unit) - lossAt(1 - step, unit)) / (2 * step);
      expect(score).toBeCloseTo(Math.abs(slope), 5);
    });
  });
});

/** With the error function of Abramowitz and Stegun 7.1.26, within 2e-7. */
function gelu(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return (x / 2) * (1 + Math.sign(x) * (1 - poly * Math.exp((-x * x) / 2)));
}

describe('choice', () => {
  test('the best of each set, in their order; of equals the first', () => {
    const plan = { sets: [set('a'), set('b', { keep: 1 })] };
    const kept = chooseUnits(
      plan,
      new Map([
        ['a', [1, 3, 2]],
        ['b', [2, 2, 2]],
      ]),
    );
    expect([...kept]).toEqual([
      ['a', [1, 2]],
      ['b', [0]],
    ]);
  });

  test('a budget goes where units stand out, and no set goes empty', () => {
    const plan = { sets: [set('a', { keep: 1 }), set('b', { keep: 1 }), set('c', { keep: 1, rule: 1 })] };
    const scores = new Map([
      ['a', [10, 1, 1]],
      ['b', [7, 7, 7]],
      ['c', [1, 2, 3]],
    ]);
    expect([...chooseUnits(plan, scores, new Set([0]))]).toEqual([
      ['c', [2]],
      ['a', [0]],
      ['b', [0]],
    ]);
    const wider = { sets: [set('a', { keep: 2 }), set('b', { keep: 2 })] };
    expect([...chooseUnits(wider, scores, new Set([0]))]).toEqual([
      ['a', [0]],
      ['b', [0, 1, 2]],
    ]);
  });

  test('as text and back', () => {
    const kept = new Map([
      ['a', [0, 1, 2, 5, 7, 8]],
      ['b', [3]],
      ['c', []],
    ]);
    expect(printKept(kept)).toBe('{"a":"0-2 5 7-8","b":"3","c":""}');
    expect(readKept(printKept(kept))).toEqual(kept);
    expect([...keptCounts(kept)]).toEqual([
      ['a', 6],
      ['b', 1],
      ['c', 0],
    ]);
    for (const wrong of ['', '[]', '{"a":1}', '{"a":"2-1"}', '{"a":"1 1"}', '{"a":"x"}'])
      expect(readKept(wrong)).toBeUndefined();
  });
});

test('slices of any axis; two sets may share one', () => {
  const cube = { shape: [2, 3, 2], data: floats(...Array.from({ length: 12 }, (_, at) => at)) };
  expect(takeAlong(cube, 1, [0, 2])).toEqual({ shape: [2, 2, 2], data: floats(0, 1, 4, 5, 6, 7, 10, 11) });
  const plan = {
    sets: [
      set('a', { members: [{ path: 'w', axis: 0, units: [0, 1, -1, -1] }], count: 2 }),
      set('b', { members: [{ path: 'w', axis: 0, units: [-1, -1, 0, 1] }], count: 2 }),
    ],
  };
  const w = { shape: [4, 1], data: floats(1, 2, 3, 4) };
  expect(
    sliceTensor(
      'w',
      w,
      plan,
      new Map([
        ['a', [1]],
        ['b', [0]],
      ]),
    ),
  ).toEqual({ shape: [2, 1], data: floats(2, 3) });
  expect(sliceTensor('other', w, plan, new Map())).toBe(w);
});

describe('masks', () => {
  test('the smallest go, of equals the one with the lower index', () => {
    expect([...magnitudeMask(floats(3, -1, 1, 2, -1), 0.5)]).toEqual([1, 0, 0, 1, 1]);
    expect([...magnitudeMask(floats(1, 1, 1, 1), 0.5)]).toEqual([0, 0, 1, 1]);
    expect(magnitudeMask(new Float32Array(20), 0.9).filter((one) => one === 0)).toHaveLength(2);
    expect([...magnitudeMask(floats(), 0.5)]).toEqual([]);
  });

  test('n of m along the inputs, wherever they lie; of equals the one with the lower index stays', () => {
    const data = floats(1, -2, 3, 4, 5, 5, 5, 5);
    expect([...nmMask(data, [2, 4], 1, { keep: 2, of: 4 })]).toEqual([0, 0, 1, 1, 1, 1, 0, 0]);
    expect([...nmMask(data, [4, 2], 0, { keep: 1, of: 2 })]).toEqual([0, 0, 1, 1, 1, 1, 0, 0]);
    expect([...nmMask(floats(1, 2, 3, 9, 9), [1, 5], 1, { keep: 1, of: 3 })]).toEqual([0, 0, 1, 1, 0]);
  });

  test('zeros', () => {
    expect([...masked(floats(1, 2, 3), Uint8Array.of(1, 0, 1))]).toEqual([1, 0, 3]);
  });
});

const shared = fileURLToPath(new URL('../../../../shared/golden', import.meta.url));
const cases = ['compress-bert', 'compress-llama'].filter((name) => existsSync(`${shared}/${name}/case.json`));

describe.skipIf(cases.length === 0).each(cases)('%s', (name) => {
  const read = (file: string) => readTensorFile(`${shared}/${name}/${file}.safetensors`);
  const numbers = (tensor: FileTensor | undefined) => tensor?.read('f32') ?? new Float32Array();

  test.each(['magnitude50', 'nm24'])('masks: %s', async (scheme) => {
    const [weights, masks] = [await read('model'), await read(scheme)];
    const names = [...masks.keys()].filter((key) => key.endsWith('.mask'));
    expect(names.length).toBeGreaterThan(0);
    for (const key of names) {
      const weight = weights.get(key.slice(0, -'.mask'.length));
      const data = numbers(weight);
      const shape = weight?.shape ?? [];
      const mask = scheme === 'nm24' ? nmMask(data, shape, 1, { keep: 2, of: 4 }) : magnitudeMask(data, 0.5);
      expect(Buffer.from(mask).equals(Buffer.from(Uint8Array.from(masks.get(key)?.read('i32') ?? []))), key).toBe(true);
    }
  });
});
