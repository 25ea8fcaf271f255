import { expect, test } from 'vitest';
import { readTarMember } from '../../../src/cli/tar.ts';

/** A ustar header and its data, padded to 512 bytes. */
function member(name: string, text: string, type = '0', prefix = ''): Uint8Array {
  const bytes = new Uint8Array(512 + Math.ceil(text.length / 512) * 512);
  const put = (value: string, at: number) => bytes.set(new TextEncoder().encode(value), at);
  put(name, 0);
  put(text.length.toString(8).padStart(11, '0'), 124);
  put(type, 156);
  put('ustar', 257);
  put(prefix, 345);
  put(text, 512);
  return bytes;
}

function archive(...members: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array([...members, new Uint8Array(1024)].flatMap((bytes) => [...bytes]));
}

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

test('finds a member by its full name, also with a prefix', () => {
  const tar = archive(member('a', 'x'.repeat(700)), member('bin/b', 'second'), member('c', 'third', '0', 'deep/er'));
  expect(text(readTarMember(tar, 'bin/b'))).toBe('second');
  expect(text(readTarMember(tar, 'deep/er/c'))).toBe('third');
  expect(readTarMember(tar, 'b')).toBeUndefined();
});

test('a link is not a file', () => {
  expect(readTarMember(archive(member('bin/b', '', '2')), 'bin/b')).toBeUndefined();
});

test('a size past the end is refused', () => {
  const tar = archive(member('a', 'hello'));
  tar.set(new TextEncoder().encode('77777777777'), 124);
  expect(() => readTarMember(tar, 'b')).toThrow('damaged');
});
