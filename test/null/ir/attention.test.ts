/**
 * Attention against plain loops: masks by position, offsets, sinks, a score map; its text form and what is refused.
 */
import { describe, expect, test } from 'vitest';
import type { Attributes, Graph } from '../../../src/ir/graph.ts';
import { interpretGraph } from '../../../src/ir/interpret.ts';
import { isFailure, type Tensor } from '../../../src/ir/op.ts';
import { inferOp, opNamed } from '../../../src/ir/ops/index.ts';
import { printGraph } from '../../../src/ir/print.ts';
import { readGraph } from '../../../src/ir/read.ts';
import { constantDim, symbolDim } from '../../../src/ir/symbolic.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { buildGraph, difference, f32, i32, noRanges, randomTensor } from './support.ts';

const sizes = { batch: 2, heads: 4, groups: 2, queries: 5, keys: 9, width: 3 } as const;

interface Case {
  readonly attributes: Attributes;
  readonly extras: readonly string[];
  /** Whether the score is mapped: s - 0.3 * slope[h] * |i - j|, where that is above 4 hidden. */
  readonly mapped?: boolean;
}

const cases: Readonly<Record<string, Case>> = {
  plain: { attributes: {}, extras: [] },
  'causal from an offset': { attributes: { causal: true }, extras: ['offsets'] },
  'a window behind': { attributes: { causal: true, window: 3 }, extras: ['offsets'] },
  'a window on both sides': { attributes: { window: 2 }, extras: [] },
  reach: { attributes: {}, extras: ['reach', 'offsets'] },
  'sinks and a window': { attributes: { causal: true, window: 2 }, extras: ['sinks', 'offsets'] },
  'mapped scores': { attributes: { causal: true }, extras: ['captured', 'captured'], mapped: true },
  'a window before every key': { attributes: { causal: true, window: 1 }, extras: ['far offsets'] },
};

const slopes = [0.5, 1, 2, 8];
const reach = [0, 1.5, 3, 20];
const sinks = [0.25, -1, 3, 0];

function loops(entry: Case, query: Tensor, key: Tensor, value: Tensor, offsets: readonly number[]): Float64Array {
  const { batch, heads, groups, queries, keys, width } = sizes;
  const out = new Float64Array(batch * queries * heads * width);
  const at = (tensor: Tensor, b: number, t: number, h: number, d: number) =>
    Number(tensor.data[(b * (tensor.shape[1] ?? 0) + t) * (tensor.shape[2] ?? 0) + h * width + d]);
  const has = (role: string) => entry.extras.includes(role);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < queries; t++) {
        const group = Math.floor(h / (heads / groups));
        const i = (offsets[b] ?? 0) + t;
        const weights = Array.from({ length: keys }, (_, j) => {
          const { causal, window } = entry.attributes;
          if (causal && j > i) return 0;
          if (typeof window === 'number' && (causal ? i - j : Math.abs(i - j)) >= window) return 0;
          if (has('reach') && Math.abs(i - j) > (reach[h] ?? 0)) return 0;
          let score = 0;
          for (let d = 0; d < width; d++) score += 0.7 * at(query, b, t, h, d) * at(key, b, j, group, d);
          if (!entry.mapped) return Math.exp(score);
          const penalty = (slopes[h] ?? 0) * Math.abs(i - j);
          return penalty > 4 ? 0 : Math.exp(score - 0.3 * penalty);
        });
        const sunk = has('sinks') ? Math.exp(sinks[h] ?? 0) : 0;
        const sum = weights.reduce((total, weight) => total + weight, sunk);
        for (let d = 0; d < width; d++) {
          const mixed = weights.reduce((total, weight, j) => total + weight * at(value, b, j, group, d), 0);
          out[(b * queries + t) * heads * width + h * width + d] = sum === 0 ? 0 : mixed / sum;
        }
      }
  return out;
}

const one = constantDim(1);

/** The score map of the cases: inputs are the score, slopes [1, H, 1, 1] and distances [1, 1, T, S]. */
const region = (keys: number | string = sizes.keys, queries: number | string = sizes.queries): Graph =>
  buildGraph((s) => {
    const score = s.input('score', f32(sizes.batch, sizes.heads, queries, keys));
    const slope = s.input('slope', f32(1, sizes.heads, 1, 1));
    const distance = s.input('distance', f32(1, 1, queries, keys));
    const { shape } = score.type;
    const spread = (value: typeof score) => s.emit('broadcast', [value], { shape });
    const fill = (value: number) => spread(s.constant(value, 'f32'));
    const penalty = s.emit('mul', [spread(slope), spread(distance)]);
    const lower = s.emit('sub', [score, s.emit('mul', [fill(0.3), penalty])]);
    return { score: s.emit('select', [s.emit('greater', [penalty, fill(4)]), fill(-1e30), lower]) };
  });

const place = (extra: string): string => extra.replace('far ', '');

function graphOf(entry: Case): Graph {
  const { batch, heads, groups, queries, keys, width } = sizes;
  return buildGraph((s) => {
    const operands = [
      s.input('query', f32(batch, queries, heads * width)),
      s.input('key', f32(batch, keys, groups * width)),
      s.input('value', f32(batch, keys, groups * width)),
    ];
    const captured = ['slope', 'distance'];
    for (const extra of entry.extras) {
      if (place(extra) === 'offsets') operands.push(s.input('offsets', i32(batch)));
      else if (extra !== 'captured') operands.push(s.input(extra, f32(heads)));
      else if (captured.shift() === 'slope') operands.push(s.input('slope', f32(1, heads, 1, 1)));
      else operands.push(s.input('distance', f32(1, 1, queries, keys)));
    }
    const extras = entry.extras.map(place);
    const attributes = { heads, kv_heads: groups, scale: 0.7, ...entry.attributes, extras };
    return { y: s.emit('attention', operands, attributes, entry.mapped ? region() : undefined) };
  });
}

describe.each(Object.entries(cases))('%s', (_name, entry) => {
  const { batch, heads, groups, queries, keys, width } = sizes;
  const floats = (shape: readonly number[], values: readonly number[]) => tensorOf('f32', shape, values);
  const offsets = entry.extras.includes('far offsets') ? [40, 4] : entry.extras.includes('offsets') ? [0, 4] : [0, 0];
  const inputs: Record<string, Tensor> = {
    query: randomTensor('f32', [batch, queries, heads * width], 3),
    key: randomTensor('f32', [batch, keys, groups * width], 4),
    value: randomTensor('f32', [batch, keys, groups * width], 5),
    offsets: tensorOf('i32', [batch], offsets),
    reach: floats([heads], reach),
    sinks: floats([heads], sinks),
    slope: floats([1, heads, 1, 1], slopes),
    distance: floats(
      [1, 1, queries, keys],
      Array.from({ length: queries * keys }, (_, at) => Math.abs(Math.floor(at / keys) - (at % keys))),
    ),
  };

  test('is what loops compute', () => {
    const graph = graphOf(entry);
    const run = (precision: 'f32' | 'f64') =>
      interpretGraph(graph, { inputs: new Map(Object.entries(inputs)), precision, dims: new Map(), weight: never });
    const { query, key, value } = inputs;
    if (!query || !key || !value) throw new Error('an input is missing');
    const want = loops(entry, query, key, value, offsets);
    expect(difference(run('f64').get('y')?.data ?? [], want)).toBeLessThanOrEqual(1e-12);
    expect(difference(run('f32').get('y')?.data ?? [], want)).toBeLessThanOrEqual(2e-6);
  });

  test('verifies and survives printing and reading', () => {
    const graph = graphOf(entry);
    expect(verifyGraph(graph, noRanges, { stage: 'model' })).toEqual([]);
    const text = printGraph(graph);
    expect(printGraph(readGraph(text))).toBe(text);
    expect(verifyGraph(readGraph(text), noRanges, { stage: 'model' })).toEqual([]);
  });
});

function never(): never {
  throw new Error('no weights here');
}

test('a region of other types is refused', () => {
  const good = graphOf(cases['mapped scores'] as Case);
  const text = printGraph(good);
  expect(text).toContain('graph "test"');
  const swapped = readGraph(text.replace('f32[1, 4, 1, 1]', 'f32[1, 1, 1, 1]'));
  expect(verifyGraph(swapped, noRanges, { stage: 'model' })).not.toEqual([]);
  const foreign = readGraph(text.replace('attention(', 'tanh(').replace(/\{heads[^}]*\} /, ''));
  expect(verifyGraph(foreign, noRanges, { stage: 'model' }).join()).toContain('`tanh` has no region');
});

const hidden = f32('B', 'T', 12);
const heads = { heads: 4, kv_heads: 4, scale: 1 };

test.each([
  [['mask'], [], 'names 1 operands, found 0'],
  [['colour'], [i32('B')], '`colour` is no role'],
  [['offsets'], [i32('T')], '`offsets` is `i32[T]`, should be `i32[B]`'],
  [['sinks'], [f32(3)], '`sinks` is `f32[3]`, should be `f32[4]`'],
  [['offsets', 'offsets'], [i32('B'), i32('B')], 'two operands are `offsets`'],
  [['captured'], [f32('B', 3, 1, 1)], '`captured` is `f32[B, 3, 1, 1]`, which does not broadcast'],
  [['alpha'], [f32(4)], '`alpha` and `entmax` go together'],
])('extras %j are refused', (extras, types, message) => {
  const wrong = inferOp(opNamed('attention'), [hidden, hidden, hidden, ...types], { ...heads, extras }, noRanges);
  expect(isFailure(wrong) && wrong.failure).toContain(message);
});

test('captured operands keep sizes of 1', () => {
  const attributes = { ...heads, extras: ['captured'] };
  const inputs = [hidden, hidden, hidden, f32(1, 4, 1, 1)];
  const types = opNamed('attention').regionTypes?.(inputs, attributes);
  const score = { dtype: 'f32', shape: [symbolDim('B'), constantDim(4), symbolDim('T'), symbolDim('T')] };
  expect(types).toEqual({
    inputs: [score, { dtype: 'f32', shape: [one, constantDim(4), one, one] }],
    results: [score],
  });
});
