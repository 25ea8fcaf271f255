/**
 * `sorac run`, `golden` and `goldens` on the interpreter: a small BERT with random weights, whose expected outputs the
 * first run makes. That the numbers are right is the business of other tests; here files, names and outcomes count.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommandLine } from '../../../src/cli/main.ts';
import { loadSource } from '../../../src/cli/source-files.ts';
import { readTensorFile } from '../../../src/cli/tensor-file.ts';
import { checkSource } from '../../../src/compile.ts';
import { constantValue } from '../../../src/ir/symbolic.ts';
import { encodeSafetensors, type TensorToWrite } from '../../../src/runtime/safetensors.ts';

const models = fileURLToPath(new URL('../../../models', import.meta.url));
const source = join(models, 'bert/question-answering.sora');
const base = mkdtempSync(join(tmpdir(), 'sorac-goldens-'));
const cases = join(base, 'cases');
const good = join(cases, 'small-bert');
afterAll(() => rmSync(base, { recursive: true }));

const config = {
  architectures: ['BertForQuestionAnswering'],
  hidden_act: 'gelu',
  hidden_size: 8,
  intermediate_size: 12,
  layer_norm_eps: 1e-12,
  max_position_embeddings: 16,
  num_attention_heads: 2,
  num_hidden_layers: 1,
  type_vocab_size: 2,
  vocab_size: 20,
};

async function sorac(...argv: readonly string[]) {
  const streams = { stdout: '', stderr: '' };
  const exitCode = await runCommandLine(argv, {
    stdout: { write: (text) => (streams.stdout += text) },
    stderr: { write: (text) => (streams.stderr += text) },
  });
  return { exitCode, ...streams };
}

/** A linear congruential generator (Numerical Recipes): the same weights in every run. */
function numbers(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

const ids = (name: string, shape: readonly number[], values: readonly number[]): TensorToWrite => ({
  name,
  shape,
  data: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
  dtype: 'I64',
});

const calls = {
  a: [
    ids('input_ids', [2, 3], [3, 4, 5, 6, 7, 0]),
    ids('attention_mask', [2, 3], [1, 1, 1, 1, 1, 0]),
    ids('lengths', [2], [3, 2]),
  ],
  b: [ids('input_ids', [1, 5], [9, 8, 7, 6, 5])],
};
const at = (file: string) => join(good, file);
const runArguments = (variant: string) => [
  ...[source, '--config', at('config.json'), '--weights', at('model.safetensors')],
  ...['--inputs', join(base, `${variant}.safetensors`), '--device', 'cpu'],
];

beforeAll(async () => {
  mkdirSync(good, { recursive: true });
  writeFileSync(at('config.json'), JSON.stringify(config));
  writeFileSync(at('case.json'), JSON.stringify({ runner: 'plain', fields: ['start_logits', 'end_logits'] }));
  const { file, host } = loadSource(source);
  const program = checkSource({ file, host, config }).value;
  const weights = (program?.weights ?? []).map(({ path, type }, index) => {
    const shape = type.shape.map((dim) => constantValue(dim) ?? 0);
    return {
      name: path,
      shape,
      data: numbers(
        shape.reduce((product, size) => product * size, 1),
        index,
      ),
    };
  });
  expect(weights.length).toBeGreaterThan(10);
  writeFileSync(at('model.safetensors'), encodeSafetensors(weights));
  const outputs: TensorToWrite[] = [];
  for (const [variant, tensors] of Object.entries(calls)) {
    writeFileSync(join(base, `${variant}.safetensors`), encodeSafetensors(tensors));
    const out = join(base, `${variant}.out.safetensors`);
    expect(await sorac('run', ...runArguments(variant), '--out', out)).toMatchObject({ exitCode: 0 });
    for (const [name, tensor] of await readTensorFile(out)) {
      outputs.push({ name: `${variant}.${name}`, shape: tensor.shape, data: tensor.read('f32') });
    }
  }
  const inputs = Object.entries(calls).flatMap(([variant, tensors]) =>
    tensors.map((tensor) => ({ ...tensor, name: `${variant}.${tensor.name}` })),
  );
  writeFileSync(at('inputs.safetensors'), encodeSafetensors(inputs));
  writeFileSync(at('outputs.safetensors'), encodeSafetensors(outputs));
});

/** A copy of the good case with one file changed. */
function variation(name: string, file: string, content: string | Uint8Array | undefined): void {
  cpSync(good, join(cases, name), { recursive: true });
  if (content === undefined) rmSync(join(cases, name, file));
  else writeFileSync(join(cases, name, file), content);
}

interface GoldensDocument {
  readonly passed: number;
  readonly failed: number;
  readonly notSupported: number;
  readonly results: readonly { readonly case: string; readonly outcome: string; readonly detail?: string }[];
}

async function goldens(...argv: readonly string[]): Promise<GoldensDocument & { readonly exitCode: number }> {
  const { exitCode, stdout } = await sorac('goldens', ...argv, '--device', 'cpu', '--json');
  return { exitCode, ...(JSON.parse(stdout) as GoldensDocument) };
}

test('results have the names and shapes of the entry, and unused inputs are told', async () => {
  const out = join(base, 'again.safetensors');
  const { exitCode, stdout, stderr } = await sorac('run', ...runArguments('a'), '--out', out);
  expect(exitCode).toBe(0);
  expect(stderr).toContain('`lengths` is not used');
  expect(stdout).toContain('start_logits f32[2, 3]');
  const tensors = await readTensorFile(out);
  expect([...tensors.keys()].sort()).toEqual(['end_logits', 'start_logits']);
  expect(readFileSync(out).equals(readFileSync(join(base, 'a.out.safetensors')))).toBe(true);
});

test.each([
  ['past the vocabulary', [3, 20, 4]],
  ['past 32 bits', [3, 2 ** 40, 4]],
])('a token id %s ends with 4 and leaves no result', async (_, values) => {
  const inputs = join(base, 'wrong.safetensors');
  const out = join(base, 'wrong.out.safetensors');
  writeFileSync(inputs, encodeSafetensors([ids('input_ids', [1, 3], values)]));
  const argv = runArguments('a').map((word) => (word === join(base, 'a.safetensors') ? inputs : word));
  const { exitCode, stderr } = await sorac('run', ...argv, '--out', out);
  expect(exitCode).toBe(4);
  expect(stderr).toContain('input_ids');
  expect(existsSync(out)).toBe(false);
});

test('a good case passes, alone and among others', async () => {
  expect(await goldens(good)).toMatchObject({ exitCode: 0, passed: 1, failed: 0 });
});

test('wrong numbers, broken folders and unknown models are told apart, and nothing crashes', async () => {
  const outputs = readFileSync(at('outputs.safetensors'));
  // The last byte is the sign and exponent of the last value.
  const wrong = Uint8Array.from(outputs);
  wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 0x80;
  variation('wrong-numbers', 'outputs.safetensors', wrong);
  variation('cut-off', 'inputs.safetensors', readFileSync(at('inputs.safetensors')).subarray(0, 40));
  variation('no-json', 'case.json', '{ "runner": ');
  variation('no-config', 'config.json', undefined);
  variation('no-weights', 'model.safetensors', undefined);
  variation('no-outputs', 'outputs.safetensors', encodeSafetensors([]));
  variation('other-model', 'config.json', JSON.stringify({ architectures: ['NoSuchModel'] }));
  variation('other-runner', 'case.json', JSON.stringify({ runner: 'diffusion' }));
  variation('no-run', 'case.json', JSON.stringify({ runner: 'train', train: { kind: 'classify', optimizer: 7 } }));
  variation('wrong-config', 'config.json', JSON.stringify({ ...config, num_attention_heads: 3 }));
  const { exitCode, results, passed, notSupported } = await goldens(cases);
  expect(exitCode).toBe(1);
  expect({ passed, notSupported }).toEqual({ passed: 1, notSupported: 2 });
  const outcomes = Object.fromEntries(results.map((row) => [row.case, row.outcome]));
  const failed = new Set(results.filter((row) => row.outcome === 'fail').map((row) => row.case));
  expect([...failed].sort()).toEqual([
    ...['cut-off', 'no-config', 'no-json', 'no-outputs', 'no-run', 'no-weights', 'wrong-config', 'wrong-numbers'],
  ]);
  expect(outcomes).toMatchObject({ 'other-model': 'not supported yet', 'other-runner': 'not supported yet' });
  const detail = (name: string) => results.find((row) => row.case === name)?.detail;
  expect(detail('no-config')).toBe('config.json is missing');
  expect(detail('no-json')).toContain('case.json is not JSON');
});

test('a folder without cases and an unknown filter are wrong command lines', async () => {
  mkdirSync(join(base, 'empty'));
  expect(await sorac('goldens', join(base, 'empty'))).toMatchObject({ exitCode: 2 });
  expect(await sorac('goldens', cases, '--filter', 'nothing-like-this')).toMatchObject({ exitCode: 2 });
});

test('golden record keeps outputs beside the model, golden check sees a change of the model', async () => {
  const project = join(base, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{}');
  for (const name of ['encoder.sora', 'question-answering.sora'])
    cpSync(join(models, 'bert', name), join(project, name));
  const path = join(project, 'question-answering.sora');
  const rest = runArguments('a').slice(1);
  expect(await sorac('golden', 'check', path, ...rest)).toMatchObject({ exitCode: 2 });
  expect(await sorac('golden', 'record', path, ...rest)).toMatchObject({ exitCode: 0 });
  expect(await sorac('golden', 'check', path, ...rest)).toMatchObject({ exitCode: 0 });

  const other = rest.map((word) => word.replace('a.safetensors', 'b.safetensors'));
  expect(await sorac('golden', 'check', path, ...other)).toMatchObject({ exitCode: 4 });

  writeFileSync(path, readFileSync(path, 'utf8').replace('scores[..., 0]', 'scores[..., 1]'));
  const changed = await sorac('golden', 'check', path, ...rest, '--json');
  expect(changed.exitCode).toBe(1);
  const { results } = JSON.parse(changed.stdout) as { results: { name: string; isEqual: boolean }[] };
  expect(results.map(({ name, isEqual }) => [name, isEqual])).toEqual([
    ['end_logits', true],
    ['start_logits', false],
  ]);
});
