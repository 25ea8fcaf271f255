/**
 * Safetensors files that must be refused, each with the code it must be refused with.
 */
const encoder = new TextEncoder();

/** A file from a header's text and the number of data bytes; `length` overrides the written header length. */
export function file(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const text = typeof header === 'string' ? encoder.encode(header) : header;
  const bytes = new Uint8Array(8 + text.byteLength + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.byteLength), true);
  bytes.set(text, 8);
  return bytes;
}

export function entry(dtype: string, shape: string, offsets: string): string {
  return `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;
}

const good = entry('"F32"', '[2]', '[0,8]');
const one = (text: string, data = 8): Uint8Array => file(`{"a":${text}}`, data);
const raw = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

/** Name, bytes, code. */
export const hostileFiles: readonly (readonly [string, Uint8Array, string])[] = [
  // length of the file and of the header
  ['an empty file', raw(), 'SORA7002'],
  ['seven bytes', raw(1, 0, 0, 0, 0, 0, 0), 'SORA7002'],
  ['a header of length 0', file('', 8), 'SORA7002'],
  ['a header of length 1', file('{', 0), 'SORA7002'],
  ['a header longer than the file', file('{}', 0, 3n), 'SORA7002'],
  ['a header longer than 100 MB', file('{}', 0, 100_000_001n), 'SORA7008'],
  ['a header length of 2^63', file('{}', 0, 1n << 63n), 'SORA7008'],
  ['a header length of 2^64 - 1', file('{}', 0, (1n << 64n) - 1n), 'SORA7008'],
  ['a header length of 2^53 + 1', file('{}', 0, (1n << 53n) + 1n), 'SORA7008'],
  // text of the header
  ['a header cut short', file(`{"a":${good}`, 8), 'SORA7003'],
  ['garbage after the JSON', file(`{"a":${good}}x`, 8), 'SORA7003'],
  ['a second object after the JSON', file(`{"a":${good}}{}`, 8), 'SORA7003'],
  ['a NUL after the JSON', file(`{"a":${good}}\0`, 8), 'SORA7003'],
  ['bytes that are not UTF-8', file(raw(0x7b, 0x22, 0xff, 0x22, 0x7d)), 'SORA7003'],
  ['an overlong UTF-8 form', file(raw(0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d)), 'SORA7003'],
  ['a byte order mark', file(raw(0xef, 0xbb, 0xbf, 0x7b, 0x7d)), 'SORA7003'],
  ['leading spaces', file(' {}'), 'SORA7003'],
  ['half of a surrogate pair', file(`{"\\ud800":${good}}`, 8), 'SORA7003'],
  ['a raw control character in a name', file(`{"a\u0001":${good}}`, 8), 'SORA7003'],
  ['an unknown escape', file(`{"\\x41":${good}}`, 8), 'SORA7003'],
  ['a list', file('[]'), 'SORA7003'],
  ['a comment', file(`{/**/"a":${good}}`, 8), 'SORA7003'],
  ['a trailing comma', file(`{"a":${good},}`, 8), 'SORA7003'],
  ['single quotes', file(`{'a':${good}}`, 8), 'SORA7003'],
  ['NaN', one(entry('"F32"', '[NaN]', '[0,8]')), 'SORA7003'],
  ['a leading zero', one(entry('"F32"', '[02]', '[0,8]')), 'SORA7003'],
  ['a nesting bomb', file(`{"a":${'['.repeat(200_000)}`), 'SORA7003'],
  ['an object bomb', file('{"a":'.repeat(100_000)), 'SORA7003'],
  // names
  ['a name twice', file(`{"a":${good},"a":${good}}`, 8), 'SORA7004'],
  ['a name twice, once escaped', file(`{"a":${good},"\\u0061":${good}}`, 8), 'SORA7004'],
  ['metadata twice', file('{"__metadata__":{},"__metadata__":{}}'), 'SORA7004'],
  ['dtype twice', one(`{"dtype":"F32","dtype":"I8","shape":[2],"data_offsets":[0,8]}`), 'SORA7004'],
  ['`__proto__` twice', file(`{"__proto__":${good},"__proto__":${good}}`, 8), 'SORA7004'],
  // entries
  ['an entry that is a number', one('3'), 'SORA7005'],
  ['an entry that is null', one('null'), 'SORA7005'],
  ['an unknown element type', one(entry('"F128"', '[2]', '[0,8]')), 'SORA7005'],
  ['a lower case element type', one(entry('"f32"', '[2]', '[0,8]')), 'SORA7005'],
  ['an element type below a byte', one(entry('"F4"', '[2]', '[0,8]')), 'SORA7005'],
  ['an element type named like a property', one(entry('"constructor"', '[2]', '[0,8]')), 'SORA7005'],
  ['an element type that is a number', one(entry('32', '[2]', '[0,8]')), 'SORA7005'],
  ['no element type', one('{"shape":[2],"data_offsets":[0,8]}'), 'SORA7005'],
  ['an unknown field', one('{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}'), 'SORA7005'],
  ['no shape', one('{"dtype":"F32","data_offsets":[0,8]}'), 'SORA7005'],
  ['a shape that is a number', one(entry('"F32"', '2', '[0,8]')), 'SORA7005'],
  ['a negative dim', one(entry('"F32"', '[-2]', '[0,8]')), 'SORA7005'],
  ['a dim of minus zero', one(entry('"F32"', '[-0]', '[0,0]'), 0), 'SORA7005'],
  ['a fractional dim', one(entry('"F32"', '[2.5]', '[0,10]'), 10), 'SORA7005'],
  ['a dim with an exponent', one(entry('"F32"', '[2e0]', '[0,8]')), 'SORA7005'],
  ['a dim of 1e308', one(entry('"F32"', '[1e308]', '[0,8]')), 'SORA7005'],
  ['a dim of 2^53', one(entry('"F32"', '[9007199254740992]', '[0,8]')), 'SORA7005'],
  ['a dim that is text', one(entry('"F32"', '["2"]', '[0,8]')), 'SORA7005'],
  ['a dim that is true', one(entry('"F32"', '[true]', '[0,8]')), 'SORA7005'],
  ['a nested shape', one(entry('"F32"', '[[2]]', '[0,8]')), 'SORA7005'],
  ['a shape whose product overflows', one(entry('"F32"', '[4294967296,4294967296]', '[0,8]')), 'SORA7005'],
  [
    'a shape that overflows 2^64 to 8',
    one(entry('"I8"', '[9007199254740991,9007199254740991]', '[0,1]'), 1),
    'SORA7005',
  ],
  // offsets
  ['no offsets', one('{"dtype":"F32","shape":[2]}'), 'SORA7006'],
  ['one offset', one(entry('"F32"', '[2]', '[8]')), 'SORA7006'],
  ['three offsets', one(entry('"F32"', '[2]', '[0,8,8]')), 'SORA7006'],
  ['reversed offsets', one(entry('"F32"', '[2]', '[8,0]')), 'SORA7006'],
  ['negative offsets', one(entry('"F32"', '[2]', '[-8,0]')), 'SORA7006'],
  ['offsets that do not match the shape', one(entry('"F32"', '[3]', '[0,8]')), 'SORA7006'],
  ['offsets beyond the file', one(entry('"F32"', '[4]', '[0,16]')), 'SORA7006'],
  ['data that starts late', one(entry('"F32"', '[1]', '[4,8]')), 'SORA7006'],
  ['bytes after the last tensor', one(good, 9), 'SORA7006'],
  ['data without any tensor', file('{}', 16), 'SORA7006'],
  ['a file cut in its data', one(good, 7), 'SORA7006'],
  ['two tensors in one place', file(`{"a":${good},"b":${good}}`, 8), 'SORA7006'],
  ['tensors that overlap', file(`{"a":${good},"b":${entry('"F32"', '[2]', '[4,12]')}}`, 12), 'SORA7006'],
  ['a hole between tensors', file(`{"a":${good},"b":${entry('"F32"', '[1]', '[12,16]')}}`, 16), 'SORA7006'],
  ['an empty tensor beyond the end', file(`{"a":${good},"b":${entry('"F32"', '[0]', '[800,800]')}}`, 8), 'SORA7006'],
  // metadata
  ['metadata that is a list', file('{"__metadata__":[]}'), 'SORA7009'],
  ['metadata with a number', file('{"__metadata__":{"a":1}}'), 'SORA7009'],
  ['metadata with an object', file('{"__metadata__":{"a":{}}}'), 'SORA7009'],
];
