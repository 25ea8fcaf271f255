/**
 * The parts of an ONNX model that say which initializer is which weight: nodes with their operands, and initializers as
 * places in the file. Values are read later (values.ts).
 *
 * Field numbers: onnx/onnx.proto of github.com/onnx/onnx. Bodies of `If` and `Loop` are read into the same list of nodes: a
 * merged decoder uses the outer graph's weights there.
 */
import type { ByteSource } from '../../../runtime/source.ts';
import { SoraError } from '../../../support/error.ts';
import { limits } from '../../../support/limits.ts';
import { type Field, fieldsOf, malformed, type Range, readText, readVarints } from './wire.ts';

export interface OnnxNode {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes that are one whole number. */
  readonly integers: ReadonlyMap<string, number>;
}

export interface OnnxTensor {
  readonly name: string;
  readonly type: ElementName;
  readonly shape: readonly number[];
  readonly elements: number;
  readonly data: TensorData;
}

/** Where the elements are: bytes as the element type has them, one varint each, or in a file of their own. */
export type TensorData =
  | { readonly kind: 'raw'; readonly range: Range }
  | { readonly kind: 'varints'; readonly ranges: readonly Range[]; readonly loose: readonly bigint[] }
  | { readonly kind: 'external'; readonly location: string; readonly offset: number };

/** Names of `TensorProto.DataType`, by number; those that no weight has are absent. */
const elementNames = new Map([
  [1, 'f32'],
  [2, 'u8'],
  [3, 'i8'],
  [4, 'u16'],
  [5, 'i16'],
  [6, 'i32'],
  [7, 'i64'],
  [9, 'bool'],
  [10, 'f16'],
  [11, 'f64'],
  [12, 'u32'],
  [13, 'u64'],
  [16, 'bf16'],
] as const);

export type ElementName = typeof elementNames extends Map<number, infer Name> ? Name : never;

export const elementSizes: Readonly<Record<ElementName, number>> = {
  f32: 4,
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  i32: 4,
  i64: 8,
  bool: 1,
  f16: 2,
  f64: 8,
  u32: 4,
  u64: 8,
  bf16: 2,
};

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly OnnxTensor[];
  /** Initializers of a type that no weight has (strings, 4-bit and 8-bit floats), with that type. */
  readonly unreadable: ReadonlyMap<string, number>;
}

/** A body inside of a body inside of … : exporters nest two or three. */
const maximumDepth = 8;
/** Nodes and initializers of all graphs together; the largest published exports have some ten thousand. */
const maximumCount = 1_000_000;
/** Operands of one node, and parts of one tensor. */
const maximumParts = 65_536;

interface Collected {
  readonly nodes: OnnxNode[];
  readonly tensors: OnnxTensor[];
  readonly unreadable: Map<string, number>;
}

/** @param source with blocks: fields are read one by one */
export async function readOnnxGraph(source: ByteSource): Promise<OnnxGraph> {
  const collected: Collected = { nodes: [], tensors: [], unreadable: new Map() };
  let hasGraph = false;
  for await (const field of fieldsOf(source, { start: 0, end: source.size })) {
    if (field.number !== 7) continue;
    if (hasGraph) throw malformed(source, 'two graphs');
    hasGraph = true;
    await readGraph(source, messageOf(source, field), collected, 0);
  }
  if (!hasGraph) throw malformed(source, 'no graph');
  const names = new Set<string>();
  for (const { name } of collected.tensors) {
    if (names.has(name)) throw new SoraError('SORA7017', `\`${source.name}\` has two initializers \`${name}\``);
    names.add(name);
  }
  return collected;
}

function messageOf(source: ByteSource, field: Field): Range {
  if (field.kind !== 'bytes') throw malformed(source, `field ${field.number} is a number instead of a message`);
  return field.range;
}

function numberOf(source: ByteSource, field: Field): number {
  if (field.kind !== 'varint') throw malformed(source, `field ${field.number} is no whole number`);
  return Number(BigInt.asIntN(64, field.value));
}

async function readGraph(source: ByteSource, graph: Range, collected: Collected, depth: number): Promise<void> {
  if (depth > maximumDepth) throw malformed(source, `graphs inside of graphs, ${depth} deep`);
  for await (const field of fieldsOf(source, graph)) {
    if (field.number === 1) await readNode(source, messageOf(source, field), collected, depth);
    if (field.number === 5) await readTensor(source, messageOf(source, field), collected);
    if (field.number === 15) throw unsupported(source, 'sparse initializers');
    if (collected.nodes.length + collected.tensors.length > maximumCount) {
      throw malformed(source, `more than ${maximumCount} nodes and initializers`);
    }
  }
}

async function readNode(source: ByteSource, node: Range, collected: Collected, depth: number): Promise<void> {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const integers = new Map<string, number>();
  let name = '';
  let op = '';
  for await (const field of fieldsOf(source, node)) {
    const text = (): Promise<string> => readText(source, messageOf(source, field));
    if (field.number === 1) inputs.push(await text());
    if (field.number === 2) outputs.push(await text());
    if (field.number === 3) name = await text();
    if (field.number === 4) op = await text();
    if (field.number === 5) await readAttribute(source, messageOf(source, field), integers, collected, depth);
    if (inputs.length + outputs.length > maximumParts)
      throw malformed(source, `node \`${name}\` has too many operands`);
  }
  collected.nodes.push({ op, name, inputs, outputs, integers });
}

async function readAttribute(
  source: ByteSource,
  attribute: Range,
  integers: Map<string, number>,
  collected: Collected,
  depth: number,
): Promise<void> {
  let name = '';
  let integer: number | undefined;
  for await (const field of fieldsOf(source, attribute)) {
    if (field.number === 1) name = await readText(source, messageOf(source, field));
    if (field.number === 3) integer = numberOf(source, field);
    if (field.number === 6 || field.number === 11) {
      await readGraph(source, messageOf(source, field), collected, depth + 1);
    }
  }
  if (integer !== undefined) integers.set(name, integer);
}

/** Fields of `TensorProto` that hold elements as varints (`int32_data`, `int64_data`, `uint64_data`) or as numbers of 4 or 8 bytes. */
const varintFields = new Set([5, 7, 11]);
const fixedFields = new Set([4, 10]);

async function readTensor(source: ByteSource, tensor: Range, collected: Collected): Promise<void> {
  const shape: number[] = [];
  const ranges: Range[] = [];
  const loose: bigint[] = [];
  const external = new Map<string, string>();
  let name = '';
  let typeNumber = 0;
  let raw: Range | undefined;
  let isExternal = false;
  for await (const field of fieldsOf(source, tensor)) {
    if (field.number === 1) shape.push(...(await readDims(source, field)));
    if (field.number === 2) typeNumber = numberOf(source, field);
    if (field.number === 8) name = await readText(source, messageOf(source, field));
    if (field.number === 9) raw = messageOf(source, field);
    if (field.number === 13) await readEntry(source, messageOf(source, field), external);
    if (field.number === 14) isExternal = numberOf(source, field) === 1;
    if (varintFields.has(field.number) && field.kind === 'varint') loose.push(field.value);
    else if (varintFields.has(field.number)) ranges.push(messageOf(source, field));
    else if (fixedFields.has(field.number)) {
      // One packed run; elements with a tag each (proto2) come as many runs and are refused below by their number.
      if (raw !== undefined) throw malformed(source, `tensor \`${name}\` has its elements twice`);
      raw = field.kind === 'varint' ? undefined : field.range;
    }
    if (shape.length > limits.rank) throw impossible(source, name, `has ${shape.length} axes`);
    if (loose.length + ranges.length > maximumParts) throw impossible(source, name, 'comes in too many parts');
  }
  const type = elementNames.get(typeNumber as 1);
  if (type === undefined) {
    collected.unreadable.set(name, typeNumber);
    return;
  }
  const elements = shape.reduce((product, size) => product * size, 1);
  if (!(elements <= limits.elements)) throw impossible(source, name, `has the shape [${shape.join(', ')}]`);
  const data = placeOf({
    source,
    name,
    bytes: elements * elementSizes[type],
    raw,
    ranges,
    loose,
    isExternal,
    external,
  });
  collected.tensors.push({ name, type, shape, elements, data });
}

async function readDims(source: ByteSource, field: Field): Promise<readonly number[]> {
  let values: readonly bigint[];
  if (field.kind === 'varint') values = [field.value];
  else {
    const { start, end } = messageOf(source, field);
    if (end - start > 10 * limits.rank) throw malformed(source, `a tensor with more than ${limits.rank} axes`);
    values = readVarints(await source.read(start, end - start), source);
  }
  return values.map((value) => {
    if (value > BigInt(limits.dim)) throw malformed(source, `a tensor with an axis of ${BigInt.asIntN(64, value)}`);
    return Number(value);
  });
}

async function readEntry(source: ByteSource, entry: Range, target: Map<string, string>): Promise<void> {
  let key = '';
  let value = '';
  for await (const field of fieldsOf(source, entry)) {
    if (field.number === 1) key = await readText(source, messageOf(source, field));
    if (field.number === 2) value = await readText(source, messageOf(source, field));
  }
  target.set(key, value);
}

interface Place {
  readonly source: ByteSource;
  readonly name: string;
  readonly bytes: number;
  readonly raw: Range | undefined;
  readonly ranges: readonly Range[];
  readonly loose: readonly bigint[];
  readonly isExternal: boolean;
  readonly external: ReadonlyMap<string, string>;
}

function placeOf({ source, name, bytes, raw, ranges, loose, isExternal, external }: Place): TensorData {
  if (isExternal) {
    const whole = (key: string): number => {
      const text = external.get(key) ?? '0';
      if (!/^\d{1,15}$/.test(text)) throw impossible(source, name, `has the ${key} \`${text}\``);
      return Number(text);
    };
    if (external.has('length') && whole('length') !== bytes) {
      throw impossible(source, name, `takes ${bytes} bytes and has ${whole('length')}`);
    }
    return { kind: 'external', location: external.get('location') ?? '', offset: whole('offset') };
  }
  if (ranges.length + loose.length > 0) return { kind: 'varints', ranges, loose };
  const range = raw ?? { start: 0, end: 0 };
  if (range.end - range.start !== bytes) {
    throw impossible(source, name, `takes ${bytes} bytes and has ${range.end - range.start}`);
  }
  return { kind: 'raw', range };
}

export function impossible(source: ByteSource, tensor: string, what: string): SoraError {
  return new SoraError('SORA7015', `\`${source.name}\`: initializer \`${tensor}\` ${what}`);
}

export function unsupported(source: ByteSource, what: string, help?: string): SoraError {
  return new SoraError('SORA7016', `\`${source.name}\` has ${what}, which cannot be converted`, {
    ...(help === undefined ? {} : { help }),
  });
}
