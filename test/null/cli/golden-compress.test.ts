/**
 * Runner `compress` on cases of other forms than those of the reference: a GPT-2, whose matrices lie [inputs, outputs], and a vision
 * transformer. Expected outputs are made here: numbers by the formulas written out once more, logits by the dense model on them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadSource } from '../../../src/cli/source-files.ts';
import { readTensorFile } from '../../../src/cli/tensor-file.ts';
import { checkSource } from '../../../src/compile.ts';
import { constantValue } from '../../../src/ir/symbolic.ts';
import { encodeSafetensors, type TensorToWrite } from '../../../src/runtime/safetensors.ts';
import { emptyFolder, sorac, uniform } from './train-kit.ts';

const models = fileURLToPath(new URL('../../../models', import.meta.url));
const folder = emptyFolder();

interface Matrix {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** q, scale, zero and values of one matrix, groups along axis `axis`, written out plainly. */
function quantized({ name, shape, data }: Matrix, axis: number, kind: 'int8' | 'int4' | 'asym', group: number) {
  const [first = 1, second = 1] = shape;
  const [rows, columns] = axis === 1 ? [first, second] : [second, first];
  const groups = kind === 'int8' ? 1 : Math.ceil(columns / group);
  const place = (row: number, column: number) => (axis === 1 ? row * columns + column : column * rows + row);
  const q = new Int32Array(data.length);
  const values = new Float32Array(data.length);
  const scales = new Float32Array(rows * groups);
  const zeros = new Uint8Array(rows * groups);
  const even = (x: number) => {
    const low = Math.floor(x);
    return x - low === 0.5 ? low + (low % 2 === 0 ? 0 : 1) : Math.round(x);
  };
  for (let row = 0; row < rows; row++)
    for (let g = 0; g < groups; g++) {
      const own = Array.from({ length: columns }, (_, at) => at).filter(
        (at) => groups === 1 || Math.floor(at / group) === g,
      );
      const numbers = own.map((at) => data[place(row, at)] ?? 0);
      const [low, high] = [Math.min(0, ...numbers), Math.max(0, ...numbers)];
      const most = kind === 'int8' ? 127 : 7;
      const s = Math.fround(kind === 'asym' ? Math.fround(high - low) / 15 : Math.max(-low, high) / most) || 1;
      const z = kind === 'asym' ? Math.min(15, Math.max(0, even(Math.fround(-low / s)))) : 0;
      scales[row * groups + g] = s;
      zeros[row * groups + g] = z;
      own.forEach((at, index) => {
        const steps = even(Math.fround((numbers[index] ?? 0) / s)) + z;
        const code = kind === 'asym' ? Math.min(15, Math.max(0, steps)) : Math.min(most, Math.max(-most, steps));
        q[place(row, at)] = code;
        values[place(row, at)] = (code - z) * s;
      });
    }
  const grouped = kind === 'int8' ? [rows] : [rows, groups];
  const codes = kind === 'asym' ? Uint8Array.from(q) : new Uint8Array(Int8Array.from(q).buffer);
  const tensors: TensorToWrite[] = [
    { name: `${name}.q`, shape, data: codes, dtype: kind === 'asym' ? 'U8' : 'I8' },
    { name: `${name}.scale`, shape: grouped, data: scales },
    { name: `${name}.dequantised`, shape, data: values },
    ...(kind === 'asym' ? [{ name: `${name}.zero`, shape: grouped, data: zeros, dtype: 'U8' as const }] : []),
  ];
  return { tensors, values };
}

interface Case {
  readonly name: string;
  readonly file: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly entry: string;
  readonly inputs: readonly TensorToWrite[];
  readonly touched: RegExp;
  readonly axis: number;
  readonly group: number;
}

const gpt2: Case = {
  name: 'compress-gpt2',
  file: 'gpt2/gpt2.sora',
  config: {
    architectures: ['GPT2LMHeadModel'],
    vocab_size: 40,
    n_embd: 48,
    n_layer: 1,
    n_head: 4,
    n_positions: 16,
    layer_norm_epsilon: 1e-5,
    eos_token_id: 2,
  },
  entry: 'forward',
  inputs: [{ name: 'input_ids', shape: [1, 5], data: Int32Array.of(3, 1, 4, 1, 5) }],
  touched: /c_attn\.weight|c_proj\.weight|c_fc\.weight/,
  axis: 0,
  group: 32,
};

const vit: Case = {
  name: 'compress-vit',
  file: 'vit/vit.sora',
  config: {
    architectures: ['ViTForImageClassification'],
    hidden_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 64,
    image_size: 8,
    patch_size: 4,
    num_channels: 1,
    num_labels: 3,
    id2label: { 0: 'a', 1: 'b', 2: 'c' },
  },
  entry: 'forward',
  inputs: [
    { name: 'pixel_values', shape: [1, 1, 8, 8], data: Float32Array.from({ length: 64 }, (_, at) => uniform(at, 5)) },
  ],
  touched: /layer\.\d+\..*(query|key|value|dense)\.weight/,
  axis: 1,
  group: 16,
};

test.each([gpt2, vit])(
  '$name',
  async ({ name, file, config, entry, inputs, touched, axis, group }) => {
    const path = join(models, file);
    const own = join(folder, name);
    mkdirSync(own, { recursive: true });
    const write = (at: string, content: string | Uint8Array) => writeFileSync(join(own, at), content);
    write('config.json', JSON.stringify(config));
    const source = loadSource(path);
    const model = String((config.architectures as readonly string[])[0]);
    const { value } = checkSource({ file: source.file, host: source.host, model, config });
    const dense = (value?.weights ?? [])
      .filter(({ tied }) => tied === undefined)
      .map(({ path: weight, type }, lane): Matrix => {
        const shape = type.shape.map((dim) => constantValue(dim) ?? 1);
        const length = shape.reduce((product, size) => product * size, 1);
        return { name: weight, shape, data: Float32Array.from({ length }, (_, at) => uniform(at, lane + 20) - 0.5) };
      });
    write('model.safetensors', encodeSafetensors(dense));
    write('in.safetensors', encodeSafetensors(inputs));
    const logitsOf = async (weights: readonly Matrix[], scheme: string): Promise<TensorToWrite> => {
      write('scheme.safetensors', encodeSafetensors(weights));
      const argv = [
        '--model',
        model,
        '--config',
        join(own, 'config.json'),
        '--weights',
        join(own, 'scheme.safetensors'),
      ];
      const io = ['--inputs', join(own, 'in.safetensors'), '--out', join(own, 'out.safetensors'), '--entry', entry];
      const { exitCode, stderr } = await sorac(['run', path, ...argv, ...io, '--device', 'cpu']);
      expect(exitCode, stderr).toBe(0);
      const tensor = (await readTensorFile(join(own, 'out.safetensors'))).get('logits');
      return {
        name: `a.${scheme}.logits`,
        shape: tensor?.shape ?? [],
        data: tensor?.read('f32') ?? new Float32Array(),
      };
    };
    const outputs = [await logitsOf(dense, 'dense')];
    const schemes = { int8: 'int8', int4_sym: 'int4', int4_asym: 'asym' } as const;
    for (const [scheme, kind] of Object.entries(schemes)) {
      const found = dense.map((matrix) =>
        touched.test(matrix.name) ? quantized(matrix, axis, kind, group) : undefined,
      );
      write(`${scheme}.safetensors`, encodeSafetensors(found.flatMap((each) => each?.tensors ?? [])));
      const weights = dense.map((matrix, at) => ({ ...matrix, data: found[at]?.values ?? matrix.data }));
      outputs.push(await logitsOf(weights, scheme));
    }
    const masks = dense
      .filter((matrix) => touched.test(matrix.name))
      .map(({ name: weight, shape, data }) => {
        const limit = Float32Array.from(data, Math.abs).sort()[Math.floor(data.length / 2) - 1] ?? 0;
        const mask = Uint8Array.from(data, (value_) => (Math.abs(value_) > limit ? 1 : 0));
        return { name: `${weight}.mask`, shape, data: mask };
      });
    write('magnitude50.safetensors', encodeSafetensors(masks));
    const thinned = dense.map((matrix) => {
      const mask = masks.find((each) => each.name === `${matrix.name}.mask`)?.data;
      return mask ? { ...matrix, data: matrix.data.map((value_, at) => (mask[at] === 1 ? value_ : 0)) } : matrix;
    });
    outputs.push(await logitsOf(thinned, 'magnitude50'));
    write('outputs.safetensors', encodeSafetensors(outputs));
    write('inputs.safetensors', encodeSafetensors(inputs.map((tensor) => ({ ...tensor, name: `a.${tensor.name}` }))));
    write('case.json', JSON.stringify({ case: name, family: 9, runner: 'compress', compress: {} }));

    const { exitCode, stdout } = await sorac(['goldens', own, '--device', 'cpu', '--json']);
    const { results } = JSON.parse(stdout) as { results: { result: string; outcome: string; detail?: string }[] };
    expect(results.filter(({ outcome }) => outcome !== 'pass')).toEqual([]);
    expect(results.map(({ result }) => result)).toEqual(
      expect.arrayContaining(['dense.logits', 'int8.logits', 'int4_sym: q', 'int4_asym: zero', 'magnitude50: mask']),
    );
    expect(exitCode).toBe(0);
  },
  120_000,
);
