/**
 * `train`, `quantize`, `prune`, `adapter`, `golden`: accepted without a word when right, one diagnostic for each mistake.
 */
import { describe, expect, test } from 'vitest';
import { matchesGlob } from '../../../src/ir/lower/use-globs.ts';
import { printFormat } from '../../../src/ir/print.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { lower, lowered, refused } from './kit.ts';

const head = `import { Embedding, Linear } from "sora:nn"
dim B in 1..8, T in 2..16
config Sizes { width: int = 32, rate: float = 0.001 }
module Block(c: Sizes) {
  q_proj = Linear(c.width, c.width) as "attn.q_proj"
  up = Linear(c.width, c.width) as "mlp.fc1"
  state kv = KVCache(B, 2, 16, 16)
  fn (x: f32[B, T, c.width]) {
    let q = q_proj(x)
    x + up(attend(q, q, q) { heads: 2, mask: causal, cache: kv })
  }
}
model Tagger(c: Sizes) {
  word = Embedding(100, c.width)
  repeat layers[2] = Block(c) as "model.layers"
  tags = Linear(c.width, 12)
  /// Scores of each token.
  entry tag(ids: i32[B, T], weight: f32[B, T] = 1) -> f32[B, T, 12] = tags(layers(word(ids))) * weight[:, :, new]
}
`;

const right: readonly string[] = [
  `train Tagger.tag {
    target y: i32[B, T]
    read ids: tokens("words", "more", max: 12, pad: 1)
    read y: labels("tags", pad: -100)
    loss: cross_entropy(tag[:, :-1], y[:, 1:], smoothing: 0.1, ignore: -100) * 0.5 + mse(weight, weight)
    optimizer: adamw(lr: cosine(peak: c.rate, warmup: 0.1), beta2: 0.98, weight_decay: 0.01)
    no_decay: "**.bias", "word.*"
    freeze: "model.layers.0.**"
    "tags.*": lr(10)
    clip_norm: 1.0
    accumulate: 4
    seed: 0
  }`,
  'train Tagger.tag { loss: cross_entropy(tag, ids), optimizer: sgd(0.1, momentum: 0.9, nesterov: true) }',
  `train Tagger.tag {
    target said: i32[B, 3]
    target count: i32[B]
    target costs: f32[12]
    loss: ctc(tag, said, target_lengths: count) + 0.1 * contrastive(tag[:, 0], tag[:, 1]) + cross_entropy(tag, ids, costs)
    optimizer: lion(0.001, weight_decay: 0.1)
  }`,
  'quantize Tagger {\n  "model.layers.**_proj.weight", "tags.weight": int4(group: 32)\n  "word.weight": int8\n  state "**.kv": f16\n}',
  'quantize Tagger {\n  "tags.weight": int4(group: 16, calibrate: gptq)\n  "word.weight": int8(calibrate: percentile, share: 0.99)\n}',
  'prune Tagger {\n  heads "model.layers.*.attn": keep 0.75 by l2\n  neurons "**.mlp": keep 0.5\n  "**.fc1.weight": nm(2, 4) by magnitude\n  "tags.weight": keep 0.5\n}',
  'prune Block {\n  heads "attn": keep 0.75 by l2\n  "mlp.fc*.weight": nm(2, 4) by magnitude\n}',
  'adapter Tagger {\n  "tags.**": full\n}',
  'adapter Tagger {\n  "**.q_proj.weight": lora(rank: 8, alpha: 16, dropout: 0.05)\n}',
  'golden Tagger.tag {\n  inputs: "golden/a.safetensors"\n  outputs: "golden/b.safetensors"\n  tolerance: 1e-4\n}',
];

test.each(right)('%s', (block) => {
  const plain = lowered(head);
  expect(lowered(`${head}${block}\n`)).toMatchObject({ name: plain.name, weights: { length: plain.weights.length } });
});

const training = (items: string): string =>
  `train Tagger.tag {\n${items.includes('loss:') ? '' : 'loss: cross_entropy(tag, ids)\n'}${items.includes('optimizer:') ? '' : 'optimizer: adam(0.1)\n'}${items}\n}`;

describe('mistakes', () => {
  const cases: readonly (readonly [block: string, code: string, at: string, message: string, help?: string])[] = [
    // which model, which entry
    ['quantize Taggr { "**": f16 }', 'SORA2001', 'Taggr', 'unknown name', 'Tagger'],
    ['quantize Sizes { "**": f16 }', 'SORA2006', 'Sizes', 'is about a model'],
    ['quantize Tagger.tag { "**": f16 }', 'SORA2304', 'tag', 'the whole model'],
    [training('').replace('.tag', ''), 'SORA2305', 'Tagger', 'needs an entry', 'train Tagger.tag'],
    [training('').replace('.tag', '.tg'), 'SORA2004', 'tg', 'no entry', 'tag'],
    ['train Tagger.tag { }', 'SORA2305', 'train Tagger', 'needs `loss` and `optimizer`'],
    ['golden Tagger.tag { inputs: "a.safetensors" }', 'SORA2305', 'golden Tagger', 'needs `outputs`'],
    // words
    [training('freze: "word.*"'), 'SORA2301', 'freze', 'has no `freze`', 'freeze'],
    ['quantize Tagger { freeze: "word.*" }', 'SORA2301', 'freeze', 'has no `freeze`', 'rules'],
    ['quantize Tagger { stat "**.kv": f16 }', 'SORA2301', 'stat', 'has no `stat`', 'state'],
    ['adapter Tagger { heads "**": lora(4) }', 'SORA2301', 'heads', 'has no `heads`', 'there is `after`'],
    [training('"word.*": decay(-1)'), 'SORA2304', '-1', '`weight_decay` of `decay` is a number of at least 0'],
    [training('"word.*": decay'), 'SORA2007', 'decay', 'needs `weight_decay`'],
    [training('optimizer: sgd(0.1, nesterov: true)'), 'SORA2304', 'sgd(0.1, nesterov: true)', 'needs a momentum'],
    [training('optimizer: sgd(step(0.1))'), 'SORA2007', 'step(0.1)', 'needs `every`'],
    [training('optimizer: sgd(step(0.1, every: 2, factor: 1))'), 'SORA2304', '1', 'below 1'],
    [training('recompute: 3'), 'SORA2304', '3', 'is true or takes names of parts in quotes, found'],
    [training('recompute: true, "**"'), 'SORA2304', 'true', 'takes names of parts'],
    [training('recompute: "model.layer.*"'), 'SORA2302', '"model.layer.*"', 'selects no part', 'model.layers.*'],
    [training('precision: half'), 'SORA2304', 'half', 'one of `f32`, `f16`'],
    [training('ema: 1.5'), 'SORA2304', '1.5', 'a number above 0 and below 1'],
    [training('"word.*": f16'), 'SORA2303', 'f16', 'unknown rule of training'],
    [training('"word.*": lr(-1)'), 'SORA2304', '-1', 'at least 0'],
    [training('"wrod.*": lr(0.1)'), 'SORA2302', '"wrod.*"', 'selects no weight'],
    [
      'golden Tagger.tag {\n  inputs: "a.safetensors"\n  outputs: "b.safetensors"\n  "word.*": f16\n}',
      'SORA2301',
      '"word.*": f16',
      'no rules',
    ],
    ['prune Tagger { target y: i32[B] }', 'SORA2301', 'y', 'no targets'],
    [training('seed: 1\nseed: 2'), 'SORA2002', 'seed', 'given twice'],
    // globs
    [training('freeze: "wrod.*"'), 'SORA2302', '"wrod.*"', 'selects no weight', 'word.*'],
    [training('freeze: 3'), 'SORA2304', '3', 'names of weights'],
    ['quantize Tagger { "layers.**": f16 }', 'SORA2302', '"layers.**"', 'selects no weight', '**.layers.**'],
    ['quantize Tagger { state "**.kw": f16 }', 'SORA2302', '"**.kw"', 'selects no state', '**.kv'],
    ['prune Tagger { heads "**.atn": keep 0.5 }', 'SORA2302', '"**.atn"', 'selects no part', '**.attn'],
    ['prune Block { "model.layers.**": nm(2, 4) }', 'SORA2302', '"model.layers.**"', 'of `Block`'],
    // methods
    [training('optimizer: adanw(0.1)'), 'SORA2303', 'adanw', 'unknown optimizer', 'adamw'],
    [training('optimizer: adam'), 'SORA2007', 'adam', 'needs `lr`'],
    [training('optimizer: 3'), 'SORA2304', '3', 'known optimizer', 'adamw'],
    [training('optimizer: adam(lr: cosin(0.1))'), 'SORA2303', 'cosin', 'unknown schedule', 'cosine'],
    [training('optimizer: adam(lr: 0)'), 'SORA2304', '0', 'above 0'],
    [training('optimizer: adam(lr: "fast")'), 'SORA2304', '"fast"', 'found the string'],
    [training('optimizer: adam(lr: 0.1, beta: 0.9)'), 'SORA2007', 'beta', 'no parameter', 'beta1'],
    [training('optimizer: adam(0.1, beta1: 1)'), 'SORA2304', '1', 'below 1'],
    [training('optimizer: adam(0.1), sgd(0.1)'), 'SORA2304', 'sgd(0.1)', 'takes one value'],
    [training('accumulate: 0.5'), 'SORA2304', '0.5', 'an integer'],
    [training('accumulate: c.widht'), 'SORA2004', 'widht', 'no member', 'width'],
    [training('optimizer: adam(0.1) by l2'), 'SORA2304', 'l2', '`by` has no meaning'],
    ['quantize Tagger { "word.weight": keep 0.5 }', 'SORA2304', 'keep 0.5', '`keep` has no meaning'],
    ['quantize Tagger { "word.weight": int4(calibrate: gtpq) }', 'SORA2304', 'gtpq', 'one of `minmax`', 'gptq'],
    ['quantize Tagger { "word.weight": int8(calibrate: 3) }', 'SORA2304', '3', 'one of `minmax`'],
    [
      'quantize Tagger { "word.weight": int8(calibrate: mse, share: 0.9) }',
      'SORA2304',
      'int8(calibrate: mse, share: 0.9)',
      '`share` belongs to',
    ],
    ['quantize Tagger { "word.weight": int8(calibrate: percentile, share: 0.1) }', 'SORA2304', '0.1', 'above 0.5'],
    ['quantize Tagger { "word.weight": int3 }', 'SORA2303', 'int3', 'number format', 'int'],
    ['quantize Tagger { state "**": int4 }', 'SORA2303', 'int4', 'number format', 'int8'],
    ['quantize Tagger { "tags.weight": int4(group: 24) }', 'SORA2304', 'int4(group: 24)', '`tags.weight`, 32 long'],
    ['quantize Tagger { "**.bias": int8 }', 'SORA2304', '"**.bias"', 'belongs to matrices of f32'],
    ['quantize Tagger { "tags.weight": int4(symmetric: 1) }', 'SORA2304', '1', 'true or false'],
    ['prune Tagger { "**.fc1.weight": nm(4, 4) }', 'SORA2304', 'nm(4, 4)', 'keeps everything'],
    ['prune Tagger { "tags.weight": nm(2, 5) }', 'SORA2304', 'nm(2, 5)', '`tags.weight`, 32 long', 'nm(2, 4)'],
    ['prune Tagger { "**.fc1.weight": keep 1.5 }', 'SORA2304', '1.5', 'below 1'],
    ['prune Tagger { layers "model.layers": nm(2, 4) }', 'SORA2304', 'nm(2, 4)', 'kept or dropped whole'],
    ['prune Tagger { layers "model.layers": keep 0.5 by l2 }', 'SORA2304', 'l2', 'lie evenly'],
    ['prune Tagger { "word.weight": keep 0.5 by taylor }', 'SORA2303', 'taylor', 'criterion'],
    [
      'prune Tagger { "word.weight": gradual(keep: 0.5, from: 0.5, to: 0.2) }',
      'SORA2304',
      'gradual(keep: 0.5, from: 0.5, to: 0.2)',
      '0.5 to 0.2',
    ],
    ['prune Tagger { "word.weight": keep 0.5 by movement }', 'SORA2304', 'movement', 'while training', 'gradual('],
    ['prune Tagger { heads "**.attn": keep 0.5 by movement }', 'SORA2303', 'movement', 'criterion'],
    ['prune Tagger { heads "**.attn": budget(1.5) }', 'SORA2304', '1.5', 'below 1'],
    ['prune Tagger { heads "**.attn": nm(2, 4) }', 'SORA2304', 'nm(2, 4)', 'kept or dropped whole'],
    ['prune Tagger { "word.weight": keep 0.5 by magnitud }', 'SORA2303', 'magnitud', 'criterion', 'magnitude'],
    ['adapter Tagger { "**.bias": lora(rank: 4) }', 'SORA2304', '"**.bias"', 'belongs to matrices'],
    ['adapter Tagger { "tags.weight": bottleneck(4) }', 'SORA2304', 'bottleneck(4)', 'behind a part', 'after'],
    ['adapter Tagger { after "tags": lora(4) }', 'SORA2303', 'lora', 'adapter behind a part', 'bottleneck'],
    ['adapter Tagger { after "tag": bottleneck(4) }', 'SORA2302', '"tag"', 'selects no part', 'tags'],
    ['adapter Tagger { after "tags": bottleneck(0) }', 'SORA2304', '0', 'at least 1'],
    ['adapter Tagger { after "tags": bottleneck }', 'SORA2007', 'bottleneck', 'needs `size`'],
    [
      'adapter Tagger { after "tags": bottleneck(4, activation: swish) }',
      'SORA2304',
      'swish',
      'one of `gelu`, `relu`, `silu`, `tanh`',
    ],
    ['adapter Tagger { after "model": bottleneck(4) }', 'SORA2304', 'bottleneck(4)', '`model` is no module', '`fn`'],
    ['adapter Block { after "mlp.fc1": bottleneck(4) }', 'SORA2304', 'after', 'the whole model'],
    ['adapter Tagger { "**.weight": lora(rank: 0) }', 'SORA2304', '0', 'at least 1'],
    [
      'golden Tagger.tag { inputs: "../a.safetensors", outputs: "b.safetensors" }',
      'SORA2304',
      '"../a.safetensors"',
      'leaves',
    ],
    ['golden Tagger.tag { inputs: "a.json", outputs: "b.safetensors" }', 'SORA2304', '"a.json"', '.safetensors'],
    ['golden Tagger.tag { inputs: 1, outputs: "b.safetensors" }', 'SORA2304', '1', 'a path in quotes'],
    // losses
    [training('loss: crossentropy(tag, ids)'), 'SORA2303', 'crossentropy', 'unknown loss', 'cross_entropy'],
    [training('loss: cross_entropy(tag, idz)'), 'SORA2001', 'idz', 'unknown name', 'ids'],
    [training('loss: cross_entropy(tag)'), 'SORA2007', 'cross_entropy', 'needs `target`'],
    [training('loss: mse(tag, ids)'), 'SORA2304', 'ids', '`target` must be `f32[B, T, 12]`'],
    [training('loss: cross_entropy(ids, ids)'), 'SORA2304', 'ids', 'is a float tensor'],
    [training('loss: cross_entropy(tag[:, :-1], ids)'), 'SORA2304', 'ids', 'found `i32[B, T]`'],
    [training('loss: tag'), 'SORA2304', 'tag', 'a loss is a known loss'],
    [training('loss: cross_entropy(tag, ids, smoothing: 2)'), 'SORA2304', '2', 'below 1'],
    [training('target y: i32[B, S]'), 'SORA2001', 'S', 'unknown name'],
    [training('target ids: i32[B, T]'), 'SORA2002', 'ids', 'a name of the entry'],
    [training('target y: i32[B]\ntarget y: i32[B]'), 'SORA2002', 'y', 'declared twice'],
    // reads
    [training('read idz: tokens("text")'), 'SORA2001', 'idz', 'neither a parameter', 'ids'],
    [training('read ids: tokens("a")\nread ids: tokens("b")'), 'SORA2002', 'ids', 'read twice'],
    [training('read ids: token("text")'), 'SORA2303', 'token', 'unknown way to read', 'tokens'],
    [training('read ids: "text"'), 'SORA2304', '"text"', 'a way to read', 'tokens("text")'],
    [training('read ids: label("text")'), 'SORA2304', 'label("text")', '`ids` is `i32[B, T]`', '`tokens`'],
    [training('read weight: number("text")'), 'SORA2304', 'number("text")', 'gives `f32[B]`', '`vector`'],
    [training('read ids: tokens()'), 'SORA2304', 'tokens()', 'takes columns in quotes'],
    [training('read ids: tokens(3)'), 'SORA2304', '3', 'takes columns in quotes'],
    [training('read ids: labels("a", "b")'), 'SORA2304', '"b"', 'takes one column'],
    [training('read ids: tokens("text", max: 17)'), 'SORA2304', 'tokens("text", max: 17)', '2..16 long'],
    [training('read ids: tokens("text", mx: 16)'), 'SORA2007', 'mx', 'no parameter', 'max'],
    [training('read ids: tokens("text", max: 2, max: 2)'), 'SORA2007', 'max', 'given twice'],
    [training('read ids: tokens("text", pad: -1)'), 'SORA2304', '-1', 'at least 0'],
    [training('read ids: window()'), 'SORA2304', 'window()', 'a number of tokens'],
    [training('read ids: window(1)'), 'SORA2304', 'window(1)', '1 is not in it'],
    [training('target y: i32[B, T]\nread y: next(ids)'), 'SORA2304', 'ids', 'read as `window`'],
    [training('target y: i32[B, T]\nread y: next("ids")'), 'SORA2304', '"ids"', 'an input that is read'],
    [training('target y: i32[B, T]\nread y: masked(ids, share: 1)'), 'SORA2304', '1', 'below 1'],
    [training('target y: i32[B, T]\nread ids: window(4)\nread y: masked(ids)'), 'SORA2304', 'ids', 'read as `tokens`'],
    [training('target y: i32[B, T]\nread y: mask(y)'), 'SORA2304', 'y', 'follows an input', '`ids`'],
    ['prune Tagger { read y: label("a") }', 'SORA2301', 'y', 'reads no data'],
  ];

  for (const [block, code, at, message, help] of cases) {
    test(block, () => {
      refused(`${head}${block}\n`, { code, at, message, ...(help === undefined ? {} : { help }) });
    });
  }

  test('a model that is wrong itself is told about first', () => {
    const wrong = head.replace('word = Embedding(100, c.width)', 'word = Embeding(100, c.width)');
    const { diagnostics } = lower(`${wrong}quantize Tagger {\n  "word.weight": int8\n}\n`);
    expect(describeDiagnostics(diagnostics).map((line) => line.split(' ')[1])).toEqual(['SORA2001']);
  });

  test('blocks of imported files are theirs', () => {
    const files = { 'tagger.sora': `${head}quantize Tagger {\n  "nothing": int8\n}\n` };
    const outer = `import { Tagger, Sizes } from "./tagger.sora"\ndim B in 1..8\nmodel Outer(c: Sizes) {\n  inner = Tagger(c)\n  entry f(x: f32[B, 12]) -> y: f32[B, 12] = x + inner.tags.offset\n}\n`;
    expect(lower(outer, { files }).diagnostics).toEqual([]);
  });
});

describe('globs', () => {
  test.each([
    ['a.b', 'a.b', true],
    ['a.*', 'a.b', true],
    ['a.*', 'a.b.c', false],
    ['a.**', 'a.b.c', true],
    ['**.c', 'a.b.c', true],
    ['**.c', 'c', true],
    ['**.c', 'a.bc', false],
    ['a.**.c', 'a.c', true],
    ['a.**_proj.w', 'a.0.q_proj.w', true],
    ['fc*.w', 'fc12.w', true],
    ['*', 'a.b', false],
    ['**', 'a.b', true],
    ['a*b*c', 'axxbyyc', true],
    ['a*b*c', 'axxbyy', false],
    ['', '', true],
  ])('%s on %s: %s', (glob, path, wanted) => {
    expect(matchesGlob(glob, path)).toBe(wanted);
  });

  test('a hostile glob takes no time', () => {
    const start = performance.now();
    expect(matchesGlob(`${'*a'.repeat(200)}b`, 'a'.repeat(2000))).toBe(false);
    expect(performance.now() - start).toBeLessThan(1000);
  });
});

describe('reads', () => {
  const images = `import { Embedding } from "sora:nn"
dim B in 1..8, T in 2..16
model Both {
  w = Embedding(10, 4)
  entry see(image: f32[B, 3, 4, 4]) -> s: f32[B, 4] = image[:, 0, 0]
  entry two(a: i32[B, T], b: i32[B, T]) -> s: f32[B, T, 4] = w(a) + w(b)
  entry say(input_ids: i32[B, T], attention_mask: i32[B, T] = 1, token_type_ids: i32[B, T] = 0) -> s: f32[B, 4] {
    w(input_ids)[:, 0] + w(attention_mask)[:, 0] + w(token_type_ids)[:, 0]
  }
}
`;
  const readsOf = (block: string) =>
    (lowered(`${images}${block}\n`).train?.reads ?? []).map(
      ({ name, method, columns, of, options }) =>
        `${name} ${method}(${[...columns, ...(of === undefined ? [] : [of]), ...Object.entries(options).flat()].join(' ')})`,
    );
  const rest = 'target y: i32[B], loss: cross_entropy(s, y), optimizer: adam(0.1)';

  test('what goes without saying: the one text, its mask and segments, the one label, the one image', () => {
    expect(readsOf(`train Both.say { ${rest} }`)).toEqual([
      'input_ids tokens(text)',
      'y label(label)',
      'attention_mask mask(input_ids)',
      'token_type_ids segments(input_ids)',
    ]);
    expect(readsOf(`train Both.see { ${rest} }`)).toEqual(['image image(image)', 'y label(label)']);
  });

  test('nothing goes without saying where there are two of a kind', () => {
    const two = 'loss: next_token(s, a), optimizer: adam(0.1)';
    expect(readsOf(`train Both.two { ${two} }`)).toEqual([]);
    expect(readsOf(`train Both.two { read a: tokens("left"), ${two} }`)).toEqual(['a tokens(left)']);
  });

  test('what is said counts, with numbers of the model', () => {
    const read = 'read input_ids: tokens("a", "b", max: 2 * 4)\nread y: label("kind")';
    expect(readsOf(`train Both.say { ${rest}, ${read} }`)).toEqual([
      'input_ids tokens(a b max 8)',
      'y label(kind)',
      'attention_mask mask(input_ids)',
      'token_type_ids segments(input_ids)',
    ]);
    expect(readsOf(`train Both.see { ${rest}, read image: image("pixels", mean: [0.5, 0.4, 0.3], std: 0.5) }`)).toEqual(
      ['image image(pixels mean 0.5,0.4,0.3 std 0.5)', 'y label(label)'],
    );
  });

  test('what the loss compares, where it has names', () => {
    const block = (loss: string) => `train Both.say { target y: i32[B], loss: ${loss}, optimizer: adam(0.1) }`;
    const scored = (loss: string) => lowered(`${images}${block(loss)}\n`).train?.scored;
    expect(scored('cross_entropy(s, y, ignore: 3) + 0.5 * binary_cross_entropy(s, s) + mse(s, s)')).toEqual([
      { scores: 's', target: 'y', kind: 'classes', ignore: 3 },
      { scores: 's', target: 's', kind: 'binary', ignore: undefined },
    ]);
    expect(scored('cross_entropy(s[:, :2], y)')).toEqual([]);
  });
});

describe('number formats of weights', () => {
  const formatsOf = (source: string): Readonly<Record<string, string>> =>
    Object.fromEntries(
      lowered(source).weights.flatMap(({ path, format }) => (format ? [[path, printFormat(format)]] : [])),
    );

  test('a later rule overrides an earlier one, and vectors stay as they are', () => {
    const block = `quantize Tagger {
      "**": int4
      "word.weight": int8
      "model.layers.*.attn.**": int4(group: 16, symmetric: false)
      "model.layers.1.attn.**": f32
      "tags.weight": f16
    }
    quantize Tagger { "model.layers.1.mlp.**.weight": int8(group: 16) }`;
    expect(formatsOf(`${head}${block}\n`)).toEqual({
      'word.weight': 'int8',
      'model.layers.0.attn.q_proj.weight': 'int4 group 16 asymmetric',
      'model.layers.0.mlp.fc1.weight': 'int4 group 32',
      'model.layers.1.mlp.fc1.weight': 'int8 group 16',
      'tags.weight': 'f16',
    });
  });

  test('groups run along the axis that is summed over', () => {
    const model = `dim B in 1..4
      model M {
        a: f32[6, 4]
        b: f32[4, 4]
        c: f32[6, 6]
        entry f(x: f32[B, 6], ids: i32[B]) -> y: f32[B, 6] = matmul(matmul(x, a), transpose(b, [1, 0]))[:, :1] * matmul(x, c) + gather(c, ids)
      }
      quantize M { "**": int8 }\n`;
    expect(formatsOf(model)).toEqual({ a: 'int8 transposed', b: 'int8', c: 'int8' });
    const wrong = model.replace('"**": int8', '"a": int8(group: 4)');
    expect(lower(wrong).diagnostics.map(({ message }) => message)).toEqual([
      'groups of 4 do not divide the columns of `a`, 6 long',
    ]);
    expect(formatsOf(model.replace('"**": int8', '"a": int8(group: 3)'))).toEqual({ a: 'int8 group 3 transposed' });
  });

  test('groups that nobody wrote may end in a shorter one', () => {
    const model =
      'dim B in 1..4\nmodel M {\n w: f32[3, 40]\n entry f(x: f32[B, 40]) -> y: f32[B, 3] = linear(x, w)\n}\n';
    expect(formatsOf(`${model}quantize M { "w": int4 }\n`)).toEqual({ w: 'int4 group 32' });
    expect(lower(`${model}quantize M { "w": int4(group: 32) }\n`).diagnostics).toHaveLength(1);
  });

  test('of a program that trains, none', () => {
    const train = 'train Tagger.tag { loss: cross_entropy(tag, ids), optimizer: sgd(0.1) }\n';
    const text = `${head}quantize Tagger { "**": int8 }\n${train}`;
    const { value, diagnostics } = lower(text);
    expect(describeDiagnostics(diagnostics)).toEqual([expect.stringContaining('SORA3003 `Tagger` trains')]);
    expect(value?.weights.filter(({ format }) => format)).toEqual([]);
    // What a training computes with, and rules that give no format, are no reason for a warning.
    const aware = text.replace('sgd(0.1)', 'sgd(0.1), quantization_aware: true');
    expect(describeDiagnostics(lower(aware).diagnostics)).toEqual([]);
    expect(describeDiagnostics(lower(text.replace('int8', 'f32')).diagnostics)).toEqual([]);
  });
});
