/**
 * TensorBoard event files with scalars: TFRecord frames, each with an `Event` message.
 *
 * A frame is u64 length, u32 masked CRC-32C of the length, the bytes, u32 masked CRC-32C of the bytes, all little-endian. Source:
 * tensorflow.org/tutorials/load_data/tfrecord; `event.proto` and `summary.proto` of github.com/tensorflow/tensorboard.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { whileWriting } from '../support/node-atomic-file.ts';

export interface EventFile {
  readonly path: string;
  /**
   * One point of a curve, written at once.
   *
   * @param tag such as `train/loss`; TensorBoard groups by what stands before the slash
   * @errors SORA0002 when the disk is full or the folder is gone
   */
  scalar(tag: string, value: number, step: number): void;
  close(): void;
}

export interface EventFileOptions {
  /** The step that a resumed run begins with: TensorBoard drops what an older file of the folder says of later steps. */
  readonly resumedAt?: number;
  /** Milliseconds since 1970; the clock of the machine unless given. */
  readonly now?: () => number;
}

/** Files of one process and second are told apart by this. */
let opened = 0;

/**
 * Begins a new event file in a folder, which is made when it is missing.
 *
 * @errors SORA0002 when the folder cannot be written
 */
export function openEventFile(folder: string, options: EventFileOptions = {}): EventFile {
  const { now = Date.now, resumedAt } = options;
  const host = hostname().replaceAll(/[^\w-]/g, '-');
  const name = `events.out.tfevents.${Math.floor(now() / 1000)}.${host}.${process.pid}.${opened++}`;
  const path = join(folder, name);
  const handle = whileWriting(path, () => {
    mkdirSync(folder, { recursive: true });
    return openSync(path, 'wx', 0o666);
  });
  let isOpen = true;
  const write = (...fields: readonly Uint8Array[]): void => {
    const bytes = frame(joined(double(1, now() / 1000), ...fields));
    whileWriting(path, () => {
      for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at, bytes.length - at);
    });
  };
  write(message(3, Buffer.from('brain.Event:2')));
  // A session log with the status START.
  if (resumedAt !== undefined) write(whole(2, resumedAt), message(7, whole(1, 1)));
  return {
    path,
    scalar(tag, value, step) {
      const point = [message(1, Buffer.from(tag, 'utf8')), float(2, value), message(9, scalarPlugin)];
      write(whole(2, step), message(5, message(1, ...point)));
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      whileWriting(path, () => {
        fsyncSync(handle);
        closeSync(handle);
      });
    },
  };
}

/** Protocol Buffers, as much as an event needs. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

function whole(field: number, value: number): Uint8Array {
  return joined(varint(field * 8), varint(value));
}

function message(field: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = joined(...parts);
  return joined(varint(field * 8 + 2), varint(body.length), body);
}

function double(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return joined(varint(field * 8 + 1), bytes);
}

function float(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return joined(varint(field * 8 + 5), bytes);
}

/** `SummaryMetadata` that says which part of TensorBoard shows a value. */
const scalarPlugin = message(1, message(1, Buffer.from('scalars')));

function frame(data: Uint8Array): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return joined(length, maskedSum(length), data, maskedSum(data));
}

function maskedSum(bytes: Uint8Array): Uint8Array {
  const sum = crc32c(bytes);
  const masked = Buffer.alloc(4);
  masked.writeUInt32LE((((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0);
  return masked;
}

/** Castagnoli's polynomial, bits reversed. */
const polynomial = 0x82f63b78;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
  return value;
});

function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = (sum >>> 8) ^ (table[(sum ^ byte) & 255] ?? 0);
  return (sum ^ 0xffffffff) >>> 0;
}
