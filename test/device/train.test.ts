/**
 * `sorac train` as a process of its own on a device: killed in the middle or interrupted, it goes on in the bits of a run that
 * nobody stopped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { command, pointFiles } from '../null/cli/train-kit.ts';
import { gpuDevices } from '../support/devices.ts';

const script = fileURLToPath(new URL('../../bin/sorac.js', import.meta.url));
const settings = ['--epochs', '4', '--save-steps', '1'];
const outputs = ['last.safetensors', 'best.safetensors', 'checkpoints/last.safetensors'];

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string; readonly stdout: string }>;
}

function start(argv: readonly string[]): Run {
  const child = spawn(process.execPath, [script, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (part: Buffer) => (texts.stdout += part.toString()));
  child.stderr.on('data', (part: Buffer) => (texts.stderr += part.toString()));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...texts }));
  return { child, ended };
}

/** Waits until the run has written a checkpoint beyond the bytes given. */
async function newCheckpoint({ child }: Run, path: string, before: Buffer | undefined): Promise<void> {
  while (child.exitCode === null) {
    if (existsSync(path) && before?.equals(readFileSync(path)) !== true) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test.each(gpuDevices)(
  'killed and resumed on %s',
  async (device) => {
    const files = pointFiles();
    const argv = (out: string, ...others: readonly string[]) =>
      command(files, out, ...settings, '--device', device, ...others);
    const read = (out: string, name: string): Buffer => readFileSync(join(files.folder, out, name));
    const whole = start(argv('whole'));
    const checkpoint = join(files.folder, 'cut', 'checkpoints', 'last.safetensors');
    let before: Buffer | undefined;
    for (const signal of ['SIGKILL', 'SIGINT', 'SIGKILL'] as const) {
      const run = start(argv('cut', ...(before ? ['--resume'] : [])));
      await newCheckpoint(run, checkpoint, before);
      run.child.kill(signal);
      const { code, stderr } = await run.ended;
      // A run that was quicker than the signal has nothing left to resume, which is no mistake.
      if (code !== 0) expect({ code, stderr }).toMatchObject({ code: signal === 'SIGINT' ? 130 : null });
      before = readFileSync(checkpoint);
    }
    const last = await start(argv('cut', '--resume')).ended;
    expect(last).toMatchObject({ code: 0, stdout: expect.stringContaining('test loss') });
    expect(await whole.ended).toMatchObject({ code: 0 });
    for (const name of outputs) expect(read('cut', name).equals(read('whole', name)), name).toBe(true);
  },
  240_000,
);
