import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { exitCodes, summarizeError, usageError } from '../../../src/cli/exit-codes.ts';
import { loadConfig, loadSource } from '../../../src/cli/source-files.ts';
import { InternalError, SoraError } from '../../../src/support/error.ts';
import { writeFileAtomic } from '../../../src/support/node-atomic-file.ts';
import { projectRoot } from '../../../src/support/node-source-files.ts';

const base = mkdtempSync(join(tmpdir(), 'sorac-files-'));
let folder = base;
let count = 0;
beforeEach(() => {
  folder = join(base, String(count++));
  mkdirSync(folder);
});
afterAll(() => rmSync(base, { recursive: true }));

describe('writeFileAtomic', () => {
  test('replaces a file and leaves nothing beside it', () => {
    const path = join(folder, 'a.txt');
    writeFileSync(path, 'old');
    writeFileAtomic(path, ['new ', new Uint8Array([0x74, 0x65, 0x78, 0x74])]);
    expect(readFileSync(path, 'utf8')).toBe('new text');
    expect(readdirSync(folder)).toEqual(['a.txt']);
  });

  test('a failure in the middle keeps the old file', () => {
    const path = join(folder, 'a.txt');
    writeFileSync(path, 'old');
    const parts = function* () {
      yield 'half';
      throw new Error('power cut');
    };
    expect(() => writeFileAtomic(path, parts())).toThrow('power cut');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(['a.txt']);
  });
});

describe('sources', () => {
  test('paths are relative to the folder with a package.json', () => {
    writeFileSync(join(folder, 'package.json'), '{}');
    mkdirSync(join(folder, 'models'));
    writeFileSync(join(folder, 'models', 'tiny.sora'), 'dim T in 1..2\n');
    const source = loadSource(join(folder, 'models', 'tiny.sora'));
    expect(projectRoot(source.path)).toBe(folder);
    expect(source.file.path).toBe('models/tiny.sora');
    expect(source.name).toBe('tiny');
    expect(source.host.readFile('models/tiny.sora')).toBe('dim T in 1..2\n');
  });

  test('imports do not leave the project, not even through a link', () => {
    writeFileSync(join(folder, 'outside.sora'), 'secret');
    const project = join(folder, 'project');
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{}');
    writeFileSync(join(project, 'a.sora'), '');
    symlinkSync(join(folder, 'outside.sora'), join(project, 'link.sora'));
    const { host } = loadSource(join(project, 'a.sora'));
    expect(host.readFile('../outside.sora')).toBeUndefined();
    expect(host.readFile('link.sora')).toBeUndefined();
    expect(host.readFile('a.sora')).toBe('');
  });

  test('a missing file and a folder are wrong command lines', () => {
    expect(() => loadSource(join(folder, 'no.sora'))).toThrow(expect.objectContaining({ code: 'SORA0001' }));
    expect(() => loadSource(folder)).toThrow(expect.objectContaining({ code: 'SORA0001' }));
  });

  test.each(['', '[1]', '{"a": }', 'null'])('the config %j is refused', (text) => {
    const path = join(folder, 'config.json');
    writeFileSync(path, text);
    expect(() => loadConfig(path)).toThrow(expect.objectContaining({ code: 'SORA7001' }));
  });
});

describe('summarizeError', () => {
  test.each([
    [usageError('x'), exitCodes.usage],
    [new SoraError('SORA6001', 'no device'), exitCodes.environment],
    [new SoraError('SORA7002', 'bad header'), exitCodes.data],
    [new SoraError('SORA6014', 'id past the vocabulary'), exitCodes.data],
    [new SoraError('SORA2001', 'unknown name'), exitCodes.model],
    [Object.assign(new Error('disk full'), { code: 'ENOSPC' }), exitCodes.environment],
  ])('%s ends with its own code', (error, exitCode) => {
    expect(summarizeError(error)?.exitCode).toBe(exitCode);
  });

  test.each([new InternalError('broken'), new TypeError('undefined is not a function'), 'text'])(
    '%s is a bug of ours',
    (error) => {
      expect(summarizeError(error)).toBeUndefined();
    },
  );
});

test('without dist/ the command names the next step', () => {
  const copy = join(folder, 'bin');
  mkdirSync(copy);
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(copy, 'sorac.js'), readFileSync(new URL('../../../bin/sorac.js', import.meta.url)));
  try {
    execFileSync(process.execPath, [join(copy, 'sorac.js')], { stdio: 'pipe', encoding: 'utf8' });
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ status: 3, stderr: expect.stringContaining('npm run build') });
  }
});
