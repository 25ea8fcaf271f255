/**
 * The functions of `sora:nn`, executed, against the definitions that transformers' ACT2FN names, computed apart in f64.
 */
import { describe, expect, test } from 'vitest';
import { lowered, model, refused, run } from './kit.ts';

/** Numbers of `body` over x: f32[B, T]. */
function evaluate(body: string, x: readonly number[], imports: string): readonly number[] {
  const text = `import { ${imports} } from "sora:nn"\n${model('x: f32[B, T]', 'f32[B, T]', body)}`;
  return run(lowered(text), { x: { shape: [1, x.length], values: x } }).y?.values ?? [];
}

describe('activations', () => {
  const at = [-2, -0.5, 0, 1, 3];

  test.each([
    ['gelu', [-0.0455002639, -0.154268769, 0, 0.841344746, 2.99595031]],
    ['gelu_new', [-0.0454023059, -0.15428599, 0, 0.841191991, 2.99636261]],
    ['quick_gelu', [-0.0643413769, -0.149611563, 0, 0.845795766, 2.98192869]],
    ['relu', [0, 0, 0, 1, 3]],
    ['relu2', [0, 0, 0, 1, 9]],
    ['leaky_relu', [-0.02, -0.005, 0, 1, 3]],
    ['sigmoid', [0.119202922, 0.377540669, 0.5, 0.731058579, 0.952574127]],
    ['silu', [-0.238405844, -0.188770334, 0, 0.731058579, 2.85772238]],
    ['tanh', [-0.96402758, -0.462117157, 0, 0.761594156, 0.995054754]],
    ['mish', [-0.252501483, -0.220743775, 0, 0.865098388, 2.986535]],
    ['laplace', [4.13777351e-22, 9.38338117e-6, 0.00609445962, 0.850429649, 1]],
    ['hardswish', [-0.333333333, -0.208333333, 0, 0.666666667, 3]],
    ['linear', at],
  ])('%s', (kind, expected) => {
    evaluate(`activation(x, "${kind}")`, at, 'activation').forEach((value, index) => {
      expect(value).toBeCloseTo(expected[index] as number, 8);
    });
  });

  test('caps: relu6 and gelu_10', () => {
    expect(evaluate('activation(x, "relu6")', [-1, 7], 'activation')).toEqual([0, 6]);
    expect(evaluate('activation(x, "gelu_10")', [-1e4, 50], 'activation').map((value) => Math.abs(value))).toEqual([
      0, 10,
    ]);
  });

  test('nothing overflows', () => {
    for (const kind of ['gelu', 'gelu_new', 'quick_gelu', 'silu', 'sigmoid', 'mish', 'laplace', 'tanh']) {
      for (const value of evaluate(`activation(x, "${kind}")`, [-1e4, 1e4], 'activation')) {
        expect(Number.isFinite(value), kind).toBe(true);
      }
    }
  });

  test('an unknown name is refused at the call', () => {
    const text = `import { activation } from "sora:nn"\n${model('x: f32[B, T]', 'f32[B, T]', 'activation(x, "glu")')}`;
    refused(text, { code: 'SORA2205', message: '`glu`', at: 'activation(x, "glu")' });
  });
});

test('mean_pool leaves masked positions out; a row without any gives zeros', () => {
  const text = `import { mean_pool } from "sora:nn"\n${model('x: f32[B, T, 2], m: i32[B, T]', 'f32[B, 2]', 'mean_pool(x, m)')}`;
  const x = { shape: [2, 2, 2], values: [1, 2, 3, 4, 5, 6, 7, 8] };
  const pool = (values: readonly number[]) =>
    run(lowered(text), { x, m: { shape: [2, 2], values, dtype: 'i32' } }).y?.values;
  expect(pool([1, 1, 0, 1])).toEqual([2, 3, 7, 8]);
  expect(pool([1, 0, 0, 0])).toEqual([1, 2, 0, 0]);
});

test('normalize gives rows of length 1 and leaves zeros alone', () => {
  expect(evaluate('normalize(x)', [3, 4], 'normalize')).toEqual([0.6, 0.8]);
  expect(evaluate('normalize(x)', [0, 0], 'normalize')).toEqual([0, 0]);
});

test('modules have the weight names and shapes of PyTorch', () => {
  const program = lowered(`import { Embedding, LayerNorm, Linear, RMSNorm } from "sora:nn"
dim B in 1..4
model M {
  embedding = Embedding(10, 4)
  linear = Linear(4, 6)
  plain = Linear(6, 4, bias: false)
  norm = LayerNorm(4)
  rms = RMSNorm(4)
  entry f(ids: i32[B]) -> y: f32[B, 4] = rms(norm(plain(linear(embedding(ids)))))
}
`);
  expect(program.weights.map(({ path, type }) => `${path} ${type.shape.map((dim) => dim.key).join('x')}`)).toEqual([
    'embedding.weight 10x4',
    'linear.weight 6x4',
    'linear.bias 6',
    'plain.weight 4x6',
    'norm.weight 4',
    'norm.bias 4',
    'rms.weight 4',
  ]);
});
