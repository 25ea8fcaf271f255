#!/usr/bin/env node
/**
 * Makes test/golden/ops/*.json from ONNX's node tests: numbers only, under the names and attributes of our ops.
 *
 *   node scripts/make-op-vectors.mjs ../shared/data/onnx-node-tests/node-tests.tar.gz
 *
 * Each row of `conversions` says how a node of ONNX is said in one of our ops; cases that cannot be said (other element
 * types, an axis that we do not have, a cache) are left out. The files are checked in, so tests need no archive.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const out = join(dirname(fileURLToPath(import.meta.url)), '..', 'test', 'golden', 'ops');
/** Larger cases test nothing more. */
const mostElements = 1800;
const casesPerOp = 20;
const bytesPerOp = 80_000;
/** Of an elementwise case without broadcasting, this many elements are kept. */
const elementsKept = 120;

/** Files of a ustar archive by name. */
function untar(bytes) {
  const files = new Map();
  const text = (start, length) => bytes.toString('utf8', start, start + length).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= bytes.length; ) {
    const name = [text(at + 345, 155), text(at, 100)].filter(Boolean).join('/');
    const size = Number.parseInt(text(at + 124, 12).trim() || '0', 8);
    if (name) files.set(name, bytes.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/** Fields of a protobuf message: number to list of values (bigint, Buffer of 4 or 8 bytes, or Buffer of any length). */
function message(bytes) {
  const fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const kind = key & 7;
    const length = kind === 5 ? 4 : kind === 1 ? 8 : kind === 2 ? Number(varint()) : 0;
    const value = kind === 0 ? varint() : bytes.subarray(at, at + length);
    at += length;
    const list = fields.get(key >> 3) ?? [];
    list.push(value);
    fields.set(key >> 3, list);
  }
  return { all: (field) => fields.get(field) ?? [], one: (field) => fields.get(field)?.[0] };
}

const asText = (bytes) => bytes?.toString('utf8') ?? '';
const signed = (value) => Number(BigInt.asIntN(64, value));

function integers(values) {
  return values.flatMap((value) => {
    if (typeof value === 'bigint') return [signed(value)];
    const list = [];
    for (let at = 0; at < value.length; ) {
      let number = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = value[at++];
        number |= BigInt(byte & 127) << shift;
        if (byte < 128) break;
      }
      list.push(signed(number));
    }
    return list;
  });
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** ONNX element type: our dtype, bytes, reader of one element. */
const elementTypes = {
  1: ['f32', 4, (b, at) => b.readFloatLE(at)],
  2: ['u32', 1, (b, at) => b.readUInt8(at), 'narrow'],
  3: ['i32', 1, (b, at) => b.readInt8(at), 'narrow'],
  4: ['u32', 2, (b, at) => b.readUInt16LE(at), 'narrow'],
  5: ['i32', 2, (b, at) => b.readInt16LE(at), 'narrow'],
  6: ['i32', 4, (b, at) => b.readInt32LE(at)],
  7: ['i32', 8, (b, at) => Number(b.readBigInt64LE(at))],
  9: ['bool', 1, (b, at) => b.readUInt8(at)],
  10: ['f16', 2, (b, at) => half(b.readUInt16LE(at))],
  11: ['f32', 8, (b, at) => b.readDoubleLE(at)],
  12: ['u32', 4, (b, at) => b.readUInt32LE(at)],
};

function tensor(bytes) {
  const proto = message(bytes);
  const shape = integers(proto.all(1));
  const found = elementTypes[Number(proto.one(2))];
  if (!found) return undefined;
  const [dtype, size, read, narrow] = found;
  const raw = proto.one(9) ?? Buffer.alloc(0);
  let values = Array.from({ length: raw.length / size }, (_, at) => read(raw, at * size));
  if (raw.length === 0 && dtype === 'f32') {
    const packed = Buffer.concat(proto.all(4));
    values = Array.from({ length: packed.length / 4 }, (_, at) => packed.readFloatLE(at * 4));
  } else if (raw.length === 0) {
    values = integers([...proto.all(5), ...proto.all(7)]);
  }
  if (values.length !== shape.reduce((a, b) => a * b, 1)) return undefined;
  return { dtype, shape, values, narrow: narrow !== undefined };
}

function attributesOf(node) {
  const entries = node.all(5).map((bytes) => {
    const proto = message(bytes);
    const kind = Number(proto.one(20));
    const value =
      kind === 1
        ? proto.one(2).readFloatLE(0)
        : kind === 2
          ? signed(proto.one(3) ?? 0n)
          : kind === 3
            ? asText(proto.one(4))
            : kind === 7
              ? integers(proto.all(8))
              : undefined;
    return [asText(proto.one(1)), value];
  });
  return Object.fromEntries(entries);
}

function caseOf(files, name) {
  const graph = message(message(files.get(`node/${name}/model.onnx`)).one(7));
  if (graph.all(1).length !== 1) return undefined;
  const node = message(graph.all(1)[0]);
  const read = (kind, at) => {
    const bytes = files.get(`node/${name}/test_data_set_0/${kind}_${at}.pb`);
    return bytes && tensor(bytes);
  };
  const names = (field) => graph.all(field).map((bytes) => asText(message(bytes).one(1)));
  const given = new Map(names(11).map((input, at) => [input, read('input', at)]));
  return {
    name: name.replace(/^test_/, ''),
    op: asText(node.one(4)),
    attributes: attributesOf(node),
    inputs: node.all(1).map((input) => given.get(asText(input))),
    hasInput: node.all(1).map((input) => asText(input) !== ''),
    outputs: node.all(2).map((_, at) => read('output', at)),
  };
}

const normal = (axis, rank) => (axis < 0 ? axis + rank : axis);
const range = (length) => Array.from({ length }, (_, at) => at);
const elementwise = (op) => (test) => ({ op, inputs: test.inputs, attributes: {} });
const exact = (op) => (test) => (test.inputs.some((input) => input.narrow) ? undefined : elementwise(op)(test));

function reduction(kind) {
  return ({ inputs: [x, axes], attributes }) => {
    const listed = axes?.values ?? attributes.axes ?? [];
    if (listed.length === 0 && attributes.noop_with_empty_axes) return undefined;
    const all = listed.length > 0 ? listed.map((axis) => normal(axis, x.shape.length)) : range(x.shape.length);
    const keep = (attributes.keepdims ?? 1) === 1;
    const common = { axes: all, keep };
    return kind === 'mean'
      ? { op: 'mean', inputs: [x], attributes: common }
      : { op: 'reduce', inputs: [x], attributes: { kind, ...common } };
  };
}

function norm(op) {
  return ({ inputs, attributes, outputs }) => {
    const rank = inputs[0].shape.length;
    if (normal(attributes.axis ?? -1, rank) !== rank - 1) return undefined;
    return { op, inputs, attributes: { eps: attributes.epsilon ?? 1e-5 }, outputs: outputs.slice(0, 1) };
  };
}

/** [B, H, T, D] to [B, T, H*D]. */
function joinHeads({ dtype, shape, values }) {
  const [b, h, t, d] = shape;
  const joined = [];
  for (let i = 0; i < b; i++)
    for (let j = 0; j < t; j++)
      for (let k = 0; k < h; k++) for (let l = 0; l < d; l++) joined.push(values[((i * h + k) * t + j) * d + l]);
  return { dtype, shape: [b, t, h * d], values: joined };
}

function attention({ inputs, attributes, outputs, hasInput }) {
  const [query, key, value, given] = inputs;
  const isPlain = !hasInput[4] && !hasInput[5] && !hasInput[6] && !attributes.softcap && query.dtype === 'f32';
  if (!isPlain || (given && given.dtype !== 'bool') || (hasInput[3] && !given)) return undefined;
  const split = query.shape.length === 4;
  const heads = split ? query.shape[1] : attributes.q_num_heads;
  const kvHeads = split ? key.shape[1] : attributes.kv_num_heads;
  const width = split ? query.shape[3] : query.shape[2] / heads;
  const [queries, keys] = [query, key].map((x) => x.shape[split ? 2 : 1]);
  let mask = given && { ...given, shape: [...Array(4 - given.shape.length).fill(1), ...given.shape] };
  if (attributes.is_causal && mask) return undefined;
  if (attributes.is_causal) {
    const values = range(queries).flatMap((i) => range(keys).map((j) => Number(j <= i)));
    mask = { dtype: 'bool', shape: [1, 1, queries, keys], values };
  }
  const join = (x) => (split ? joinHeads(x) : x);
  return {
    op: 'attention',
    inputs: [query, key, value].map(join).concat(mask ?? []),
    attributes: {
      heads,
      kv_heads: kvHeads,
      scale: attributes.scale ?? 1 / Math.sqrt(width),
      ...(mask ? { extras: ['mask'] } : {}),
    },
    outputs: [join(outputs[0])],
  };
}

function matmul({ inputs: [a, b] }) {
  const ranks = [a.shape.length, b.shape.length];
  if (ranks.includes(1)) return undefined;
  const batch = Math.min(...ranks) - 2;
  if (ranks[0] !== ranks[1]) return undefined;
  if (range(batch).some((axis) => a.shape[axis] !== b.shape[axis])) return undefined;
  return {
    op: 'dot_general',
    inputs: [a, b],
    attributes: {
      lhs_batch: range(batch),
      rhs_batch: range(batch),
      lhs_contract: [batch + 1],
      rhs_contract: [batch],
    },
  };
}

/** Several axes become several slices; `attributes` is then a list and the op is applied once for each. */
function slices({ inputs: [x, starts, ends, axes, steps] }) {
  if (!starts || !ends || steps?.values.some((step) => step !== 1)) return undefined;
  const clamp = (value, size) => Math.max(0, Math.min(size, value < 0 ? value + size : value));
  const attributes = starts.values.map((start, at) => {
    const axis = normal(axes?.values[at] ?? at, x.shape.length);
    const first = clamp(start, x.shape[axis]);
    return { axis, start: first, size: Math.max(0, clamp(ends.values[at], x.shape[axis]) - first) };
  });
  return { op: 'slice', inputs: [x], attributes };
}

const toShape =
  (op) =>
  ({ inputs: [x], outputs: [y] }) => ({ op, inputs: [x], attributes: { shape: y.shape } });

function convolution({ inputs, attributes }) {
  const rank = inputs[0].shape.length - 2;
  const { auto_pad = 'NOTSET', pads = range(2 * rank).map(() => 0) } = attributes;
  if (auto_pad !== 'NOTSET' && auto_pad !== 'VALID') return undefined;
  const ones = range(rank).map(() => 1);
  return {
    op: 'conv',
    inputs: inputs.filter(Boolean),
    attributes: {
      strides: attributes.strides ?? ones,
      low: pads.slice(0, rank),
      high: pads.slice(rank),
      dilations: attributes.dilations ?? ones,
      groups: attributes.group ?? 1,
    },
  };
}

function padding({ inputs: [x, pads, value, axes], attributes }) {
  if ((attributes.mode ?? 'constant') !== 'constant' || !pads || pads.values.some((count) => count < 0))
    return undefined;
  const rank = x.shape.length;
  const named = axes ? axes.values.map((axis) => normal(axis, rank)) : range(rank);
  const side = (first) =>
    range(rank).map((axis) => (named.includes(axis) ? pads.values[first + named.indexOf(axis)] : 0));
  return {
    op: 'pad',
    inputs: [x],
    attributes: {
      low: side(0),
      high: side(named.length),
      interior: range(rank).map(() => 0),
      value: value?.values[0] ?? 0,
    },
  };
}

const conversions = {
  Conv: convolution,
  Pad: padding,
  Add: exact('add'),
  Sub: exact('sub'),
  Mul: exact('mul'),
  Div: exact('div'),
  Pow: (test) => (test.inputs.every((input) => input.dtype === 'f32') ? elementwise('pow')(test) : undefined),
  Max: (test) => (test.inputs.length === 2 ? elementwise('max')(test) : undefined),
  Min: (test) => (test.inputs.length === 2 ? elementwise('min')(test) : undefined),
  And: elementwise('and'),
  Or: elementwise('or'),
  Xor: elementwise('not_equal'),
  Not: elementwise('not'),
  Equal: elementwise('equal'),
  Less: elementwise('less'),
  LessOrEqual: elementwise('less_equal'),
  Greater: elementwise('greater'),
  GreaterOrEqual: elementwise('greater_equal'),
  Where: elementwise('select'),
  Neg: elementwise('neg'),
  Exp: elementwise('exp'),
  Log: elementwise('log'),
  Sin: elementwise('sin'),
  Cos: elementwise('cos'),
  Tanh: elementwise('tanh'),
  Erf: elementwise('erf'),
  Ceil: elementwise('ceil'),
  Floor: elementwise('floor'),
  Round: elementwise('round'),
  Reciprocal: elementwise('reciprocal'),
  Cast: ({ inputs, outputs }) =>
    inputs[0] && outputs[0] && { op: 'cast', inputs, attributes: { dtype: outputs[0].dtype } },
  ReduceSum: reduction('sum'),
  ReduceMax: reduction('max'),
  ReduceMin: reduction('min'),
  ReduceMean: reduction('mean'),
  LayerNormalization: norm('layer_norm'),
  RMSNormalization: norm('rms_norm'),
  Softmax: ({ inputs, attributes }) => ({ op: 'softmax', inputs, attributes: { axis: attributes.axis ?? -1 } }),
  Attention: attention,
  MatMul: matmul,
  Gather: ({ inputs, attributes }) =>
    (attributes.axis ?? 0) === 0 ? { op: 'gather', inputs, attributes: {} } : undefined,
  GatherElements: ({ inputs: [x, indices], attributes }) => {
    const axis = normal(attributes.axis ?? 0, x.shape.length);
    const isPlain = indices.values.every((index) => index >= 0);
    const fits = x.shape.every((size, at) => at === axis || size === indices.shape[at]);
    return isPlain && fits
      ? { op: 'take_along', inputs: [x, { ...indices, dtype: 'i32' }], attributes: { axis } }
      : undefined;
  },
  ArgMax: ({ inputs: [x], attributes, outputs }) =>
    attributes.select_last_index
      ? undefined
      : {
          op: 'argmax',
          inputs: [x],
          attributes: { axis: attributes.axis ?? 0, keep: (attributes.keepdims ?? 1) === 1 },
          outputs: [{ ...outputs[0], dtype: 'i32' }],
        },
  TopK: ({ inputs: [x, k], attributes, outputs }) => {
    const axis = normal(attributes.axis ?? -1, x.shape.length);
    if (attributes.largest === 0 || axis !== x.shape.length - 1) return undefined;
    return { op: 'top_k', inputs: [x], attributes: { k: k.values[0] }, outputs: [{ ...outputs[1], dtype: 'i32' }] };
  },
  Concat: ({ inputs, attributes }) => ({
    op: 'concat',
    inputs,
    attributes: { axis: normal(attributes.axis, inputs[0].shape.length) },
  }),
  Transpose: ({ inputs: [x], attributes }) => ({
    op: 'transpose',
    inputs: [x],
    attributes: { permutation: attributes.perm ?? range(x.shape.length).reverse() },
  }),
  Slice: slices,
  Reshape: toShape('reshape'),
  Squeeze: toShape('reshape'),
  Unsqueeze: toShape('reshape'),
  Expand: toShape('broadcast'),
};

/** Nine digits tell every f32 apart; what JSON cannot say becomes a string. */
function printable(value) {
  if (Number.isFinite(value)) return Number.isInteger(value) ? value : Number(value.toPrecision(9));
  return String(value);
}

const stored = ({ dtype, shape, values }) => ({ dtype, shape, values: values.map(printable) });
const fits32 = ({ dtype, values }) => dtype.startsWith('f') || values.every((value) => Math.abs(value) < 2 ** 31);

function shortened(x) {
  const values = x.values.slice(0, elementsKept);
  return { ...x, shape: [values.length], values };
}

const archive = process.argv[2];
if (!archive) {
  console.error('usage: node scripts/make-op-vectors.mjs node-tests.tar.gz');
  process.exit(2);
}
const files = untar(gunzipSync(readFileSync(archive)));
const names = [...new Set([...files.keys()].map((file) => file.split('/')[1]))].sort();
const byOp = new Map();
for (const name of names) {
  if (!files.has(`node/${name}/model.onnx`)) continue;
  const test = caseOf(files, name);
  const convert = test && Object.hasOwn(conversions, test.op) ? conversions[test.op] : undefined;
  const isReadable = test?.inputs.every((input, at) => input !== undefined || !test.hasInput[at]);
  if (!convert || !isReadable || !test.outputs[0]) continue;
  const converted = convert(test);
  if (!converted) continue;
  const { op, attributes } = converted;
  const tensors = [...converted.inputs, (converted.outputs ?? test.outputs)[0]];
  const shapes = new Set(tensors.map((x) => x.shape.join()));
  const isPlain = shapes.size === 1 && Object.keys(attributes).length === 0;
  const kept = isPlain ? tensors.map(shortened) : tensors;
  const count = kept.reduce((sum, x) => sum + x.values.length, 0);
  if (count > mostElements || !kept.every(fits32)) continue;
  const found = { name: test.name, attributes, inputs: kept.slice(0, -1).map(stored), output: stored(kept.at(-1)) };
  byOp.set(op, [...(byOp.get(op) ?? []), found]);
}

/** The smallest cases first, as many as the limits allow. */
function chosen(cases) {
  const lines = cases.map((item) => JSON.stringify(item)).sort((a, b) => a.length - b.length);
  const picked = [];
  let bytes = 0;
  for (const line of lines.slice(0, casesPerOp)) {
    bytes += line.length;
    if (bytes <= bytesPerOp) picked.push(line);
  }
  return picked;
}

mkdirSync(out, { recursive: true });
for (const file of readdirSync(out)) if (file.endsWith('.json')) rmSync(join(out, file));
let total = 0;
let count = 0;
for (const [op, cases] of [...byOp].sort()) {
  const lines = chosen(cases);
  const text = `{"op": ${JSON.stringify(op)}, "cases": [\n${lines.join(',\n')}\n]}\n`;
  total += text.length;
  count += lines.length;
  writeFileSync(join(out, `${op}.json`), text);
}
console.log(`${byOp.size} ops, ${count} cases, ${total} bytes`);
