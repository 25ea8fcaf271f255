/**
 * Losses in the f64 interpreter against the formulas of PyTorch's documentation, written as plain loops, and their gradients
 * against central differences.
 */
import { describe, expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import { type Graph, GraphBuilder, type Value } from '../../../src/ir/graph.ts';
import {
  binaryCrossEntropy,
  type CrossEntropy,
  crossEntropy,
  meanAbsoluteError,
  meanSquaredError,
} from '../../../src/ir/losses.ts';
import type { Emitter, Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { tensorType } from '../../../src/ir/types.ts';
import { noRanges, randomTensor } from '../ir/support.ts';
import { gradientsOf, lossAt, worstGap } from './gradients.ts';

/** The interpreter sums in another order than the loops here: a few roundings of 1e-16. */
const exact = 1e-13;
/** See gradients.ts: 1e-10 of the formula, a thousand times that for steep logarithms. */
const numeric = 1e-7;

type Inputs = Readonly<Record<string, Tensor>>;

function graphOf(inputs: Inputs, write: (emitter: Emitter, value: (name: string) => Value) => Value): Graph {
  const emitter = createEmitter(new GraphBuilder(), noRanges);
  const values = new Map(
    Object.entries(inputs).map(([name, { dtype, shape }]) => [name, emitter.input(name, tensorType(dtype, shape))]),
  );
  const loss = write(emitter, (name) => {
    const value = values.get(name);
    if (!value) throw new Error(`no input ${name}`);
    return value;
  });
  expect(loss.type).toEqual({ dtype: 'f32', shape: [] });
  return emitter.builder.finish('loss', [{ name: 'loss', value: loss }]);
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** torch.nn.functional.cross_entropy over rows, reduction `mean`. */
function crossEntropyOf(
  rows: readonly (readonly number[])[],
  target: readonly number[],
  { ignore, smoothing = 0 }: { readonly ignore?: number; readonly smoothing?: number },
  weights?: readonly number[],
): number {
  let [loss, count] = [0, 0];
  rows.forEach((row, at) => {
    const y = target[at] ?? 0;
    if (y === ignore) return;
    const logs = row.map((x) => x - Math.log(sum(row.map(Math.exp))));
    const weight = weights?.[y] ?? 1;
    const spread = sum(logs.map((log, c) => -log * (weights?.[c] ?? 1))) / row.length;
    loss += (1 - smoothing) * weight * -(logs[y] ?? 0) + smoothing * spread;
    count += weight;
  });
  return loss / count;
}

interface Case extends Omit<CrossEntropy, 'logits' | 'target' | 'weights'> {
  readonly shape: readonly number[];
  readonly weighted?: boolean;
}

const cases: readonly Case[] = [
  { shape: [5, 7] },
  { shape: [1, 1] },
  { shape: [2, 3, 5] },
  { shape: [4] },
  { shape: [5, 7], ignore: -100 },
  { shape: [5, 7], ignore: 2 },
  { shape: [5, 7], smoothing: 0.1 },
  { shape: [2, 3, 5], smoothing: 0.3, ignore: -100 },
  { shape: [5, 7], weighted: true },
  { shape: [2, 3, 5], weighted: true, ignore: 1, smoothing: 0.2 },
];

function crossEntropyCase({ shape, weighted = false, ...options }: Case) {
  const classes = shape.at(-1) ?? 1;
  const lead = shape.slice(0, -1);
  const count = lead.reduce((product, size) => product * size, 1);
  const logits = randomTensor('f32', shape, 3);
  const target = Array.from({ length: count }, (_, at) => (at * 5 + 2) % classes);
  // torch's default stands for "nothing to predict here"; the other value is a class of its own.
  if (options.ignore === -100) target[1] = -100;
  const weights = Array.from({ length: classes }, (_, c) => 0.4 + 0.3 * c);
  const inputs: Inputs = {
    logits,
    target: tensorOf('i32', lead, target, 'f64'),
    ...(weighted ? { weights: tensorOf('f32', [classes], weights, 'f64') } : {}),
  };
  const graph = graphOf(inputs, (emitter, value) =>
    crossEntropy(emitter, {
      logits: value('logits'),
      target: value('target'),
      ...options,
      ...(weighted ? { weights: value('weights') } : {}),
    }),
  );
  const rows = Array.from({ length: count }, (_, at) => [...logits.data.slice(at * classes, (at + 1) * classes)]);
  return { graph, inputs, expected: crossEntropyOf(rows, target, options, weighted ? weights : undefined) };
}

describe('cross entropy', () => {
  test.each(cases)('$shape ignore $ignore smoothing $smoothing weighted $weighted', (item) => {
    const { graph, inputs, expected } = crossEntropyCase(item);
    expect(Math.abs(lossAt(graph, inputs) - expected)).toBeLessThan(exact * (1 + expected));
    expect(worstGap(graph, inputs)).toBeLessThan(numeric);
  });

  test('smoothing with weights and an ignored target, worked by hand', () => {
    // Rows [0, ln 3] of target 1 and [ln 3, 0] of target 0 both have p = 3/4; weights 1 and 3.
    const inputs: Inputs = {
      logits: tensorOf('f32', [3, 2], [0, Math.log(3), Math.log(3), 0, 5, 9], 'f64'),
      target: tensorOf('i32', [3], [1, 0, -100], 'f64'),
      weights: tensorOf('f32', [2], [1, 3], 'f64'),
    };
    const graph = graphOf(inputs, (emitter, value) =>
      crossEntropy(emitter, {
        logits: value('logits'),
        target: value('target'),
        weights: value('weights'),
        ignore: -100,
        smoothing: 0.5,
      }),
    );
    const [near, far] = [Math.log(4 / 3), Math.log(4)];
    const plain = (3 * near + near) / 4;
    const spread = (far + 3 * near + (near + 3 * far)) / 2 / 4;
    expect(lossAt(graph, inputs)).toBeCloseTo(0.5 * plain + 0.5 * spread, 13);
  });

  test('an ignored row moves nothing, and a batch of ignored rows is 0', () => {
    const inputs: Inputs = {
      logits: randomTensor('f32', [2, 3], 1),
      target: tensorOf('i32', [2], [-100, 1], 'f64'),
    };
    const graph = graphOf(inputs, (emitter, value) =>
      crossEntropy(emitter, { logits: value('logits'), target: value('target'), ignore: -100, smoothing: 0.1 }),
    );
    const gradient = [...(gradientsOf(graph, inputs).get('gradient:logits')?.data ?? [])];
    expect(gradient.slice(0, 3).map(Math.abs)).toEqual([0, 0, 0]);
    expect(Math.max(...gradient.slice(3).map(Math.abs))).toBeGreaterThan(0.1);
    const none = { ...inputs, target: tensorOf('i32', [2], [-100, -100], 'f64') };
    expect(lossAt(graph, none)).toBe(0);
    expect([...(gradientsOf(graph, none).get('gradient:logits')?.data ?? [1])].every((value) => value === 0)).toBe(
      true,
    );
  });

  test('scores of thousands neither overflow nor lose the difference', () => {
    const inputs: Inputs = {
      logits: tensorOf('f32', [1, 3], [9000, 8999, -9000], 'f64'),
      target: tensorOf('i32', [1], [1], 'f64'),
    };
    const graph = graphOf(inputs, (emitter, value) =>
      crossEntropy(emitter, { logits: value('logits'), target: value('target') }),
    );
    expect(lossAt(graph, inputs)).toBeCloseTo(1 + Math.log(1 + Math.exp(-1)), 12);
  });
});

describe('binary cross entropy', () => {
  const inputs: Inputs = {
    logits: tensorOf('f32', [2, 3], [0.3, -1.7, 4, -0.01, 2.5, -6], 'f64'),
    target: tensorOf('f32', [2, 3], [0, 1, 1, 0.25, 0, 0], 'f64'),
  };
  test.each([undefined, 2.5])('positive %s', (positive) => {
    const graph = graphOf(inputs, (emitter, value) =>
      binaryCrossEntropy(emitter, {
        logits: value('logits'),
        target: value('target'),
        ...(positive === undefined ? {} : { positive }),
      }),
    );
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    const terms = [...(inputs.logits?.data ?? [])].map((x, at) => {
      const y = inputs.target?.data[at] ?? 0;
      return -(positive ?? 1) * y * Math.log(sigmoid(x)) - (1 - y) * Math.log(1 - sigmoid(x));
    });
    expect(Math.abs(lossAt(graph, inputs) - sum(terms) / terms.length)).toBeLessThan(exact * 10);
    expect(worstGap(graph, inputs)).toBeLessThan(numeric);
  });

  test('scores of hundreds give their distance, with a gradient', () => {
    const far: Inputs = {
      logits: tensorOf('f32', [2], [-800, 800], 'f64'),
      target: tensorOf('f32', [2], [1, 1], 'f64'),
    };
    const graph = graphOf(far, (emitter, value) =>
      binaryCrossEntropy(emitter, { logits: value('logits'), target: value('target') }),
    );
    expect(lossAt(graph, far)).toBeCloseTo(400, 12);
    expect([...(gradientsOf(graph, far, ['target']).get('gradient:logits')?.data ?? [])]).toEqual([-0.5, 0]);
  });
});

describe.each([
  ['mse', meanSquaredError, (gap: number) => gap * gap],
  ['mae', meanAbsoluteError, Math.abs],
] as const)('%s', (_name, build, own) => {
  test.each([[[2, 3, 5]], [[7]], [[]]])('%j', (shape) => {
    const inputs: Inputs = { prediction: randomTensor('f32', shape, 1), target: randomTensor('f32', shape, 2) };
    const graph = graphOf(inputs, (emitter, value) =>
      build(emitter, { prediction: value('prediction'), target: value('target') }),
    );
    const terms = [...(inputs.prediction?.data ?? [])].map((x, at) => own(x - (inputs.target?.data[at] ?? 0)));
    expect(Math.abs(lossAt(graph, inputs) - sum(terms) / terms.length)).toBeLessThan(exact);
    expect(worstGap(graph, inputs)).toBeLessThan(numeric);
  });

  test('halves are computed in f32', () => {
    const half = { dtype: 'f16' as const, shape: [1], data: Float64Array.of(300) };
    const inputs: Inputs = { prediction: half, target: { ...half, data: Float64Array.of(-300) } };
    const graph = graphOf(inputs, (emitter, value) =>
      build(emitter, { prediction: value('prediction'), target: value('target') }),
    );
    // 360,000 is beyond f16.
    expect(lossAt(graph, inputs)).toBe(own(600));
  });
});
