import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, describe, expect, test } from 'vitest';
import { saveFile } from '../../../src/runtime/save-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-save-'));
afterAll(() => rmSync(folder, { recursive: true }));

const coded = (message: RegExp) =>
  expect.objectContaining({ code: 'SORA7021', message: expect.stringMatching(message) });

describe('a file that is saved', () => {
  test('is there whole, over an old one, and nothing is beside it', async () => {
    const path = join(folder, 'run.safetensors');
    await saveFile(path, Uint8Array.of(1, 2, 3));
    await saveFile(path, Uint8Array.of(4, 5));
    expect([...readFileSync(path)]).toEqual([4, 5]);
    expect(readdirSync(folder)).toEqual(['run.safetensors']);
  });

  test('cannot lie in a folder that is not there, nor be one', async () => {
    await expect(saveFile(join(folder, 'none', 'a'), Uint8Array.of(1))).rejects.toEqual(
      coded(/none.a` cannot be written: ENOENT: no such file or directory$/),
    );
    await expect(saveFile(folder, Uint8Array.of(1))).rejects.toEqual(coded(/cannot be written: E[A-Z]+: /));
    expect(readdirSync(folder)).toEqual(['run.safetensors']);
  });

  test.skipIf(process.platform === 'win32' || process.getuid?.() === 0)(
    'keeps the old one in a read-only folder',
    async () => {
      const path = join(folder, 'run.safetensors');
      chmodSync(folder, 0o500);
      try {
        await expect(saveFile(path, Uint8Array.of(9))).rejects.toEqual(coded(/EACCES/));
      } finally {
        chmodSync(folder, 0o700);
      }
      expect([...readFileSync(path)]).toEqual([4, 5]);
    },
  );

  test.skipIf(process.platform !== 'linux')('keeps the old one when the disk is full', async () => {
    const other = mkdtempSync(join(tmpdir(), 'sorac-full-'));
    const bundle = join(other, 'save-file.mjs');
    await build({
      entryPoints: ['src/runtime/save-file.ts'],
      outfile: bundle,
      bundle: true,
      format: 'esm',
      platform: 'node',
    });
    const target = join(other, 'target');
    mkdirSync(target);
    const path = join(target, 'big');
    writeFileSync(path, 'old');
    const script = `
import { saveFile } from ${JSON.stringify(bundle)};
await saveFile(${JSON.stringify(path)}, new Uint8Array(4_000_000)).then(
  () => console.log('written'),
  (error) => console.log(error.code, error.message),
);`;
    // A limit of the shell on the sizes of files stands for a full disk.
    const limited = `ulimit -f 1000; trap '' XFSZ; exec "$0" --input-type=module -e "$1"`;
    const done = spawnSync('bash', ['-c', limited, process.execPath, script], { encoding: 'utf8' });
    expect(done.stdout, done.stderr).toMatch(/^SORA7021 `.*big` cannot be written: E/);
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(target)).toEqual(['big']);
    rmSync(other, { recursive: true });
  });
});
