/**
 * The loss of label sequences against a sum over all paths, one by one, and the loss of pairs against its formula; gradients
 * against central differences.
 */
import { describe, expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import { type Graph, GraphBuilder, type Value } from '../../../src/ir/graph.ts';
import { contrastiveLoss } from '../../../src/ir/loss-contrastive.ts';
import { ctcLoss } from '../../../src/ir/loss-ctc.ts';
import type { Emitter, Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { tensorType } from '../../../src/ir/types.ts';
import { noRanges, randomTensor } from '../ir/support.ts';
import { gradientsOf, lossAt, worstGap } from './gradients.ts';

type Inputs = Readonly<Record<string, Tensor>>;

function graphOf(inputs: Inputs, write: (emitter: Emitter, value: (name: string) => Value) => Value): Graph {
  const emitter = createEmitter(new GraphBuilder(), noRanges);
  const values = new Map(
    Object.entries(inputs).map(([name, { dtype, shape }]) => [name, emitter.input(name, tensorType(dtype, shape))]),
  );
  const loss = write(emitter, (name) => values.get(name) ?? expect.fail(`no input ${name}`));
  expect(loss.type).toEqual({ dtype: 'f32', shape: [] });
  return emitter.builder.finish('loss', [{ name: 'loss', value: loss }]);
}

const i32 = (shape: readonly number[], values: readonly number[]) => tensorOf('i32', shape, values, 'f64');

/** Repeats together, then blanks away. */
function collapsed(path: readonly number[], blank: number): readonly number[] {
  return path.filter((label, at) => label !== path[at - 1] && label !== blank);
}

/** Minus the logarithm of the sum over every path of `frames` classes that collapses to the labels. */
function bruteForce(logits: readonly (readonly number[])[], labels: readonly number[], blank: number): number {
  const logs = logits.map((row) => {
    const sum = row.reduce((total, x) => total + Math.exp(x), 0);
    return row.map((x) => x - Math.log(sum));
  });
  const classes = logits[0]?.length ?? 0;
  let likelihood = 0;
  for (let code = 0; code < classes ** logs.length; code++) {
    const path = logs.map((_, t) => Math.floor(code / classes ** t) % classes);
    if (collapsed(path, blank).join() !== labels.join()) continue;
    likelihood += Math.exp(path.reduce((sum, label, t) => sum + (logs[t]?.[label] ?? 0), 0));
  }
  return -Math.log(likelihood);
}

interface Row {
  readonly frames: number;
  readonly labels: readonly number[];
}

interface Case {
  readonly name: string;
  readonly frames: number;
  readonly classes: number;
  readonly blank?: number;
  readonly width: number;
  readonly rows: readonly Row[];
}

const cases: readonly Case[] = [
  { name: 'one frame, one label', frames: 1, classes: 3, width: 1, rows: [{ frames: 1, labels: [2] }] },
  {
    name: 'rows of different lengths',
    frames: 6,
    classes: 3,
    width: 3,
    rows: [
      { frames: 6, labels: [1, 2, 1] },
      { frames: 4, labels: [2, 1] },
      { frames: 5, labels: [1] },
    ],
  },
  {
    name: 'the same label twice needs a blank between',
    frames: 5,
    classes: 3,
    width: 3,
    rows: [
      { frames: 5, labels: [1, 1, 2] },
      { frames: 5, labels: [2, 2, 2] },
    ],
  },
  { name: 'just enough frames', frames: 4, classes: 4, width: 4, rows: [{ frames: 4, labels: [1, 2, 3, 1] }] },
  { name: 'nothing is said', frames: 4, classes: 3, width: 2, rows: [{ frames: 3, labels: [] }] },
  {
    name: 'another blank',
    frames: 5,
    classes: 3,
    blank: 2,
    width: 2,
    rows: [
      { frames: 5, labels: [0, 0] },
      { frames: 3, labels: [1, 0] },
    ],
  },
];

function inputsOf({ frames, classes, width, rows }: Case): Inputs {
  return {
    logits: randomTensor('f32', [rows.length, frames, classes], 5),
    target: i32(
      [rows.length, width],
      rows.flatMap(({ labels }) => Array.from({ length: width }, (_, at) => labels[at] ?? -100)),
    ),
    lengths: i32(
      [rows.length],
      rows.map((row) => row.frames),
    ),
    counts: i32(
      [rows.length],
      rows.map(({ labels }) => labels.length),
    ),
  };
}

const ctc = (item: Case, inputs: Inputs, more: 'given' | 'counted' = 'given') =>
  graphOf(inputs, (emitter, value) =>
    ctcLoss(emitter, {
      logits: value('logits'),
      target: value('target'),
      inputLengths: value('lengths'),
      ...(more === 'given' ? { targetLengths: value('counts') } : {}),
      ...(item.blank === undefined ? {} : { blank: item.blank }),
    }),
  );

function logitsOf(inputs: Inputs, row: number): number[][] {
  const { data, shape } = inputs.logits ?? expect.fail('no logits');
  const [, frames = 0, classes = 0] = shape;
  return Array.from({ length: frames }, (_, t) => {
    const start = (row * frames + t) * classes;
    return [...data.slice(start, start + classes)];
  });
}

describe('ctc', () => {
  test.each(cases)('$name', (item) => {
    const inputs = inputsOf(item);
    const graph = ctc(item, inputs);
    const losses = item.rows.map(
      ({ frames, labels }, row) =>
        bruteForce(logitsOf(inputs, row).slice(0, frames), labels, item.blank ?? 0) / Math.max(1, labels.length),
    );
    const expected = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    expect(Math.abs(lossAt(graph, inputs) - expected)).toBeLessThan(1e-12 * (1 + expected));
    expect(worstGap(graph, inputs)).toBeLessThan(1e-8);
    // Labels that are left out are those that are not negative.
    expect(lossAt(ctc(item, inputs, 'counted'), inputs)).toBe(lossAt(graph, inputs));
  });

  test('a row with too few frames counts as 0 and moves nothing', () => {
    const item: Case = {
      name: '',
      frames: 3,
      classes: 3,
      width: 3,
      rows: [
        { frames: 3, labels: [1, 1, 2] },
        { frames: 3, labels: [1, 2] },
      ],
    };
    const inputs = inputsOf(item);
    const graph = ctc(item, inputs);
    expect(lossAt(graph, inputs)).toBeCloseTo(bruteForce(logitsOf(inputs, 1), [1, 2], 0) / 2 / 2, 12);
    const gradient = [...(gradientsOf(graph, inputs).get('gradient:logits')?.data ?? [])];
    expect(gradient.slice(0, 9).map(Math.abs)).toEqual(new Array(9).fill(0));
    expect(Math.max(...gradient.slice(9).map(Math.abs))).toBeGreaterThan(0.01);
  });

  test('frames behind the length of a row move nothing', () => {
    const item = cases[1] ?? expect.fail('no case');
    const inputs = inputsOf(item);
    const gradient = gradientsOf(ctc(item, inputs), inputs).get('gradient:logits')?.data ?? [];
    for (let at = 0; at < 2 * 3; at++) expect(gradient[(1 * 6 + 4) * 3 + at]).toBe(0);
  });

  test('hundreds of frames lose nothing to underflow', () => {
    const [frames, classes, width] = [400, 5, 30];
    const labels = Array.from({ length: width }, (_, at) => 1 + (at % 4));
    const inputs: Inputs = {
      // Every class alike: the likelihood is (number of paths) / 5^400, of which f64 holds only the logarithm.
      logits: tensorOf('f32', [1, frames, classes], new Array(frames * classes).fill(0.25), 'f64'),
      target: i32([1, width], labels),
      lengths: i32([1], [frames]),
      counts: i32([1], [width]),
    };
    const item: Case = { name: '', frames, classes, width, rows: [{ frames, labels }] };
    // Neighbours differ: the number of paths of T frames through S labels is the binomial of T + S over 2 S.
    const logBinomial = (n: number, k: number) => {
      let sum = 0;
      for (let at = 1; at <= k; at++) sum += Math.log((n - k + at) / at);
      return sum;
    };
    const expected = (frames * Math.log(5) - logBinomial(frames + width, 2 * width)) / width;
    expect(Math.abs(lossAt(ctc(item, inputs), inputs) / expected - 1)).toBeLessThan(1e-12);
  });
});

describe('contrastive', () => {
  const inputs: Inputs = {
    left: randomTensor('f32', [5, 3], 1),
    right: randomTensor('f32', [5, 3], 2),
    temperature: tensorOf('f32', [], [0.3], 'f64'),
  };

  /** As Hugging Face computes `clip_loss`. */
  function clip(temperature: number): number {
    const rows = (name: string) =>
      Array.from({ length: 5 }, (_, at) => {
        const row = [...(inputs[name]?.data.slice(3 * at, 3 * at + 3) ?? [])];
        const length = Math.hypot(...row);
        return row.map((x) => x / length);
      });
    const [left, right] = [rows('left'), rows('right')];
    const scores = left.map((a) => right.map((b) => a.reduce((sum, x, d) => sum + x * (b[d] ?? 0), 0) / temperature));
    const entropy = (of: (i: number, j: number) => number): number => {
      let sum = 0;
      for (let i = 0; i < 5; i++) {
        const total = Array.from({ length: 5 }, (_, j) => Math.exp(of(i, j))).reduce((a, b) => a + b, 0);
        sum += Math.log(total) - of(i, i);
      }
      return sum / 5;
    };
    return (entropy((i, j) => scores[i]?.[j] ?? 0) + entropy((i, j) => scores[j]?.[i] ?? 0)) / 2;
  }

  test.each([1, 0.07])('at temperature %s', (temperature) => {
    const graph = graphOf(inputs, (emitter, value) =>
      contrastiveLoss(emitter, { left: value('left'), right: value('right'), temperature }),
    );
    expect(lossAt(graph, inputs)).toBeCloseTo(clip(temperature), 12);
    expect(worstGap(graph, inputs)).toBeLessThan(1e-6);
  });

  test('at a learned temperature, which has a gradient', () => {
    const graph = graphOf(inputs, (emitter, value) =>
      contrastiveLoss(emitter, { left: value('left'), right: value('right'), temperature: value('temperature') }),
    );
    expect(lossAt(graph, inputs)).toBeCloseTo(clip(0.3), 12);
    expect(worstGap(graph, inputs)).toBeLessThan(1e-7);
    expect(Math.abs(gradientsOf(graph, inputs).get('gradient:temperature')?.data[0] ?? 0)).toBeGreaterThan(0.1);
  });

  test('a row of zeros has no direction and no gradient that is not finite', () => {
    const zeros: Inputs = {
      left: randomTensor('f32', [2, 3], 1),
      right: tensorOf('f32', [2, 3], [0, 0, 0, 1, 2, 3], 'f64'),
    };
    const graph = graphOf(zeros, (emitter, value) =>
      contrastiveLoss(emitter, { left: value('left'), right: value('right') }),
    );
    expect(Number.isFinite(lossAt(graph, zeros))).toBe(true);
    for (const tensor of gradientsOf(graph, zeros).values()) expect([...tensor.data].every(Number.isFinite)).toBe(true);
  });
});
