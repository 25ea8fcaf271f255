/**
 * Rows of tables: the smaller model gives what the dense one gives with the rows of what went set to zero, classes that are gone apart,
 * and callers' numbers stay what they were.
 */
import { describe, expect, test } from 'vitest';
import { lowerSource } from '../../../src/compile.ts';
import { chooseUnits, columnScores, type DenseTensor } from '../../../src/compression/units.ts';
import { goneScore } from '../../../src/ir/pruning.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { inputOf, pruned, randomWeights, run, slicedWeights, zeroedWeights } from '../../support/pruning.ts';

const model = (fields: string, body: string) => `import { Embedding, Linear } from "sora:nn"

dim B in 1..4, T in 1..8

model Words {
${fields}
  mix = Linear(8, 8)

  entry go(ids: i32[B, T]) -> logits: f32[B, T, 11] = ${body}
}
`;

const tied = model(
  '  embed = Embedding(11, 8)\n  head = Linear(8, 11, bias: false) tied embed.weight if missing',
  'head(mix(embed(ids)))',
);
const apart = model('  embed = Embedding(11, 8)\n  head = Linear(8, 11)', 'head(mix(embed(ids)))');

const ids = [3, 10, 0, 7, 7, 1, 9, 2];
const inputs = new Map([['ids', tensorOf('i32', [2, 4], ids, 'f64')]]);

function compared(text: string, rule: string, always: readonly number[] = []) {
  const { dense, program, plan } = pruned(inputOf({ text }, `prune Words { ${rule} }`));
  const weights = randomWeights(dense, 5);
  const tensor = (path: string): DenseTensor => weights.get(path) ?? { shape: [0], data: new Float32Array() };
  const kept = chooseUnits(plan, new Map(plan.sets.map((set) => [set.id, columnScores(set, tensor)])));
  const [set] = plan.sets;
  const rows = kept.get(set?.id ?? '') ?? [];
  expect(rows.length).toBe(set?.keep);
  for (const row of always) expect(rows).toContain(row);
  for (const { graph } of program.entries)
    expect(verifyGraph(graph, { ranges: program.dims }, { stage: 'model' })).toEqual([]);
  const sliced = slicedWeights(weights, plan, kept);
  for (const { path, type } of program.weights.filter(({ tied: other }) => other === undefined))
    expect(sliced.get(path)?.shape.join(), path).toBe(type.shape.map((dim) => dim.key).join());
  const got = run(program, 'go', inputs, sliced).get('logits');
  const want = run(dense, 'go', inputs, zeroedWeights(weights, plan, kept)).get('logits');
  const whole = run(dense, 'go', inputs, weights).get('logits');
  return { rows, got, want, whole, set };
}

function expectKept({ rows, got, want, whole }: ReturnType<typeof compared>, isScored: boolean): void {
  expect(got?.shape).toEqual([2, 4, 11]);
  let changed = 0;
  got?.data.forEach((value, at) => {
    const isGone = isScored && !rows.includes(at % 11);
    if (isGone) expect(value).toBe(goneScore);
    else expect(Math.abs(value - (want?.data[at] ?? Number.NaN))).toBeLessThan(1e-12);
    if (!isGone) changed = Math.max(changed, Math.abs(value - (whole?.data[at] ?? 0)));
  });
  // Some of the ids are gone.
  expect(ids.some((id) => !rows.includes(id))).toBe(true);
  expect(changed).toBeGreaterThan(1e-3);
}

describe('rows', () => {
  test('of a table that is looked up and scores', () => {
    const found = compared(tied, 'rows "embed": keep 0.5 by l1');
    expectKept(found, true);
    expect(found.set).toMatchObject({ id: 'rows embed.weight', kind: 'rows', count: 11, keep: 6, by: 'l1' });
    expect(found.set?.members.map(({ path }) => path).sort()).toEqual(['embed.weight', 'head.weight']);
  });

  test('of a table and a matrix of scores with offsets keep the same ones', () => {
    const found = compared(apart, 'rows "embed", "head": keep 0.5');
    expectKept(found, true);
    expect(found.set?.members.map(({ path }) => path).sort()).toEqual(['embed.weight', 'head.bias', 'head.weight']);
    expect(found.set?.scored.length).toBe(2);
  });

  test('of the table alone: every class is scored', () => {
    expectKept(compared(apart, 'rows "embed": keep 0.5'), false);
  });

  test('tokens that end a text stay, whatever their score', () => {
    const text = `import { Embedding, Linear } from "sora:nn"

dim B in 1..4, T in 1..8

model Words {
  embed = Embedding(11, 8)
  head = Linear(8, 11, bias: false)
  state kv = KVCache(B, 2, 16, 4)

  entry go(ids: i32[B, T]) -> logits: f32[B, 11] {
    let x = embed(ids)
    head(last(x + attend(x, x, x) { heads: 2, mask: causal, cache: kv }))
  }
}

generate Words.go {
  stop: [4, 8]
}
`;
    const { plan } = pruned(inputOf({ text }, 'prune Words { rows "embed", "head": keep 0.3 by activation }'));
    const [set] = plan.sets;
    expect(set?.rows).toMatchObject({ places: 'embed.weight.places', always: [4, 8] });
    expect(set?.rows?.lookups).toContainEqual({ entry: 'go', input: 'ids' });
    const counts = new Map([[set?.id ?? '', [9, 8, 7, 6, 0, 5, 4, 3, 0, 2, 1]]]);
    expect([...chooseUnits(plan, counts).values()]).toEqual([[0, 4, 8]]);
  });

  test('as many as a file has, or none', () => {
    const input = inputOf({ text: tied }, 'prune Words { rows "embed": keep 0.5 }');
    const { program } = pruned({ ...input, kept: new Map([['rows embed.weight', 6]]) });
    expect(program.weights.find(({ path }) => path === 'embed.weight')?.type.shape[0]?.key).toBe('6');
    const { diagnostics } = lowerSource({ ...input, kept: new Map([['rows embed.weight', 3]]) });
    expect(describeDiagnostics(diagnostics)[0]).toMatch(/SORA2304 .*is 6 of the 11 rows .*have 3/);
  });

  test('together with neurons', () => {
    const text = `import { Embedding, Linear, gelu } from "sora:nn"

dim B in 1..4, T in 1..8

model Words {
  embed = Embedding(11, 8)
  mlp = Mlp()

  entry go(ids: i32[B, T]) -> y: f32[B, T, 8] {
    let x = embed(ids)
    x + mlp(x)
  }
}

module Mlp() {
  up = Linear(8, 16)
  down = Linear(16, 8)

  fn (x: f32[B, T, 8]) -> f32[B, T, 8] = down(gelu(up(x)))
}
`;
    const uses = 'prune Words {\n  neurons "mlp": keep 0.5\n  rows "embed": keep 0.5\n}\n';
    const { plan, program } = pruned(inputOf({ text }, uses));
    expect(plan.sets.map(({ kind, rule }) => `${kind} ${rule}`).sort()).toEqual(['neurons 0', 'rows 1']);
    expect(program.pruned?.sets.map(({ id }) => id).sort()).toEqual(plan.sets.map(({ id }) => id).sort());
    const sizes = program.weights.map(({ path, type }) => `${path} ${type.shape.map((dim) => dim.key).join('x')}`);
    expect(sizes).toContain('embed.weight 6x8');
    expect(sizes).toContain('mlp.up.weight 8x8');
    expect(sizes).toContain('embed.weight.places 11');
  });
});

describe('refusals', () => {
  const train =
    'train Words.go {\n  target next: i32[B, T]\n  loss: cross_entropy(logits, next)\n  optimizer: adam(lr: 0.1)\n}\n';
  test.each([
    ['no table', tied, 'rows "mix.weight": keep 0.5', 'SORA2302', 'mix.weight'],
    [
      'a matrix that is no table',
      model('  embed = Embedding(11, 8)\n  head = Linear(8, 11)', 'head(mix(embed(ids) + 0.0 * mix.weight[0, :]))'),
      'rows "mix": keep 0.5',
      'SORA2311',
      'only lookups and `linear`',
    ],
    ['other sizes', apart, 'rows "embed", "mix": keep 0.5', 'SORA2311', '`mix.weight` has 8 rows'],
    ['nothing left', tied, 'rows "embed": keep 0.01', 'SORA2313', 'leaves none of the 11 rows'],
    ['everything left', tied, 'rows "embed": keep 0.99', 'SORA2313', 'leaves all of the 11 rows'],
    ['what no entry gives', apart, 'rows "head": keep 0.5 by activation', 'SORA2311', 'cannot be counted'],
    [
      'a matrix whose outputs go on',
      model('  embed = Embedding(11, 8)\n  head = Linear(8, 11)', 'head(mix(embed(ids)))'),
      'rows "mix": keep 0.5',
      'SORA2311',
      'goes into `linear`',
    ],
    ['two rules for one table', tied, 'rows "embed": keep 0.5\n rows "embed": keep 0.3', 'SORA2311', 'by two rules'],
    [
      'positions, which no entry is given',
      model(
        '  embed = Embedding(11, 8)\n  place = Embedding(11, 8)\n  head = Linear(8, 11)',
        'head(mix(embed(ids) + place(positions(B, T))))',
      ),
      'rows "embed", "place": keep 0.5 by activation',
      'SORA2311',
      '`place.weight` cannot be counted',
    ],
    ['a criterion of units', apart, 'rows "embed": keep 0.5 by taylor', 'SORA2303', 'taylor'],
    ['patterns', apart, 'rows "embed": nm(2, 4)', 'SORA2304', 'kept or dropped whole'],
    ['a model that trains', `${apart}\n${train}`, 'rows "embed": keep 0.5', 'SORA2311', 'a model that trains'],
  ])('%s', (_, text, rule, code, words) => {
    const { diagnostics } = lowerSource(inputOf({ text }, `prune Words { ${rule} }`));
    const [first = ''] = describeDiagnostics(diagnostics.filter(({ severity }) => severity === 'error'));
    expect(first).toContain(code);
    expect(first).toContain(words);
  });
});
