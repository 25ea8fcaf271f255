/**
 * Reads the text form of print.ts back. Text that is not of this form throws `SoraError` with the line; whether the graph
 * makes sense is the verifier's question.
 */
import { SoraError } from '../support/error.ts';
import {
  type Attributes,
  type AttributeValue,
  type Entry,
  type EntryParameter,
  type EntryResult,
  type Generation,
  type Graph,
  GraphBuilder,
  type Initializer,
  type Node,
  type ParameterRole,
  type Program,
  type Result,
  type SessionDims,
  type SparseFormat,
  type State,
  type Value,
  type Weight,
  type WeightFormat,
} from './graph.ts';
import type { AttributeKind } from './op.ts';
import { ops } from './ops/index.ts';
import { dtypeNamed } from './ops/shared.ts';
import { constantValue, type Dim, type DimRange, parseDim } from './symbolic.ts';
import type { TensorType } from './types.ts';

interface Token {
  readonly kind: 'string' | 'value' | 'number' | 'word' | 'mark' | 'end';
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

interface Cursor {
  readonly text: string;
  readonly tokens: readonly Token[];
  at: number;
}

/** Regions do not nest; the limit keeps hostile text from exhausting the stack. */
const deepestRegion = 8;

const tokenPattern =
  /\s*(?:("(?:[^"\\\n]|\\.)*")|(%\d+(?:#\d+)?)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\.\.|[{}()[\]=,:*+-]))/y;
const kinds = ['string', 'value', 'number', 'word', 'mark'] as const;

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

function malformed(text: string, offset: number, message: string): never {
  throw new SoraError('SORA7101', `malformed program text in line ${lineOf(text, offset)}: ${message}`);
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const length = text.trimEnd().length;
  let at = 0;
  while (at < length) {
    tokenPattern.lastIndex = at;
    const match = tokenPattern.exec(text);
    if (!match) malformed(text, at, 'unexpected character');
    const group = match.slice(1).findIndex((part) => part !== undefined);
    const found = match[group + 1] ?? '';
    at = tokenPattern.lastIndex;
    tokens.push({ kind: kinds[group] ?? 'mark', text: found, start: at - found.length, end: at });
  }
  tokens.push({ kind: 'end', text: 'end of text', start: length, end: length });
  return tokens;
}

const endToken: Token = { kind: 'end', text: 'end of text', start: 0, end: 0 };

function peek(cursor: Cursor): Token {
  return cursor.tokens[Math.min(cursor.at, cursor.tokens.length - 1)] ?? endToken;
}

function next(cursor: Cursor): Token {
  const token = peek(cursor);
  cursor.at++;
  return token;
}

function refuse(cursor: Cursor, token: Token, wanted: string): never {
  return malformed(cursor.text, token.start, `expected ${wanted}, found \`${token.text}\``);
}

function accept(cursor: Cursor, text: string): boolean {
  const token = peek(cursor);
  const isHere = token.text === text && (token.kind === 'mark' || token.kind === 'word');
  if (isHere) cursor.at++;
  return isHere;
}

function expect(cursor: Cursor, text: string): void {
  if (!accept(cursor, text)) refuse(cursor, peek(cursor), `\`${text}\``);
}

function take(cursor: Cursor, kind: Token['kind']): Token {
  const token = next(cursor);
  return token.kind === kind ? token : refuse(cursor, token, `a ${kind}`);
}

function readString(cursor: Cursor): string {
  const token = take(cursor, 'string');
  try {
    return String(JSON.parse(token.text));
  } catch {
    return refuse(cursor, token, 'a string with JSON escapes');
  }
}

function readNumber(cursor: Cursor): number {
  const sign = accept(cursor, '-') ? -1 : 1;
  if (accept(cursor, 'inf')) return sign * Number.POSITIVE_INFINITY;
  if (accept(cursor, 'nan')) return Number.NaN;
  return sign * Number(take(cursor, 'number').text);
}

/** A dim runs to the next comma or closing bracket. */
function readDim(cursor: Cursor): Dim {
  const first = peek(cursor);
  let last = first;
  while (!/^[,\]}]$/.test(peek(cursor).text) && peek(cursor).kind !== 'end') last = next(cursor);
  const text = cursor.text.slice(first.start, last.end);
  return parseDim(text) ?? refuse(cursor, first, 'a dim');
}

function readList<Item>(cursor: Cursor, open: string, close: string, item: (cursor: Cursor) => Item): Item[] {
  expect(cursor, open);
  const items: Item[] = [];
  if (accept(cursor, close)) return items;
  do items.push(item(cursor));
  while (accept(cursor, ','));
  expect(cursor, close);
  return items;
}

function readBool(cursor: Cursor): boolean {
  if (accept(cursor, 'true')) return true;
  expect(cursor, 'false');
  return false;
}

const bracketed =
  <Item extends AttributeValue>(item: (cursor: Cursor) => Item) =>
  (cursor: Cursor): AttributeValue =>
    readList(cursor, '[', ']', item);

const attributeReaders: Readonly<Record<AttributeKind, (cursor: Cursor) => AttributeValue>> = {
  int: readNumber,
  float: readNumber,
  bool: readBool,
  string: readString,
  dim: readDim,
  ints: bracketed(readNumber),
  floats: bracketed(readNumber),
  strings: bracketed(readString),
  dims: bracketed(readDim),
};

function readType(cursor: Cursor): TensorType {
  const token = take(cursor, 'word');
  const dtype = dtypeNamed(token.text) ?? refuse(cursor, token, 'an element type');
  return { dtype, shape: peek(cursor).text === '[' ? readList(cursor, '[', ']', readDim) : [] };
}

type Values = Map<string, Node>;

function readValue(cursor: Cursor, nodes: Values): Value {
  const token = take(cursor, 'value');
  const [id = '', output = '0'] = token.text.split('#');
  const node = nodes.get(id) ?? refuse(cursor, token, 'a value defined above');
  return node.outputs[Number(output)] ?? refuse(cursor, token, `an output of ${id}`);
}

function readAttributes(cursor: Cursor, op: string): Attributes {
  if (peek(cursor).text !== '{') return {};
  const specs = ops.get(op)?.attributes ?? {};
  const pairs = readList(cursor, '{', '}', (): readonly [string, AttributeValue] => {
    const token = take(cursor, 'word');
    const spec = Object.hasOwn(specs, token.text) ? specs[token.text] : undefined;
    if (!spec) return refuse(cursor, token, `an attribute of \`${op}\``);
    expect(cursor, '=');
    return [token.text, attributeReaders[spec.kind](cursor)];
  });
  return Object.fromEntries(pairs);
}

function readNode(cursor: Cursor, builder: GraphBuilder, nodes: Values, depth: number): void {
  const name = take(cursor, 'value');
  if (name.text.includes('#') || nodes.has(name.text)) refuse(cursor, name, 'a new node name');
  expect(cursor, '=');
  const opToken = take(cursor, 'word');
  if (!ops.has(opToken.text)) refuse(cursor, opToken, 'an op');
  const op = opToken.text;
  const inputs = peek(cursor).text === '(' ? readList(cursor, '(', ')', () => readValue(cursor, nodes)) : [];
  const attributes = readAttributes(cursor, op);
  expect(cursor, ':');
  const types = peek(cursor).text === '(' ? readList(cursor, '(', ')', readType) : [readType(cursor)];
  const label = peek(cursor).kind === 'string' ? readString(cursor) : undefined;
  const region = peek(cursor).text === 'graph' ? readGraphAt(cursor, depth + 1) : undefined;
  nodes.set(name.text, builder.add(op, inputs, types, { attributes, label, ...(region ? { region } : {}) }));
}

function readGraphAt(cursor: Cursor, depth: number): Graph {
  if (depth > deepestRegion) malformed(cursor.text, peek(cursor).start, 'regions nest too deep');
  expect(cursor, 'graph');
  const name = readString(cursor);
  expect(cursor, '{');
  const builder = new GraphBuilder();
  const nodes: Values = new Map();
  while (!accept(cursor, 'return')) readNode(cursor, builder, nodes, depth);
  const results: Result[] = [];
  while (!accept(cursor, '}')) {
    if (results.length > 0) expect(cursor, ',');
    const result = readString(cursor);
    expect(cursor, '=');
    results.push({ name: result, value: readValue(cursor, nodes) });
  }
  return builder.finish(name, results);
}

function readDoc(cursor: Cursor): string | undefined {
  return accept(cursor, 'doc') ? readString(cursor) : undefined;
}

function readParameter(cursor: Cursor): EntryParameter {
  const name = readString(cursor);
  expect(cursor, ':');
  const type = readType(cursor);
  const initial = accept(cursor, '=') ? readNumber(cursor) : undefined;
  const doc = readDoc(cursor);
  return { name, type, initial, doc, ...(accept(cursor, 'role') ? { role: readRole(cursor) } : {}) };
}

function readRole(cursor: Cursor): ParameterRole {
  const token = peek(cursor);
  const role = readString(cursor);
  return role === 'past' || role === 'lengths' || role === 'seed' || role === 'scale'
    ? role
    : refuse(cursor, token, 'a role');
}

function readOneDim(cursor: Cursor): Dim {
  expect(cursor, '[');
  const dim = readDim(cursor);
  expect(cursor, ']');
  return dim;
}

function readEntry(cursor: Cursor): Entry {
  const name = readString(cursor);
  const doc = readDoc(cursor);
  const steps = accept(cursor, 'steps') ? { steps: readOneDim(cursor) } : {};
  const hidden = accept(cursor, 'hidden') ? { isHidden: true } : {};
  expect(cursor, '{');
  const parameters: EntryParameter[] = [];
  while (accept(cursor, 'parameter')) parameters.push(readParameter(cursor));
  const results: EntryResult[] = [];
  while (accept(cursor, 'result')) {
    const result = readString(cursor);
    expect(cursor, ':');
    results.push({ name: result, type: readType(cursor), ...(accept(cursor, 'lazy') ? { isLazy: true } : {}) });
  }
  const graph = readGraphAt(cursor, 0);
  expect(cursor, '}');
  return { name, doc, parameters, results, graph, span: undefined, ...steps, ...hidden };
}

function readConfig(cursor: Cursor): readonly [string, number | boolean | string] {
  const name = readString(cursor);
  expect(cursor, '=');
  const token = peek(cursor);
  if (token.kind === 'string') return [name, readString(cursor)];
  const isBool = token.text === 'true' || token.text === 'false';
  return [name, isBool ? readBool(cursor) : readNumber(cursor)];
}

function readDimDeclaration(cursor: Cursor): readonly [string, DimRange] {
  const name = take(cursor, 'word').text;
  expect(cursor, 'in');
  const minimum = readNumber(cursor);
  expect(cursor, '..');
  const maximum = readNumber(cursor);
  return [name, { minimum, maximum, multiple: accept(cursor, 'multiple') ? readNumber(cursor) : 1 }];
}

function readInitializer(cursor: Cursor): Initializer {
  if (accept(cursor, 'constant')) return { kind: 'constant', value: readNumber(cursor) };
  if (accept(cursor, 'uniform')) return { kind: 'uniform', low: readNumber(cursor), high: readNumber(cursor) };
  if (!accept(cursor, 'normal')) return refuse(cursor, peek(cursor), 'an initializer');
  const [mean, std] = [readNumber(cursor), readNumber(cursor)];
  return { kind: 'normal', mean, std, ...(accept(cursor, 'truncated') ? { truncated: true } : {}) };
}

function readFormat(cursor: Cursor): WeightFormat {
  const token = take(cursor, 'word');
  const { text: kind } = token;
  if (kind !== 'int8' && kind !== 'int4' && kind !== 'f16') return refuse(cursor, token, 'a number format');
  return {
    kind,
    ...(accept(cursor, 'group') ? { group: readNumber(cursor) } : {}),
    ...(accept(cursor, 'asymmetric') ? { asymmetric: true } : {}),
    ...(accept(cursor, 'transposed') ? { transposed: true } : {}),
  };
}

function readSparsity(cursor: Cursor): SparseFormat {
  const keep = readNumber(cursor);
  expect(cursor, 'of');
  return { keep, of: readNumber(cursor), ...(accept(cursor, 'transposed') ? { transposed: true } : {}) };
}

function readWeight(cursor: Cursor): Weight {
  const path = readString(cursor);
  expect(cursor, ':');
  const type = readType(cursor);
  const tied = accept(cursor, 'tied') ? { tied: readString(cursor) } : {};
  const initial = accept(cursor, 'init') ? { initial: readInitializer(cursor) } : {};
  const format = accept(cursor, 'format') ? { format: readFormat(cursor) } : {};
  const sparse = accept(cursor, 'sparse') ? { sparse: readSparsity(cursor) } : {};
  return { path, type, doc: readDoc(cursor), span: undefined, ...tied, ...initial, ...format, ...sparse };
}

function readState(cursor: Cursor): State {
  const path = readString(cursor);
  expect(cursor, ':');
  const token = peek(cursor);
  const { dtype, shape } = readType(cursor);
  const [batch, positions, width] = shape;
  const sizes = [positions, width].map((dim) => dim && constantValue(dim));
  const [most, wide] = sizes;
  if (!batch || most === undefined || wide === undefined) return refuse(cursor, token, 'the type of a state');
  return { path, dtype, batch, positions: most, width: wide, span: undefined };
}

function readGeneration(cursor: Cursor): Generation {
  const names = Array.from({ length: 4 }, () => {
    const name = readString(cursor);
    expect(cursor, ',');
    return name;
  });
  const length = take(cursor, 'word').text;
  const numbers: number[] = [];
  while (accept(cursor, ',')) numbers.push(readNumber(cursor));
  const [entry = '', prefill = '', step = '', tokens = ''] = names;
  const [vocabulary = 0, top = 0, ...stop] = numbers;
  return { entry, prefill, step, tokens, length, vocabulary, top, stop };
}

function readSession(cursor: Cursor): SessionDims {
  const past = take(cursor, 'word').text;
  expect(cursor, 'slack');
  const slack = take(cursor, 'word').text;
  expect(cursor, 'positions');
  return { past, slack, positions: readNumber(cursor) };
}

function whole<Read>(text: string, read: (cursor: Cursor) => Read): Read {
  const cursor: Cursor = { text, tokens: tokenize(text), at: 0 };
  const value = read(cursor);
  if (peek(cursor).kind !== 'end') refuse(cursor, peek(cursor), 'the end');
  return value;
}

export function readGraph(text: string): Graph {
  return whole(text, (cursor) => readGraphAt(cursor, 0));
}

export function readProgram(text: string): Program {
  return whole(text, (cursor) => {
    expect(cursor, 'program');
    const name = readString(cursor);
    const doc = readDoc(cursor);
    expect(cursor, '{');
    const config: (readonly [string, number | boolean | string])[] = [];
    while (accept(cursor, 'config')) config.push(readConfig(cursor));
    const dims = new Map<string, DimRange>();
    while (accept(cursor, 'dim')) dims.set(...readDimDeclaration(cursor));
    const weights: Weight[] = [];
    while (accept(cursor, 'weight')) weights.push(readWeight(cursor));
    const states: State[] = [];
    while (accept(cursor, 'state')) states.push(readState(cursor));
    const session = accept(cursor, 'session') ? { session: readSession(cursor) } : {};
    const entries: Entry[] = [];
    while (accept(cursor, 'entry')) entries.push(readEntry(cursor));
    const generation = accept(cursor, 'generate') ? { generation: readGeneration(cursor) } : {};
    expect(cursor, '}');
    return { name, doc, config: Object.fromEntries(config), dims, weights, states, ...session, entries, ...generation };
  });
}
