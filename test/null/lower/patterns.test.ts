/**
 * `rearrange` and `einsum`: numbers against loops over the pattern, mistakes shown inside the string.
 */

import { describe, expect, test } from 'vitest';
import { philox2 } from '../../../src/ir/ops/random.ts';
import { optimize } from '../../../src/passes/index.ts';
import { lowered, model, type PlainTensor, refused, run } from './kit.ts';

function filled(shape: readonly number[], start = 1): PlainTensor {
  const length = shape.reduce((product, dim) => product * dim, 1);
  return { shape, values: Array.from({ length }, (_, at) => ((at * 7 + start * 3) % 11) + 1) };
}

/** All index vectors of the letters, with their sizes. */
function everyIndex(sizes: ReadonlyMap<string, number>): readonly ReadonlyMap<string, number>[] {
  let all: ReadonlyMap<string, number>[] = [new Map()];
  for (const [name, size] of sizes) {
    all = all.flatMap((index) => Array.from({ length: size }, (_, at) => new Map([...index, [name, at]])));
  }
  return all;
}

function offset(letters: string, index: ReadonlyMap<string, number>, sizes: ReadonlyMap<string, number>): number {
  return [...letters].reduce((at, letter) => at * (sizes.get(letter) ?? 1) + (index.get(letter) ?? 0), 0);
}

/** The definition of einsum: for each index of all letters, the product of the operands is added to the result. */
function definition(pattern: string, operands: readonly PlainTensor[]): PlainTensor {
  const [from = '', to = ''] = pattern.replaceAll(' ', '').split('->');
  const terms = from.split(',');
  const sizes = new Map<string, number>();
  for (const [at, term] of terms.entries()) {
    for (const [axis, letter] of [...term].entries()) sizes.set(letter, operands[at]?.shape[axis] ?? 1);
  }
  const shape = [...to].map((letter) => sizes.get(letter) ?? 1);
  const values: number[] = Array(shape.reduce((product, dim) => product * dim, 1)).fill(0);
  for (const index of everyIndex(sizes)) {
    const factors = terms.map((term, at) => operands[at]?.values[offset(term, index, sizes)] ?? 0);
    const place = offset(to, index, sizes);
    values[place] = (values[place] ?? 0) + factors.reduce((product, factor) => product * factor, 1);
  }
  return { shape, values };
}

describe('einsum', () => {
  test.each([
    ['bqd,bkd->bqk', [2, 3, 4], [2, 5, 4]],
    ['bthd,bshd->bhts', [2, 3, 2, 4], [2, 5, 2, 4]],
    ['ij,jk->ki', [2, 3], [3, 4]],
    ['i,j->ji', [3], [4]],
    ['bij,bij->b', [2, 3, 4], [2, 3, 4]],
    ['bij,ij->bij', [2, 3, 4], [3, 4]],
    ['abc,cd->bd', [2, 3, 4], [4, 2]],
    ['ab,cd->', [2, 3], [3, 2]],
    ['abc -> ca', [2, 3, 4], undefined],
    ['ab -> ', [2, 3], undefined],
  ])('%s', (pattern, first, second) => {
    const shapes = [first, ...(second ? [second] : [])];
    const names = ['p', 'q'].slice(0, shapes.length);
    const operands = shapes.map((shape, at) => filled(shape, at + 1));
    const wanted = definition(pattern, operands);
    const type = (shape: readonly number[]) => (shape.length === 0 ? 'f32' : `f32[${shape.join(', ')}]`);
    const parameters = names.map((name, at) => `${name}: ${type(shapes[at] ?? [])}`).join(', ');
    const text = `model M {\n  entry f(${parameters}) -> y: ${type(wanted.shape)} = einsum("${pattern}", ${names.join(', ')})\n}\n`;
    const inputs = Object.fromEntries(names.map((name, at) => [name, operands[at] as PlainTensor]));
    expect(run(lowered(text), inputs).y).toEqual(wanted);
  });

  test('three tensors are joined from the left', () => {
    const [p, q, r] = [filled([2, 3]), filled([3, 4], 2), filled([4, 2], 3)];
    const text =
      'model M {\n  entry f(p: f32[2, 3], q: f32[3, 4], r: f32[4, 2]) -> y: f32[2, 2] = einsum("ab,bc,cd->ad", p, q, r)\n}\n';
    expect(run(lowered(text), { p, q, r }).y).toEqual(definition('ab,bc,cd->ad', [p, q, r]));
  });

  const wrong = (pattern: string, tensors = 'x, x') =>
    model('x: f32[B, T, 4]', 'f32[B, T, T]', `einsum("${pattern}", ${tensors})`);
  test.each([
    ['btd,bsd', 'SORA2113', '"btd,bsd"', 'needs `->`'],
    ['btd,bsd->bt->s', 'SORA2113', '->', 'one `->`'],
    ['btd,bsd->btz', 'SORA2113', 'z', 'no operand has the axis `z`'],
    ['btt,bsd->bts', 'SORA2113', 't', 'twice in one term'],
    ['b1d,bsd->bs', 'SORA2113', '1', 'means nothing'],
    ['...d,bsd->bs', 'SORA2113', '.', 'means nothing'],
    ['btd->bt', 'SORA2113', '"btd->bt"', '1 terms, but `einsum` gets 2'],
    ['bt,bsd->bts', 'SORA2102', 'bt', '2 axes, the tensor 3'],
    ['btd,tsd->bts', 'SORA2101', 't', '`T`'],
  ])('%s', (pattern, code, at, message) => {
    refused(wrong(pattern), { code, at, message });
  });

  test('tensors of two types', () => {
    refused(model('x: f32[B, 4], i: i32[4]', 'f32[B]', 'einsum("bd,d->b", x, i)'), { code: 'SORA2103', at: 'i' });
  });
});

describe('rearrange', () => {
  const x = filled([2, 3, 4]);
  const reordered = (permute: (b: number, t: number, h: number, d: number) => number): readonly number[] => {
    const values: number[] = Array(24).fill(0);
    for (let b = 0; b < 2; b++)
      for (let t = 0; t < 3; t++)
        for (let h = 0; h < 2; h++)
          for (let d = 0; d < 2; d++) values[permute(b, t, h, d)] = x.values[(b * 3 + t) * 4 + h * 2 + d] ?? 0;
    return values;
  };

  test.each([
    ['b t (h d) -> b h t d', 'h: 2', 'f32[B, 2, T, 2]', reordered((b, t, h, d) => ((b * 2 + h) * 3 + t) * 2 + d)],
    ['b t (h d) -> (b h) t d', 'd: 2', 'f32[B * 2, T, 2]', reordered((b, t, h, d) => ((b * 2 + h) * 3 + t) * 2 + d)],
    ['... (h d) -> ... d h', 'h: 2', 'f32[B, T, 2, 2]', reordered((b, t, h, d) => ((b * 3 + t) * 2 + d) * 2 + h)],
    ['b t d -> t 1 (b d)', '', 'f32[T, 1, B * 4]', reordered((b, t, h, d) => t * 8 + b * 4 + h * 2 + d)],
    ['b ... -> ... b', '', 'f32[T, 4, B]', reordered((b, t, h, d) => (t * 4 + h * 2 + d) * 2 + b)],
  ])('%s', (pattern, sizes, result, values) => {
    const call = `rearrange(x, "${pattern}"${sizes === '' ? '' : `, ${sizes}`})`;
    expect(run(lowered(model('x: f32[B, T, 4]', result, call)), { x }).y?.values).toEqual(values);
  });

  test('there and back is nothing', () => {
    const body = 'rearrange(rearrange(x, "b t (h d) -> b h t d", h: 2), "b h t d -> b t (h d)")';
    expect(run(lowered(model('x: f32[B, T, 4]', 'f32[B, T, 4]', body)), { x }).y?.values).toEqual(x.values);
  });

  test.each([
    ['"b t d"', 'SORA2113', '"b t d"', 'needs `->`'],
    ['"b t d -> b t"', 'SORA2113', 'd', 'is lost'],
    ['"b t d -> b t d e"', 'SORA2113', 'e', 'not on the left'],
    ['"b t b -> t b"', 'SORA2113', 'b', 'stands twice'],
    ['"b t (h d -> b t h d"', 'SORA2113', '(', 'never closed'],
    ['"b t h d) -> b t h d"', 'SORA2113', ')', 'closes nothing'],
    ['"b t () d -> b t d"', 'SORA2113', '()', 'hold no axis'],
    ['"b t ((h) d) -> b t h d"', 'SORA2113', '(', 'do not nest'],
    ['"b t 2 -> b t"', 'SORA2113', '2', 'means nothing'],
    ['"b t (h d) -> b t h d"', 'SORA2113', '(h d)', '`h` and `d` are not known'],
    ['"b d -> d b"', 'SORA2102', 'b d ', '2 axes, the tensor 3'],
    ['"b t (h d) -> b h t d", h: 3', 'SORA2101', '(h d)', 'does not divide'],
    ['"b t (h d) -> b h t d", h: 2, d: 3', 'SORA2101', '(h d)', 'makes it 6'],
    ['"b 1 d -> b d"', 'SORA2101', '1', 'makes it 1'],
    ['"b t (h d) -> b h t d", heads: 2', 'SORA2007', 'heads', 'no axis `heads`'],
    ['"b t (h d) -> b h t d", h: "2"', 'SORA2006', '"2"', 'is an integer'],
    ['"b t (h d) -> b h t d", 2', 'SORA2007', '2', 'under the name'],
    ['3', 'SORA2006', '3', 'is a string'],
  ])('%s', (given, code, at, message) => {
    refused(model('x: f32[B, T, 4]', 'f32[B, T, 4]', `rearrange(x, ${given})`), { code, at, message });
  });

  test('with an escape in the string the whole literal is shown', () => {
    const text = model('x: f32[B, T, 4]', 'f32[B, T, 4]', 'rearrange(x, "b t d\\t-> b t")');
    refused(text, { code: 'SORA2113', at: '"b t d\\t-> b t"' });
  });
});

describe('axes and constants', () => {
  test('a reduction by runtime dim', () => {
    const x = { shape: [1, 2, 3], values: [1, 2, 3, 4, 5, 6] };
    const text = model('x: f32[B, T, 3]', 'f32[B, 3]', 'sum(x, axis: T) + amax(softmax(x, T) * 0, axis: T)');
    expect(run(lowered(text), { x }).y?.values).toEqual([5, 7, 9]);
    const both = model('x: f32[B, T, 3]', 'f32[3]', 'sum(x, axis: [B, T])');
    expect(run(lowered(both), { x }).y?.values).toEqual([5, 7, 9]);
  });

  test.each([
    ['sum(x, axis: S)', 'dim S in 1..4', 'no axis has size `S`'],
    ['sum(x[:, :, new] * 1 + x[:, new], axis: T)', '', '2 axes have size `T`'],
  ])('%s', (body, before, message) => {
    const text = model('x: f32[B, T]', 'f32[B]', body, before);
    refused(text, { code: 'SORA2102', message });
  });

  test('tensors of numbers', () => {
    const body = 'matmul(x, tensor([[1, 0.5], [0, -1]])) + full([B, 2], 1.0)';
    const text = `dim B in 1..8\nmodel M {\n  entry f(x: f32[B, 2]) -> y: f32[B, 2] = ${body}\n}\n`;
    expect(run(lowered(text), { x: { shape: [1, 2], values: [2, 3] } }).y?.values).toEqual([3, -1]);
    const integers = 'model M {\n  entry f(x: i32[3]) -> y: i32[3] = x + tensor([1, 2, 3]) * full([3], 2)\n}\n';
    expect(run(lowered(integers), { x: { shape: [3], values: [0, 0, 0], dtype: 'i32' } }).y?.values).toEqual([2, 4, 6]);
  });

  test.each([
    ['tensor([[1, 2], [3]])', 'SORA2006', 'differ in length'],
    ['tensor([])', 'SORA2006', 'empty'],
    ['tensor([1, x])', 'SORA2006', 'list of numbers'],
    ['tensor([3000000000])', 'SORA2204', 'does not fit'],
    ['full([0], 1.0)', 'SORA2204', 'at least 1'],
    ['dropout(x, 1.5)', 'SORA2204', 'below 1'],
    ['dropout(x, 0.1, seed: 0.5)', 'SORA2006', 'the seed'],
    ['dropout(x, "a")', 'SORA2204', 'found the string'],
    ['f32(dropout(x != 0, 0.1))', 'SORA2103', 'takes floats'],
    ['rng([B], 0.5)', 'SORA2103', 'a tensor of `i32`'],
    ['rng([T], iota(T))', 'SORA2103', 'one `i32`'],
  ])('%s', (body, code, message) => {
    refused(model('x: f32[B, T]', 'f32[B, T]', body), { code, message });
  });

  test('split into parts of given sizes', () => {
    const x = { shape: [1, 2, 4], values: [1, 2, 3, 4, 5, 6, 7, 8] };
    const text = (sizes: string) =>
      model('x: f32[B, T, 4]', 'f32[B, T, 1]', `let [a, b, c] = split(x, ${sizes}) a * 100 + b[..., 1:] * 10 + c`);
    expect(run(lowered(text('[1, 2, 1]')), { x }).y?.values).toEqual([134, 578]);
    refused(text('[1, 2, 2]'), { code: 'SORA2101', at: '[1, 2, 2]', message: '5 together, the axis is `4`' });
    refused(text('[1, 0, 3]'), { code: 'SORA2204', message: 'at least 1' });
    refused(text('[1, 3]'), { code: 'SORA2007', at: 'a, b, c' });
  });

  test('rng depends on place and seed, and is uniform', () => {
    const program = lowered(
      'dim B in 1..4000\nmodel M {\n  entry f(x: f32[B, 2], seed: i32) -> { a: f32[B, 2], b: f32[B, 2] } {\n    { a: x + rng([B, 2], seed), b: x + rng([B, 2], 7) }\n  }\n}\n',
    );
    const x = { shape: [2000, 2], values: new Array<number>(4000).fill(0) };
    const call = (seed: number) => run(program, { x, seed: { shape: [], values: [seed], dtype: 'i32' } });
    const [seven, eight] = [call(7), call(8)];
    const values = seven.a?.values ?? [];
    expect(values).toEqual(seven.b?.values);
    expect(eight.a?.values).not.toEqual(values);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values)).toBeLessThan(1);
    // Mean 1/2 and variance 1/12 of 4,000 draws: within four deviations, 1/sqrt(12 n) and about 1/sqrt(180 n).
    const mean = values.reduce((sum, value) => sum + value, 0) / 4000;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.019);
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4000;
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.005);
  });

  test('philox2x32-10 gives the published words', () => {
    // Known answers of Random123 (kat_vectors): zeros, ones, digits of pi; counter, key, upper word of the counter.
    expect(philox2(0, 0)).toBe(0xff1dae59);
    expect(philox2(0xffffffff, 0xffffffff, 0xffffffff)).toBe(0x2c3f628b);
    expect(philox2(0x243f6a88, 0x13198a2e, 0x85a308d3)).toBe(0xdd7ce038);
  });

  test('dropout leaves an entry as it is', () => {
    const program = lowered(model('x: f32[B, T]', 'f32[B, T]', 'dropout(x, 0.5, seed: 7)'));
    expect(program.entries[0]?.graph.nodes.map((node) => node.op)).toEqual(['input', 'dropout']);
    const { graph } = optimize(program).value.entries[0] ?? expect.fail('no entry');
    expect(graph.nodes.map((node) => node.op)).toEqual(['input']);
  });

  test('every place has random numbers of its own, places of one seed share them', () => {
    const places = ['0.5', '0.5', '0.5, seed: 7', '0.25, seed: -1', '0', '0.5, seed: 7', '0.5'];
    const source = model('x: f32[B, T]', 'f32[B, T]', places.map((given) => `dropout(x, ${given})`).join(' + '));
    const nodes = lowered(source).entries[0]?.graph.nodes.filter((node) => node.op === 'dropout') ?? [];
    expect(nodes.map((node) => [node.attributes.p, node.attributes.stream])).toEqual([
      [0.5, 0],
      [0.5, 2],
      [0.5, 15],
      [0.25, 4294967295],
      [0.5, 15],
      [0.5, 4],
    ]);
  });
});
