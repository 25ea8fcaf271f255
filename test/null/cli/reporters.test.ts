/**
 * Reporters, limits of what is shown, `explain`, and checks of checkpoints in folders, from the command line.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommandLine } from '../../../src/cli/main.ts';
import { readTensorFile } from '../../../src/cli/tensor-file.ts';
import { encodeSafetensors, type TensorToWrite } from '../../../src/runtime/safetensors.ts';

const base = mkdtempSync(join(tmpdir(), 'sorac-reporters-'));
let folder = base;
let count = 0;
beforeEach(() => {
  folder = join(base, String(count++));
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{}');
});
afterAll(() => rmSync(base, { recursive: true }));

async function sorac(...argv: readonly string[]) {
  const streams = { stdout: '', stderr: '' };
  const exitCode = await runCommandLine(argv, {
    stdout: { write: (text) => (streams.stdout += text) },
    stderr: { write: (text) => (streams.stderr += text) },
  });
  return { exitCode, ...streams };
}

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const right = 'model M() {\n  factor: f32[4]\n\n  entry forward(x: f32[4]) -> y: f32[4] { x * factor }\n}\n';
const wrong = right.replace('x * factor', 'x * facter');
/** `count` lines with one unknown name each. */
const many = (lines: number): string =>
  `model M() {\n${Array.from({ length: lines }, (_, at) => `  entry e${at}(x: f32[4]) -> y: f32[4] { q${at}zz }\n`).join('')}}\n`;

const commands: readonly (readonly [string, (path: string) => readonly string[]])[] = [
  ['check', (path) => ['check', path]],
  ['compile', (path) => ['compile', path, '-o', join(folder, 'out')]],
  ['run', (path) => ['run', path, '--weights', 'w', '--inputs', 'i', '--out', join(folder, 'o')]],
];

describe('reporters', () => {
  test.each(commands)('sarif of %s is one log on stdout', async (_, argv) => {
    const { exitCode, stdout, stderr } = await sorac(...argv(write('m odel.sora', wrong)), '--reporter', 'sarif');
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: '' });
    const log = JSON.parse(stdout) as Record<string, unknown>;
    expect(log).toMatchObject({
      version: '2.1.0',
      runs: [
        {
          tool: { driver: { name: 'sorac', rules: [{ id: 'SORA2001' }] } },
          results: [
            {
              ruleId: 'SORA2001',
              ruleIndex: 0,
              level: 'error',
              locations: [
                {
                  physicalLocation: {
                    artifactLocation: { uri: 'm%20odel.sora', uriBaseId: 'PROJECT' },
                    region: { startLine: 4, startColumn: 47, endLine: 4, endColumn: 53 },
                  },
                },
              ],
              fixes: [{ artifactChanges: [{ replacements: [{ insertedContent: { text: 'factor' } }] }] }],
            },
          ],
        },
      ],
    });
  });

  test('github writes workflow commands', async () => {
    const { stdout } = await sorac('check', write('a,b%.sora', wrong), '--reporter', 'github');
    expect(stdout).toMatch(
      /^::error file=a%2Cb%25\.sora,line=4,endLine=4,col=47,endColumn=53,title=SORA2001::unknown name `facter`%0Ahelp: [^\n]*\n$/,
    );
  });

  test('json has the diagnostics with their fixes', async () => {
    const { stdout, stderr } = await sorac('check', write('a.sora', wrong), '--reporter', 'json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({
      version: 1,
      diagnostics: [
        {
          code: 'SORA2001',
          file: 'a.sora',
          range: { start: { line: 4, column: 47 } },
          fixes: [{ title: expect.any(String), edits: [{ file: 'a.sora', text: 'factor' }] }],
        },
      ],
    });
  });

  test('concise is one line a diagnostic on stderr', async () => {
    const { stdout, stderr } = await sorac('check', write('a.sora', wrong), '--reporter', 'concise');
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^a\.sora:4:47: error\[SORA2001\]: unknown name `facter` \(.*\)\n$/);
  });

  test.each(['json', 'sarif'])('%s gives its document for a model without mistakes too', async (reporter) => {
    const { exitCode, stdout } = await sorac('check', write('a.sora', right), '--reporter', reporter);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject(reporter === 'json' ? { diagnostics: [] } : { runs: [{ results: [] }] });
  });

  test('fmt tells syntax errors to reporters', async () => {
    const { exitCode, stdout } = await sorac('fmt', write('a.sora', 'model {{{\n'), '--reporter', 'github');
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^::error file=a\.sora,line=1/);
  });

  test.each([
    [['--reporter', 'xml']],
    [['--json', '--reporter', 'sarif']],
    [['--max-errors', 'few']],
    [['--max-errors', '-1']],
  ])('%j is a wrong command line', async (options) => {
    expect(await sorac('check', write('a.sora', wrong), ...options)).toMatchObject({ exitCode: 2 });
  });

  test('20 diagnostics are shown, --max-errors chooses', async () => {
    const path = write('a.sora', many(30));
    const shown = async (...options: readonly string[]) => {
      const { stderr } = await sorac('check', path, '--reporter', 'concise', ...options);
      return { lines: stderr.match(/error\[/g)?.length, rest: /and (\d+) more/.exec(stderr)?.[1] };
    };
    expect(await shown()).toEqual({ lines: 20, rest: '10' });
    expect(await shown('--max-errors', '3')).toEqual({ lines: 3, rest: '27' });
    expect(await shown('--max-errors', '0')).toEqual({ lines: 30, rest: undefined });
  });
});

describe('check --fix', () => {
  test('makes the edits that are proposed, and tells what is left', async () => {
    const text = `model M() {
  factor: f32[4]

  entry one(x: f32[4]) -> y: f32[4] { x * facter + gelu(x) }

  entry two(x: f32[4]) -> y: f32[4] { facter * 'a' }
}
`;
    const path = write('a.sora', text);
    const { exitCode, stderr } = await sorac('check', path, '--fix', '--reporter', 'concise');
    const fixed = readFileSync(path, 'utf8');
    expect(fixed).toMatch(/^import \{ gelu \} from "sora:nn"\n/);
    expect(fixed).toContain('x * factor + gelu(x)');
    expect(fixed).toContain('factor * "a"');
    expect(stderr).toContain('fixed: ');
    expect(stderr).toMatch(/error\[SORA2006\].*"a"/);
    expect(exitCode).toBe(1);
  });

  test('leaves a right file alone', async () => {
    const path = write('a.sora', right);
    expect(await sorac('check', path, '--fix')).toMatchObject({ exitCode: 0 });
    expect(readFileSync(path, 'utf8')).toBe(right);
  });
});

describe('explain', () => {
  test.each(['SORA2101', 'sora2101', '2101', 'error[SORA2101]'])('%s', async (word) => {
    const { exitCode, stdout } = await sorac('explain', word);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^# SORA2101: /);
  });

  test('an unknown code suggests the nearest one', async () => {
    const { exitCode, stderr } = await sorac('explain', 'SORA21O1');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('did you mean `SORA2101`?');
    expect(await sorac('explain', '__proto__')).toMatchObject({ exitCode: 2, stdout: '' });
  });

  test('list has them all', async () => {
    const { stdout } = await sorac('explain', 'list');
    expect(stdout).toContain('SORA7205  ');
  });
});

describe('checkpoints', () => {
  const f32 = (name: string, size: number): TensorToWrite => ({ name, shape: [size], data: new Float32Array(size) });
  const i64 = (name: string): TensorToWrite => ({ name, shape: [1, 2], data: new Uint8Array(16), dtype: 'I64' });
  const sized = right
    .replace('model M() {', 'config C { n: int from "size" }\n\nmodel M(c: C) {')
    .replaceAll('[4]', '[c.n]');

  test('a folder gives its config', async () => {
    write('hub/config.json', '{"size": 3}');
    write('hub/model.safetensors', encodeSafetensors([f32('factor', 3)]));
    const path = write('a.sora', sized);
    const { exitCode, stderr } = await sorac('check', path, '--weights', join(folder, 'hub'), '--strict');
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('config.json') });
    // A config on the line goes before that of the folder.
    const other = write('other.json', '{"size": 5}');
    const refused = await sorac('check', path, '--weights', join(folder, 'hub'), '--config', other);
    expect(refused.stderr).toMatch(/error\[SORA7202\]: `factor` is \[3\] in the checkpoint, \[5\] in the model/);
  });

  test('shards are one checkpoint', async () => {
    write('hub/one.safetensors', encodeSafetensors([f32('other', 2)]));
    write('hub/two.safetensors', encodeSafetensors([f32('factor', 4)]));
    const index = { weight_map: { other: 'one.safetensors', factor: 'two.safetensors' } };
    const path = write('hub/model.safetensors.index.json', JSON.stringify(index));
    const { exitCode, stderr } = await sorac('check', write('a.sora', right), '--weights', path);
    expect(exitCode).toBe(0);
    expect(stderr).toContain('does not use `other`');
  });

  test('run loads a folder with shards and takes its config', async () => {
    write('hub/config.json', '{"size": 2}');
    write('hub/one.safetensors', encodeSafetensors([{ name: 'factor', shape: [2], data: new Float32Array([3, 5]) }]));
    write('hub/model.safetensors.index.json', '{"weight_map": {"factor": "one.safetensors"}}');
    const inputs = write(
      'in.safetensors',
      encodeSafetensors([{ name: 'x', shape: [2], data: new Float32Array([2, 4]) }]),
    );
    const out = join(folder, 'out.safetensors');
    const { exitCode } = await sorac(
      ...['run', write('a.sora', sized), '--weights', join(folder, 'hub'), '--device', 'cpu'],
      ...['--inputs', inputs, '--out', out],
    );
    expect(exitCode).toBe(0);
    expect([...((await readTensorFile(out)).get('y')?.read('f32') ?? [])]).toEqual([6, 20]);
  });

  test('unexpected tensors are errors under --strict, unless they are declared ignorable', async () => {
    const path = write('a.sora', right);
    const weights = write('w.safetensors', encodeSafetensors([f32('factor', 4), i64('bert.embeddings.position_ids')]));
    const strict = await sorac('check', path, '--weights', weights, '--strict');
    expect(strict.exitCode).toBe(1);
    expect(strict.stderr).toContain(
      'error[SORA7205]: the model does not use the tensor `bert.embeddings.position_ids`',
    );
    const ignoring = ['--ignore', '**.rotary', '--ignore', '**.position_ids'];
    const clean = await sorac('check', path, '--weights', weights, '--strict', ...ignoring);
    expect(clean.exitCode).toBe(0);
    expect(clean.stderr).not.toContain('position_ids');
  });

  test('one wrong name of a repeated field is one diagnostic, with all the tensors', async () => {
    const text = `import { Linear } from "sora:nn"

model M() {
  repeat layer[3] = Linear(4, 4) as "layers"

  entry forward(x: f32[4]) -> y: f32[4] = layer(x)
}
`;
    const names = [0, 1, 2].flatMap((at) => [`layer.${at}.weight`, `layer.${at}.bias`]);
    const tensors = names.map((name) => (name.endsWith('bias') ? f32(name, 4) : { ...f32(name, 16), shape: [4, 4] }));
    const weights = write('w.safetensors', encodeSafetensors(tensors));
    const { stdout } = await sorac('check', write('a.sora', text), '--weights', weights, '--reporter', 'json');
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: unknown[] };
    expect(diagnostics).toHaveLength(1);
    expect(diagnostics[0]).toMatchObject({
      code: 'SORA7201',
      message: 'the checkpoint has no tensor `layers.0.weight`',
      range: { start: { line: 4 } },
      help: expect.stringContaining('did you mean `layer.0.weight`?'),
      notes: ['expected shape [4, 4]', expect.stringContaining('5 more tensors of the same place')],
    });
  });

  test('a type that does not convert', async () => {
    const bytes: TensorToWrite = { name: 'factor', shape: [4], data: new Int32Array(4) };
    const weights = write('w.safetensors', encodeSafetensors([bytes]));
    const { exitCode, stderr } = await sorac('check', write('a.sora', right), '--weights', weights);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('error[SORA7203]: `factor` is I32 in the checkpoint, which does not convert to f32');
  });
});

describe('a file without a model', () => {
  const library =
    'config C { n: int = 4 }\n\nmodule Scale(c: C) {\n  factor: f32[c.n]\n\n  fn (x: f32[c.n]) = x * factor\n}\n';

  test('is checked as a library', async () => {
    const { exitCode, stderr } = await sorac('check', write('lib.sora', library));
    expect(exitCode).toBe(0);
    expect(stderr).toBe('lib.sora: no model, checked as a library; no errors\n');
  });

  test('has its mistakes told', async () => {
    const mistyped = await sorac('check', write('lib.sora', library.replace('x * factor', 'x * facter')));
    expect(mistyped.stderr).toContain('SORA2001');
    const misshaped = await sorac(
      'check',
      write('lib.sora', library.replace('factor: f32[c.n]', 'factor: f32[c.n + 1]')),
    );
    expect(misshaped.stderr).toContain('SORA2105');
    expect(misshaped.exitCode).toBe(1);
  });

  test('cannot be compiled', async () => {
    const { exitCode, stderr } = await sorac('compile', write('lib.sora', library), '-o', join(folder, 'out'));
    expect(exitCode).toBe(1);
    expect(stderr).toContain('SORA2010');
  });
});
