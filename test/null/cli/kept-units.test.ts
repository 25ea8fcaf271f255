/**
 * Checkpoints that say which heads and neurons they hold: commands compile for them, and training hands it on.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compile } from '../../../src/compile.ts';
import { printKept } from '../../../src/compression/kept.ts';
import { createModel, openSafetensors } from '../../../src/runtime/index.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { emptyFolder, points, sorac, uniform, weightsOf } from './train-kit.ts';

const text = `${points
  .replace(
    'model Points {\n  up = Linear(2, 8)\n  down = Linear(8, 3)',
    'model Points {\n  first = Part()\n  second = Part()',
  )
  .replace('= down(tanh(up(x)))', '= first(x) + second(x)')}
module Part() {
  up = Linear(2, 8)
  down = Linear(8, 3)

  fn (x: f32[B, 2]) -> f32[B, 3] = down(tanh(up(x)))
}

prune Points {
  neurons "first", "second": budget(0.5) by l2
}
`;

const folder = emptyFolder();
const at = (name: string) => join(folder, name);

function fileOf(name: string, metadata: Readonly<Record<string, string>>): string {
  const tensors = Object.entries({ first: 6, second: 2 }).flatMap(([part, units], place) =>
    Object.entries({ 'up.weight': [units, 2], 'up.bias': [units], 'down.weight': [3, units], 'down.bias': [3] }).map(
      ([path, shape], lane) => {
        const count = shape.reduce((product, size) => product * size, 1);
        return {
          name: `${part}.${path}`,
          shape,
          data: Float32Array.from({ length: count }, (_, each) => uniform(each, place * 4 + lane) - 0.5),
        };
      },
    ),
  );
  writeFileSync(at(name), encodeSafetensors(tensors, metadata));
  return at(name);
}

const kept = printKept(
  new Map([
    ['neurons first.down.weight', [0, 1, 2, 3, 4, 7]],
    ['neurons second.down.weight', [2, 5]],
  ]),
);
writeFileSync(at('points.sora'), text);
const model = at('points.sora');

describe('a file that says what it holds', () => {
  const weights = fileOf('kept.safetensors', { 'sorac.pruned': kept });

  test('is what the model is compiled for', async () => {
    expect(await sorac(['check', model, '--weights', weights])).toMatchObject({ exitCode: 0 });
    const plain = fileOf('plain.safetensors', {});
    const { exitCode, stderr } = await sorac(['check', model, '--weights', plain]);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('SORA7202');
    expect(stderr).toContain('sorac compress');
  });

  test('a module says what to do with a dense one', async () => {
    const { value } = compile({ file: { path: 'points.sora', text } });
    if (!value) throw new Error('does not compile');
    const dense = at('whole.safetensors');
    writeFileSync(
      dense,
      weightsOf({
        ...{ 'first.up.weight': [8, 2], 'first.up.bias': [8], 'first.down.weight': [3, 8], 'first.down.bias': [3] },
        ...{ 'second.up.weight': [8, 2], 'second.up.bias': [8], 'second.down.weight': [3, 8], 'second.down.bias': [3] },
      }),
    );
    const loading = createModel(value.artifact, {
      weights: dense,
      adapter: 'cpu',
      cpu: () => import('../../../src/cpu.ts'),
    });
    await expect(loading).rejects.toMatchObject({ code: 'SORA7202', help: expect.stringContaining('sorac compress') });
  });

  test('runs', async () => {
    writeFileSync(
      at('in.safetensors'),
      encodeSafetensors([{ name: 'x', shape: [1, 2], data: Float32Array.of(0.5, -1) }]),
    );
    const argv = ['run', model, '--weights', weights, '--inputs', at('in.safetensors'), '--out', at('out.safetensors')];
    expect(await sorac([...argv, '--device', 'cpu'])).toMatchObject({ exitCode: 0 });
  });

  test('is trained, and what comes out says so too', async () => {
    const rows = Array.from({ length: 24 }, (_, row) => `${uniform(row, 20)},${uniform(row, 21)},${row % 3}`);
    writeFileSync(at('points.csv'), ['a,b,label', ...rows].join('\n'));
    const argv = ['train', model, '--data', at('points.csv'), '--weights', weights, '--epochs', '1', '--device', 'cpu'];
    expect(await sorac([...argv, '--out', at('run')])).toMatchObject({ exitCode: 0 });
    const file = await openSafetensors(readFileSync(at('run/last.safetensors')));
    expect(file.metadata.get('sorac.pruned')).toBe(kept);
    expect(file.tensors.get('first.up.weight')?.shape).toEqual([6, 2]);
    expect(await sorac(['check', model, '--weights', at('run/last.safetensors')])).toMatchObject({ exitCode: 0 });
  });

  test('but not when nobody can read it', async () => {
    const odd = fileOf('odd.safetensors', { 'sorac.pruned': '{"neurons first.down.weight":"7-2"}' });
    const { exitCode, stderr } = await sorac(['check', model, '--weights', odd]);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('SORA7009');
  });
});

test('a recipe stands for the blocks of the file in training', async () => {
  const plain = at('plain.sora');
  writeFileSync(plain, text.slice(0, text.indexOf('prune Points')));
  const recipe = at('recipe.sora');
  writeFileSync(recipe, 'prune Points {\n  "**.weight": keep 0.5 by magnitude\n}\n');
  writeFileSync(at('rows.csv'), ['a,b,label', '1,2,0', '2,1,1', '0,1,2', '1,1,0'].join('\n'));
  const dense = ['first', 'second'].flatMap((part, place) =>
    Object.entries({ 'up.weight': [8, 2], 'up.bias': [8], 'down.weight': [3, 8], 'down.bias': [3] }).map(
      ([path, shape], lane) => {
        const count = shape.reduce((product, size) => product * size, 1);
        const data = Float32Array.from({ length: count }, (_, each) => uniform(each, place * 4 + lane) - 0.5);
        return { name: `${part}.${path}`, shape, data };
      },
    ),
  );
  writeFileSync(at('dense.safetensors'), encodeSafetensors(dense));
  const argv = [
    'train',
    plain,
    '--data',
    at('rows.csv'),
    '--weights',
    at('dense.safetensors'),
    '--split',
    '0',
    '--device',
    'cpu',
  ];
  for (const [out, given] of [
    ['by-file', recipe],
    ['by-words', 'nm24'],
  ] as const) {
    const end = await sorac([...argv, '--epochs', '1', '--recipe', given, '--out', at(out)]);
    expect(end).toMatchObject({ exitCode: 0 });
    const file = await openSafetensors(readFileSync(at(`${out}/last.safetensors`)));
    const data = await file.readTensor('first.down.weight', 'f32');
    expect(
      data.filter((value) => value === 0),
      out,
    ).toHaveLength(12);
  }
  const { exitCode, stderr } = await sorac([...argv, '--recipe', 'nothing', '--out', at('odd')]);
  expect({ exitCode, stderr }).toMatchObject({ stderr: expect.stringContaining('SORA0001') });

  // The model needs no block of its own: a recipe says how it is trained for a format.
  const bare = at('bare.sora');
  const train = /train Points[\s\S]*?\n}\n/.exec(text)?.[0] ?? '';
  writeFileSync(bare, text.replace(train, '').replace(/prune Points[\s\S]*/, ''));
  writeFileSync(recipe, `quantize Points {\n  "**": int4\n}\n\n${train.slice(0, -2)}  quantization_aware: true\n}\n`);
  const argvOf = ([command = '', , ...rest]: readonly string[]) => [command, bare, ...rest];
  expect(await sorac([...argvOf(argv), '--epochs', '1', '--out', at('none')])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('no `train` block'),
  });
  const aware = await sorac([...argvOf(argv), '--epochs', '1', '--recipe', recipe, '--out', at('aware')]);
  expect(aware).toMatchObject({ exitCode: 0 });
  expect(existsSync(at('aware/last.safetensors'))).toBe(true);
});
