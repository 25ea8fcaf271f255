/**
 * The character models, compiled in memory: it trains as in f64, and what it says of a text does not depend on how the text
 * came in.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compile } from '../../src/compile.ts';
import { compileModule } from '../../src/index.ts';
import { gpuDevices } from '../support/devices.ts';
import { expectNear, referenceRun, tensorsOf } from '../support/training.ts';

const modelAt = (name: string) => new URL(`../../models/characters/${name}.sora`, import.meta.url);
const block = 9;
const sizes = { vocab_size: 13, hidden_size: 24, num_hidden_layers: 1, sliding_window: block };
/** Spans that end inside of the block, and fade out over a part of it; no distance lies where the fading begins or ends. */
const models = [
  { name: 'characters', config: sizes },
  { name: 'spans', config: { ...sizes, span_start: 3.3, span_ramp: 4 } },
];
const places = [...gpuDevices, 'cpu' as const].flatMap((adapter) => models.map((model) => ({ adapter, ...model })));

const idsOf = (rows: number, length: number, seed: number) => ({
  shape: [rows, length],
  data: Int32Array.from({ length: rows * length }, (_, at) => (at * at * 5 + at * 3 + seed * 7) % 13),
});

// The first step of an adapter compiles its kernels.
describe.each(places)('$name on $adapter', { timeout: 300_000 }, ({ adapter, name, config }) => {
  const url = modelAt(name);
  test('steps are those of f64', async () => {
    const { load, artifact } = await compileModule(url, { config });
    const { value } = compile({ file: { path: `${name}.sora`, text: readFileSync(url, 'utf8') }, config });
    if (!value) throw new Error('it does not compile');
    await using model = await load({ adapter });
    const steps = 6;
    const trainer = await model.trainer({ totalSteps: steps, seed: 3 });
    const reference = await referenceRun({ program: value.program, artifact }, await trainer.weights());
    for (let at = 0; at < steps; at++) {
      const batch = { ids: idsOf(1 + (at % 4), at === 3 ? 2 : block - at, at) };
      const given = await trainer.step(batch);
      const expected = reference.step(batch, given.lr);
      // f32 against f64 over six updates.
      expectNear([given.loss], [expected.loss], 1e-4, `loss ${at}`);
      expectNear([given.gradNorm], [expected.norm], 2e-4, `norm ${at}`);
    }
    const trained = await tensorsOf(await trainer.trained());
    // Adam divides small gradients by their own size, so rounding shows in the weights.
    for (const [path, data] of trained) expectNear(data, reference.weight(path), 2e-3, path);
  });

  test('a text of a session is the text at once, and goes on beyond what a character sees', async () => {
    const { load } = await compileModule<'forward' | 'next'>(url, { config });
    await using model = await load({ adapter });
    const ids = idsOf(1, block, 1);
    const { logits } = await model.forward({ ids });
    const session = model.session();
    for (let at = 0; at < block; at++) {
      const next = await session.next({ ids: { shape: [1, 1], data: ids.data.slice(at, at + 1) } });
      const row = Array.from(logits?.data ?? []).slice(at * 13, (at + 1) * 13);
      expectNear(next.logits?.data ?? [], row, 1e-4, `position ${at}`);
    }
    const tokens: number[] = [];
    for await (const { token } of session.generate([], { maxTokens: 2 * block, temperature: 1, seed: 5 }))
      tokens.push(token);
    expect(tokens).toHaveLength(2 * block);
    expect(new Set(tokens).size).toBeGreaterThan(3);
    expect(session.lengths).toEqual([3 * block]);
  });
});
