/**
 * The command line from arguments to exit code, in this process: what a person types, what stands on which stream.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { runCommandLine } from '../../../src/cli/main.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';

const base = mkdtempSync(join(tmpdir(), 'sorac-cli-'));
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
  // No error of a person may show our insides.
  expect(streams.stderr).not.toMatch(/\n\s+at .*[:(]\d+:\d+/);
  return { exitCode, ...streams };
}

const scaled = `dim N in 1..64

model Scaled() {
  factor: f32[4]

  /// Multiplies by a learned factor.
  entry forward(x: f32[N, 4]) -> y: f32[N, 4] {
    x * factor
  }
}
`;

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const f32 = (name: string, shape: readonly number[]) => ({
  name,
  shape,
  data: Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, index) => index + 1),
});

describe('usage', () => {
  test('--help has the table of exit codes', async () => {
    const { exitCode, stdout } = await sorac('--help');
    expect(exitCode).toBe(0);
    for (const code of ['0 ', '1 ', '2 ', '3 ', '4 ', '70 ', '130 ']) expect(stdout).toContain(`\n  ${code}`);
  });

  test('an unknown command suggests the near one', async () => {
    const { exitCode, stdout, stderr } = await sorac('complie');
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('compile');
  });

  test.each([
    [['compile']],
    [['compile', 'no-such-file.sora']],
    [['compile', 'a.sora', '--emti', 'ir']],
    [['run', 'a.sora']],
    [['fmt']],
    [['--color', 'pink', 'fmt', 'a.sora']],
    [['run', 'a.sora', '--weights', 'w', '--inputs', 'i', '--out', 'o', '--device', 'quantum']],
    [['golden']],
    [[]],
  ])('%j is a wrong command line', async (argv) => {
    const { exitCode, stderr } = await sorac(...argv);
    expect(exitCode).toBe(2);
    expect(stderr).not.toBe('');
  });

  test('--json tells errors on stdout too', async () => {
    const { exitCode, stdout } = await sorac('--json', 'check', 'no-such-file.sora');
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 1, ok: false, error: { code: 'SORA0001' } });
  });

  test.each([
    [['--json', 'frob'], /unknown command 'frob'/],
    [['compile', '--json'], /missing required argument 'file'/],
    [['golden', '--json'], /no command/],
    [['--json'], /no command/],
  ])('%j tells a wrong command line on stdout too', async (argv, message) => {
    const { exitCode, stdout } = await sorac(...argv);
    expect(exitCode).toBe(2);
    const error = { code: 'SORA0001', message: expect.stringMatching(message) };
    expect(JSON.parse(stdout)).toEqual({ schema: 1, ok: false, error });
  });

  test('a bug of ours ends with 70 and a report', async () => {
    vi.stubEnv('TMPDIR', folder);
    vi.spyOn(JSON, 'stringify').mockImplementationOnce(() => {
      throw new TypeError('a broken promise');
    });
    const { exitCode, stderr } = await sorac('fmt', '--check', '--json', write('a.sora', scaled));
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    expect(exitCode).toBe(70);
    expect(stderr).toContain('please report');
    const report = readdirSync(folder).find((name) => name.startsWith('sorac-report-')) ?? '';
    expect(readFileSync(join(folder, report), 'utf8')).toMatch(/a broken promise[\s\S]*\n\s+at /);
  });
});

describe('compile', () => {
  test('writes module and declarations, the same bytes again', async () => {
    const path = write('scaled.sora', scaled);
    const out = join(folder, 'out');
    const first = await sorac('compile', path, '-o', out);
    expect(first).toMatchObject({ exitCode: 0, stdout: '' });
    expect(readdirSync(out).sort()).toEqual(['scaled.d.ts', 'scaled.js']);
    const bytes = readFileSync(join(out, 'scaled.js'));
    expect(await sorac('compile', path, '-o', out)).toMatchObject({ exitCode: 0 });
    expect(readFileSync(join(out, 'scaled.js')).equals(bytes)).toBe(true);
  });

  test('says the sizes that the module has, and where they come from', async () => {
    const sized = `dim N in 1..64

config Sizes {
  width: int = 4 from "hidden_size"
  layers: int = 2 from "num_layers"
  bias: bool = true from "use_bias"
  own: int = 7
}

model Sized(c: Sizes) {
  factor: f32[c.width]
  repeat step[c.layers] = Step(c)

  entry forward(x: f32[N, c.width]) -> y: f32[N, c.width] {
    step(x * factor) * c.own
  }
}

module Step(c: Sizes) {
  offset: f32[c.width] if c.bias

  fn (x: f32[N, c.width]) -> f32[N, c.width] {
    if c.bias { x + offset } else { x }
  }
}
`;
    const path = write('sized.sora', sized);
    const said = async (...options: readonly string[]) => {
      const { exitCode, stdout, stderr } = await sorac('compile', path, '-o', join(folder, 'out'), ...options);
      expect(exitCode).toBe(0);
      return { stdout, lines: stderr.split('\n').filter((line) => line.startsWith('Sizes: ')) };
    };
    const json = (name: string, value: unknown) => ['--config', write(name, JSON.stringify(value))];
    expect((await said()).lines).toEqual([
      'Sizes: width 4, layers 2, … (defaults of sized.sora; --config takes those of a checkpoint)',
    ]);
    const all = { hidden_size: 8, num_layers: 3, use_bias: false };
    expect((await said(...json('all.json', all))).lines).toEqual(['Sizes: width 8, layers 3, … (from all.json)']);
    expect((await said(...json('some.json', { hidden_size: 8 }))).lines).toEqual([
      'Sizes: width 8, layers 2, … (1 of 3 from some.json, else defaults of sized.sora)',
    ]);
    expect((await said(...json('other.json', { n_embd: 8 }))).lines).toEqual([
      'Sizes: width 4, layers 2, … (defaults of sized.sora: other.json has none of its keys)',
    ]);
    const { stdout, lines } = await said(...json('all.json', all), '--json');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({
      config: { 'Sizes.width': 8, 'Sizes.layers': 3, 'Sizes.bias': false, 'Sizes.own': 7 },
      configSources: { 'Sizes.width': 'given', 'Sizes.layers': 'given', 'Sizes.bias': 'given' },
    });
    const plain = await sorac('compile', write('scaled.sora', scaled), '-o', join(folder, 'plain'));
    expect(plain.stderr).not.toContain('defaults of');
  });

  test('--emit writes the values of the pipeline', async () => {
    const out = join(folder, 'out');
    const { exitCode } = await sorac(
      'compile',
      write('scaled.sora', scaled),
      '-o',
      out,
      '--emit',
      'wgsl,ir,graph,plan',
    );
    expect(exitCode).toBe(0);
    expect(readdirSync(out).sort()).toEqual([
      'scaled.gpu.ir.txt',
      'scaled.graph.txt',
      'scaled.ir.txt',
      'scaled.plan.json',
      'scaled.software.ir.txt',
      'scaled.wgsl',
    ]);
    expect(readFileSync(join(out, 'scaled.wgsl'), 'utf8')).toContain('@compute');
    expect(JSON.parse(readFileSync(join(out, 'scaled.plan.json'), 'utf8'))).toMatchObject({ model: 'Scaled' });
  });

  test('does not replace the work of a person', async () => {
    const path = write('scaled.sora', scaled);
    const own = write('scaled.js', 'export const mine = true;\n');
    const refused = await sorac('compile', path, '-o', folder);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain('--force');
    expect(readFileSync(own, 'utf8')).toContain('mine');
    expect(readdirSync(folder)).not.toContain('scaled.d.ts');
    expect(await sorac('compile', path, '-o', folder, '--force')).toMatchObject({ exitCode: 0 });
    expect(readFileSync(own, 'utf8')).not.toContain('mine');
  });

  test('a wrong model writes nothing and ends with 1', async () => {
    const path = write('scaled.sora', scaled.replace('x * factor', 'x * facter'));
    const out = join(folder, 'out');
    const { exitCode, stdout, stderr } = await sorac('compile', path, '-o', out);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toMatch(/error\[SORA2001\][\s\S]*scaled\.sora:8:9[\s\S]*factor/);
    expect(readdirSync(folder)).not.toContain('out');
  });
});

describe('check', () => {
  test('names missing, unused and wrongly shaped weights', async () => {
    const path = write('scaled.sora', scaled);
    const right = write('right.safetensors', encodeSafetensors([f32('factor', [4]), f32('other', [2])]));
    const good = await sorac('check', path, '--weights', right);
    expect(good.exitCode).toBe(0);
    expect(good.stderr).toContain('does not use `other`');

    const shape = write('shape.safetensors', encodeSafetensors([f32('factor', [5])]));
    const wrong = await sorac('check', path, '--weights', shape);
    expect(wrong.exitCode).toBe(1);
    expect(wrong.stderr).toMatch(/error\[SORA7202\]: `factor` is \[5\] in the checkpoint, \[4\] in the model/);

    const name = write('name.safetensors', encodeSafetensors([f32('factors', [4])]));
    const missing = await sorac('check', path, '--weights', name, '--json');
    expect(missing.exitCode).toBe(1);
    expect(JSON.parse(missing.stdout)).toMatchObject({
      ok: false,
      unexpected: ['factors'],
      diagnostics: [{ code: 'SORA7201', help: expect.stringContaining('`factors`') }],
    });

    const prefixed = write('prefixed.safetensors', encodeSafetensors([f32('model.factor', [4])]));
    const found = await sorac('check', path, '--weights', prefixed, '--json', '--strict');
    expect(found.exitCode).toBe(0);
    expect(JSON.parse(found.stdout)).toMatchObject({ ok: true, unexpected: [] });
  });

  test.each([
    ['empty', new Uint8Array()],
    ['a header past the end', new Uint8Array([255, 255, 0, 0, 0, 0, 0, 0, 123])],
    ['no JSON', new Uint8Array([4, 0, 0, 0, 0, 0, 0, 0, 110, 117, 108, 108])],
  ])('a checkpoint that is %s ends with 4', async (_, bytes) => {
    const path = write('scaled.sora', scaled);
    const { exitCode, stderr } = await sorac('check', path, '--weights', write('w.safetensors', bytes));
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(/error\[SORA7\d{3}\]/);
  });

  test('a missing checkpoint and a config that is no JSON end with 4', async () => {
    const path = write('scaled.sora', scaled);
    expect(await sorac('check', path, '--weights', join(folder, 'none'))).toMatchObject({ exitCode: 4 });
    expect(await sorac('check', path, '--config', write('config.json', '{'))).toMatchObject({ exitCode: 4 });
  });
});

describe('fmt', () => {
  const messy = 'dim   N in 1..64\n\n\n\nmodel Id() { entry forward(x: f32[N]) -> y: f32[N] { x } }\n';

  test('formats, and then has nothing to do', async () => {
    const path = write('a.sora', messy);
    expect(await sorac('fmt', '--check', path)).toMatchObject({ exitCode: 1 });
    expect(readFileSync(path, 'utf8')).toBe(messy);
    expect(await sorac('fmt', path)).toMatchObject({ exitCode: 0 });
    expect(readFileSync(path, 'utf8')).toContain('dim N in 1..64\n');
    expect(await sorac('fmt', '--check', path)).toMatchObject({ exitCode: 0 });
  });

  test('leaves a file with syntax errors alone', async () => {
    const path = write('a.sora', 'model {{{\n');
    const { exitCode, stderr } = await sorac('fmt', path);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('error[SORA');
    expect(readFileSync(path, 'utf8')).toBe('model {{{\n');
  });
});

test('--color decides about escape codes, NO_COLOR about auto', async () => {
  const path = write('scaled.sora', scaled.replace('x * factor', 'x * facter'));
  const escapeCode = '\u001b[';
  expect((await sorac('check', path, '--color', 'always')).stderr).toContain(escapeCode);
  expect((await sorac('check', path, '--color', 'never')).stderr).not.toContain(escapeCode);
  expect((await sorac('check', path)).stderr).not.toContain(escapeCode);
});
