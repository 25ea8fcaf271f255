/**
 * Structured pruning: what hangs together is found in every model of models/ and in awkward ones, and the smaller program gives
 * what the dense one gives with the columns of what went set to zero.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compile, lowerSource } from '../../../src/compile.ts';
import { chooseUnits, columnScores, type DenseTensor } from '../../../src/compression/units.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { verifyGraph, verifyProgram } from '../../../src/ir/verify.ts';
import { spreadEvenly } from '../../../src/passes/prune/layers.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { distance, inputOf, pruned, randomWeights, run, slicedWeights, zeroedWeights } from '../../support/pruning.ts';

const ids = (count: number, below: number) =>
  tensorOf(
    'i32',
    [2, count],
    Array.from({ length: 2 * count }, (_, at) => (at * 7 + 3) % below),
    'f64',
  );

/** Both sides on one entry; rounding in f64 only. */
function expectEqual(
  input: ReturnType<typeof inputOf>,
  entry: string,
  inputs: ReadonlyMap<string, Tensor>,
  dims?: ReadonlyMap<string, number>,
) {
  const { dense, program, plan } = pruned(input);
  const weights = randomWeights(dense, 7);
  const tensor = (path: string): DenseTensor => {
    const found = weights.get(path);
    if (!found) throw new Error(`no weight ${path}`);
    return found;
  };
  const budgets = new Set((dense.prune?.units ?? []).flatMap(({ isBudget }, at) => (isBudget ? at : [])));
  const kept = chooseUnits(plan, new Map(plan.sets.map((set) => [set.id, columnScores(set, tensor)])), budgets);
  const graph = program.entries.find(({ name }) => name === entry)?.graph;
  expect(graph && verifyGraph(graph, { ranges: program.dims }, { stage: 'model' })).toEqual([]);
  const sliced = slicedWeights(weights, plan, kept);
  for (const { path, type } of program.weights.filter(({ tied }) => tied === undefined))
    expect(sliced.get(path)?.shape.join(), path).toBe(type.shape.map((dim) => dim.key).join());
  const got = run(program, entry, inputs, sliced, dims);
  const want = run(dense, entry, inputs, zeroedWeights(weights, plan, kept), dims);
  expect(distance(got, want)).toBeLessThan(1e-12);
  const whole = run(dense, entry, inputs, weights, dims);
  expect(distance(want, whole), 'something was pruned').toBeGreaterThan(1e-6);
  return { dense, program, plan, kept };
}

const summary = (plan: ReturnType<typeof pruned>['plan']) =>
  plan.sets.map(({ kind, count, keep, members, states }) => [
    `${kind} ${keep} of ${count}`,
    members
      .map(({ path, axis }) => `${path.split('.').slice(-2).join('.')} ${axis}`)
      .sort()
      .join(', '),
    states.length,
  ]);

describe('models', () => {
  test('BERT', () => {
    const config = {
      num_hidden_layers: 2,
      hidden_size: 32,
      num_attention_heads: 4,
      intermediate_size: 24,
      vocab_size: 13,
    };
    const uses = `prune BertForSequenceClassification {
      heads "bert.encoder.layer.*": keep 0.75 by l2
      neurons "bert.encoder.layer.*": keep 0.5
    }`;
    const input = inputOf({ path: 'bert/sequence-classification.sora' }, uses, config);
    const { plan, program } = expectEqual(input, 'forward', new Map([['input_ids', ids(5, 13)]]));
    expect(summary(plan)).toMatchInlineSnapshot(`
      [
        [
          "heads 3 of 4",
          "dense.weight 1, key.bias 0, key.weight 0, query.bias 0, query.weight 0, value.bias 0, value.weight 0",
          0,
        ],
        [
          "heads 3 of 4",
          "dense.weight 1, key.bias 0, key.weight 0, query.bias 0, query.weight 0, value.bias 0, value.weight 0",
          0,
        ],
        [
          "neurons 12 of 24",
          "dense.bias 0, dense.weight 0, dense.weight 1",
          0,
        ],
        [
          "neurons 12 of 24",
          "dense.bias 0, dense.weight 0, dense.weight 1",
          0,
        ],
      ]
    `);
    expect(program.pruned?.sets).toHaveLength(4);
    expect(new Set(plan.sets.map(({ id }) => id)).size).toBe(4);
  });

  test.each([
    ['llama/llama.sora', 'LlamaForCausalLM', 'f32'],
    ['llama/qwen3.sora', 'Qwen3ForCausalLM', 'f32'],
    ['llama/mistral.sora', 'MistralForCausalLM', 'f32'],
    ['llama/llama.sora', 'LlamaForCausalLM', 'int8'],
  ])('%s, grouped heads, with and without a cache: %s %s', (path, model, stored) => {
    const config = {
      num_hidden_layers: 2,
      hidden_size: 32,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 8,
      intermediate_size: 24,
      vocab_size: 13,
      sliding_window: 3,
    };
    const uses = `prune ${model} {
      heads "model.layers.*": keep 0.5 by l1
      neurons "model.layers.*.mlp": keep 0.75
    }
    quantize ${model} { state "**": ${stored} }`;
    const input = inputOf({ path }, uses, config);
    const { plan, program, dense } = expectEqual(input, 'forward', new Map([['input_ids', ids(5, 13)]]));
    expect(plan.sets.map(({ count, keep }) => [count, keep])).toEqual([
      [4, 2],
      [4, 2],
      [24, 18],
      [24, 18],
    ]);
    expect(program.states.map(({ width }) => width)).toEqual(dense.states.map(({ width }) => width / 2));
    const session = dense.session;
    if (!session) throw new Error('no session');
    const hidden = new Map<string, Tensor>([
      ['input_ids', ids(4, 13)],
      ...(program.entries.find(({ name }) => name === 'prefill')?.parameters ?? []).flatMap(({ name, role }) =>
        role === undefined ? [] : [[name, tensorOf('i32', [2], role === 'past' ? [0, 0] : [4, 4], 'f64')] as const],
      ),
    ]);
    const dims = new Map([
      ['B', 2],
      ['T', 4],
      [session.past, 0],
      [session.slack, 0],
    ]);
    expectEqual(input, 'prefill', hidden, dims);
  });

  test('GPT-2: matrices [inputs, outputs], a fused projection', () => {
    const config = { n_layer: 2, n_embd: 32, n_head: 4, vocab_size: 13, eos_token_id: 1 };
    const uses = `prune GPT2LMHeadModel {
      heads "transformer.h.*": keep 0.75 by l2
      neurons "transformer.h.*.mlp": keep 0.5
    }`;
    const input = inputOf({ path: 'gpt2/gpt2.sora' }, uses, config);
    const { plan } = expectEqual(input, 'forward', new Map([['input_ids', ids(5, 13)]]));
    expect(summary(plan)).toMatchInlineSnapshot(`
      [
        [
          "heads 3 of 4",
          "c_attn.bias 0, c_attn.weight 1, c_proj.weight 0",
          2,
        ],
        [
          "heads 3 of 4",
          "c_attn.bias 0, c_attn.weight 1, c_proj.weight 0",
          2,
        ],
        [
          "neurons 64 of 128",
          "c_fc.bias 0, c_fc.weight 1, c_proj.weight 0",
          0,
        ],
        [
          "neurons 64 of 128",
          "c_fc.bias 0, c_fc.weight 1, c_proj.weight 0",
          0,
        ],
      ]
    `);
  });

  test('layers that differ: a budget, and counts that a file gives', () => {
    const config = { n_layer: 2, n_embd: 32, n_head: 4, vocab_size: 13, eos_token_id: 1 };
    const uses = 'prune GPT2LMHeadModel { neurons "transformer.h.*": budget(0.5) by l2 }';
    const input = inputOf({ path: 'gpt2/gpt2.sora' }, uses, config);
    const id = (layer: number) => `neurons transformer.h.${layer}.mlp.c_proj.weight`;
    const kept = new Map([
      [id(0), 100],
      [id(1), 28],
    ]);
    const { dense } = pruned(input);
    expect(dense.prune?.units[0]?.isBudget).toBe(true);
    const { program } = pruned({ ...input, kept });
    const sizes = program.weights
      .filter(({ path }) => path.endsWith('mlp.c_proj.weight'))
      .map(({ type }) => type.shape[0]?.key);
    expect(sizes).toEqual(['100', '28']);
  });
});

const frame = (fields: string, body: string, dims = 'dim B in 1..4, T in 1..8') => `
import { Linear, RMSNorm, gelu, sigmoid } from "sora:nn"
${dims}
model Net {
  part = Part()
  head = Linear(16, 3)
  entry go(x: f32[B, T, 16]) -> y: f32[B, T, 3] = head(part(x))
}
module Part() {
${fields}
  fn (x: f32[B, T, 16]) -> f32[B, T, 16] {
${body}
  }
}
`;

const x = tensorOf(
  'f32',
  [2, 5, 16],
  Array.from({ length: 160 }, (_, at) => Math.sin(at)),
  'f64',
);
const projections = `  q = Linear(16, 24)
  k = Linear(16, 12)
  v = Linear(16, 8)
  mix = Linear(16, 16)`;

test.each(readdirSync('examples/vit-mnist/recipes'))('the recipe %s of the digits', (name) => {
  const uses = readFileSync(`examples/vit-mnist/recipes/${name}`, 'utf8');
  const { value, diagnostics } = lowerSource(inputOf({ path: 'vit-mnist/vit-mnist.sora' }, uses));
  expect(describeDiagnostics(diagnostics)).toEqual([]);
  const rules = value?.prune?.weights.length ?? 0;
  expect([value?.pruned?.sets.length ?? 0, rules]).toEqual(name === 'half.sora' ? [6, 0] : [0, 1]);
});

describe('layers', () => {
  /** The dense program of as many layers as stay, with the weights of those. */
  function expectLayers(
    path: string,
    uses: string,
    config: object,
    fewer: object,
    part: string,
    kept: readonly number[],
  ) {
    const { dense, program } = pruned(inputOf({ path }, uses, config));
    const weights = randomWeights(dense, 11);
    const small = pruned(inputOf({ path }, undefined, { ...config, ...fewer })).dense;
    const renamed = new Map(
      [...weights].flatMap(([name, tensor]) => {
        const number = /^\d+/.exec(name.startsWith(`${part}.`) ? name.slice(part.length + 1) : '')?.[0];
        if (number === undefined) return [[name, tensor] as const];
        const at = kept.indexOf(Number(number));
        return at < 0 ? [] : [[`${part}.${at}${name.slice(part.length + 1 + number.length)}`, tensor] as const];
      }),
    );
    const inputs = new Map([['input_ids', ids(5, 13)]]);
    expect(distance(run(program, 'forward', inputs, weights), run(small, 'forward', inputs, renamed))).toBeLessThan(
      1e-12,
    );
    expect(verifyProgram(program, { stage: 'model' })).toEqual([]);
    expect(program.weights).toHaveLength(small.weights.length);
    expect(program.states).toHaveLength(small.states.length);
    return program;
  }

  test('of BERT: names stay', () => {
    const config = {
      num_hidden_layers: 4,
      hidden_size: 16,
      num_attention_heads: 2,
      intermediate_size: 8,
      vocab_size: 13,
    };
    const uses = 'prune BertForSequenceClassification { layers "bert.encoder.layer": keep 0.5 }';
    const [path, part] = ['bert/sequence-classification.sora', 'bert.encoder.layer'];
    const program = expectLayers(path, uses, config, { num_hidden_layers: 2 }, part, [0, 3]);
    expect(program.weights.some((weight) => weight.path === 'bert.encoder.layer.3.output.dense.weight')).toBe(true);
  });

  test.each([
    [
      'gpt2/gpt2.sora',
      'GPT2LMHeadModel',
      'transformer.h',
      { n_layer: 5, n_embd: 16, n_head: 2, eos_token_id: 1 },
      { n_layer: 3 },
      [0, 2, 4],
    ],
    [
      'llama/qwen3.sora',
      'Qwen3ForCausalLM',
      'model.layers',
      { num_hidden_layers: 5, hidden_size: 16, num_attention_heads: 2, head_dim: 4, intermediate_size: 8 },
      { num_hidden_layers: 3 },
      [0, 2, 4],
    ],
  ])('of %s: states go too', (path, model, part, config, fewer, kept) => {
    const uses = `prune ${model} { layers "${part}": keep 0.6 }`;
    expectLayers(path, uses, { ...config, vocab_size: 13 }, fewer, part, kept);
  });

  test('together with heads and neurons', () => {
    const config = { n_layer: 4, n_embd: 32, n_head: 4, vocab_size: 13, eos_token_id: 1 };
    const uses = `prune GPT2LMHeadModel {
      layers "transformer.h": keep 0.5
      heads "transformer.h.*": keep 0.5
      neurons "transformer.h.*": keep 0.5
    }`;
    const { program, plan } = pruned(inputOf({ path: 'gpt2/gpt2.sora' }, uses, config));
    expect(plan.sets.map(({ part }) => part)).toEqual([
      'transformer.h.0',
      'transformer.h.3',
      'transformer.h.0',
      'transformer.h.3',
    ]);
    expect(verifyProgram(program, { stage: 'model' })).toEqual([]);
    expect(program.states.map(({ width }) => width)).toEqual([16, 16, 16, 16]);
  });

  test('evenly, both ends among them', () => {
    expect([1, 2, 3, 6].map((keep) => spreadEvenly(12, keep))).toEqual([[0], [0, 11], [0, 6, 11], [0, 2, 4, 7, 9, 11]]);
  });
});

describe('what runs through an attention', () => {
  test.each([
    ['sinks', `${projections}\n  sinks: f32[4]`, 'heads: 4, kv_heads: 2, sinks: sinks', 'sinks 0'],
    [
      'spans',
      `${projections}\n  span: f32[4]`,
      'heads: 4, kv_heads: 2, mask: causal, span: adaptive(span, ramp: 4.0)',
      'span 0',
    ],
    [
      'a gate',
      `${projections}\n  gate = Linear(16, 4)`,
      'heads: 4, kv_heads: 2, gate: sigmoid(gate(x))',
      'gate.weight 0',
    ],
    [
      'a temperature',
      `${projections}\n  temp = Linear(16, 4)`,
      'heads: 4, kv_heads: 2, temperature: sigmoid(temp(x)) + 0.5',
      'temp.weight 0',
    ],
    [
      'alpha of entmax',
      `${projections}\n  alpha: f32[4]`,
      'heads: 4, kv_heads: 2, normalize: entmax(1 + sigmoid(alpha))',
      'alpha 0',
    ],
    ['norms of heads', `${projections}\n  n = RMSNorm(6)`, 'heads: 4, kv_heads: 2, q_norm: n, k_norm: n', 'q.weight 0'],
    ['rotary positions', projections, 'heads: 4, kv_heads: 2, rope: rotary(theta: 100.0)', 'k.bias 0'],
    ['a bias per head', `${projections}\n  table: f32[4, 1, 1]`, 'heads: 4, kv_heads: 2, bias: table', 'table 0'],
  ])('%s', (_, fields, modifiers, member) => {
    const text = frame(fields, `    mix(attend(q(x), k(x), v(x)) { ${modifiers} })`);
    const input = inputOf({ text }, 'prune Net { heads "part": keep 0.5 }');
    const { plan } = expectEqual(input, 'go', new Map([['x', x]]));
    expect(plan.sets.flatMap(({ members }) => members.map(({ path, axis }) => `${path} ${axis}`))).toContain(
      `part.${member}`,
    );
  });

  test('slopes that the text computes go to the file', () => {
    const score = 'score: (s, b, h, i, j) => s + 2.0 ** (0.0 - 2.0 * f32(h + 1)) * f32(j - i)';
    const text = frame(
      projections,
      `    mix(attend(q(x), k(x), v(x)) { heads: 4, kv_heads: 2, mask: causal, ${score} })`,
    );
    const input = inputOf({ text }, 'prune Net { heads "part": keep 0.5 }');
    const { plan, program } = expectEqual(input, 'go', new Map([['x', x]]));
    expect(plan.sets[0]?.constants).toEqual([
      { path: 'part.mix.weight.constant.0', shape: [4], values: [0, 1, 2, 3], axis: 0, units: [0, 0, 1, 1] },
    ]);
    expect(program.weights.at(-1)?.path).toBe('part.mix.weight.constant.0');
  });
});

describe('what runs through a feed-forward', () => {
  test('fused gate and up', () => {
    const text = frame(
      '  both = Linear(16, 40)\n  down = Linear(20, 16)',
      '    let [gate, up] = split(both(x), 2)\n    down(sigmoid(gate) * up)',
    );
    const { plan } = expectEqual(
      inputOf({ text }, 'prune Net { neurons "part": keep 0.5 }'),
      'go',
      new Map([['x', x]]),
    );
    expect(plan.sets.map(({ count, keep }) => [count, keep])).toEqual([[20, 10]]);
  });

  test('a projection fused of attention and feed-forward, with a rule for each', () => {
    const text = frame(
      '  all = Linear(16, 60)\n  mix = Linear(12, 16)\n  down = Linear(24, 16)',
      `    let h = all(x)
    let a = attend(h[..., 0:12], h[..., 12:24], h[..., 24:36]) { heads: 4 }
    mix(a) + down(gelu(h[..., 36:60]))`,
    );
    const uses = 'prune Net { heads "part": keep 0.5\n neurons "part": keep 0.25 by l1 }';
    const { program } = expectEqual(inputOf({ text }, uses), 'go', new Map([['x', x]]));
    expect(program.weights.find(({ path }) => path === 'part.all.weight')?.type.shape[0]?.key).toBe('24');
  });
});

describe('refusals', () => {
  const refused = (text: string, uses: string) =>
    describeDiagnostics(
      lowerSource(inputOf({ text }, uses)).diagnostics.filter(({ severity }) => severity === 'error'),
    );
  const mlp = (body: string) => frame('  up = Linear(16, 20)\n  norm = RMSNorm(20)\n  down = Linear(20, 16)', body);
  const attention = frame(projections, '    mix(attend(q(x), k(x), v(x)) { heads: 4, kv_heads: 2 })');

  test.each([
    ['a norm over the neurons', mlp('    down(norm(gelu(up(x))))'), 'neurons "part": keep 0.5', 'SORA2311', 'rms_norm'],
    ['no attention', mlp('    down(gelu(up(x)))'), 'heads "part": keep 0.5', 'SORA2312', 'no attention'],
    ['no feed-forward', attention, 'neurons "part": keep 0.5', 'SORA2311', 'parameter `x`'],
    ['a part that is too small', attention, 'heads "part.q": keep 0.5', 'SORA2311', 'part.k.weight'],
    ['a part without layers', attention, 'layers "part": keep 0.5', 'SORA2312', 'no layers'],
    [
      'layers that differ',
      frame('  repeat layer[i in 2] = Piece(8 + 8 * i)', '    layer(x)').concat(`module Piece(width: int) {
  up = Linear(16, width)
  down = Linear(width, 16)
  fn (x: f32[B, T, 16]) -> f32[B, T, 16] = x + down(gelu(up(x)))
}
`),
      'layers "part.layer": keep 0.5',
      'SORA2311',
      'alike',
    ],
    ['nothing left', attention, 'heads "part": keep 0.1', 'SORA2313', 'leaves none of the 2 groups'],
    ['everything left', attention, 'heads "part": keep 0.9', 'SORA2313', 'leaves all of the 2 groups'],
    [
      'heads whose output leaves the model',
      frame('  q = Linear(16, 16)', '    attend(q(x), q(x), q(x)) { heads: 4 }').replace(
        '= head(part(x))',
        '{ head(x) + 0.0 * part(x)[..., 0:3] }',
      ),
      'heads "part": keep 0.5',
      'SORA2311',
      'result `y`',
    ],
  ])('%s', (_, text, rule, code, words) => {
    const [first = ''] = refused(text, `prune Net { ${rule} }`);
    expect(first).toContain(code);
    expect(first).toContain(words);
  });

  test('nothing compiles then', () => {
    expect(compile(inputOf({ text: attention }, 'prune Net { heads "part": keep 0.1 }')).value).toBeUndefined();
  });
});
