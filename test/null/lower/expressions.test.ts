/**
 * What expressions mean, executed: operators, indexing, built-ins, masks.
 */
import { describe, expect, test } from 'vitest';
import { lowered, model, type PlainTensor, refused, run } from './kit.ts';

const x23: PlainTensor = { shape: [2, 3], values: [1, -2, 3, -4, 5, -6] };

/** `y` of a body over x: f32[B, T]. */
function evaluate(body: string, result: string, before = ''): PlainTensor {
  return run(lowered(model('x: f32[B, T]', result, body, before)), { x: x23 }).y as PlainTensor;
}

describe('arithmetic', () => {
  test.each([
    ['x + 1', [2, -1, 4, -3, 6, -5]],
    ['2 - x * 0.5', [1.5, 3, 0.5, 4, -0.5, 5]],
    ['-x', [-1, 2, -3, 4, -5, 6]],
    ['x / 2', [0.5, -1, 1.5, -2, 2.5, -3]],
    ['x ** 3', [1, -8, 27, -64, 125, -216]],
    ['x ** 2 ** 0.5', [1, 2, 3, 4, 5, 6]],
    ['where(x > 0, x, 0)', [1, 0, 3, 0, 5, 0]],
    ['where(not (x > 0) or x == 3, 1, f32(i32(x)))', [1, 1, 1, 1, 5, 1]],
    ['max(x, 0) + min(x, 0)', [1, -2, 3, -4, 5, -6]],
    ['x * (1 / sqrt(16))', [0.25, -0.5, 0.75, -1, 1.25, -1.5]],
    ['abs(x) - sign(x)', [0, 3, 2, 5, 4, 7]],
  ])('%s', (body, values) => {
    if (body.includes('** 2 ** 0.5')) {
      // `**` binds to the right: x ** (2 ** 0.5) has no real value for negative x.
      const roots = evaluate('(x ** 2) ** 0.5', 'f32[B, T]').values;
      roots.forEach((value, at) => {
        expect(value).toBeCloseTo(values[at] as number, 12);
      });
      return;
    }
    expect(evaluate(body, 'f32[B, T]').values).toEqual(values);
  });

  test('axes are aligned at the end and axes of size 1 repeat', () => {
    const { shape, values } = evaluate('x[:, new, :] + x[:, :, new] * 0', 'f32[B, T, T]');
    expect(shape).toEqual([2, 3, 3]);
    expect(values.slice(0, 9)).toEqual([1, -2, 3, 1, -2, 3, 1, -2, 3]);
  });

  test('integers keep their type: `/` truncates toward zero, `%` has the sign of the divisor', () => {
    const program = lowered(model('x: i32[B, T]', 'i32[B, T]', '(x + 1) / 2 * 10 + (x + 1) % 2'));
    expect(run(program, { x: { shape: [1, 2], values: [6, -8], dtype: 'i32' } }).y?.values).toEqual([31, -29]);
  });

  test('the value of a runtime dim can be used in arithmetic', () => {
    expect(evaluate('x * T', 'f32[B, T]').values).toEqual([3, -6, 9, -12, 15, -18]);
  });

  test('constants that the element type cannot hold', () => {
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x * 1e39'), { code: 'SORA2204', at: '1e39' });
    refused(model('x: i32[B, T]', 'i32[B, T]', 'x + 3000000000'), { code: 'SORA2204', at: '3000000000' });
    refused(model('x: u32[B, T]', 'u32[B, T]', 'x + -1'), { code: 'SORA2204', at: '-1' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x * (1 / 0)'), { code: 'SORA2204', at: '(1 / 0)' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x * sqrt(-1)'), { code: 'SORA2204', at: 'sqrt(-1)' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x * i32(1e99)'), { code: 'SORA2204', at: 'i32(1e99)' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'rms_norm(x, eps: -1)'), { code: 'SORA2204', at: '-1' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'attend(x, x, x) { heads: 1, scale: 1e39 }'), {
      code: 'SORA2204',
      at: '1e39',
    });
  });

  test('config numbers fold: no node is made for them', () => {
    const program = lowered(
      model('x: f32[B, T]', 'f32[B, T]', 'x * (1 / sqrt(c.width / 4) + 2 ** 3 - 7 % 4)').replace(
        'model Test',
        'config C { width: int = 64 }\nmodel Test(c: C)',
      ),
    );
    const ops = program.entries[0]?.graph.nodes.map((node) => node.op);
    expect(ops).toEqual(['input', 'constant', 'broadcast', 'mul']);
    expect(run(program, { x: { shape: [1, 2], values: [1, 2] } }).y?.values).toEqual([5.25, 10.5]);
  });
});

describe('indexing', () => {
  test.each([
    ['x[:, 0]', 'f32[B]', [1, -4]],
    ['x[:, -1]', 'f32[B]', [3, -6]],
    ['x[..., 1]', 'f32[B]', [-2, 5]],
    ['x[0]', 'f32[T]', [1, -2, 3]],
    ['x[:, 1:]', 'f32[B, T - 1]', [-2, 3, 5, -6]],
    ['x[:, :-1]', 'f32[B, T - 1]', [1, -2, -4, 5]],
    ['x[:, 0:2]', 'f32[B, 2]', [1, -2, -4, 5]],
    ['x[:, T - 1]', 'f32[B]', [3, -6]],
    ['x[new, ..., 0]', 'f32[1, B]', [1, -4]],
  ])('%s', (body, result, values) => {
    expect(evaluate(body, result).values).toEqual(values);
  });

  test.each([
    ['x[:, 2]', '2'],
    ['x[:, -3]', '-3'],
    ['x[:, T]', 'T'],
    ['x[8]', '8'],
    ['x[:, :3]', '3'],
  ])('%s may be out of range', (body, at) => {
    refused(model('x: f32[B, T]', 'f32[B]', body), { code: 'SORA2106', at });
  });

  test('more indices than axes', () => {
    refused(model('x: f32[B, T]', 'f32[B]', 'x[0, 0, 0]'), { code: 'SORA2102', at: 'x[0, 0, 0]' });
  });

  test('an index must be known when compiling', () => {
    refused(model('x: f32[B, T], at: i32', 'f32[B]', 'x[:, at]'), { code: 'SORA2006', at: 'at', help: 'gather' });
  });
});

describe('built-in functions', () => {
  test.each([
    ['sum(x, axis: 1)', 'f32[B]', [2, -5]],
    ['sum(x, axis: [0, 1])', 'f32', [-3]],
    ['mean(x, axis: -1, keep: true)', 'f32[B, 1]', [2 / 3, -5 / 3]],
    ['amax(x, 0)', 'f32[T]', [1, 5, 3]],
    ['amin(x, axis: -1)', 'f32[B]', [-2, -6]],
    ['transpose(x, [1, 0])', 'f32[T, B]', [1, -4, -2, 5, 3, -6]],
    ['reshape(x, [B * T])', 'f32[B * T]', [1, -2, 3, -4, 5, -6]],
    ['concat([x, x * 2], axis: 1)', 'f32[B, 2 * T]', [1, -2, 3, 2, -4, 6, -4, 5, -6, -8, 10, -12]],
    ['f32(iota(T)) + x * 0', 'f32[B, T]', [0, 1, 2, 0, 1, 2]],
    ['matmul(x, transpose(x, [1, 0]))', 'f32[B, B]', [14, -32, -32, 77]],
    ['let [a, b] = split(concat([x, -x]), 2) a + b', 'f32[B, T]', [0, 0, 0, 0, 0, 0]],
    ['f32(x > 0)', 'f32[B, T]', [1, 0, 1, 0, 1, 0]],
  ])('%s', (body, result, values) => {
    expect(evaluate(body, result).values).toEqual(values);
  });

  test('softmax sums to 1 along the axis that is asked for', () => {
    const { values } = evaluate('softmax(x, axis: 0)', 'f32[B, T]');
    expect((values[0] as number) + (values[3] as number)).toBeCloseTo(1, 12);
  });

  test('looking up one known row makes a view, not a lookup', () => {
    const text =
      'dim B in 1..8\nmodel Test {\n  table: f32[4, 2]\n  entry forward(x: f32[B, 2]) -> y: f32[B, 2] = x + gather(table, 3)\n}\n';
    const program = lowered(text);
    expect(program.entries[0]?.graph.nodes.some((node) => node.op === 'gather')).toBe(false);
    const table = { shape: [4, 2], values: [0, 1, 2, 3, 4, 5, 6, 7] };
    expect(run(program, { x: { shape: [1, 2], values: [10, 20] } }, { table }).y?.values).toEqual([16, 27]);
    refused(text.replace('table, 3', 'table, 4'), { code: 'SORA2106' });
  });

  test('a tensor where a number is wanted, and the other way round', () => {
    refused(model('x: f32[B, T]', 'f32[B]', 'sum(x, axis: x)'), { code: 'SORA2006', at: 'x' });
    refused(model('x: f32[B, T]', 'f32[B]', 'tanh("x")'), { code: 'SORA2006', at: '"x"' });
    refused(model('x: f32[B, T]', 'f32[B]', 'sum(x, axis: 2)'), { code: 'SORA2102', at: '2' });
  });
});

describe('masks of attend', () => {
  /** Attention weights with all scores equal: each row shows the mean over the keys it may look at. */
  function visible(
    mask: string,
    extra: Readonly<Record<string, PlainTensor>> = {},
    parameters = '',
  ): readonly number[] {
    const text = model(`v: f32[B, T, 1]${parameters}`, 'f32[B, T, 1]', `attend(v * 0, v * 0, v) { mask: ${mask} }`);
    const v = { shape: [2, 3, 1], values: [1, 2, 4, 1, 2, 4] };
    return run(lowered(text), { v, ...extra }).y?.values.map((value) => Math.round(value * 1e6) / 1e6) ?? [];
  }
  const third = 2.333333;

  test('causal', () => {
    expect(visible('causal')).toEqual([1, 1.5, third, 1, 1.5, third]);
  });

  test('padding by lengths', () => {
    const len = { shape: [2], values: [1, 2], dtype: 'i32' as const };
    expect(visible('padding(len)', { len }, ', len: i32[B]')).toEqual([1, 1, 1, 1.5, 1.5, 1.5]);
  });

  test('padding by a mask of any element type', () => {
    const values = [0, 1, 0, 1, 0, 1];
    for (const dtype of ['i32', 'f32', 'bool'] as const) {
      const m = { shape: [2, 3], values, dtype };
      expect(visible('padding(m)', { m }, `, m: ${dtype}[B, T]`)).toEqual([2, 2, 2, 2.5, 2.5, 2.5]);
    }
  });

  test('combinations, and a row that may look nowhere gives zeros', () => {
    const m = { shape: [2, 3], values: [0, 1, 1, 1, 1, 1], dtype: 'i32' as const };
    expect(visible('causal and padding(m)', { m }, ', m: i32[B, T]')).toEqual([0, 2, 3, 1, 1.5, third]);
    expect(visible('not causal or padding(m)', { m }, ', m: i32[B, T]')).toEqual([3, 3, 3, third, third, third]);
  });

  test('any condition that broadcasts to [B, heads, T, S]', () => {
    expect(visible('iota(T)[:, new] == iota(T)')).toEqual([1, 2, 4, 1, 2, 4]);
  });

  test('a condition on the config chooses the mask', () => {
    expect(visible('if 1 < 2 { causal } else { true }')).toEqual([1, 1.5, third, 1, 1.5, third]);
    expect(visible('if 1 > 2 { causal } else { true }')).toEqual([third, third, third, third, third, third]);
  });

  test('a mask that is no condition, or does not fit', () => {
    const wrong = (mask: string, at: string) =>
      refused(model('x: f32[B, T, 4], m: i32[B, T]', 'f32[B, T, 4]', `attend(x, x, x) { mask: ${mask} }`), {
        code: 'SORA2110',
        at,
      });
    wrong('m', 'm');
    wrong('m != 0', 'm != 0');
    wrong('padding(x)', 'x');
  });
});
