import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { unpackSwiftShader } from '../../../src/runtime/swiftshader.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-swiftshader-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Member {
  readonly name: string;
  readonly text: string;
  readonly type?: string;
  readonly size?: number;
}

const expected: readonly Member[] = [
  { name: 'libvulkan.so.1', text: 'loader' },
  { name: 'libvk_swiftshader.so', text: 'driver' },
  { name: 'vk_swiftshader_icd.json', text: '{}' },
];

function tar(members: readonly Member[], breakChecksum = false): Uint8Array {
  const blocks = members.flatMap(({ name, text, type = '0', size }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write(`${(size ?? text.length).toString(8).padStart(11, '0')}\0`, 124);
    header.write('        ', 148);
    header.write(type, 156);
    header.write('ustar\0', 257);
    const sum = header.reduce((total, byte) => total + byte, 0) + (breakChecksum ? 1 : 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const body = Buffer.alloc(Math.ceil(text.length / 512) * 512);
    body.write(text);
    return [header, body];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** Quick compression: the archives are tiny. */
function pack(bytes: Uint8Array): Uint8Array {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
}

const leftovers = (): string[] => readdirSync(folder).filter((name) => name.includes('.tmp-'));

test('takes the files of the Vulkan driver and nothing else', async () => {
  const others: Member[] = [
    { name: 'libEGL.so', text: 'not needed' },
    { name: '../outside', text: 'escape' },
    { name: '/etc/absolute', text: 'escape' },
    { name: 'sub/libvulkan.so.1', text: 'decoy' },
    { name: 'vk_swiftshader_icd.json', text: '', type: '2' },
  ];
  const target = join(folder, 'deep/good');
  await unpackSwiftShader(pack(tar([...others, ...expected])), target);
  expect(readdirSync(target).sort()).toEqual(['libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json']);
  expect(readFileSync(join(target, 'libvulkan.so.1'), 'utf8')).toBe('loader');
  expect(statSync(target).mode & 0o077).toBe(0);
  expect(existsSync(join(folder, 'outside'))).toBe(false);
  expect(leftovers()).toEqual([]);
});

test('keeps a folder that another process has made meanwhile', async () => {
  const target = join(folder, 'race');
  const archive = pack(tar(expected));
  await Promise.all([unpackSwiftShader(archive, target), unpackSwiftShader(archive, target)]);
  expect(readdirSync(target).length).toBe(3);
  expect(leftovers()).toEqual([]);
});

describe('refuses', () => {
  test.each<[string, () => Uint8Array]>([
    ['bytes that are not brotli', () => Uint8Array.of(1, 2, 3)],
    ['an empty archive', () => new Uint8Array()],
    ['an archive that lacks a file', () => pack(tar(expected.slice(1)))],
    ['a wrong checksum', () => pack(tar(expected, true))],
    ['a member longer than the archive', () => pack(tar([{ name: 'libvulkan.so.1', text: 'x', size: 1_000_000 }]))],
    ['a cut archive', () => pack(tar(expected)).subarray(0, 40)],
    ['an archive of more than 64 MiB', () => pack(Buffer.alloc(65 * 1024 * 1024))],
  ])('%s', async (what, archive) => {
    const target = join(folder, what);
    await expect(unpackSwiftShader(archive(), target)).rejects.toEqual(expect.objectContaining({ code: 'SORA7001' }));
    expect(existsSync(target)).toBe(false);
    expect(leftovers()).toEqual([]);
  });
});

test('a target that cannot be written is an error and leaves nothing behind', async () => {
  const target = join(folder, 'taken');
  mkdirSync(join(target, 'something'), { recursive: true });
  await expect(unpackSwiftShader(pack(tar(expected)), target)).rejects.toThrow();
  expect(leftovers()).toEqual([]);
});
