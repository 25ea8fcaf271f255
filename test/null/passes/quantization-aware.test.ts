/**
 * Quantization-aware training: what a step computes with is what the formats give back, and gradients go straight through.
 */
import { describe, expect, test } from 'vitest';
import { lowerSource } from '../../../src/compile.ts';
import type { Program } from '../../../src/ir/graph.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { decodeRows, encodeRows, type NumberFormat, transpose } from '../../../src/runtime/number-formats.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';
import { runOp } from '../ir/support.ts';

const noise = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, at) => Math.sin((at + 1) * (seed + 1.37)) * (1 + (at % 7)));

describe('fake_quantize is what the formats give back, bit for bit', () => {
  test.each<[string, NumberFormat, Readonly<Record<string, unknown>>]>([
    ['int8', { kind: 'int8' }, { bits: 8, group: 39, asymmetric: false }],
    ['int8 in groups', { kind: 'int8', group: 13 }, { bits: 8, group: 13, asymmetric: false }],
    ['int4', { kind: 'int4', group: 13 }, { bits: 4, group: 13, asymmetric: false }],
    ['int4 with a shorter last group', { kind: 'int4', group: 16 }, { bits: 4, group: 16, asymmetric: false }],
    ['int4, asymmetric', { kind: 'int4', group: 16, asymmetric: true }, { bits: 4, group: 16, asymmetric: true }],
  ])('%s', (_, format, attributes) => {
    const [rows, columns] = [11, 39];
    const source = noise(rows * columns, 3);
    // A group of zeros, and one of a single sign.
    source.fill(0, 0, columns);
    for (let at = columns; at < 2 * columns; at++) source[at] = Math.abs(source[at] ?? 0) + 1;
    const given = tensorOf('f32', [rows, columns], [...source], 'f32');
    const { data } = runOp('fake_quantize', [given], [attributes as Record<string, number>], 'f32');
    const wanted = decodeRows(encodeRows(source, columns, format), columns, format);
    // Whole numbers have one zero.
    expect([...data].map((value) => value + 0)).toEqual([...wanted]);
  });
});

const source = (settings: string, rules: string): string => `import { Embedding, Linear } from "sora:nn"
dim B in 1..8, T in 1..8
module Turned {
  weight: f32[12, 20]
  fn (x: f32[..., 12]) -> f32[..., 20] = einsum("b t k, k n -> b t n", x, weight)
}
model Words {
  word = Embedding(17, 12)
  mix = Turned()
  head = Linear(20, 5)
  entry score(ids: i32[B, T]) -> f32[B, T, 5] = head(tanh(mix(word(ids))))
}
quantize Words { ${rules} }
train Words.score {
  target y: f32[B, T, 5]
  loss: mse(score, y)
  optimizer: sgd(lr: 0.1)
  ${settings}
}
`;

function lowered(settings: string, rules: string): Program {
  const stage = lowerSource({ file: { path: 'words.sora', text: source(settings, rules) } });
  // Without the setting formats have no effect, which is said.
  const wanted = settings === '' ? [expect.stringContaining('SORA3003')] : [];
  expect(describeDiagnostics(stage.diagnostics)).toEqual(wanted);
  return stage.value ?? expect.fail('does not lower');
}

const shapes: Readonly<Record<string, readonly [number, number]>> = {
  'word.weight': [17, 12],
  'mix.weight': [12, 20],
  'head.weight': [5, 20],
};
const weights = new Map<string, Tensor>(
  Object.entries(shapes).map(([path, shape], at) => [
    path,
    tensorOf('f32', shape, [...noise(shape[0] * shape[1], at)], 'f64'),
  ]),
);
weights.set('head.bias', tensorOf('f32', [5], [...noise(5, 9)], 'f64'));
const inputs = new Map<string, Tensor>([
  ['ids', tensorOf('i32', [2, 3], [3, 16, 0, 3, 7, 1], 'f64')],
  ['y', tensorOf('f32', [2, 3, 5], [...noise(30, 5)], 'f64')],
]);

/** The weights as a format gives them back. */
function given(formats: Readonly<Record<string, NumberFormat>>): (path: string) => Tensor {
  return (path) => {
    const own = weights.get(path) ?? expect.fail(path);
    const format = formats[path];
    if (format === undefined) return own;
    const [rows = 1, columns = 1] = own.shape;
    const numbers = Float32Array.from(own.data);
    const decoded = format.transposed
      ? transpose(decodeRows(encodeRows(transpose(numbers, rows, columns), rows, format), rows, format), columns, rows)
      : decodeRows(encodeRows(numbers, columns, format), columns, format);
    return tensorOf('f32', own.shape, [...decoded], 'f64');
  };
}

test('loss and gradients are those of the quantized weights, the weights themselves stay', () => {
  const rules = '"word.*": int4(group: 4)\n "mix.*": int4(group: 6, symmetric: false)\n "head.*": int8';
  const aware = referenceTrainer(lowered('quantization_aware: true', rules), given({}));
  const plain = referenceTrainer(
    lowered('', rules),
    given({
      'word.weight': { kind: 'int4', group: 4 },
      'mix.weight': { kind: 'int4', group: 6, asymmetric: true, transposed: true },
      'head.weight': { kind: 'int8' },
    }),
  );
  const [one, other] = [aware.step(inputs, 0.1), plain.step(inputs, 0.1)];
  // Scales are of f32 there and of f64 here.
  expect(Math.abs(one.loss / other.loss - 1)).toBeLessThan(1e-6);
  for (const path of aware.parameters) {
    const [got, want] = [aware.gradient(path), plain.gradient(path)];
    const most = Math.max(...want.map(Math.abs));
    expect(Math.max(...got.map((value, at) => Math.abs(value - (want[at] ?? 0)))) / most, path).toBeLessThan(1e-5);
    const start = weights.get(path)?.data ?? [];
    const moved = aware.weight(path);
    moved.forEach((value, at) => {
      expect(value).toBeCloseTo((start[at] ?? 0) - 0.1 * (got[at] ?? 0), 9);
    });
  }
});

test('rows of a table are quantized where they are looked up', () => {
  const { entries, training } = lowered('quantization_aware: true', '"**.weight": int8');
  const graph = entries.find(({ name }) => name === training?.evaluate)?.graph;
  const quantized = graph?.nodes.filter(({ op }) => op === 'fake_quantize') ?? [];
  expect(quantized.map(({ inputs: [x] }) => x?.node.op).sort()).toEqual(['gather', 'state', 'transpose']);
});

test('without the setting a step computes with f32', () => {
  const { entries } = lowered('', '"**.weight": int8');
  expect(entries.flatMap(({ graph }) => graph.nodes).filter(({ op }) => op === 'fake_quantize')).toEqual([]);
});

test('the setting without a format is a mistake', () => {
  const text = source('quantization_aware: true', '"**.weight": f32');
  const { diagnostics } = lowerSource({ file: { path: 'words.sora', text } });
  expect(describeDiagnostics(diagnostics)).toEqual([expect.stringContaining('`quantization_aware` without a format')]);
  // A rule that is wrong is said once.
  const wrong = source('quantization_aware: true', '"**.weight": int8(group: 7)');
  const codes = lowerSource({ file: { path: 'm.sora', text: wrong } }).diagnostics.map(({ code }) => code);
  expect(new Set(codes)).toEqual(new Set(['SORA2304']));
});
