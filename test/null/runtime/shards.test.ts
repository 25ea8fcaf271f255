/**
 * Checkpoints of several files: folders as `save_pretrained` writes them and indexes of shards, the hostile ones included.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { openCheckpoint, type WeightsInput } from '../../../src/runtime/weights.ts';

const base = mkdtempSync(join(tmpdir(), 'sorac-shards-'));
let folder = base;
let count = 0;
beforeEach(() => {
  folder = join(base, String(count++), 'checkpoint');
  mkdirSync(folder, { recursive: true });
});
afterAll(() => rmSync(base, { recursive: true }));

const tensors = (...names: readonly string[]) =>
  encodeSafetensors(names.map((name, at) => ({ name, shape: [2], data: new Float32Array([at, at + 1]) })));

function put(name: string, content: string | Uint8Array): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

const index = (map: unknown, rest: object = { metadata: { total_size: 16.5 } }): string =>
  JSON.stringify({ ...rest, weight_map: map });

async function namesOf(input: WeightsInput): Promise<readonly string[]> {
  const checkpoint = await openCheckpoint(input);
  await checkpoint.close();
  return [...checkpoint.names].sort();
}

async function codeOf(input: WeightsInput): Promise<string> {
  try {
    await namesOf(input);
    return 'no error';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;

function putShards(): void {
  put(first, tensors('a', 'b'));
  put(second, tensors('c'));
}

describe('an index of shards', () => {
  test('opens the shards it names', async () => {
    putShards();
    const path = put('model.safetensors.index.json', index({ a: first, b: first, c: second }));
    expect(await namesOf(path)).toEqual(['a', 'b', 'c']);
    expect(await namesOf(`file://${path}`)).toEqual(['a', 'b', 'c']);
  });

  test('shards may lie in folders below', async () => {
    mkdirSync(join(folder, 'parts'));
    put('parts/one.safetensors', tensors('a'));
    expect(await namesOf(put('x.index.json', index({ a: 'parts/one.safetensors' })))).toEqual(['a']);
  });

  test.each([
    ['a way up', '../secret.safetensors'],
    ['a way up in the middle', 'parts/../../secret.safetensors'],
    ['a root', '/etc/secret.safetensors'],
    ['a drive', 'C:\\secret.safetensors'],
    ['a backslash', '..\\secret.safetensors'],
    ['an address', 'http://localhost/x.safetensors'],
    ['an escaped way up', '%2e%2e/secret.safetensors'],
    ['a zero', 'a\u0000.safetensors'],
    ['another index', 'model.safetensors.index.json'],
    ['a pickle', 'pytorch_model.bin'],
    ['nothing', ''],
    ['a hidden file', '.secret.safetensors'],
    ['a query', 'x.safetensors?y=.safetensors'],
  ])('refuses %s as a shard', async (_, name) => {
    // The file that the mistake would reach is there: only the check keeps it out.
    writeFileSync(join(folder, '..', 'secret.safetensors'), tensors('a'));
    expect(await codeOf(put('x.index.json', index({ a: name })))).toBe('SORA7010');
  });

  test.each([
    ['no JSON', 'weights', 'SORA7003'],
    ['no object', '[]', 'SORA7010'],
    ['no map', '{"metadata": {}}', 'SORA7010'],
    ['a list as map', index(['a']), 'SORA7010'],
    ['a number as shard', index({ a: 1 }), 'SORA7010'],
    ['a name twice', `{"weight_map": {"a": "${first}", "a": "${second}"}}`, 'SORA7004'],
    ['deep nesting', `{"weight_map": ${'['.repeat(5000)}`, 'SORA7003'],
  ])('refuses %s', async (_, text, code) => {
    putShards();
    expect(await codeOf(put('x.index.json', text))).toBe(code);
  });

  test('names of tensors are never properties', async () => {
    put('one.safetensors', tensors('__proto__', 'constructor'));
    const text = '{"weight_map": {"__proto__": "one.safetensors", "constructor": "one.safetensors"}}';
    expect(await namesOf(put('x.index.json', text))).toEqual(['__proto__', 'constructor']);
    expect(Object.prototype).not.toHaveProperty('source');
  });

  test('a shard that is not there', async () => {
    put(first, tensors('a', 'b'));
    const path = put('x.index.json', index({ a: first, b: first, c: second }));
    await expect(openCheckpoint(path)).rejects.toThrow(second);
    expect(await codeOf(path)).toBe('SORA7001');
  });

  test('a tensor that its shard does not have', async () => {
    putShards();
    const path = put('x.index.json', index({ a: first, b: second, c: second }));
    await expect(openCheckpoint(path)).rejects.toThrow(/`b`/);
    expect(await codeOf(path)).toBe('SORA7010');
  });

  test('a tensor in two shards', async () => {
    put(first, tensors('a', 'b'));
    put(second, tensors('b', 'c'));
    expect(await codeOf(put('x.index.json', index({ a: first, b: first, c: second })))).toBe('SORA7004');
  });
});

describe('a folder', () => {
  test('with one file, whatever its name', async () => {
    put('weights.safetensors', tensors('a'));
    put('config.json', '{}');
    expect(await namesOf(folder)).toEqual(['a']);
    expect(await namesOf(`${folder}/`)).toEqual(['a']);
  });

  test('with an index', async () => {
    putShards();
    put('model.safetensors.index.json', index({ a: first, b: first, c: second }));
    expect(await namesOf(folder)).toEqual(['a', 'b', 'c']);
  });

  test('prefers `model.safetensors`', async () => {
    put('model.safetensors', tensors('whole'));
    put('adapter_model.safetensors', tensors('adapter'));
    expect(await namesOf(folder)).toEqual(['whole']);
  });

  test('with several files and no index is not guessed', async () => {
    putShards();
    await expect(openCheckpoint(folder)).rejects.toThrow('holds 2 .safetensors files, no index');
    expect(await namesOf([join(folder, first), join(folder, second)])).toEqual(['a', 'b', 'c']);
  });

  test('without files, or no folder at all', async () => {
    expect(await codeOf(folder)).toBe('SORA7001');
    expect(await codeOf(join(folder, 'none'))).toBe('SORA7001');
  });
});

describe('an address of an index', () => {
  let server: Server | undefined;
  afterAll(() => server?.close());

  test('finds its shards beside it', async () => {
    const files = new Map<string | undefined, string | Uint8Array>([
      ['/m/x.index.json', index({ a: 'one.safetensors' })],
      ['/m/one.safetensors', tensors('a')],
    ]);
    const opened = createServer((request, response) => {
      const body = files.get(request.url);
      response.writeHead(body === undefined ? 404 : 200).end(body);
    });
    server = opened;
    await new Promise<void>((resolve) => opened.listen(0, '127.0.0.1', resolve));
    const address = opened.address();
    const port = typeof address === 'object' ? address?.port : 0;
    expect(await namesOf(`http://127.0.0.1:${port}/m/x.index.json`)).toEqual(['a']);
  });
});
