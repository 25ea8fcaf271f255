/**
 * `sorac train` on the interpreter: what a run prints and leaves, that a stopped one goes on in the same bits, and what is said of
 * options and data that make no run.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { takeInterrupt } from '../../../src/cli/interrupt.ts';
import { tensorsOf } from '../../support/training.ts';
import { command, type Files, pointFiles, pointRows, points, sorac } from './train-kit.ts';

interface Record_ {
  readonly steps: number;
  readonly classes: unknown;
  readonly examples: unknown;
  readonly best: { readonly epoch: number };
  readonly test?: { readonly loss: number; readonly measures: Readonly<Record<string, number>> };
  readonly epochs: readonly {
    readonly trainLoss: number;
    readonly validation: { readonly loss: number; readonly measures: Readonly<Record<string, number>> };
  }[];
  readonly points: readonly { readonly step: number; readonly lr: number }[];
}

const recordOf = (files: Files, out: string): Record_ =>
  JSON.parse(readFileSync(join(files.folder, out, 'train.json'), 'utf8')) as Record_;

const bytesOf = (files: Files, out: string, name: string): Buffer => readFileSync(join(files.folder, out, name));

test('a run learns, says so once an epoch, and leaves weights that other commands take', async () => {
  const files = pointFiles();
  const logs = join(files.folder, 'logs');
  const { exitCode, stdout, stderr } = await sorac(command(files, 'out', '--epochs', '16', '--logdir', logs));
  expect(
    stderr.match(/^epoch \d+\/16 {2}train loss \d\.\d{4} {2}dev loss \d\.\d{4} {2}accuracy [\d.]+ % {2}F1 [\d.]+ %$/gm),
  ).toHaveLength(16);
  expect({ exitCode, stdout }).toEqual({
    exitCode: 0,
    stdout: expect.stringMatching(/^test loss \d\.\d{4} {2}accuracy [\d.]+ % {2}F1 [\d.]+ %\nweights, checkpoints/),
  });
  const record = recordOf(files, 'out');
  expect(record).toMatchObject({
    steps: 80,
    classes: { label: ['left', 'middle', 'right'] },
    examples: { train: 80, validation: 10, test: 10 },
  });
  expect(record.epochs).toHaveLength(16);
  expect(record.epochs[15]?.trainLoss).toBeLessThan(0.5 * (record.epochs[0]?.trainLoss ?? 0));
  expect(record.test?.measures.accuracy).toBeGreaterThanOrEqual(0.8);
  // Warm-up over 8 of 80 steps, then a half cosine.
  expect(record.points.slice(0, 9).map(({ lr }) => lr)).toEqual(
    Array.from({ length: 9 }, (_, step) => (0.05 * step) / 8),
  );
  expect(record.points.at(-1)?.lr).toBeLessThan(0.0001);
  expect(readdirSync(join(files.folder, 'out')).sort()).toEqual([
    'best.safetensors',
    'checkpoints',
    'last.safetensors',
    'train.json',
  ]);
  expect(readdirSync(logs)).toEqual([expect.stringMatching(/^events\.out\.tfevents\./)]);
  for (const name of ['best.safetensors', 'last.safetensors']) {
    const checked = await sorac(['check', files.model, '--strict', '--weights', join(files.folder, 'out', name)]);
    expect(checked.exitCode).toBe(0);
  }
});

test('the best weights are those of the epoch with the least validation loss', async () => {
  const files = pointFiles();
  await sorac(command(files, 'out', '--epochs', '4', '--optimizer', 'sgd(lr: 3)'));
  const { epochs, best } = recordOf(files, 'out');
  const losses = epochs.map(({ validation }) => validation.loss);
  expect(best.epoch).toBe(losses.indexOf(Math.min(...losses)) + 1);
});

test('a moving average is what is evaluated and written, and goes on', async () => {
  const files = pointFiles(points.replace('optimizer:', 'ema: 0.9\n  optimizer:'));
  const tensors = async (out: string, name: string) => tensorsOf(bytesOf(files, out, name));
  await sorac(command(files, 'whole', '--epochs', '3'));
  const kept = await tensors('whole', 'checkpoints/last.safetensors');
  const last = await tensors('whole', 'last.safetensors');
  for (const [path, data] of last) {
    expect(data).toEqual(kept.get(`average:${path}`));
    expect(data).not.toEqual(kept.get(path));
  }
  expect(last.size).toBe(4);
  const other = pointFiles();
  const without = await sorac(['train', other.model, ...command(files, 'whole', '--epochs', '3', '--resume').slice(2)]);
  expect(without.stderr).toContain('moving average was 0.9 and is null');
});

describe('a run that was stopped', () => {
  const settings = ['--epochs', '4', '--accumulate', '2', '--batch', '8'];
  const files = pointFiles();
  const whole = sorac(command(files, 'whole', ...settings));

  test.each([
    ['in an epoch', /epoch 2\/4 \[/],
    ['at the end of an epoch', /epoch 2\/4 {2}train/],
    ['at once', /./],
  ])('ends in the bits of one that was not: %s', async (name, moment) => {
    await whole;
    const out = name.replaceAll(' ', '-');
    let stopped = 0;
    const first = await sorac(command(files, out, ...settings), {
      isTerminal: true,
      onError(text) {
        if (stopped > 0 || !moment.test(text)) return;
        stopped++;
        if (!takeInterrupt()) stopped--;
      },
    });
    expect({ stopped, exitCode: first.exitCode, stdout: first.stdout }).toEqual({
      stopped: 1,
      exitCode: 130,
      stdout: expect.stringContaining('--resume goes on'),
    });
    expect(first.stderr).toContain('finishing the step and saving');
    expect(recordOf(files, out).steps).toBeLessThan(20);
    const second = await sorac(command(files, out, ...settings, '--resume'));
    expect(second.exitCode).toBe(0);
    expect(second.stderr).toMatch(/^resumed at step \d+ of 20$/m);
    for (const name of ['last.safetensors', 'best.safetensors', 'checkpoints/last.safetensors'])
      expect(bytesOf(files, out, name).equals(bytesOf(files, 'whole', name)), name).toBe(true);
    expect(recordOf(files, out)).toEqual(recordOf(files, 'whole'));
  });

  test('an interrupt is seen while the interpreter works: signals come by the event loop', async () => {
    const own = pointFiles();
    const timer = setInterval(() => {
      if (takeInterrupt()) clearInterval(timer);
    }, 20);
    const { exitCode } = await sorac(command(own, 'long', '--epochs', '500'));
    clearInterval(timer);
    expect(exitCode).toBe(130);
    expect(recordOf(own, 'long').epochs.length).toBeLessThan(250);
  });

  test('goes on only as what it was', async () => {
    await whole;
    const other = await sorac(command(files, 'whole', '--epochs', '4', '--batch', '16', '--resume'));
    expect({ exitCode: other.exitCode, stderr: other.stderr }).toEqual({
      exitCode: 4,
      stderr: expect.stringContaining('SORA7062'),
    });
    expect(other.stderr).toMatch(/batch size was 8 and is 16|accumulated batches was 2 and is 1/);
  });

  test('is not written over', async () => {
    await whole;
    const again = await sorac(command(files, 'whole', ...settings));
    expect({ exitCode: again.exitCode, stderr: again.stderr }).toEqual({
      exitCode: 2,
      stderr: expect.stringContaining('holds a run already'),
    });
    const nothing = await sorac(command(files, 'nowhere', ...settings, '--resume'));
    expect({ exitCode: nothing.exitCode, stderr: nothing.stderr }).toEqual({
      exitCode: 4,
      stderr: expect.stringContaining('SORA7044'),
    });
  });
});

test('a loss that is not finite ends the run, and the last good checkpoint stays', async () => {
  const files = pointFiles(points.replace('tanh(up(x))', 'exp(up(x))'));
  const options = ['--epochs', '3', '--optimizer', 'sgd(lr: 1)'];
  expect((await sorac(command(files, 'out', ...options, '--lr', '1e-4', '--max-steps', '5'))).exitCode).toBe(0);
  const kept = bytesOf(files, 'out', 'checkpoints/last.safetensors');
  const bad = await sorac(command(files, 'bad', ...options, '--lr', '1e8', '--save-steps', '1'));
  expect({ exitCode: bad.exitCode, stderr: bad.stderr }).toEqual({
    exitCode: 1,
    stderr: expect.stringMatching(
      /error\[SORA6033\]: step \d+ of `Points`.*\n {2}the first value that is not finite is `\w+` \[.*\] at points\.sora:9:\d+\n/,
    ),
  });
  const broken = bytesOf(files, 'bad', 'checkpoints/last.safetensors');
  expect(broken.length).toBeGreaterThan(0);
  expect(bytesOf(files, 'out', 'checkpoints/last.safetensors').equals(kept)).toBe(true);
});

test('what a killed run left unfinished goes; a folder that cannot be written is told, and nothing is lost', async () => {
  const files = pointFiles();
  expect((await sorac(command(files, 'out', '--epochs', '2', '--max-steps', '3'))).exitCode).toBe(0);
  const leftover = join(files.folder, 'out', '.best.safetensors.0123456789ab.tmp');
  writeFileSync(leftover, 'half of it');
  const again = await sorac(command(files, 'out', '--epochs', '2', '--max-steps', '3', '--resume'));
  expect({ exitCode: again.exitCode, exists: existsSync(leftover) }).toEqual({ exitCode: 0, exists: false });
  writeFileSync(join(files.folder, 'taken'), '');
  const taken = await sorac(command(files, 'taken', '--epochs', '1'));
  expect({ exitCode: taken.exitCode, stderr: taken.stderr }).toEqual({
    exitCode: 3,
    stderr: expect.stringContaining('cannot be written'),
  });
});

test('a damaged checkpoint is skipped with a word, the other one goes on', async () => {
  const files = pointFiles();
  const settings = ['--epochs', '2'];
  await sorac(command(files, 'out', ...settings));
  const path = join(files.folder, 'out', 'checkpoints', 'last.safetensors');
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  // The other checkpoint may be a second name of the same file.
  rmSync(path);
  writeFileSync(path, bytes);
  const again = await sorac(command(files, 'out', ...settings, '--resume'));
  expect({ exitCode: again.exitCode, stderr: again.stderr }).toEqual({
    exitCode: 0,
    stderr: expect.stringMatching(/last\.safetensors` is skipped: .*its bytes do not have its sum/),
  });
});

test('--json gives one document, with the curve', async () => {
  const files = pointFiles();
  const { exitCode, stdout } = await sorac(command(files, 'out', '--epochs', '1', '--split', '0,0', '--json'));
  expect(exitCode).toBe(0);
  const document = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  expect(document).toMatchObject({
    schema: 1,
    ok: true,
    model: 'Points',
    steps: 7,
    examples: { train: 100, validation: 0, test: 0 },
  });
  expect(document).not.toHaveProperty('test');
});

test('parts come from other files, or from a folder with names of parts', async () => {
  const files = pointFiles();
  const parts = join(files.folder, 'parts');
  mkdirSync(parts);
  for (const [name, count] of [
    ['train', 40],
    ['valid', 12],
    ['test', 7],
  ] as const)
    writeFileSync(join(parts, `${name}.csv`), pointRows(count));
  const folder = await sorac(command({ ...files, data: parts }, 'a', '--epochs', '1'));
  expect(folder.stderr).toContain('40 for training, 12 for validation, 7 for the test');
  const named = await sorac(command(files, 'b', '--epochs', '1', '--val', join(parts, 'valid.csv')));
  expect(named.stderr).toContain('100 for training, 12 for validation;');
});

describe('what makes no run', () => {
  const files = pointFiles();
  const file = (name: string, content: string): string => {
    const path = join(files.folder, name);
    writeFileSync(path, content);
    return path;
  };
  const withModel = (name: string, change: (text: string) => string): Files => ({
    ...files,
    model: file(name, change(points)),
  });
  const withData = (name: string, content: string): Files => ({ ...files, data: file(name, content) });

  test.each<readonly [string, Files, readonly string[], number, RegExp]>([
    ['no whole number', files, ['--epochs', 'many'], 2, /`--epochs many` is no whole number/],
    ['no rate', files, ['--lr', '-1'], 2, /`--lr -1` is no learning rate/],
    ['no shares', files, ['--split', '0.5,0.6'], 2, /leaves nothing for training/],
    ['a batch beyond the model', files, ['--batch', '17'], 2, /`x` takes 1 to 16 rows/],
    ['no such optimizer', files, ['--optimizer', 'adan'], 1, /SORA2303.*unknown optimizer `adan`/],
    ['no optimizer at all', files, ['--optimizer', '}{'], 1, /error\[SORA/],
    ['no data', { ...files, data: join(files.folder, 'nothing.csv') }, [], 4, /SORA7001/],
    ['data of no known format', withData('data.bin', '\u0001\u0002'), [], 4, /SORA7030/],
    [
      'a column that is missing',
      withData('less.csv', 'a,label\n1,x\n2,y\n'),
      ['--split', '0,0'],
      4,
      /SORA7040.*no column `b`/,
    ],
    [
      'a cell that is no number',
      withData('odd.csv', 'a,b,label\n1,2,x\n1,,y\n'),
      ['--split', '0,0'],
      4,
      /SORA7039.*line 3/,
    ],
    [
      'too many classes',
      withData('four.csv', 'a,b,label\n1,2,p\n1,2,q\n1,2,r\n1,2,s\n'),
      ['--split', '0,0'],
      4,
      /SORA7063.*4 classes, `logits` 3 scores/,
    ],
    [
      'no train block',
      withModel('none.sora', (text) => text.slice(0, text.indexOf('train'))),
      [],
      2,
      /no `train` block for `Points`/,
    ],
    [
      'an input that nothing reads',
      withModel('unread.sora', (text) => text.replace(/ +read.*\n/, '')),
      [],
      4,
      /SORA7060.*how `x` is read/,
    ],
    [
      'a model that is wrong',
      withModel('wrong.sora', (text) => text.replace('Linear(2', 'Linear(3')),
      [],
      1,
      /error\[SORA2/,
    ],
    ['weights that do not fit', { ...files, weights: file('bad.safetensors', 'x') }, [], 4, /error\[SORA7/],
  ])('%s', async (name, given, options, code, message) => {
    const out = `out-${name.replaceAll(' ', '-')}`;
    const { exitCode, stdout, stderr } = await sorac(command(given, out, ...options));
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: code,
      stdout: '',
      stderr: expect.stringMatching(message),
    });
    expect(existsSync(join(files.folder, out, 'last.safetensors'))).toBe(false);
  });
});
