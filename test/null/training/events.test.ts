/**
 * Event files, read by a reader of their own: frames, both sums of each, and the fields of the messages.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openEventFile } from '../../../src/training/events.ts';
import { fails, folderWith } from './kit.ts';

/** Bit by bit, as RFC 3720 defines CRC-32C. */
function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

function masked(bytes: Uint8Array): number {
  const sum = BigInt(crc32c(bytes));
  return Number((((sum >> 15n) | (sum << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

function frames(file: Buffer): readonly Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    expect(file.readUInt32LE(at + 8)).toBe(masked(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(data.length).toBe(length);
    expect(file.readUInt32LE(at + 12 + length)).toBe(masked(data));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

type Fields = ReadonlyMap<number, number | Buffer>;

/** Fields of a message, each at most once. */
function fieldsOf(bytes: Buffer): Fields {
  const fields = new Map<number, number | Buffer>();
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const field = key >>> 3;
    expect(fields.has(field)).toBe(false);
    if ((key & 7) === 0) fields.set(field, varint());
    else if ((key & 7) === 1) {
      fields.set(field, bytes.readDoubleLE(at));
      at += 8;
    } else if ((key & 7) === 5) {
      fields.set(field, bytes.readFloatLE(at));
      at += 4;
    } else {
      expect(key & 7).toBe(2);
      const length = varint();
      fields.set(field, bytes.subarray(at, at + length));
      at += length;
    }
  }
  expect(at).toBe(bytes.length);
  return fields;
}

const inside = (fields: Fields, field: number): Fields => {
  const value = fields.get(field);
  if (!Buffer.isBuffer(value)) throw new Error(`field ${field} is no message`);
  return fieldsOf(value);
};

describe('an event file', () => {
  test('the check value of CRC-32C', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  test('is what TensorBoard reads', () => {
    const folder = join(folderWith({}), 'runs/a');
    let clock = 1_700_000_000_250;
    const events = openEventFile(folder, { now: () => clock });
    const points: readonly (readonly [string, number, number])[] = [
      ['train/loss', 0.1, 0],
      ['train/loss', -1e30, 300],
      ['eval/é', Number.NaN, 2 ** 40],
      [`long ${'x'.repeat(300)}`, 3, 1],
    ];
    for (const [tag, value, step] of points) {
      clock += 1000;
      events.scalar(tag, value, step);
    }
    events.close();
    events.close();
    expect(events.path).toMatch(/runs[/\\]a[/\\]events\.out\.tfevents\.1700000000\.[\w-]+\.\d+\.\d+$/);
    const [head, ...rest] = frames(readFileSync(events.path)).map(fieldsOf);
    expect([...(head ?? [])]).toEqual([
      [1, 1_700_000_000.25],
      [3, Buffer.from('brain.Event:2')],
    ]);
    expect(rest).toHaveLength(points.length);
    rest.forEach((event, at) => {
      const [tag = '', value = 0, step] = points[at] ?? [];
      expect([event.get(1), event.get(2)]).toEqual([1_700_000_001.25 + at, step]);
      const point = inside(inside(event, 5), 1);
      expect([String(point.get(1)), point.get(2)]).toEqual([tag, Math.fround(value)]);
      expect(String(inside(inside(point, 9), 1).get(1))).toBe('scalars');
    });
  });

  test('a resumed run begins with its step', () => {
    const folder = folderWith({});
    const events = openEventFile(folder, { resumedAt: 500 });
    events.close();
    const [, start] = frames(readFileSync(events.path)).map(fieldsOf);
    expect(start?.get(2)).toBe(500);
    expect(start && inside(start, 7).get(1)).toBe(1);
  });

  test('two files of one second have two names', () => {
    const folder = folderWith({});
    const now = (): number => 1e12;
    const files = [openEventFile(folder, { now }), openEventFile(folder, { now })];
    expect(new Set(files.map(({ path }) => path)).size).toBe(2);
    for (const file of files) file.close();
  });

  test('a folder that cannot be made is an error with a code', () => {
    const folder = folderWith({ a: 'x' });
    return fails(() => openEventFile(join(folder, 'a')), 'SORA0002', 'cannot be written: ');
  });
});
