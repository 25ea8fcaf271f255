/**
 * `compileModule`: sources in memory become models that run and train. On the interpreter; test/device has the adapters.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, describe, expect, expectTypeOf, test } from 'vitest';
import { CompileError, compileModule, SoraError } from '../../../src/index.ts';
import { encodeSafetensors } from '../../../src/runtime/index.ts';

const layer = `module Layer(width: int) {
  weight: f32[width, width] init normal(std: 0.3)

  fn (x: f32[..., width]) -> f32[..., width] = linear(x, weight)
}
`;

const source = `import { Layer } from "./blocks/layer.sora"

dim B in 1..8

config Sizes {
  width: int = 2 from "hidden_size"
}

model Tiny(c: Sizes) {
  layer = Layer(c.width)

  entry forward(x: f32[B, c.width]) -> y: f32[B, c.width] = layer(x)

  entry close(x: f32[B, c.width]) -> y: f32[B, c.width] = x + 1
}

train Tiny.forward {
  target want: f32[B, c.width]
  loss: mse(y, want)
  optimizer: sgd(lr: 0.1)
}
`;

const imports = { 'blocks/layer.sora': layer };
const weights = encodeSafetensors([{ name: 'layer.weight', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]);
const tensor = (shape: readonly number[], ...values: readonly number[]) => ({ shape, data: Float32Array.from(values) });

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function project(files: Readonly<Record<string, string>>): URL {
  const folder = mkdtempSync(join(tmpdir(), 'sorac-'));
  folders.push(folder);
  writeFileSync(join(folder, 'package.json'), '{}');
  mkdirSync(join(folder, 'blocks'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return pathToFileURL(join(folder, 'main.sora'));
}

async function failure(run: Promise<unknown>): Promise<SoraError> {
  const error = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SoraError)) throw new Error(`not a SoraError: ${error}`);
  return error;
}

describe('a text', () => {
  test('becomes a model whose entries are methods', async () => {
    const { load, artifact, diagnostics } = await compileModule<'forward' | 'close_2'>(source, { imports });
    expect(diagnostics).toEqual([]);
    expect(artifact.name).toBe('Tiny');
    await using model = await load({ weights, adapter: 'cpu' });
    const { y } = await model.forward({ x: tensor([2, 2], 1, 0, 1, 1) });
    expect(y?.shape).toEqual([2, 2]);
    expect([...(y?.data ?? [])]).toEqual([1, 3, 3, 7]);
    // A member of every model keeps its name; the entry gets another.
    expect([...((await model.close_2({ x: tensor([1, 2], 1, 2) })).y?.data ?? [])]).toEqual([2, 3]);
    expect(await model.call('close', { x: tensor([1, 2], 1, 2) })).toEqual({ y: expect.anything() });
    expectTypeOf(model.forward).returns.resolves.toHaveProperty('y');
  });

  test('takes sizes from a config and keeps its entries apart from the hidden ones', async () => {
    const { load, artifact } = await compileModule(source, { imports, config: { hidden_size: 3 } });
    expect(artifact.config).toEqual({ 'Sizes.width': 3 });
    await using model = await load({ adapter: 'cpu' });
    expect(Object.keys(model).sort()).toEqual(
      ['call', 'close', 'close_2', 'device', 'forward', 'lost', 'session', 'stats', 'trainer'].sort(),
    );
  });

  test('trains: a step of the trainer is the step of the formula', async () => {
    const { load } = await compileModule<'forward'>(source, { imports });
    await using model = await load({ weights, adapter: 'cpu' });
    const trainer = await model.trainer();
    const batch = { x: tensor([1, 2], 1, -1), want: tensor([1, 2], 0, 0) };
    // y = [1 - 2, 3 - 4] = [-1, -1]; the gradient is 2 y / 2 times x, row by row.
    const { loss, gradNorm, lr } = await trainer.step(batch);
    expect(loss).toBeCloseTo(1, 6);
    expect(gradNorm).toBeCloseTo(2, 6);
    expect(lr).toBe(0.1);
    await trainer.apply();
    const { y } = await model.forward({ x: tensor([2, 2], 1, 0, 0, 1) });
    const expected = [1.1, 3.1, 1.9, 3.9];
    for (const [at, value] of expected.entries()) expect(y?.data[at]).toBeCloseTo(value, 5);
  });

  test('use blocks that are given stand for those of the source', async () => {
    const uses = 'train Tiny.forward {\n  loss: mse(y, x)\n  optimizer: adam(lr: 0.01)\n}\n';
    const { artifact } = await compileModule(source, { imports, uses });
    expect(artifact.training?.optimizer.name).toBe('adam');
    expect(artifact.training?.targets).toEqual([]);
  });
});

test('sessions have the entries and generate text', async () => {
  const writer = `import { Embedding, Linear } from "sora:nn"

dim B in 1..2, T in 1..8

model Writer {
  word = Embedding(11, 8)
  qkv = Linear(8, 24)
  head = Linear(8, 11)
  state kv = KVCache(B, 2, 32, 4)

  entry next(ids: i32[B, T]) -> logits: f32[B, 11] {
    let [q, k, v] = split(qkv(word(ids)), 3)
    head(last(attend(q, k, v) { heads: 2, mask: causal, cache: kv }))
  }
}

train Writer.next {
  target token: i32[B]
  loss: cross_entropy(logits, token)
  optimizer: sgd(lr: 0.1)
}

generate Writer.next {}
`;
  const { load } = await compileModule<'next'>(writer);
  await using model = await load({ adapter: 'cpu' });
  const ids = (...list: readonly number[]) => ({ ids: { shape: [1, list.length], data: Int32Array.from(list) } });
  const session = model.session();
  await session.next(ids(1, 2, 3));
  const other = await session.fork();
  const { logits } = await session.next(ids(4));
  expect(session.lengths).toEqual([4]);
  expect(await other.next(ids(4))).toEqual({ logits });
  const tokens: number[] = [];
  for await (const { token } of model.session().generate([1, 2], { maxTokens: 3 })) tokens.push(token);
  expect(tokens).toHaveLength(3);
  const error = await failure(model.next(ids(1)));
  expect(error.code).toBe('SORA6015');
  expect(error).not.toBeInstanceOf(CompileError);
});

describe('a file', () => {
  test('imports as it does on the command line', async () => {
    const url = project({ 'main.sora': source, 'blocks/layer.sora': layer });
    const { load, artifact } = await compileModule<'forward'>(url);
    expect(artifact.source).toBe((await compileModule(source, { imports })).artifact.source);
    await using model = await load({ weights, adapter: 'cpu' });
    expect((await model.forward({ x: tensor([1, 2], 1, 0) })).y?.data).toEqual(Float32Array.of(1, 3));
  });

  test('that is none, or no file at all, is an error of files', async () => {
    const url = project({ 'main.sora': source });
    expect(await failure(compileModule(new URL('none.sora', url)))).toMatchObject({ code: 'SORA7001' });
    expect(await failure(compileModule(new URL('.', url)))).toMatchObject({ code: 'SORA7001' });
    const { help } = await failure(compileModule(new URL('http://localhost/main.sora')));
    expect(help).toContain('`imports`');
  });
});

describe('mistakes', () => {
  test('are thrown with every diagnostic, shown in place', async () => {
    const error = await failure(compileModule(source.replace('x + 1', 'z + 1'), { imports, path: 'models/tiny.sora' }));
    expect(error).toBeInstanceOf(CompileError);
    // The path of the text is where its imports are looked for.
    expect(error.code).toBe('SORA1010');
    expect(error.message).toContain('`models/blocks/layer.sora`');
    const right = await failure(
      compileModule(source.replace('x + 1', 'z + 1'), {
        imports: { 'models/blocks/layer.sora': layer },
        path: 'models/tiny.sora',
      }),
    );
    expect(right.code).toBe('SORA2001');
    expect(right.message).toContain('models/tiny.sora:14:');
    expect((right as CompileError).diagnostics.map(({ code }) => code)).toContain('SORA2001');
  });

  test('of options name the right one', async () => {
    const options = { imports, confg: {} } as { imports: typeof imports };
    expect(await failure(compileModule(source, options))).toMatchObject({
      code: 'SORA0003',
      message: expect.stringContaining('confg'),
    });
  });

  test('a name from outside of the object is no import', async () => {
    const text = source.replace('./blocks/layer.sora', './constructor');
    expect((await failure(compileModule(text, { imports }))).code).toBe('SORA1010');
  });
});

test('bundles for a browser, without what reads files', async () => {
  const { metafile, warnings } = await build({
    entryPoints: ['src/compile-module.ts'],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    metafile: true,
    logLevel: 'silent',
  });
  expect(warnings).toEqual([]);
  const inputs = Object.keys(metafile.inputs);
  expect(inputs).toContain('src/cpu.ts');
  expect(inputs.filter((path) => path.includes('node-source-files') || path.startsWith('src/cli/'))).toEqual([]);
});
