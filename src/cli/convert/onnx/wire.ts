/**
 * The wire format of Protocol Buffers, read field by field from a file that must not be trusted: every length is compared with
 * the message around it before anything is read, and a payload that nobody asks for is never read.
 *
 * Source: protobuf.dev/programming-guides/encoding. Groups (wire types 3 and 4) are not in ONNX and are refused.
 */
import type { ByteSource } from '../../../runtime/source.ts';
import { SoraError } from '../../../support/error.ts';

/** A message, or any payload, as a place in the file. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export type Field =
  | { readonly number: number; readonly kind: 'varint'; readonly value: bigint }
  | { readonly number: number; readonly kind: 'fixed'; readonly range: Range }
  | { readonly number: number; readonly kind: 'bytes'; readonly range: Range };

/** A tag and a length, or a tag and a number: at most two varints of ten bytes. */
const headBytes = 20;

export async function* fieldsOf(source: ByteSource, message: Range): AsyncGenerator<Field> {
  let at = message.start;
  while (at < message.end) {
    const head = await source.read(at, Math.min(headBytes, message.end - at));
    const tag = readVarint(head, 0, source);
    const number = Number(tag.value >> 3n);
    if (number < 1 || number > 2 ** 29 - 1) throw malformed(source, `field number ${number}`);
    const wireType = Number(tag.value & 7n);
    if (wireType === 0) {
      const { value, next } = readVarint(head, tag.next, source);
      at += next;
      yield { number, kind: 'varint', value };
      continue;
    }
    const start = at + tag.next;
    if (wireType === 1 || wireType === 5) {
      const end = start + (wireType === 1 ? 8 : 4);
      if (end > message.end) throw malformed(source, 'a number crosses the end of its message');
      at = end;
      yield { number, kind: 'fixed', range: { start, end } };
      continue;
    }
    if (wireType !== 2) throw malformed(source, `wire type ${wireType}`);
    const length = readVarint(head, tag.next, source);
    const from = at + length.next;
    if (length.value > BigInt(message.end - from)) {
      throw malformed(source, `a field of ${length.value} bytes crosses the end of its message`);
    }
    at = from + Number(length.value);
    yield { number, kind: 'bytes', range: { start: from, end: at } };
  }
}

export function readVarint(
  bytes: Uint8Array,
  start: number,
  source: ByteSource,
): { readonly value: bigint; readonly next: number } {
  let value = 0n;
  for (let index = 0; index < 10; index++) {
    const byte = bytes[start + index];
    if (byte === undefined) throw malformed(source, 'a number crosses the end of its message');
    value |= BigInt(byte & 0x7f) << BigInt(7 * index);
    if (byte < 0x80) return { value: BigInt.asUintN(64, value), next: start + index + 1 };
  }
  throw malformed(source, 'a number has more than 10 bytes');
}

/** Varints one after the other, as packed fields have them. */
export function readVarints(bytes: Uint8Array, source: ByteSource): bigint[] {
  const values: bigint[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const { value, next } = readVarint(bytes, at, source);
    values.push(value);
    at = next;
  }
  return values;
}

/** Names in ONNX are short; a longer one is no name. */
const maximumTextBytes = 64 * 1024;

export async function readText(source: ByteSource, { start, end }: Range): Promise<string> {
  if (end - start > maximumTextBytes) throw malformed(source, `a name of ${end - start} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await source.read(start, end - start));
  } catch (error) {
    if (error instanceof SoraError) throw error;
    throw malformed(source, 'a name that is not UTF-8');
  }
}

export function malformed(source: ByteSource, what: string): SoraError {
  return new SoraError('SORA7014', `\`${source.name}\` is not a usable ONNX file: ${what}`);
}
