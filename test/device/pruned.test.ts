/**
 * Structured pruning against what PyTorch recorded (../shared/golden, where it is present): the dense checkpoint is scored and sliced by
 * the plan of the compiler, and the smaller program gives the recorded logits, on every adapter and on the interpreter. A small model
 * of our own does the same against its zeroed columns, so that something is run everywhere.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type FileTensor, readTensorFile } from '../../src/cli/tensor-file.ts';
import { compile } from '../../src/compile.ts';
import { printKept } from '../../src/compression/kept.ts';
import { chooseUnits, columnScores, type DenseTensor } from '../../src/compression/units.ts';
import { goneScore } from '../../src/ir/pruning.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import { createModel, type InputTensor } from '../../src/runtime/index.ts';
import { encodeSafetensors } from '../../src/runtime/safetensors.ts';
import { gpuDevices } from '../support/devices.ts';
import { inputOf, type Pruned, pruned, randomWeights, slicedWeights, zeroedWeights } from '../support/pruning.ts';

const shared = fileURLToPath(new URL('../../../shared/golden', import.meta.url));
const devices = [...gpuDevices, 'cpu'] as const;

/** Of the greatest number: what the goldens ask for. */
const tolerance = 1e-4;

const cases = [
  {
    name: 'compress-bert',
    path: 'bert/sequence-classification.sora',
    uses: `prune BertForSequenceClassification {
      heads "bert.encoder.layer.*": keep 0.75 by l2
      neurons "bert.encoder.layer.*": keep 0.75 by l2
    }`,
  },
  {
    name: 'compress-llama',
    path: 'llama/llama.sora',
    uses: `prune LlamaForCausalLM {
      heads "model.layers.*.self_attn": keep 0.75 by l2
      neurons "model.layers.*.mlp": keep 0.75 by l2
    }`,
  },
].filter(({ name }) => existsSync(`${shared}/${name}/case.json`));

const artifactOf = (input: ReturnType<typeof inputOf>): Artifact => {
  const { value, diagnostics } = compile(input);
  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  if (!value) throw new Error('does not compile');
  return value.artifact;
};

const bytesOf = (weights: ReadonlyMap<string, DenseTensor>, metadata = {}) =>
  encodeSafetensors(
    [...weights].map(([name, tensor]) => ({ name, ...tensor })),
    metadata,
  );

const scoresOf = ({ plan }: Pruned, weights: ReadonlyMap<string, DenseTensor>) =>
  new Map(
    plan.sets.map((set) => {
      const scores = columnScores(set, (path) => {
        const tensor = weights.get(path);
        if (!tensor) throw new Error(`no weight ${path}`);
        return tensor;
      });
      return [set.id, scores] as const;
    }),
  );

async function results(artifact: Artifact, weights: Uint8Array, adapter: (typeof devices)[number], calls: Calls) {
  const model = await createModel(artifact, {
    weights,
    adapter,
    cpu: () => import('../../src/cpu.ts'),
    warn: () => {},
  });
  const found = new Map<string, Float32Array>();
  for (const [name, { entry, inputs }] of calls) {
    const [result] = Object.values(await model.call(entry, inputs));
    found.set(name, result?.data as Float32Array);
  }
  await model.close();
  return found;
}

type Calls = ReadonlyMap<string, { readonly entry: string; readonly inputs: Record<string, InputTensor> }>;

function expectClose(got: Float32Array | undefined, want: Float32Array, what: string): void {
  expect(got?.length, what).toBe(want.length);
  const size = Math.max(...want.map(Math.abs));
  const gap = Math.max(...want.map((value, at) => Math.abs(value - (got?.[at] ?? Number.NaN))));
  expect(gap / size, `${what}: max |got - want| ${gap} of ${size}`).toBeLessThan(tolerance);
}

describe.skipIf(cases.length === 0).each(cases)('$name', ({ name, path, uses }) => {
  const folder = `${shared}/${name}`;
  const numbers = (tensor: FileTensor | undefined) => tensor?.read('f32') ?? new Float32Array();
  const prepared = (async () => {
    const config = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    const input = inputOf({ path }, uses, config);
    const both = pruned(input);
    const files = await readTensorFile(`${folder}/model.safetensors`);
    const weights = new Map([...files].map(([key, file]) => [key, { shape: file.shape, data: numbers(file) }]));
    const scores = scoresOf(both, weights);
    const kept = chooseUnits(both.plan, scores);
    return { input, both, weights, scores, kept };
  })();

  test('scores and choices', async () => {
    const { both, scores, kept } = await prepared;
    const recorded = await readTensorFile(`${folder}/pruned/kept.safetensors`);
    expect(both.plan.sets).toHaveLength(4);
    for (const { id, kind, members } of both.plan.sets) {
      const layer = /\.(\d+)\./.exec(members[0]?.path ?? '')?.[1];
      const [indices, values] = kind === 'heads' ? ['kept_groups', 'group_score'] : ['kept_ffn', 'ffn_score'];
      expect(kept.get(id), id).toEqual([...(recorded.get(`${indices}.${layer}`)?.read('i32') ?? [])]);
      expectClose(Float32Array.from(scores.get(id) ?? []), numbers(recorded.get(`${values}.${layer}`)), id);
    }
  });

  test('the sliced checkpoint is that of PyTorch', async () => {
    const { both, weights, kept } = await prepared;
    const recorded = await readTensorFile(`${folder}/pruned/model.safetensors`);
    const sliced = slicedWeights(weights, both.plan, kept);
    expect([...sliced.keys()].sort()).toEqual([...recorded.keys()].sort());
    for (const [key, file] of recorded) {
      expect(sliced.get(key)?.shape, key).toEqual(file.shape);
      expect(sliced.get(key)?.data, key).toEqual(numbers(file));
    }
  });

  test.each(devices)('logits on %s', { timeout: 120_000 }, async (device) => {
    const { input, both, weights, kept } = await prepared;
    const inputs = await readTensorFile(`${folder}/inputs.safetensors`);
    const outputs = await readTensorFile(`${folder}/outputs.safetensors`);
    const calls: Calls = new Map(
      ['a', 'b'].map((variant) => {
        const own = [...inputs].flatMap(([key, file]) =>
          key.startsWith(`${variant}.`) && !key.endsWith('.lengths')
            ? [[key.slice(2), { data: file.read('i32'), shape: file.shape }] as const]
            : [],
        );
        return [variant, { entry: 'forward', inputs: Object.fromEntries(own) }];
      }),
    );
    const file = bytesOf(slicedWeights(weights, both.plan, kept), { 'sorac.pruned': printKept(kept) });
    const got = await results(artifactOf(input), file, device, calls);
    for (const variant of ['a', 'b'])
      expectClose(got.get(variant), numbers(outputs.get(`${variant}.structured.logits`)), variant);
  });
});

describe('a small model of our own, grouped heads and a cache', () => {
  const config = {
    num_hidden_layers: 2,
    hidden_size: 32,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 8,
    intermediate_size: 24,
    vocab_size: 13,
    max_position_embeddings: 16,
  };
  const uses = `prune Qwen3ForCausalLM {
    heads "model.layers.*": keep 0.5 by l2
    neurons "model.layers.*": budget(0.5) by l1
  }`;

  test.each(devices)('%s', { timeout: 120_000 }, async (device) => {
    const first = inputOf({ path: 'llama/qwen3.sora' }, uses, config);
    const dense = pruned(first);
    const weights = randomWeights(dense.dense, 3);
    const chosen = chooseUnits(dense.plan, scoresOf(dense, weights), new Set([1]));
    const kept = new Map([...chosen].map(([id, units]) => [id, units.length]));
    const ids = { data: Int32Array.of(3, 1, 4, 1, 5, 9, 2, 6), shape: [2, 4] };
    const calls: Calls = new Map([['forward', { entry: 'forward', inputs: { input_ids: ids } }]]);
    const small = artifactOf({ ...first, kept });
    expect([...kept.values()].reduce((sum, count) => sum + count, 0)).toBe(2 + 2 + 24);
    const got = await results(small, bytesOf(slicedWeights(weights, dense.plan, chosen)), device, calls);
    const whole = bytesOf(zeroedWeights(weights, dense.plan, chosen));
    const want = await results(artifactOf({ ...first, isDense: true }), whole, device, calls);
    expectClose(got.get('forward'), want.get('forward') ?? new Float32Array(), device);
  });
});

describe('a small decoder with a table of fewer rows', () => {
  const config = {
    num_hidden_layers: 1,
    hidden_size: 32,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    intermediate_size: 24,
    vocab_size: 67,
    max_position_embeddings: 16,
    eos_token_id: 5,
  };
  const uses = 'prune LlamaForCausalLM { rows "model.embed_tokens": keep 0.3 by l2 }';

  test.each(devices)(
    '%s: kept rows as they were, none of the others is chosen',
    { timeout: 120_000 },
    async (device) => {
      const input = inputOf({ path: 'llama/llama.sora' }, uses, config);
      const both = pruned(input);
      const weights = randomWeights(both.dense, 3);
      const kept = chooseUnits(both.plan, scoresOf(both, weights));
      const [rows = []] = kept.values();
      expect(rows).toHaveLength(20);
      expect(rows).toContain(5);
      const ids = { data: Int32Array.from({ length: 8 }, (_, at) => rows[(5 * at) % 20] ?? 0), shape: [2, 4] };
      const calls: Calls = new Map([['forward', { entry: 'forward', inputs: { input_ids: ids } }]]);
      const small = bytesOf(slicedWeights(weights, both.plan, kept));
      const artifact = artifactOf(input);
      const got = (await results(artifact, small, device, calls)).get('forward') ?? new Float32Array();
      const dense = await results(artifactOf({ ...input, isDense: true }), bytesOf(weights), device, calls);
      const isKept = (_: number, at: number) => rows.includes(at % 67);
      expectClose(got.filter(isKept), dense.get('forward')?.filter(isKept) ?? new Float32Array(), device);
      expect(got.filter((_, at) => !isKept(0, at)).every((score) => score <= goneScore)).toBe(true);

      const model = await createModel(artifact, {
        weights: small,
        adapter: device,
        cpu: () => import('../../src/cpu.ts'),
      });
      const text: number[] = [];
      const options = { maxTokens: 10, stop: [], temperature: 100, seed: 3 };
      for await (const { token } of model.session().generate([...rows.slice(0, 3)], options)) text.push(token);
      expect(text).toHaveLength(10);
      expect(text.filter((token) => !rows.includes(token))).toEqual([]);
      await model.close();
    },
  );
});
