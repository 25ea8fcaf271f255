/**
 * llama2.c weights to safetensors: three layouts, rotary order, and files that lie.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { readForeign } from '../../../src/cli/convert/index.ts';
import { runCommandLine } from '../../../src/cli/main.ts';
import { openSafetensors } from '../../../src/runtime/safetensors.ts';
import { memorySource } from '../../../src/runtime/source.ts';
import { join } from '../../support/protobuf.ts';

const folder = mkdtempSync(joinPath(tmpdir(), 'sorac-llama2c-'));
afterAll(() => rmSync(folder, { recursive: true }));

const sizes = { width: 8, hidden: 5, layers: 2, heads: 2, kvHeads: 1, vocabulary: 3, positions: 4 };
const kvWidth = 4;

const i32 = (...values: readonly number[]) => new Uint8Array(Int32Array.from(values).buffer);

/** Tensors with values that tell them apart, in the order of the file. */
function stack(seed: number, elements: number, copies: number): Float32Array {
  return Float32Array.from({ length: elements * copies }, (_, index) => seed * 1000 + index);
}

const bytes = (array: Float32Array) => new Uint8Array(array.buffer);
const { width, hidden, layers, heads, kvHeads, vocabulary, positions } = sizes;
const parts = {
  embedding: stack(1, vocabulary * width, 1),
  attentionNorm: stack(2, width, layers),
  q: stack(3, width * width, layers),
  k: stack(4, kvWidth * width, layers),
  v: stack(5, kvWidth * width, layers),
  o: stack(6, width * width, layers),
  hiddenNorm: stack(7, width, layers),
  gate: stack(8, hidden * width, layers),
  down: stack(9, width * hidden, layers),
  up: stack(10, hidden * width, layers),
  norm: stack(11, width, 1),
  head: stack(12, vocabulary * width, 1),
};
type Part = keyof typeof parts;
const concat = (...names: readonly Part[]) => join(...names.map((name) => bytes(parts[name])));
const attention = ['q', 'k', 'v', 'o'] as const;
const angles = new Uint8Array(2 * 4 * positions * (width / heads / 2));

const legacy = join(
  i32(width, hidden, layers, heads, kvHeads, -vocabulary, positions),
  concat('embedding', 'attentionNorm', ...attention, 'hiddenNorm', 'gate', 'down', 'up', 'norm'),
  angles,
  concat('head'),
);

const padded = (...head: readonly Uint8Array[]) => {
  const whole = new Uint8Array(256);
  whole.set(join(...head));
  return whole;
};
const ak42 = join(
  padded(i32(0x616b3432, 1, width, hidden, layers, heads, kvHeads, vocabulary, positions), Uint8Array.of(0)),
  concat('attentionNorm', 'hiddenNorm', 'norm', 'embedding', ...attention, 'gate', 'down', 'up', 'head'),
);

const vocabularyText = ['<s>', '\u2581a', 'b'].map((piece) => new TextEncoder().encode(piece));
const llama2ts = join(
  padded(
    Uint8Array.of(1),
    i32(5),
    new TextEncoder().encode('llama'),
    i32(width, hidden, positions, vocabulary, layers, heads, kvHeads),
    Uint8Array.of(1),
  ),
  ...vocabularyText.map((piece) => join(bytes(Float32Array.of(-1)), i32(piece.byteLength), piece)),
  concat('embedding', 'attentionNorm', ...attention, 'hiddenNorm', 'gate', 'up', 'down', 'norm'),
);

async function tensorsOf(file: Uint8Array, format = 'auto') {
  const { tensors, config } = await readForeign(memorySource(file, 'model.bin'), undefined, format);
  const found = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  for (const { name, shape, chunks } of tensors) {
    const runs: Uint8Array[] = [];
    for await (const run of chunks()) runs.push(run);
    found.set(name, { shape, data: new Float32Array(join(...runs).buffer) });
  }
  return { tensors: found, config };
}

describe('layouts', () => {
  test('all three give the same tensors', async () => {
    const [first, second, third] = await Promise.all([legacy, ak42, llama2ts].map((file) => tensorsOf(file)));
    const sorted = (tensors = first?.tensors) => [...(tensors ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(sorted(second?.tensors)).toEqual(sorted());
    first?.tensors.delete('lm_head.weight');
    expect(sorted(third?.tensors)).toEqual(sorted());
    expect(third?.config).toEqual({ ...first?.config, tie_word_embeddings: true });
  });

  test('names, shapes and values are those of Hugging Face', async () => {
    const { tensors, config } = await tensorsOf(legacy);
    expect(tensors.size).toBe(3 + 9 * layers);
    const part = (name: Part, layer: number) => {
      const each = parts[name].length / layers;
      return parts[name].slice(layer * each, (layer + 1) * each);
    };
    expect(tensors.get('model.layers.1.mlp.up_proj.weight')).toEqual({ shape: [hidden, width], data: part('up', 1) });
    expect(tensors.get('model.layers.0.mlp.down_proj.weight')).toEqual({
      shape: [width, hidden],
      data: part('down', 0),
    });
    expect(tensors.get('model.layers.1.self_attn.v_proj.weight')).toEqual({
      shape: [kvWidth, width],
      data: part('v', 1),
    });
    expect(tensors.get('lm_head.weight')).toEqual({ shape: [vocabulary, width], data: parts.head });
    expect(config).toMatchObject({
      model_type: 'llama',
      hidden_size: width,
      intermediate_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      head_dim: 4,
      vocab_size: vocabulary,
      max_position_embeddings: positions,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: false,
    });
  });

  test('a positive vocabulary means a shared head', async () => {
    const shared = legacy.slice(0, legacy.byteLength - parts.head.byteLength);
    new DataView(shared.buffer).setInt32(20, vocabulary, true);
    const { tensors, config } = await tensorsOf(shared);
    expect(tensors.has('lm_head.weight')).toBe(false);
    expect(config?.tie_word_embeddings).toBe(true);
  });
});

/** Scores of one query and one key head at two positions, turned pair by pair as `run.c` or in halves as Hugging Face. */
function score(query: readonly number[], key: readonly number[], distance: number, order: 'pairs' | 'halves'): number {
  const size = query.length;
  const turn = (vector: readonly number[], position: number): number[] => {
    const turned = [...vector];
    for (let i = 0; i < size / 2; i++) {
      const [a, b] = order === 'pairs' ? [2 * i, 2 * i + 1] : [i, i + size / 2];
      const angle = position * 10000 ** ((-2 * i) / size);
      turned[a] = (vector[a] ?? 0) * Math.cos(angle) - (vector[b] ?? 0) * Math.sin(angle);
      turned[b] = (vector[a] ?? 0) * Math.sin(angle) + (vector[b] ?? 0) * Math.cos(angle);
    }
    return turned;
  };
  const right = turn(key, 3);
  return turn(query, 3 + distance).reduce((sum, value, index) => sum + value * (right[index] ?? 0), 0);
}

test('reordered rows give the same scores in halves as the file has in pairs', async () => {
  const { tensors } = await tensorsOf(legacy);
  const x = Array.from({ length: width }, (_, index) => Math.sin(index + 1));
  const project = (rows: Float32Array, head: number) =>
    Array.from({ length: 4 }, (_, row) =>
      x.reduce((sum, value, column) => sum + value * (rows[(head * 4 + row) * width + column] ?? 0), 0),
    );
  const q = tensors.get('model.layers.0.self_attn.q_proj.weight')?.data ?? new Float32Array();
  const k = tensors.get('model.layers.0.self_attn.k_proj.weight')?.data ?? new Float32Array();
  for (const head of [0, 1]) {
    for (const distance of [0, 1, 7]) {
      const want = score(project(parts.q, head), project(parts.k, 0), distance, 'pairs');
      const got = score(project(q, head), project(k, 0), distance, 'halves');
      expect(Math.abs(got - want) / Math.abs(want)).toBeLessThan(1e-12);
    }
  }
});

describe('a file that must not be trusted', () => {
  const code = (expected: RegExp) => ({ code: expect.stringMatching(expected) });
  const read = (file: Uint8Array) => readForeign(memorySource(file, 'model.bin'), undefined, 'llama2c');

  test.each([
    ['legacy', legacy],
    ['ak42', ak42],
    ['llama2.ts', llama2ts],
  ])('%s is refused wherever it is cut, and when something follows', async (_name, file) => {
    for (let length = 0; length < file.byteLength; length += length < 400 ? 1 : 97) {
      await expect(read(file.subarray(0, length)), `cut at ${length}`).rejects.toMatchObject(code(/^SORA701[23]$/));
    }
    await expect(read(join(file, Uint8Array.of(0)))).rejects.toMatchObject({
      code: 'SORA7013',
      help: expect.stringContaining(`--bytes 0:${file.byteLength}`),
    });
  });

  test.each([
    [0, 0],
    [0, -8],
    [0, 2 ** 31 - 1],
    [0, 7],
    [8, 2 ** 24],
    [12, 3],
    [16, 3],
    [20, -(2 ** 31)],
    [24, 0],
  ])('the header at %i with %i', async (at, value) => {
    const file = Uint8Array.from(legacy);
    new DataView(file.buffer).setInt32(at, value, true);
    await expect(read(file)).rejects.toMatchObject(code(/^SORA701[23]$/));
  });

  test('quantized ak42 files are named as such', async () => {
    const file = Uint8Array.from(ak42);
    file[4] = 2;
    await expect(read(file)).rejects.toMatchObject({ code: 'SORA7012', message: expect.stringContaining('version 2') });
  });
});

async function convert(...argv: readonly string[]) {
  let stderr = '';
  const exitCode = await runCommandLine(['weights', 'convert', ...argv], {
    stdout: { write: () => true },
    stderr: { write: (piece) => (stderr += piece) },
  });
  return { exitCode, stderr };
}

test('the command writes weights, config and vocabulary, and reads a part of a file', async () => {
  const path = joinPath(folder, 'package.data');
  writeFileSync(path, join(Uint8Array.of(1, 2, 3), llama2ts, Uint8Array.of(4)));
  const out = joinPath(folder, 'model.safetensors');
  expect((await convert(path, '-o', out)).exitCode).toBe(4);
  expect(await convert(path, '-o', out, '--bytes', `3:${3 + llama2ts.byteLength}`)).toEqual({
    exitCode: 0,
    stderr: '',
  });
  const file = await openSafetensors(out);
  expect(await file.readTensor('model.norm.weight', 'f32')).toEqual(parts.norm);
  await file.close();
  expect(JSON.parse(readFileSync(joinPath(folder, 'config.json'), 'utf8'))).toMatchObject({ vocab_size: 3 });
  expect(readFileSync(joinPath(folder, 'tokenizer.bin')).readInt32LE(0)).toBe(4);
});

const shared = fileURLToPath(new URL('../../../../shared/data/tinystories-260k/', import.meta.url));

test.skipIf(!existsSync(shared))('a published file', async () => {
  const out = joinPath(folder, 'tinystories');
  expect(
    await convert(joinPath(shared, 'tinystories_260k_v1.bin'), '-o', `${out}.safetensors`, '--force'),
  ).toMatchObject({ exitCode: 0 });
  const file = await openSafetensors(`${out}.safetensors`);
  expect(file.tensors.size).toBe(2 + 9 * 5);
  expect(file.tensors.get('model.layers.4.self_attn.k_proj.weight')?.shape).toEqual([32, 64]);
  await file.close();
});
