/**
 * Batches: what is in them, and that batch i of an epoch does not depend on what was asked for before.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Tokenizer } from '../../../src/text/tokenizer.ts';
import type { Batch, Batches } from '../../../src/training/batches.ts';
import { batchesOf } from '../../../src/training/batches.ts';
import { characterTokenizer } from '../../../src/training/characters.ts';
import { type Dataset, selectRows } from '../../../src/training/datasets/dataset.ts';
import { openDataset } from '../../../src/training/datasets/open.ts';
import { labelField, tensorField } from '../../../src/training/fields.ts';
import { labelMap, labelsOf } from '../../../src/training/labels.ts';
import { permutation } from '../../../src/training/random.ts';
import { splitDataset, splitTokens } from '../../../src/training/split.ts';
import { tokenStream, windowBatches } from '../../../src/training/streams.ts';
import { maskedTextField, textField } from '../../../src/training/text-fields.ts';
import { fails, fileWith } from './kit.ts';

/** One token per letter, 1 … 26; 100 before and 101 after every text, as BERT has it. */
const tokenizer: Tokenizer = {
  vocabularySize: 200,
  bos: 100,
  eos: 101,
  encode(text, { addSpecialTokens = true } = {}) {
    const ids = [...text].map((letter) => letter.charCodeAt(0) - 96);
    return addSpecialTokens ? [100, ...ids, 101] : ids;
  },
  decode: () => '',
  stream: () => ({ push: () => '', end: () => '' }),
};

/** Row i: `i` letters, the number i, and a label. */
function numbered(rows: number): Promise<Dataset> {
  const lines = Array.from({ length: rows }, (_, at) =>
    JSON.stringify({ text: 'x'.repeat(at), n: at, y: at % 3 ? 'a' : 'b' }),
  );
  return openDataset(fileWith('rows.jsonl', lines.join('\n')));
}

const numberOf = tensorField({ column: 'n', dtype: 'i32' });

async function epochOf(batches: Batches, epoch: number, from?: number): Promise<readonly Batch[]> {
  const all: Batch[] = [];
  for await (const batch of batches.epoch(epoch, from)) all.push(batch);
  return all;
}

const numbersOf = (batches: readonly Batch[]): readonly number[] =>
  batches.flatMap(({ inputs }) => [...(inputs.n?.data ?? [])]);

describe('an epoch', () => {
  test.each([0, 3])('has every row once, in an order of its own; bucketing %i', async (bucketing) => {
    const options = { batchSize: 4, seed: 7, shuffle: true, bucketing };
    const batches = await batchesOf(
      await numbered(30),
      [numberOf, textField({ column: 'text', tokenizer, maxLength: 50 })],
      options,
    );
    expect([batches.examples, batches.perEpoch]).toEqual([30, 8]);
    const [first, second] = [await epochOf(batches, 0), await epochOf(batches, 1)];
    const sorted = Array.from({ length: 30 }, (_, at) => at);
    for (const epoch of [first, second]) {
      expect([...numbersOf(epoch)].sort((a, b) => a - b)).toEqual(sorted);
      expect(epoch.map(({ size }) => size).sort()).toEqual([2, 4, 4, 4, 4, 4, 4, 4]);
    }
    expect(numbersOf(first)).not.toEqual(numbersOf(second));
    const other = await batchesOf(await numbered(30), [numberOf], { ...options, bucketing: 0, seed: 8 });
    expect(numbersOf(await epochOf(other, 0))).not.toEqual(numbersOf(first));
  });

  test('goes on from any place as if it had not stopped', async () => {
    const data = await numbered(23);
    const fields = [numberOf, maskedTextField({ column: 'text', tokenizer, maxLength: 16, maskId: 150 })];
    const options = { batchSize: 4, seed: 2 ** 40 + 5, shuffle: true, bucketing: 2 };
    const whole = await batchesOf(data, fields, options);
    const epochs = [await epochOf(whole, 0), await epochOf(whole, 1)];
    for (const [epoch, from] of [
      [1, 3],
      [0, 5],
      [1, 0],
    ] as const) {
      const again = await batchesOf(data, fields, options);
      expect(await epochOf(again, epoch, from)).toEqual(epochs[epoch]?.slice(from));
    }
    expect(await whole.batch(0, 2)).toEqual(epochs[0]?.[2]);
  });

  test('the last batch may be left out; without shuffling rows keep their order', async () => {
    const data = await numbered(10);
    const dropped = await batchesOf(data, [numberOf], { batchSize: 4, dropLast: true });
    expect(numbersOf(await epochOf(dropped, 5))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const bucketed = await batchesOf(data, [numberOf], { batchSize: 4, dropLast: true, shuffle: true, bucketing: 2 });
    expect((await epochOf(bucketed, 0)).map(({ size }) => size)).toEqual([4, 4]);
  });

  test('buckets save padding', async () => {
    const fields = [textField({ column: 'text', tokenizer, maxLength: 200 })];
    const padding = async (bucketing: number): Promise<number> => {
      const batches = await batchesOf(await numbered(120), fields, { batchSize: 4, seed: 1, shuffle: true, bucketing });
      const masks = (await epochOf(batches, 0)).flatMap(({ inputs }) => [...(inputs.attention_mask?.data ?? [])]);
      return masks.filter((visible) => visible === 0).length / masks.length;
    };
    const [without, within] = [await padding(0), await padding(10)];
    expect(without).toBeGreaterThan(0.25);
    // 40 of the lengths 2 … 121, sorted, four at a time: some 4.5 of 61.
    expect(within).toBeLessThan(0.1);
  });

  test('impossible asks are refused', async () => {
    const data = await numbered(3);
    const ask = (options: object) => () => batchesOf(data, [numberOf], { batchSize: 2, ...options });
    await fails(ask({ batchSize: 0 }), 'SORA7042', 'a batch of 0 examples');
    await fails(ask({ batchSize: 1.5 }), 'SORA7042', 'a batch of 1.5 examples');
    await fails(ask({ batchSize: 4, dropLast: true }), 'SORA7042', '3 examples make no batch of 4');
    await fails(ask({ seed: -1 }), 'SORA7042', 'the seed -1');
    const batches = await batchesOf(data, [numberOf], { batchSize: 2 });
    await fails(() => batches.batch(0, 2), 'SORA7042', 'no batch 2 of epoch 0: an epoch has 2');
    await fails(
      () => batchesOf(data, [numberOf, numberOf], { batchSize: 1 }),
      'SORA7042',
      'two fields give the input `n`',
    );
    const missing = [tensorField({ column: 'm', dtype: 'f32' })];
    await fails(() => batchesOf(data, missing, { batchSize: 1 }), 'SORA7040', '`rows.jsonl`: it has no column `m`');
  });
});

test('a permutation has every number once, and every order is as likely', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat(1000), fc.nat(300), (seed, epoch, length) => {
      const order = permutation(seed, 'shuffle', epoch, length);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, at) => at));
    }),
  );
  const counts = new Map<string, number>();
  for (let epoch = 0; epoch < 6000; epoch++) {
    const order = permutation(3, 'shuffle', epoch, 3).join();
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(6);
  // 1000 each, five standard deviations of 29.
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(145);
});

describe('fields', () => {
  const collate = async (lines: readonly object[], ...fields: Parameters<typeof batchesOf>[1]) => {
    const data = await openDataset(fileWith('a.jsonl', lines.map((line) => JSON.stringify(line)).join('\n')));
    return (await (await batchesOf(data, fields, { batchSize: lines.length })).batch(0, 0)).inputs;
  };

  test('texts are cut before their special tokens and padded to the longest', async () => {
    const lines = [{ text: 'abcdefgh' }, { text: 'a' }, { text: '' }];
    const inputs = await collate(lines, textField({ column: 'text', tokenizer, maxLength: 5, padId: 9 }));
    expect(inputs).toEqual({
      input_ids: { shape: [3, 5], data: Int32Array.of(100, 1, 2, 3, 101, 100, 1, 101, 9, 9, 100, 101, 9, 9, 9) },
      attention_mask: { shape: [3, 5], data: Int32Array.of(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0) },
    });
  });

  test('lengths are rounded up, or fixed', async () => {
    const lines = [{ text: 'abc' }, { text: 'a' }];
    const field = { column: 'text', tokenizer, maxLength: 20, mask: null };
    expect((await collate(lines, textField({ ...field, multipleOf: 8 }))).input_ids?.shape).toEqual([2, 8]);
    expect((await collate(lines, textField({ ...field, length: 12 }))).input_ids?.shape).toEqual([2, 12]);
  });

  test('lists are padded with a mask, images lose or get axes of one', async () => {
    const lines = [
      { ids: [1, 2, 3], image: [[[0, 1]], [[2, 3]]] },
      { ids: [4], image: [[[4, 5]], [[6, 7]]] },
    ];
    const ids = tensorField({ column: 'ids', dtype: 'i32', padValue: -100, name: 'labels', mask: 'there' });
    const image = tensorField({ column: 'image', dtype: 'f32', shape: [1, 2, 1, 2] });
    expect(await collate(lines, ids, image)).toEqual({
      labels: { shape: [2, 3], data: Int32Array.of(1, 2, 3, 4, -100, -100) },
      there: { shape: [2, 3], data: Int32Array.of(1, 1, 1, 1, 0, 0) },
      image: { shape: [2, 1, 2, 1, 2], data: Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7) },
    });
    const flat = await collate(lines, tensorField({ column: 'image', dtype: 'f32', shape: [2, 2] }));
    expect(flat.image?.shape).toEqual([2, 2, 2]);
  });

  test.each([
    [
      { x: null },
      tensorField({ column: 'x', dtype: 'f32' }),
      'SORA7039',
      '`a.jsonl` line 2: `x` is empty or of another kind',
    ],
    [{ x: 0.5 }, tensorField({ column: 'x', dtype: 'i32' }), 'SORA7039', 'line 2: `x` has 0.5, which is no i32'],
    [{ x: 1e39 }, tensorField({ column: 'x', dtype: 'f32' }), 'SORA7039', 'line 2: `x` has 1e+39, which is no f32'],
    [
      { x: [1, 2] },
      tensorField({ column: 'x', dtype: 'f32' }),
      'SORA7039',
      'different shapes in one batch: [2] in row 2, [3] in row 1',
    ],
    [{ x: [1, 2] }, tensorField({ column: 'x', dtype: 'f32', shape: [3] }), 'SORA7039', 'in place of [3]'],
    [{ x: null }, textField({ column: 'x', tokenizer, maxLength: 4 }), 'SORA7039', 'text is needed'],
    [
      { x: 7 },
      labelField({ column: 'x', labels: labelMap(['0', '1']) }),
      'SORA7043',
      'line 2: the label `7` is not one of the 2 classes',
    ],
  ])('%j does not fit', (cell, field, code, message) => {
    const first = Array.isArray(cell.x) ? { x: [1, 2, 3] } : { x: 1 };
    return fails(() => collate([first, cell], field), code, message);
  });

  test('hidden tokens: 15 % are asked for, of these 80 % hidden and 10 % replaced, never special ones or padding', async () => {
    const lines = Array.from({ length: 200 }, (_, at) => ({ text: 'q'.repeat(at % 2 ? 150 : 100) }));
    const field = maskedTextField({ column: 'text', tokenizer, maxLength: 160, maskId: 150 });
    const { input_ids: shown, labels, attention_mask: mask } = await collate(lines, field);
    const count = { asked: 0, hidden: 0, kept: 0, replaced: 0 };
    labels?.data.forEach((label, at) => {
      const id = shown?.data[at];
      if (label === -100) {
        expect([17, 100, 101, 0]).toContain(id);
        return;
      }
      expect([label, mask?.data[at]]).toEqual([17, 1]);
      count.asked++;
      if (id === 150) count.hidden++;
      else if (id === 17) count.kept++;
      else count.replaced++;
    });
    // Of 25,000 tokens; five standard deviations.
    expect(Math.abs(count.asked / 25000 - 0.15)).toBeLessThan(0.0113);
    expect(Math.abs(count.hidden / count.asked - 0.8)).toBeLessThan(0.033);
    expect(Math.abs(count.replaced / count.asked - 0.1)).toBeLessThan(0.025);
  });

  test('what is hidden changes with the epoch and does not depend on the batch', async () => {
    const data = await openDataset(
      fileWith('a.jsonl', ['q', 'r'].map((x) => JSON.stringify({ text: x.repeat(90) })).join('\n')),
    );
    const field = maskedTextField({ column: 'text', tokenizer, maxLength: 100, maskId: 150 });
    const [pair, alone] = [
      await batchesOf(data, [field], { batchSize: 2 }),
      await batchesOf(data, [field], { batchSize: 1 }),
    ];
    const labels = ({ inputs }: Batch) => [...(inputs.labels?.data ?? [])];
    expect(labels(await pair.batch(3, 0)).slice(92)).toEqual(labels(await alone.batch(3, 1)));
    expect(labels(await alone.batch(3, 1))).not.toEqual(labels(await alone.batch(4, 1)));
  });
});

describe('labels', () => {
  const of = async (cells: readonly (string | number | null)[]) =>
    labelsOf(await openDataset(fileWith('a.jsonl', cells.map((y) => JSON.stringify({ y })).join('\n'))), 'y');

  test('words are sorted, numbers from 0 are ids, others are sorted', async () => {
    expect((await of(['spam', 'ham', 'spam', 'Zz'])).names).toEqual(['Zz', 'ham', 'spam']);
    expect((await of([0, 3, 1])).names).toEqual(['0', '1', '2', '3']);
    expect((await of([5, 1, -1])).names).toEqual(['-1', '1', '5']);
    expect((await of([5, 1])).idOf(5, '')).toBe(1);
  });

  test('rows without a label are refused', () =>
    fails(() => of(['a', null]), 'SORA7039', '`a.jsonl` line 2: `y` is no label'));
});

describe('splits', () => {
  test('every row is in one part, the same for the same seed', async () => {
    const data = await numbered(50);
    const parts = (seed: number) => splitDataset(data, { validation: 0.1, test: 0.2, seed });
    const numbers = async (part: Dataset | undefined): Promise<readonly number[]> =>
      part ? numbersOf(await epochOf(await batchesOf(part, [numberOf], { batchSize: 50 }), 0)) : [];
    const { train, validation, test: last } = parts(1);
    const all = [await numbers(train), await numbers(validation), await numbers(last)];
    expect(all.map(({ length }) => length)).toEqual([35, 5, 10]);
    expect(all.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, at) => at));
    expect(await numbers(parts(1).test)).toEqual(all[2]);
    expect(await numbers(parts(2).test)).not.toEqual(all[2]);
    expect(last?.where(0)).toBe(data.where(all[2]?.[0] ?? -1));
    expect(splitDataset(data, { test: 0.5 }).validation).toBeUndefined();
  });

  test('texts are cut', () => {
    const {
      train,
      validation,
      test: last,
    } = splitTokens(Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), { validation: 0.2, test: 0.1 });
    expect([[...train], [...(validation ?? [])], [...(last ?? [])]]).toEqual([[1, 2, 3, 4, 5, 6, 7], [8, 9], [10]]);
  });

  test('nothing for a part is refused', async () => {
    const data = await numbered(3);
    await fails(() => splitDataset(data, { validation: 0.1 }), 'SORA7038', '0.1 of 3 leaves nothing for validation');
    await fails(() => splitDataset(data, { validation: 0.6, test: 0.4 }), 'SORA7042', 'leave nothing for training');
    await fails(() => splitDataset(data, { test: Number.NaN }), 'SORA7042', 'leave nothing for training');
    await fails(() => splitDataset(selectRows(data, [0]), { test: 0.9 }), 'SORA7038', 'nothing for training');
  });
});

describe('texts', () => {
  test('characters have ids in the order of code points, and come back', async () => {
    const characters = characterTokenizer('häß\n😀a');
    expect([characters.characters, characters.vocabularySize]).toEqual(['\nahßä😀', 6]);
    expect(characters.encode('a😀')).toEqual([1, 5]);
    expect(characters.decode([5, 2, 0])).toBe('😀h\n');
    expect(characterTokenizer(characters.characters).encode('ß')).toEqual(characters.encode('ß'));
    await fails(() => characters.encode('aé'), 'SORA7039', 'character 2 (U+00E9) is not among the 6');
    await fails(() => characters.decode([6]), 'SORA7039', 'no character 6');
  });

  const letters = Int32Array.from({ length: 23 }, (_, at) => at);

  test('windows lie side by side, targets are the tokens that follow', async () => {
    const batches = windowBatches(letters, { length: 5, batchSize: 3, ids: 'x', labels: 'y' });
    expect(batches.perEpoch).toBe(2);
    const [first, last] = await epochOf(batches, 0);
    expect(first?.inputs).toEqual({
      x: { shape: [3, 5], data: Int32Array.from({ length: 15 }, (_, at) => at) },
      y: { shape: [3, 5], data: Int32Array.from({ length: 15 }, (_, at) => at + 1) },
    });
    expect(last?.inputs.y).toEqual({ shape: [1, 5], data: Int32Array.of(16, 17, 18, 19, 20) });
  });

  test.each(['each', 'random'] as const)('shuffled windows (%s) are whole and resumable', async (windows) => {
    const options = { length: 5, batchSize: 2, seed: 4, shuffle: true, windows };
    const epoch = await epochOf(windowBatches(letters, options), 2);
    expect(await windowBatches(letters, options).batch(2, 1)).toEqual(epoch[1]);
    const starts = epoch.flatMap(({ inputs, size }) =>
      Array.from({ length: size }, (_, at) => inputs.input_ids?.data[at * 5] ?? -1),
    );
    if (windows === 'each') expect([...starts].sort((a, b) => a - b)).toEqual([0, 5, 10, 15]);
    for (const { inputs } of epoch)
      expect([...(inputs.labels?.data ?? [])]).toEqual([...(inputs.input_ids?.data ?? [])].map((id) => id + 1));
  });

  test('random windows reach both ends', async () => {
    const batches = windowBatches(Int32Array.of(0, 1, 2, 3), { length: 2, batchSize: 1, windows: 'random' });
    const starts = new Set<number>();
    for (let epoch = 0; epoch < 60; epoch++)
      starts.add((await batches.batch(epoch, 0)).inputs.input_ids?.data[0] ?? -1);
    expect([...starts].sort()).toEqual([0, 1]);
  });

  test('a stream is every row in order, with a separator', async () => {
    const data = await openDataset(fileWith('a.jsonl', '{"body":"ab"}\n{"body":"c"}\n'));
    expect([...(await tokenStream(data, tokenizer, { column: 'body', separator: 101 }))]).toEqual([1, 2, 101, 3]);
    await fails(() => tokenStream(data, tokenizer), 'SORA7040', 'no column `text`');
    await fails(
      () => windowBatches(letters, { length: 23, batchSize: 1 }),
      'SORA7042',
      'windows of 23 tokens and one more, of a text of 23',
    );
  });
});
