/**
 * What `read` items make of datasets: pairs of texts, hidden tokens, windows, lists, numbers, images and sounds; metrics and
 * progress of a run.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { describe, expect, test } from 'vitest';
import { openData, type TrainData } from '../../../src/cli/train/data.ts';
import { describeMeasures, makeJudge } from '../../../src/cli/train/judge.ts';
import { duration, makeProgress } from '../../../src/cli/train/progress.ts';
import { readSettings } from '../../../src/cli/train/settings.ts';
import { lowerSource } from '../../../src/compile.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';
import { emptyFolder } from './train-kit.ts';

/** Words as BERT has them: `[CLS] a [SEP] b [SEP]`, the second text in segment 1. */
const words = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', ...'abcdefghijklmnopqrstuvwxyz'];
const tokenizer = {
  version: '1.0',
  added_tokens: words.slice(0, 5).map((content, id) => {
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  }),
  normalizer: null,
  pre_tokenizer: { type: 'Whitespace' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
      { Sequence: { id: 'B', type_id: 1 } },
      { SpecialToken: { id: '[SEP]', type_id: 1 } },
    ],
    special_tokens: Object.fromEntries(
      ['[CLS]', '[SEP]'].map((id) => [id, { id, ids: [words.indexOf(id)], tokens: [id] }]),
    ),
  },
  decoder: null,
  model: { type: 'WordLevel', vocab: Object.fromEntries(words.map((word, id) => [word, id])), unk_token: '[UNK]' },
};

const model = (entry: string, items: string): string => `import { Embedding } from "sora:nn"
dim B in 1..8, T in 2..8
model M {
  w = Embedding(40, 4)
  entry f(${entry}) -> s: f32[B, T, 4] = w(ids)
}
train M.f {
  optimizer: adam(0.1)
  ${items.includes('loss:') ? '' : 'loss: mse(s, s)'}
  ${items}
}
`;

/** Opens data as `sorac train` does. */
async function open(
  source: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  ...options: readonly string[]
): Promise<TrainData> {
  const folder = emptyFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  const stage = lowerSource({ file: sourceFile(source, 'm.sora') });
  expect(describeDiagnostics(stage.diagnostics)).toEqual([]);
  const program = stage.value;
  if (!program?.train) throw new Error('no train block');
  const named = Object.fromEntries(options.map((option) => option.split('=') as [string, string]));
  const given = { split: '0,0', batch: '4', epochs: '1', device: 'cpu', data: join(folder, 'data.jsonl'), ...named };
  const settings = readSettings({
    args: [join(folder, 'm.sora')],
    options: { ...given, data: join(folder, named.data ?? 'data.jsonl') },
  });
  return openData({ settings, block: program.train, ranges: program.dims, seed: 0 });
}

const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/** The inputs of the first batch in the order of the rows' numbers, as plain lists. */
async function first(data: TrainData): Promise<Readonly<Record<string, readonly (readonly number[])[]>>> {
  const { inputs, size } = await data.train.batch(0, 0);
  await data.close();
  const rows = (values: ArrayLike<number>) => {
    const width = values.length / size;
    return Array.from({ length: size }, (_, row) =>
      Array.from({ length: width }, (_, at) => values[row * width + at] ?? Number.NaN),
    );
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, { data: values }]) => [name, rows(values)]));
}

const id = (text: string): readonly number[] =>
  [...text].map((letter) => (letter === '<' ? 1 : letter === '>' ? 2 : letter === '_' ? 0 : words.indexOf(letter)));

describe('texts', () => {
  const texts = { 'tokenizer.json': JSON.stringify(tokenizer) };
  const entry = 'ids: i32[B, T], attention_mask: i32[B, T] = 1, token_type_ids: i32[B, T] = 0';

  test('one text with its mask, cut and filled up', async () => {
    const data = jsonl([{ text: 'a b c d e f g h i' }]);
    const read = await first(await open(model(entry, 'read ids: tokens("text")'), { ...texts, 'data.jsonl': data }));
    expect(read).toEqual({
      ids: [id('<abcdef>')],
      attention_mask: [Array(8).fill(1)],
      token_type_ids: [Array(8).fill(0)],
    });
    const short = await first(
      await open(model(entry, 'read ids: tokens("text", max: 4, pad: 3)'), {
        ...texts,
        'data.jsonl': jsonl([{ text: 'a' }, { text: 'b c d' }]),
      }),
    );
    expect(short.ids).toEqual(expect.arrayContaining([[...id('<a>'), 3], id('<bc>')]));
    expect(short.attention_mask).toEqual(
      expect.arrayContaining([
        [1, 1, 1, 0],
        [1, 1, 1, 1],
      ]),
    );
  });

  test('batches are at least as long as the model asks for', async () => {
    const data = jsonl([{ text: [5] }]);
    expect(
      await first(await open(model('ids: i32[B, T]', 'read ids: tokens("text")'), { 'data.jsonl': data })),
    ).toEqual({ ids: [[5, 0]] });
  });

  test.each([
    ['a b', 'c', '<ab>c>', [0, 0, 0, 0, 1, 1]],
    ['a b c d e f', 'g', '<abcd>g>', [0, 0, 0, 0, 0, 0, 1, 1]],
    ['a', 'b c d e f g h', '<a>bcde>', [0, 0, 0, 1, 1, 1, 1, 1]],
    ['a b c d e', 'f g h i j', '<ab>fgh>', [0, 0, 0, 0, 1, 1, 1, 1]],
    ['', '', '<>>', [0, 0, 1]],
  ])('pairs lose tokens where there are most: %j, %j', async (a, b, ids, segments) => {
    const read = await first(
      await open(model(entry, 'read ids: tokens("a", "b")'), { ...texts, 'data.jsonl': jsonl([{ a, b }]) }),
    );
    expect(read).toEqual({ ids: [id(ids)], attention_mask: [id(ids).map(() => 1)], token_type_ids: [segments] });
  });

  test('hidden tokens and what they were, others in every epoch', async () => {
    const text = 'a b c d e f';
    const rows = Array.from({ length: 8 }, () => ({ text }));
    const source = model(
      'ids: i32[B, T]',
      'target y: i32[B, T], read ids: tokens("text"), read y: masked(ids, share: 0.5, mask: 3)',
    );
    const data = await open(source, { ...texts, 'data.jsonl': jsonl(rows) }, 'batch=8');
    const [one, two] = [(await data.train.batch(0, 0)).inputs, (await data.train.batch(1, 0)).inputs];
    expect(one.y?.data).not.toEqual(two.y?.data);
    const whole = rows.flatMap(() => id('<abcdef>'));
    const asked = [...(one.y?.data ?? [])];
    expect(asked.filter((label) => label !== -100).length).toBeGreaterThan(12);
    asked.forEach((label, at) => {
      if (label === -100) expect(one.ids?.data[at]).toBe(whole[at]);
      else expect(label).toBe(whole[at]);
    });
    expect([...(one.ids?.data ?? [])]).toContain(3);
    await data.close();
  });

  test('two texts of one batch are made equally long, and so are labels', async () => {
    const source = model(
      'ids: i32[B, T], other: i32[B, T]',
      'target y: i32[B, T], read ids: tokens("a"), read other: tokens("b", pad: 2), read y: labels("c")',
    );
    const data = jsonl([{ a: [7, 8, 9], b: [5], c: [1, 2] }]);
    expect(await first(await open(source, { 'data.jsonl': data }))).toEqual({
      ids: [[7, 8, 9]],
      other: [[5, 2, 2]],
      y: [[1, 2, -100]],
    });
  });

  test('ids that a file holds ready, with a mask', async () => {
    const source = model(
      'ids: i32[B, T], attention_mask: i32[B, T] = 1',
      'read ids: labels("ids", pad: 0), read attention_mask: mask(ids)',
    );
    const { ids = [], attention_mask: masks = [] } = await first(
      await open(source, { 'data.jsonl': jsonl([{ ids: [7, 8, 9] }, { ids: [5, 6] }]) }),
    );
    const pairs = ids.map((row, at) => [row, masks[at]]);
    expect(pairs).toEqual(
      expect.arrayContaining([
        [
          [7, 8, 9],
          [1, 1, 1],
        ],
        [
          [5, 6, 0],
          [1, 1, 0],
        ],
      ]),
    );
  });

  test('windows of a text: its characters are its tokens; the end is for validation', async () => {
    const source = model('ids: i32[B, T]', 'target y: i32[B, T], read ids: window(4), read y: next(ids)');
    const data = await open(
      source,
      { 'words.txt': 'abcabcabcabcabcabcabc' },
      'data=words.txt',
      'split=0.3,0',
      'batch=8',
    );
    expect([data.characters, data.train.examples, data.validation?.examples]).toEqual(['abc', 3, 1]);
    const { inputs } = await data.train.batch(0, 0);
    const [ids, next] = [[...(inputs.ids?.data ?? [])], [...(inputs.y?.data ?? [])]];
    expect(next).toEqual(ids.map((token) => (token + 1) % 3));
    const alone = await open(
      model('ids: i32[B, T]', 'read ids: window(4)'),
      { 'words.txt': 'abcabcabc' },
      'data=words.txt',
    );
    expect(Object.keys((await alone.train.batch(0, 0)).inputs)).toEqual(['ids']);
  });

  test.each<readonly [string, string, string, string, string]>([
    ['a stream as rows', 'read ids: tokens("text")', 'words.txt', 'SORA7060', 'is one text that goes on'],
    ['text without a tokenizer', 'read ids: tokens("text")', 'data.jsonl', 'SORA7061', 'no tokenizer'],
    [
      'a second input beside a window',
      'target y: i32[B, T], read ids: window(4), read y: labels("y")',
      'words.txt',
      'SORA7060',
      '`y` is read beside a window',
    ],
    ['a window longer than the text', 'read ids: window(8)', 'short.txt', 'SORA7042', 'windows of 8 tokens'],
  ])('%s', async (_, items, data, code, message) => {
    const files = { 'words.txt': 'abcabcabcabc', 'short.txt': 'abc', 'data.jsonl': jsonl([{ text: 'a b' }]) };
    await expect(open(model('ids: i32[B, T]', items), files, `data=${data}`)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });
});

describe('numbers, images, sounds', () => {
  const other = (entry: string, items: string): string => `dim B in 1..8${entry.includes('T') ? ', T in 2..8' : ''}
model M {
  w: f32[4]
  entry f(${entry}) -> s: f32[4] = w
}
train M.f { optimizer: adam(0.1), loss: mse(s, s), ${items} }
`;

  test('columns side by side, a number as a target', async () => {
    const source = other('x: f32[B, 4]', 'target y: f32[B], read x: vector("a", "b"), read y: number("c")');
    const data = jsonl([{ a: 1, b: [2, 3, 4], c: 0.5 }]);
    expect(await first(await open(source, { 'data.jsonl': data }))).toEqual({ x: [[1, 2, 3, 4]], y: [[0.5]] });
    const odd = await open(source, { 'data.jsonl': jsonl([{ a: 1, b: [2], c: 0.5 }]) });
    await expect(odd.train.batch(0, 0)).rejects.toMatchObject({
      code: 'SORA7039',
      message: expect.stringContaining('takes 4 numbers, the row has 2'),
    });
  });

  test('a word in a column of numbers is told with its own line, and so is what no f32 holds', async () => {
    const source = other('x: f32[B, 4]', 'target y: f32[B], read x: vector("a", "b", "c", "d"), read y: number("e")');
    const table = (bad: string) =>
      ['a,b,c,d,e', ...Array.from({ length: 6 }, (_, row) => `${row === 3 ? bad : row},1,2,3,0.5`)].join('\n');
    for (const [bad, message] of [
      ['foo', '`data.csv` line 5: `a` is empty or of another kind'],
      ['1e39', '`data.csv` line 5: `a` has 1e\\+39, which is no f32'],
      ['', '`data.csv` line 5: `a` is empty'],
    ] as const) {
      const read = await open(source, { 'data.csv': table(bad) }, 'data=data.csv', 'batch=6');
      await expect(read.train.batch(0, 0)).rejects.toMatchObject({
        code: 'SORA7039',
        message: expect.stringMatching(message.replace('`data.csv`', '`.*data\\.csv`')),
      });
      await read.close();
    }
  });

  test('images are scaled to the size of the input and normalized; folders are classes', async () => {
    const image = new PNG({ width: 2, height: 2 });
    image.data.fill(255);
    const files = { 'pictures/cat/a.png': PNG.sync.write(image), 'pictures/dog/b.png': PNG.sync.write(image) };
    const source = other(
      'image: f32[B, 1, 4, 4]',
      'target y: i32[B], read image: image("image", mean: 0.5, std: 0.25)',
    );
    const read = await open(source, files, 'data=pictures');
    expect(read.labels.get('label')?.names).toEqual(['cat', 'dog']);
    const { image: pixels, y } = await first(read);
    expect(pixels).toEqual([Array(16).fill(2), Array(16).fill(2)]);
    expect(y?.flat().sort()).toEqual([0, 1]);
  });

  test('sounds with a mask', async () => {
    const source = other('audio: f32[B, T], mask: i32[B, T]', 'read audio: audio("samples"), read mask: mask(audio)');
    const read = await first(
      await open(source, { 'data.jsonl': jsonl([{ samples: [0.5, -0.5, 0.25] }, { samples: [1.5] }]) }),
    );
    expect(read.audio).toEqual(
      expect.arrayContaining([
        [0.5, -0.5, 0.25],
        [1.5, 0, 0],
      ]),
    );
    expect(read.mask).toEqual(
      expect.arrayContaining([
        [1, 1, 1],
        [1, 0, 0],
      ]),
    );
  });
});

describe('metrics', () => {
  const scores = { dtype: 'f32' as const, shape: [2, 3, 2], data: Float32Array.of(9, 0, 0, 9, 9, 0, 0, 9, 0, 9, 9, 0) };

  test('of classes, of texts, and of the token that follows', () => {
    const classes = makeJudge([{ scores: 's', target: 'y', kind: 'classes', ignore: undefined }]);
    classes.add(
      { s: { shape: [4, 2], data: Float32Array.of(1, 0, 0, 1, 1, 0, 0, 1) } },
      { y: { data: Int32Array.of(0, 1, 1, 1), shape: [4] } },
    );
    expect(classes.result()).toEqual({ accuracy: 0.75, f1: 0.8 });
    const texts = makeJudge([{ scores: 's', target: 'y', kind: 'classes', ignore: 7 }]);
    texts.add({ s: scores }, { y: { data: Int32Array.of(0, 1, 1, 7, 1, 0), shape: [2, 3] } });
    expect(texts.result()).toMatchObject({ accuracy: 0.8, perplexity: expect.closeTo(Math.exp(9 / 5), 1) });
    const next = makeJudge([{ scores: 's', target: 'ids', kind: 'next', ignore: undefined }]);
    next.add({ s: scores }, { ids: { data: Int32Array.of(5, 0, 1, 5, 1, 0), shape: [2, 3] } });
    expect(next.result()).toMatchObject({ accuracy: 0.75 });
  });

  test('of yes and no; several losses are told apart; what cannot be compared is left out', () => {
    const judge = makeJudge([
      { scores: 's', target: 'y', kind: 'binary', ignore: undefined },
      { scores: 'nothing', target: 'y', kind: 'classes', ignore: undefined },
    ]);
    judge.add(
      { s: { shape: [4], data: Float32Array.of(2, -1, 3, -2) } },
      { y: { data: Float32Array.of(1, 0, 0, 0), shape: [4] } },
    );
    expect(judge.result()).toEqual({ 's.accuracy': 0.75, 's.f1': expect.closeTo(2 / 3) });
    expect(describeMeasures({ 's.accuracy': 0.75, 's.f1': 0.5, perplexity: 12.345 })).toBe(
      's.accuracy 75.00 %  s.F1 50.00 %  perplexity 12.35',
    );
  });
});

describe('progress', () => {
  const place = { epoch: 1, epochs: 3, steps: 40, loss: 0.5 };
  const run = (isTTY: boolean) => {
    let [text, time] = ['', 0];
    const progress = makeProgress({ isTTY, write: (part: string) => (text += part) }, { now: () => time, columns: 80 });
    for (let step = 1; step <= 40; step++) {
      time += 500;
      progress.step({ ...place, step, left: 120 - step }, 16);
    }
    progress.line('epoch 1 done');
    return text;
  };

  test('is a bar on a terminal, cut to its width and taken away before a line', () => {
    const text = run(true);
    expect(text).toContain(
      '\repoch 1/3 [############............] 20/40  loss 0.5000  32.0 examples/s  50 s lef\u001b[K'.slice(0, 60),
    );
    expect(text.endsWith('\r\u001b[Kepoch 1 done\n')).toBe(true);
    for (const line of text.split('\r')) expect(line.replace(/\u001b\[K/g, '').trimEnd().length).toBeLessThan(80);
  });

  test('is some lines elsewhere', () => {
    const lines = run(false).trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    expect(lines[4]).toBe('epoch 1/3  step 20/40  loss 0.5000  32.0 examples/s  50 s left');
  });

  test('names durations', () => {
    expect([0.4, 59.6, 125, 3725].map(duration)).toEqual(['0 s', '1 min 0 s', '2 min 5 s', '1 h 2 min']);
  });
});
