/**
 * Writes Protocol Buffers messages for tests of the ONNX reader, right or wrong.
 */

export type Bytes = Uint8Array<ArrayBuffer>;

export function varint(value: number | bigint): Bytes {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  for (;;) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if (rest === 0n) return Uint8Array.from([...bytes, low]);
    bytes.push(low | 0x80);
  }
}

export function join(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

export const number = (field: number, value: number | bigint): Bytes => join(varint(field << 3), varint(value));

export function message(field: number, ...parts: readonly Uint8Array[]): Bytes {
  const body = join(...parts);
  return join(varint((field << 3) | 2), varint(body.byteLength), body);
}

export const text = (field: number, value: string): Bytes => message(field, new TextEncoder().encode(value));

export const little = {
  f32: (...values: readonly number[]): Bytes => new Uint8Array(Float32Array.from(values).buffer),
  f16Bits: (...values: readonly number[]): Bytes => new Uint8Array(Uint16Array.from(values).buffer),
  i64: (...values: readonly number[]): Bytes => new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer),
  i8: (...values: readonly number[]): Bytes => new Uint8Array(Int8Array.from(values).buffer),
  u8: (...values: readonly number[]): Bytes => Uint8Array.from(values),
};

/** Element types of ONNX by their numbers. */
export const onnxTypes = { f32: 1, u8: 2, i8: 3, i32: 6, i64: 7, string: 8, f16: 10, u4: 21 } as const;

export function initializer(
  name: string,
  type: keyof typeof onnxTypes,
  shape: readonly number[],
  ...data: readonly Uint8Array[]
): Bytes {
  const dims = shape.map((size) => number(1, size));
  return message(5, ...dims, number(2, onnxTypes[type]), text(8, name), ...data);
}

export const raw = (bytes: Uint8Array): Bytes => message(9, bytes);

export interface NodeText {
  readonly op: string;
  readonly name?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly integers?: Readonly<Record<string, number>>;
}

export function node({ op, name = '', inputs, outputs, integers = {} }: NodeText): Bytes {
  const attributes = Object.entries(integers).map(([key, value]) =>
    message(5, text(1, key), number(3, value), number(20, 2)),
  );
  return message(
    1,
    ...inputs.map((input) => text(1, input)),
    ...outputs.map((output) => text(2, output)),
    text(3, name),
    text(4, op),
    ...attributes,
  );
}

/** A model of version 8 with one graph. */
export const onnxModel = (...graph: readonly Uint8Array[]): Bytes => join(number(1, 8), message(7, ...graph));
