/**
 * Checkpoints: whole or absent whatever happens to the process, the disk or the file.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { beforeAll, describe, expect, test } from 'vitest';
import { openSafetensors } from '../../../src/runtime/safetensors.ts';
import {
  type CheckpointTensor,
  findCheckpoint,
  openCheckpoints,
  type RunState,
} from '../../../src/training/checkpoints.ts';
import { fails, folderWith } from './kit.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const state: RunState = { step: 3, epoch: 1, batch: 2, seed: 2 ** 53 - 1, optimizer: 'adamw' };

const tensors = (value: number, length = 1000): readonly CheckpointTensor[] => [
  { name: 'model.weight', dtype: 'F32', shape: [length], read: () => new Float32Array(length).fill(value) },
  { name: 'steps', dtype: 'I32', shape: [1], read: async () => Int32Array.of(value) },
];

async function weightOf(path: string): Promise<readonly number[]> {
  const file = await openSafetensors(path);
  const weight = await file.readTensor('model.weight', 'f32');
  await file.close();
  return [...new Set(weight)];
}

describe('a folder', () => {
  test('gives back what was saved', async () => {
    const folder = join(folderWith({}), 'deep/run');
    const checkpoints = openCheckpoints(folder);
    const whole = {
      ...state,
      best: { metric: 'f1', value: 0.1 + 0.2, step: 1 },
      extra: { 'a"sorac.sha256":"b': 'é\n' },
    };
    await checkpoints.save('last', tensors(0.5), whole);
    const found = await findCheckpoint(folder);
    expect(found).toEqual({ path: join(folder, 'last.safetensors'), kind: 'last', state: whole, skipped: [] });
    expect(await weightOf(found.path)).toEqual([0.5]);
  });

  test('the newest is taken; the best may be the last under a second name', async () => {
    const folder = folderWith({});
    const checkpoints = openCheckpoints(folder);
    await checkpoints.save('last', tensors(1), state);
    checkpoints.promote();
    checkpoints.promote();
    await checkpoints.save('last', tensors(2), { ...state, step: 9 });
    expect(await weightOf(checkpoints.path('best'))).toEqual([1]);
    expect(await findCheckpoint(folder)).toMatchObject({ kind: 'last', state: { step: 9 } });
    await checkpoints.save('best', tensors(3), { ...state, step: 12 });
    expect(await findCheckpoint(folder)).toMatchObject({ kind: 'best', state: { step: 12 } });
    expect(readdirSync(folder).sort()).toEqual(['best.safetensors', 'last.safetensors']);
  });

  test('what a killed run left is removed, and nothing else', () => {
    const folder = folderWith({
      '.last.safetensors.0123456789ab.tmp': 'x',
      '.last.safetensors.mine.tmp': 'y',
      'a.tmp': 'z',
    });
    openCheckpoints(folder);
    expect(readdirSync(folder).sort()).toEqual(['.last.safetensors.mine.tmp', 'a.tmp']);
  });

  test('any damaged byte is noticed, and the other checkpoint is taken', async () => {
    const folder = folderWith({});
    const checkpoints = openCheckpoints(folder);
    await checkpoints.save('best', tensors(1, 5), { ...state, step: 1 });
    await checkpoints.save('last', tensors(2, 5), { ...state, step: 2 });
    const whole = readFileSync(checkpoints.path('last'));
    for (let at = 0; at < whole.length; at++) {
      const bytes = Uint8Array.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(checkpoints.path('last'), bytes);
      const { kind, skipped } = await findCheckpoint(folder);
      expect({ at, kind, skipped: skipped.map(({ path }) => path) }).toEqual({
        at,
        kind: 'best',
        skipped: [checkpoints.path('last')],
      });
    }
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(checkpoints.path('last'), whole.subarray(0, length));
      expect((await findCheckpoint(folder)).skipped).toHaveLength(1);
    }
    rmSync(checkpoints.path('best'));
    await fails(() => findCheckpoint(folder), 'SORA7045', 'has no whole checkpoint');
    rmSync(checkpoints.path('last'));
    await fails(() => findCheckpoint(folder), 'SORA7044', 'has no checkpoint');
  });

  test('a safetensors file of somebody else is no checkpoint', async () => {
    const folder = folderWith({});
    copyFileSync(join(root, 'models/adaptive/adaptive.sora'), join(folder, 'last.safetensors'));
    await fails(() => findCheckpoint(folder), 'SORA7045', 'has no whole checkpoint');
  });

  test('a tensor that cannot be fetched leaves the checkpoint before', async () => {
    const folder = folderWith({});
    const checkpoints = openCheckpoints(folder);
    await checkpoints.save('last', tensors(1), state);
    const lost: CheckpointTensor = {
      name: 'x',
      dtype: 'F32',
      shape: [2],
      read: () => Promise.reject(new Error('device lost')),
    };
    await expect(checkpoints.save('last', [...tensors(2), lost], state)).rejects.toThrow('device lost');
    const short: CheckpointTensor = { name: 'x', dtype: 'F32', shape: [2], read: () => new Float32Array(1) };
    await expect(checkpoints.save('last', [short], state)).rejects.toThrow('`x`');
    expect(await weightOf(checkpoints.path('last'))).toEqual([1]);
    expect(readdirSync(folder)).toEqual(['last.safetensors']);
  });
});

describe('a process that saves', () => {
  let script = '';
  beforeAll(async () => {
    script = join(folderWith({}), 'save.mjs');
    const contents = `
      import { findCheckpoint, openCheckpoints } from './src/training/checkpoints.ts';
      const [folder, length, first] = process.argv.slice(2);
      const checkpoints = openCheckpoints(folder);
      for (let step = Number(first); ; step++) {
        const read = () => new Float32Array(Number(length)).fill(step);
        const tensor = { name: 'model.weight', dtype: 'F32', shape: [Number(length)], read };
        try {
          await checkpoints.save('last', [tensor], { step, epoch: 0, batch: step, seed: 1, optimizer: 'sgd' });
          if (step % 3 === 0) checkpoints.promote();
        } catch (error) {
          const { state } = await findCheckpoint(folder);
          console.log(JSON.stringify({ code: error.code, message: error.message, help: error.help, kept: state.step }));
          process.exit(9);
        }
        console.log(step);
      }`;
    await build({
      stdin: { contents, resolveDir: root, loader: 'js' },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: script,
      logLevel: 'error',
    });
  });

  test('is killed at 20 random moments: the last checkpoint that it reported, or a newer one, is whole', async () => {
    const folder = folderWith({});
    let leftovers = 0;
    let next = 1;
    for (let round = 0; round < 20; round++) {
      const child = spawn(process.execPath, [script, folder, '400000', String(next)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let reported = '';
      child.stdout.setEncoding('utf8').on('data', (text) => {
        reported += text;
      });
      const first = new Promise((done) => child.stdout.once('data', done));
      const ended = new Promise((done) => child.once('close', done));
      await first;
      await new Promise((done) => setTimeout(done, Math.random() * 60));
      child.kill('SIGKILL');
      await ended;
      const step = Number(reported.trim().split('\n').at(-1));
      const found = await findCheckpoint(folder);
      expect(found.skipped).toEqual([]);
      expect(found.state.step).toBeGreaterThanOrEqual(step);
      expect(found.state.step).toBeLessThanOrEqual(step + 1);
      expect(await weightOf(found.path)).toEqual([found.state.step]);
      next = found.state.step + 1;
      leftovers += readdirSync(folder).filter((name) => name.endsWith('.tmp')).length > 0 ? 1 : 0;
    }
    // Some were killed in the middle of writing.
    expect(leftovers).toBeGreaterThan(0);
    openCheckpoints(folder);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  }, 120_000);

  test('has no more room: an error with the next step, and the checkpoint before stays', async () => {
    const folder = folderWith({});
    await openCheckpoints(folder).save('last', tensors(7), state);
    // Files of at most 512 KiB, a limit of the process.
    const run = spawnSync('sh', [
      '-c',
      `ulimit -f 1024; exec "$0" "$@"`,
      process.execPath,
      script,
      folder,
      '400000',
      '8',
    ]);
    expect(run.status).toBe(9);
    const error = JSON.parse(run.stdout.toString()) as { code: string; message: string; help: string };
    expect(error.code).toBe('SORA0002');
    expect(error.message).toMatch(/last\.safetensors` cannot be written: EFBIG/);
    expect(error.help).toContain('still holds the checkpoint before');
    expect(readdirSync(folder)).toEqual(['last.safetensors']);
    expect(await weightOf((await findCheckpoint(folder)).path)).toEqual([7]);
  });

  const canMount = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

  test.runIf(canMount)('fills a disk of one megabyte', () => {
    const folder = folderWith({});
    // Mounted for this process alone. Two checkpoints and the one being written are too much.
    const mount = `mount -t tmpfs -o size=1m tmpfs ${folder} && exec "$0" "$@"`;
    const run = spawnSync('unshare', ['-m', 'sh', '-c', mount, process.execPath, script, folder, '100000', '1']);
    const lines = run.stdout.toString().trim().split('\n');
    const error = JSON.parse(lines.pop() ?? '') as { code: string; message: string; kept: number };
    expect([run.status, error.code]).toEqual([9, 'SORA0002']);
    expect(error.message).toMatch(/cannot be written: ENOSPC/);
    expect(error.kept).toBe(Number(lines.at(-1)));
  });

  test('may not write to the folder', async () => {
    const folder = folderWith({});
    await openCheckpoints(folder).save('last', tensors(7), state);
    chmodSync(folder, 0o555);
    chmodSync(dirname(script), 0o755);
    // Nothing is forbidden to root.
    const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const run = spawnSync(process.execPath, [script, folder, '10', '8'], user);
    const error = JSON.parse(run.stdout.toString()) as { code: string; message: string };
    expect([run.status, error.code]).toEqual([9, 'SORA0002']);
    expect(error.message).toMatch(/last\.safetensors` cannot be written: EACCES/);
    chmodSync(folder, 0o755);
    expect(await weightOf((await findCheckpoint(folder)).path)).toEqual([7]);
  });

  test('a file stands where the folder should be', async () => {
    const folder = folderWith({ run: 'x' });
    await fails(() => openCheckpoints(join(folder, 'run')), 'SORA0002', 'cannot be written');
  });
});
