import { describe, expect, test } from 'vitest';
import type { ElementType } from '../../../src/runtime/artifact.ts';
import { convertElements, type FileType, newElements } from '../../../src/runtime/convert.ts';

function convert(type: FileType, values: ArrayBufferView, to: ElementType): number[] {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const sizes: Partial<Record<FileType, number>> = { F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4 };
  const size = sizes[type] ?? ('BYTES_PER_ELEMENT' in values ? Number(values.BYTES_PER_ELEMENT) : 1);
  const target = newElements(to, bytes.byteLength / size);
  convertElements({ name: 't', dtype: type }, bytes, target, to, 0);
  return Array.from(target);
}

describe('floats', () => {
  test.each<[FileType, ArrayBufferView, number[]]>([
    ['F32', Float32Array.of(1.5, -0, 1e-40), [1.5, -0, Math.fround(1e-40)]],
    ['F64', Float64Array.of(0.1, 1e300, -2), [Math.fround(0.1), Number.POSITIVE_INFINITY, -2]],
    ['F16', Uint16Array.of(0x3555, 0x7c00, 1), [0.333251953125, Number.POSITIVE_INFINITY, 2 ** -24]],
    ['BF16', Uint16Array.of(0x3f80, 0xc049, 0x0001), [1, -3.140625, 2 ** -133]],
  ])('%s to f32', (type, values, expected) => {
    expect(convert(type, values, 'f32')).toEqual(expected);
  });

  test('to f16 as bits', () => {
    expect(convert('F32', Float32Array.of(1, 65504, 1e-8), 'f16')).toEqual([0x3c00, 0x7bff, 0]);
    expect(convert('BF16', Uint16Array.of(0x3f80), 'f16')).toEqual([0x3c00]);
    expect(convert('F16', Uint16Array.of(0x7e01), 'f16')).toEqual([0x7e01]);
  });
});

describe('whole numbers', () => {
  test.each<[FileType, ArrayBufferView, ElementType, number[]]>([
    ['I64', BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n), 'i32', [-(2 ** 31), 2 ** 31 - 1]],
    ['I64', BigInt64Array.of(0n, 2n ** 32n - 1n), 'u32', [0, 2 ** 32 - 1]],
    ['U64', BigUint64Array.of(7n), 'i32', [7]],
    ['U32', Uint32Array.of(5), 'i32', [5]],
    ['I32', Int32Array.of(-5), 'i32', [-5]],
    ['I16', Int16Array.of(-300), 'i32', [-300]],
    ['I8', Int8Array.of(-1), 'i32', [-1]],
    ['U8', Uint8Array.of(255), 'u32', [255]],
    ['BOOL', Uint8Array.of(0, 1), 'bool', [0, 1]],
    ['I64', BigInt64Array.of(0n, 1n), 'bool', [0, 1]],
    ['BOOL', Uint8Array.of(1), 'i32', [1]],
  ])('%s to %s', (type, values, to, expected) => {
    expect(convert(type, values, to as ElementType)).toEqual(expected);
  });

  test.each<[FileType, ArrayBufferView, ElementType]>([
    ['I64', BigInt64Array.of(2n ** 31n), 'i32'],
    ['I64', BigInt64Array.of(-(2n ** 31n) - 1n), 'i32'],
    ['I64', BigInt64Array.of(2n ** 62n), 'u32'],
    ['U64', BigUint64Array.of(2n ** 64n - 1n), 'u32'],
    ['U32', Uint32Array.of(2 ** 31), 'i32'],
    ['I32', Int32Array.of(-1), 'u32'],
    ['I8', Int8Array.of(-1), 'bool'],
    ['BOOL', Uint8Array.of(2), 'bool'],
  ])('%s that does not fit is refused', (type, values, to) => {
    expect(() => convert(type, values, to)).toThrow(expect.objectContaining({ code: 'SORA7204' }));
  });
});

test.each<[FileType, ArrayBufferView, ElementType]>([
  ['F32', Float32Array.of(1), 'i32'],
  ['BF16', Uint16Array.of(1), 'u32'],
  ['I32', Int32Array.of(1), 'f32'],
  ['BOOL', Uint8Array.of(1), 'f32'],
  ['F8_E4M3', Uint8Array.of(1), 'f32'],
  ['F8_E5M2', Uint8Array.of(1), 'f16'],
])('%s is not guessed into another kind of number', (type, values, to) => {
  expect(() => convert(type, values, to)).toThrow(expect.objectContaining({ code: 'SORA7203' }));
});
