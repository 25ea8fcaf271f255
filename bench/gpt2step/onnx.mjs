// Writes gpt2step as an ONNX file (opset 17), with the seeded weights: the graph that PyTorch's exporter makes of it. ONNX is a
// protobuf message; only the few fields that are needed are written, by the numbers of onnx.proto3.
import { closeSync, openSync, writeSync } from 'node:fs';
import { shape, weightList, weightValues } from './gpt2step.mjs';

const FLOAT = 1;
const INT64 = 7;

function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest === 0n ? low : low | 128);
  } while (rest !== 0n);
  return Buffer.from(bytes);
}

const number = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);
const text = (field, value) => bytes(field, Buffer.from(value));
function float(field, value) {
  const four = Buffer.alloc(4);
  four.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), four]);
}

/** Kinds of AttributeProto: 1 float, 2 int, 7 ints. */
function attribute(name, value) {
  const body = Array.isArray(value)
    ? [...value.map((item) => number(8, item)), number(20, 7)]
    : Number.isInteger(value)
      ? [number(3, value), number(20, 2)]
      : [float(2, value), number(20, 1)];
  return bytes(5, Buffer.concat([text(1, name), ...body]));
}

function valueInfo(field, name, type, dims) {
  const shapeOf = Buffer.concat(dims.map((dim) => bytes(1, number(1, dim))));
  const tensor = Buffer.concat([number(1, type), bytes(2, shapeOf)]);
  return bytes(field, Buffer.concat([text(1, name), bytes(2, bytes(1, tensor))]));
}

function tensor(name, type, dims, data) {
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return bytes(5, Buffer.concat([...dims.map((dim) => number(1, dim)), number(2, type), text(8, name), bytes(9, raw)]));
}

function transposed(values, [rows, columns]) {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column];
  }
  return result;
}

export function writeOnnx(path) {
  const { layers, width, heads, past, vocab } = shape;
  const head = width / heads;
  const nodes = [];
  const node = (op, inputs, outputs, attributes = {}) => {
    const parts = [
      ...inputs.map((name) => text(1, name)),
      ...outputs.map((name) => text(2, name)),
      text(3, outputs[0]),
      text(4, op),
      ...Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    ];
    nodes.push(bytes(1, Buffer.concat(parts)));
    return outputs[0];
  };
  const constants = [];
  const integers = (name, values) => {
    constants.push(tensor(name, INT64, [values.length], BigInt64Array.from(values, BigInt)));
    return name;
  };
  const scalar = (name, value) => {
    constants.push(tensor(name, FLOAT, [], Float32Array.of(value)));
    return name;
  };
  const split = integers('thirds', [width, width, width]);
  const apart = integers('apart', [1, 1, heads, head]);
  const together = integers('together', [1, 1, width]);
  const root = scalar('root', Math.sqrt(head));
  const [two, half, one] = [scalar('root2', Math.SQRT2), scalar('half', 0.5), scalar('one', 1)];
  const norm = (x, name) =>
    node('LayerNormalization', [x, `${name}.weight`, `${name}.bias`], [`${name}.y`], { axis: -1, epsilon: 1e-5 });
  const linear = (x, name) =>
    node('Add', [node('MatMul', [x, `${name}.weight`], [`${name}.product`]), `${name}.bias`], [`${name}.y`]);
  const byHead = (x) =>
    node('Transpose', [node('Reshape', [x, apart], [`${x}.apart`])], [`${x}.heads`], { perm: [0, 2, 1, 3] });

  let x = node('Add', [node('Gather', ['e.weight', 'ids'], ['e.y'], { axis: 0 }), 'position'], ['x']);
  for (let at = 0; at < layers; at++) {
    const name = `b.${at}`;
    const parts = ['q', 'k', 'v'].map((part) => `${name}.${part}`);
    node('Split', [linear(norm(x, `${name}.n1`), `${name}.qkv`), split], parts, { axis: -1 });
    const [q, k, v] = parts.map(byHead);
    const keys = node('Concat', [`k${at}`, k], [`ok${at}`], { axis: 2 });
    const values = node('Concat', [`v${at}`, v], [`ov${at}`], { axis: 2 });
    const across = node('Transpose', [keys], [`${name}.across`], { perm: [0, 1, 3, 2] });
    const scores = node('Div', [node('MatMul', [q, across], [`${name}.products`]), root], [`${name}.scores`]);
    const mixed = node(
      'MatMul',
      [node('Softmax', [scores], [`${name}.weights`], { axis: -1 }), values],
      [`${name}.mixed`],
    );
    const order = node('Transpose', [mixed], [`${name}.order`], { perm: [0, 2, 1, 3] });
    const y = node('Add', [x, linear(node('Reshape', [order, together], [`${name}.a`]), `${name}.o`)], [`${name}.y`]);
    const inner = linear(norm(y, `${name}.n2`), `${name}.f1`);
    const erf = node('Erf', [node('Div', [inner, two], [`${name}.scaled`])], [`${name}.erf`]);
    const gate = node('Mul', [inner, node('Add', [erf, one], [`${name}.shifted`])], [`${name}.gate`]);
    const gelu = node('Mul', [gate, half], [`${name}.gelu`]);
    x = node('Add', [y, linear(gelu, `${name}.f2`)], [`${name}.x`]);
  }
  node('MatMul', [norm(x, 'n'), 'lm.weight'], ['logits']);

  const cache = [1, heads, past, head];
  const each = (write) => Array.from({ length: layers }, (_, at) => ['k', 'v'].map((kind) => write(kind, at))).flat();
  const inputs = [
    valueInfo(11, 'ids', INT64, [1, 1]),
    ...each((kind, at) => valueInfo(11, `${kind}${at}`, FLOAT, cache)),
  ];
  const outputs = [
    valueInfo(12, 'logits', FLOAT, [1, 1, vocab]),
    ...each((kind, at) => valueInfo(12, `o${kind}${at}`, FLOAT, [1, heads, past + 1, head])),
  ];
  const weights = weightList().map((weight) => {
    const values = weightValues(weight);
    const { name, shape: dims } = weight;
    if (name === 'p') return tensor('position', FLOAT, [width], values.slice(past * width, (past + 1) * width));
    if (dims.length === 1 || name === 'e.weight') return tensor(name, FLOAT, dims, values);
    return tensor(name, FLOAT, [dims[1], dims[0]], transposed(values, dims));
  });
  const graph = [...nodes, text(2, 'gpt2step'), ...constants, ...weights, ...inputs, ...outputs];
  const graphBytes = graph.reduce((sum, part) => sum + part.length, 0);
  const opset = bytes(8, Buffer.concat([text(1, ''), number(2, 17)]));
  const file = openSync(path, 'w');
  for (const part of [number(1, 8), opset, varint((7 << 3) | 2), varint(graphBytes), ...graph]) writeSync(file, part);
  closeSync(file);
}
