/**
 * Ties, states, entries made from others, repeats with an index, and names that a config shares with a model.
 */
import { describe, expect, test } from 'vitest';
import { printProgram } from '../../../src/ir/print.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { printType } from '../../../src/ir/types.ts';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { lower, lowered, refused, run } from './kit.ts';

const head = 'import { Embedding, Linear } from "sora:nn"\ndim B in 1..4, T in 2..8 multiple of 2\n';

/** A language model in small; `fields` after the embedding. */
function words(fields: string, body = 'lin(embed(ids))', before = ''): string {
  return `${head}${before}
model Words {
  embed = Embedding(6, 4) as "wte"
${fields}
  entry score(ids: i32[B, T]) -> y: f32[B, T, 6] { ${body} }
}
`;
}

describe('tied … if missing', () => {
  const tied = words('lin = Linear(4, 6, bias: false) as "lm_head" tied embed.weight if missing');

  test('the weight names the one that stands in', () => {
    const program = lowered(tied);
    expect(program.weights.map(({ path, tied: other }) => [path, other])).toEqual([
      ['wte.weight', undefined],
      ['lm_head.weight', 'wte.weight'],
    ]);
    const text = printProgram(program);
    expect(text).toContain('weight "lm_head.weight" : f32[6, 4] tied "wte.weight"');
    expect(printProgram(readProgram(text))).toBe(text);
  });

  test('the verifier wants a declared weight of the same type', () => {
    const program = lowered(tied);
    const [first, second] = program.weights;
    const other = { ...program, weights: [first, { ...second, tied: 'elsewhere' }] } as typeof program;
    expect(verifyProgram(other, { stage: 'model' })).toEqual([
      'weight `lm_head.weight` is tied to `elsewhere`, which is not declared with its type',
    ]);
  });

  test('tensors, and one clause per tensor of a field', () => {
    const own = words('lin: f32[6, 4] tied embed.weight if missing', 'linear(embed(ids), lin)');
    expect(lowered(own.replace(', Linear', '')).weights.at(-1)).toMatchObject({ path: 'lin', tied: 'wte.weight' });
    const both = words(
      'offset: f32[6] as "bias"\nlin = Linear(4, 6) tied embed.weight if missing tied offset if missing',
    );
    const ties = lowered(both.replace('lin(embed(ids))', 'lin(embed(ids)) + offset')).weights.map(
      (weight) => weight.tied,
    );
    expect(ties).toEqual([undefined, undefined, 'wte.weight', 'bias']);
  });

  test('the target may stand below', () => {
    const text = `${head}model M {\n  lin = Linear(4, 6, bias: false) tied embed.weight if missing\n  embed = Embedding(6, 4)\n  entry f(ids: i32[B, T]) -> y: f32[B, T, 6] = lin(embed(ids))\n}\n`;
    expect(lowered(text).weights.map((weight) => weight.tied)).toEqual(['embed.weight', undefined]);
  });

  test.each([
    ['lin = Linear(4, 6, bias: false) tied embd.weight if missing', 'SORA2001', 'embd', 'unknown name'],
    ['lin = Linear(4, 6, bias: false) tied embed.wight if missing', 'SORA2004', 'wight', 'no member'],
    ['lin = Linear(4, 6, bias: false) tied embed if missing', 'SORA2112', 'embed', 'found an instance'],
    [
      'gain: f32[6] as "g.weight"\nlin = Linear(4, 6, bias: false) tied gain if missing',
      'SORA2112',
      'gain',
      'f32[6, 4]',
    ],
    ['lin = Linear(4, 6, bias: false) tied lin.weight if missing', 'SORA2112', 'lin.weight', 'tied to itself'],
    [
      'a = Linear(4, 6, bias: false) tied embed.weight if missing\nlin = Linear(4, 6, bias: false) tied a.weight if missing',
      'SORA2112',
      'a.weight',
      'is tied itself',
    ],
  ])('%s', (fields, code, at, message) => {
    const { diagnostics } = lower(words(fields));
    expect(diagnostics).toHaveLength(1);
    refused(words(fields), { code, at, message });
  });
});

describe('entry … = … with', () => {
  const base = (extra: string): string =>
    words(`lin = Linear(4, 6)\n${extra}`).replace('-> y: f32[B, T, 6] {', '-> f32[B, T, 6] {');

  test('takes the entry with sizes filled in', () => {
    const program = lowered(
      base('/// Two tokens.\nentry pair = score with T = 2\nentry one = score with B = 1, T = 2'),
    );
    const shown = program.entries.map(({ name, doc, parameters, results }) => [
      name,
      doc,
      ...[...parameters, ...results].map((tensor) => `${tensor.name}: ${printType(tensor.type)}`),
    ]);
    expect(shown).toEqual([
      ['pair', 'Two tokens.', 'ids: i32[B, 2]', 'pair: f32[B, 2, 6]'],
      ['one', undefined, 'ids: i32[1, 2]', 'one: f32[1, 2, 6]'],
      ['score', undefined, 'ids: i32[B, T]', 'score: f32[B, T, 6]'],
    ]);
  });

  test('gives the numbers of the entry that it is made from', () => {
    const body = 'lin(embed(ids)) + f32(iota(T))[:, new] * sum(f32(ids), axis: 1)[:, new, new] / T';
    const program = lowered(words('lin = Linear(4, 6)\nentry pair = score with T = 2', body));
    const weights = {
      'wte.weight': { shape: [6, 4], values: Array.from({ length: 24 }, (_, at) => at) },
      'lin.weight': { shape: [6, 4], values: Array.from({ length: 24 }, (_, at) => (at * 5) % 7) },
      'lin.bias': { shape: [6], values: [1, 2, 3, 4, 5, 6] },
    };
    const ids = { shape: [1, 2], values: [3, 5], dtype: 'i32' as const };
    expect(run(program, { ids }, weights, 'pair').y).toEqual(run(program, { ids }, weights, 'score').y);
  });

  test.each([
    ['entry pair = scor with T = 2', 'SORA2001', 'scor', 'unknown entry'],
    ['entry pair = score with S = 2', 'SORA2001', 'S', 'has no dim `S`'],
    ['entry pair = score with T = 16', 'SORA2206', '16', 'outside the range'],
    ['entry pair = score with T = 3', 'SORA2206', '3', 'no multiple of 2'],
    ['entry pair = score with T = 0.5', 'SORA2204', '0.5', 'a known integer'],
    ['entry pair = score with T = B', 'SORA2204', 'B', 'a known integer'],
    ['entry pair = score with T = 2, T = 4', 'SORA2002', 'T', 'given twice'],
    ['entry pair = score with T = 2\nentry more = pair with B = 1', 'SORA2001', 'pair', 'made from another entry'],
    ['entry score = score with T = 2', 'SORA2002', 'score', 'declared twice'],
  ])('%s', (member, code, at, message) => {
    refused(base(member), { code, at, message });
  });

  test('of an entry with a mistake nothing more is said', () => {
    const text = words('entry pair = score with T = 2', 'embed(ids)');
    refused(text, { code: 'SORA2104' });
  });
});

describe('state', () => {
  const withState = (state: string): string => words(`lin = Linear(4, 6)\n${state}`);

  test.each([
    ['state kv = KVCach(B, 2, 8, 4)', 'SORA2001', 'KVCach', 'unknown kind of state'],
    ['state kv = KVCache(B, 2, 8)', 'SORA2007', 'state kv = KVCache(B, 2, 8)', 'needs `width`'],
    ['state kv = KVCache(B, 2, T, 4)', 'SORA2203', 'T', 'known when compiling'],
    ['state kv = KVCache(B, 0, 8, 4)', 'SORA2204', '0', 'at least 1'],
    ['state kv = KVCache(B, 2.5, 8, 4)', 'SORA2006', '2.5', 'is an integer'],
    ['state kv = KVCache(batch: B, head: 2, positions: 8, width: 4)', 'SORA2007', 'head', 'no parameter `head`'],
    ['state lin = KVCache(B, 2, 8, 4)', 'SORA2002', 'lin', 'declared twice'],
  ])('%s', (state, code, at, message) => {
    refused(withState(state), { code, at, message });
  });

  test('is no tensor', () => {
    refused(words('lin = Linear(4, 6)\nstate kv = KVCache(B, 2, 8, 4)', 'lin(kv)'), {
      code: 'SORA2006',
      at: 'kv',
      message: 'the state `kv`',
    });
  });
});

describe('repeat with an index', () => {
  const scaled = 'module Scale(n: int, by: float) {\n  gain: f32[n]\n  fn (x: f32[..., n]) = x * gain * by\n}\n';
  const text = `${scaled}dim B in 1..4\nmodel M {\n  repeat s[i in 3] = Scale(2, i + 1)\n  entry f(x: f32[B, 2]) -> y: f32[B, 2] = s(x)\n}\n`;

  test('each copy has its number', () => {
    const gain = { shape: [2], values: [1, 1] };
    const weights = { 's.0.gain': gain, 's.1.gain': gain, 's.2.gain': gain };
    expect(run(lowered(text), { x: { shape: [1, 2], values: [1, 2] } }, weights).y?.values).toEqual([6, 12]);
  });

  test('copies may differ in shape, when each takes what the one before gives', () => {
    const pyramid = `import { Linear } from "sora:nn"\ndim B in 1..4\nmodel M {\n  repeat s[i in 3] = Linear(4 * (i + 1), 4 * (i + 2))\n  entry f(x: f32[B, 4]) -> y: f32[B, 16] = s(x)\n}\n`;
    expect(lowered(pyramid).weights.map(({ type }) => printType(type))).toContain('f32[16, 12]');
    refused(pyramid.replace('4 * (i + 2)', '4 * (i + 3)'), { code: 'SORA2101' });
  });

  test('a condition may hang on the index', () => {
    const first = text.replace('by: float) {\n  gain: f32[n]', 'at: int) {\n  gain: f32[n] if at == 0');
    const body = first
      .replace('x * gain * by', '{ if at == 0 { x * gain } else { x * at } }')
      .replace('= {', '{')
      .replace('} }', '} }');
    expect(lowered(body.replace('i + 1', 'i')).weights.map(({ path }) => path)).toEqual(['s.0.gain']);
  });

  test('the index is known in the arguments only', () => {
    refused(text.replace('i in 3', 'i in i'), { code: 'SORA2001', at: 'i' });
    refused(text.replace('s(x)', 's(x) * i'), { code: 'SORA2001', at: 'i' });
  });
});

describe('a config and a model of one name', () => {
  const small = 'config Small { width: int = 4 from "width" }\n';
  const text = `import { Linear } from "sora:nn"\ndim B in 1..4\n${small}model Small(c: Small) {\n  lin = Linear(c.width, c.width)\n  fn (x: f32[B, c.width]) = lin(x)\n  entry f(x: f32[B, c.width]) -> y: f32[B, c.width] = lin(x)\n}\nquantize Small {\n  "lin.weight": int8\n}\n`;

  test('both are known', () => {
    expect(lowered(text, { config: { width: 8 } }).config).toEqual({ 'Small.width': 8 });
  });

  test('both are imported', () => {
    const outer = `import { Small } from "./small.sora"\ndim B in 1..4\nmodel Outer(c: Small) {\n  inner = Small(c)\n  entry g(x: f32[B, c.width]) -> y: f32[B, c.width] = inner(x)\n}\n`;
    expect(lowered(outer, { files: { 'small.sora': text } }).weights.map(({ path }) => path)).toEqual([
      'inner.lin.weight',
      'inner.lin.bias',
    ]);
  });

  test('two configs of one name are still two', () => {
    const { diagnostics } = lower(`${small}${text}`);
    expect(describeDiagnostics(diagnostics).join()).toContain('declared twice');
  });
});
