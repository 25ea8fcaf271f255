/**
 * The way of the README from data to a small module, command by command as it stands there, on digits that are drawn here; and the
 * compressed file in PyTorch, where that is installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { philox } from '../../src/runtime/philox.ts';
import { encodeSafetensors } from '../../src/runtime/safetensors.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sorac-small-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

function run(file: string, argv: readonly string[]) {
  return spawnSync(file, argv, { cwd: folder, encoding: 'utf8', timeout: 280_000 });
}

/** Blocks of the section, in order. */
function blocks(): readonly string[] {
  const [, section = ''] =
    /\n## Smaller models\n([\s\S]*?)\n## /.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
  return [...section.matchAll(/```(?:js)?\n([\s\S]*?)```/g)].map(([, text = '']) => text);
}

/** Images of a bright patch; where it lies is the class. */
beforeAll(() => {
  const count = 48;
  const images = new Float32Array(count * 784);
  const labels = Int32Array.from({ length: count }, (_, index) => index % 10);
  for (let index = 0; index < images.length; index++) {
    const [image, pixel] = [Math.floor(index / 784), index % 784];
    const [y, x] = [Math.floor(pixel / 28), pixel % 28];
    const label = labels[image] ?? 0;
    const isInk = Math.floor(x / 6) === label % 5 && Math.floor(y / 14) === Math.floor(label / 5);
    const noise = (philox([index, 0, 0, 0], [1, 2])[0] ?? 0) / 2 ** 32;
    images[index] = isInk ? 0.7 + 0.3 * noise : 0.2 * noise;
  }
  const tensors = [
    { name: 'image', shape: [count, 1, 28, 28], data: images },
    { name: 'label', shape: [count], data: labels },
  ];
  writeFileSync(at('digits.safetensors'), encodeSafetensors(tensors));
  cpSync(join(root, 'models'), at('models'), { recursive: true });
  writeFileSync(at('package.json'), '{}');
  mkdirSync(at('node_modules'));
  symlinkSync(root, at('node_modules/sorac'));
});

test('every command of the README ends well, and the app runs', () => {
  const [commands = '', app = ''] = blocks();
  const lines = commands.trim().split('\n');
  expect(lines.length).toBeGreaterThan(4);
  for (const line of lines) {
    const [program, ...argv] = line.split(' ');
    expect(program).toBe('sorac');
    // The interpreter runs everywhere.
    const device = /^(?:train|compress)$/.test(argv[0] ?? '') ? ['--device', 'cpu'] : [];
    const { status, stderr } = run(process.execPath, [join(root, 'bin/sorac.js'), ...argv, ...device]);
    expect(status, `${line}\n${stderr}`).toBe(0);
  }
  // The last command makes what `sorac compress` has made: weights in int8, and nothing that trains.
  const modules = ['app', 'small'].map((name) => readFileSync(at(`${name}/vit-mnist.js`), 'utf8'));
  for (const text of modules) {
    expect(text.match(/kind: "packed"/g)?.length ?? 0).toBeGreaterThan(10);
    expect(text).not.toContain('trainer(');
  }
  writeFileSync(
    at('app.mjs'),
    `${app.replace('load({', "load({ adapter: 'cpu',")}\nconsole.log(logits.shape.join());\n`,
  );
  const { status, stdout, stderr } = run(process.execPath, ['app.mjs']);
  expect(status, stderr).toBe(0);
  expect(stdout).toBe('1,10\n');
  const report = JSON.parse(readFileSync(at('small/report.json'), 'utf8')) as {
    size: { f32: number; after: number };
    measured: { quality: { dense: { accuracy: number } } };
  };
  expect(report.size.after).toBe(statSync(at('small/model.safetensors')).size);
  expect(report.size.after / report.size.f32).toBeLessThan(0.45);
  expect(report.measured.quality.dense.accuracy).toBeGreaterThanOrEqual(0);
  expect(statSync(at('small/model.safetensors')).size).toBeLessThan(statSync(at('run/best.safetensors')).size / 4);
}, 290_000);

test('Ctrl-C while it calibrates leaves nothing', async () => {
  const model = ['models/vit-mnist/vit-mnist.sora', '--weights', 'models/vit-mnist/model.safetensors'];
  const argv = ['compress', ...model, '--data', 'digits.safetensors', '--recipe', 'int4:gptq', '--out', 'stopped'];
  const child = spawn(process.execPath, [join(root, 'bin/sorac.js'), ...argv, '--device', 'cpu'], { cwd: folder });
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    if (!said.includes('calibrating') && `${said}${data}`.includes('calibrating'))
      setTimeout(() => child.kill('SIGINT'), 200);
    said += String(data);
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code, said).toBe(130);
  expect(readdirSync(folder).filter((name) => name.includes('stopped'))).toEqual([]);
}, 120_000);

test('PyTorch reads the file with the script of docs/', async () => {
  const python = '/usr/bin/python3';
  if (spawnSync(python, ['-c', 'import torch, numpy']).status !== 0) return;
  const { status, stdout, stderr } = run(python, [
    join(root, 'docs/load_compressed.py'),
    at('small/model.safetensors'),
  ]);
  expect(status, stderr).toBe(0);
  const seen = new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ').at(-1))] as const),
  );
  const { openCheckpoint } = await import('../../src/runtime/weights.ts');
  const checkpoint = await openCheckpoint(at('small/model.safetensors'));
  expect([...seen.keys()].sort()).toEqual([...checkpoint.names].sort());
  for (const name of checkpoint.names) {
    const found = checkpoint.find(name);
    const values = await found?.file.readTensor(found.info.name, 'f32');
    const sum = values?.reduce((total, value) => total + Math.abs(value), 0) ?? Number.NaN;
    expect(Math.abs((seen.get(name) ?? 0) - sum) / sum).toBeLessThan(1e-4);
  }
  await checkpoint.close();
}, 60_000);
