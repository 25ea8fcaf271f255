/**
 * Running one op, random graphs and comparing numbers: shared by the tests of the IR.
 */
import { createEmitter, type GraphEmitter } from '../../../src/ir/emit.ts';
import { type Attributes, type Graph, GraphBuilder, type Value } from '../../../src/ir/graph.ts';
import { concreteShape, interpretGraph } from '../../../src/ir/interpret.ts';
import type { InferContext, Tensor } from '../../../src/ir/op.ts';
import { broadcastTo } from '../../../src/ir/ops/build.ts';
import { opNamed } from '../../../src/ir/ops/index.ts';
import { constantDim, symbolDim } from '../../../src/ir/symbolic.ts';
import { type Precision, tensorOf } from '../../../src/ir/tensor.ts';
import { type DType, type TensorType, tensorType } from '../../../src/ir/types.ts';

export const noRanges: InferContext = { ranges: new Map() };
export const precisions: readonly Precision[] = ['f32', 'f64'];

export const f32 = (...shape: readonly (number | string)[]) => typed('f32', shape);
export const i32 = (...shape: readonly (number | string)[]) => typed('i32', shape);
export const bool = (...shape: readonly (number | string)[]) => typed('bool', shape);

export function typed(dtype: DType, shape: readonly (number | string)[]): TensorType {
  return tensorType(
    dtype,
    shape.map((size) => (typeof size === 'string' ? symbolDim(size) : size)),
  );
}

/** Numbers or lists of numbers to the dims that an attribute of kind `dim` or `dims` holds. */
export function dimAttributes(op: string, attributes: Readonly<Record<string, unknown>>): Attributes {
  const pairs = Object.entries(attributes).map(([name, value]) => {
    const kind = opNamed(op).attributes[name]?.kind;
    if (kind === 'dim' && typeof value === 'number') return [name, constantDim(value)];
    if (kind === 'dims' && Array.isArray(value)) return [name, value.map((size) => constantDim(Number(size)))];
    return [name, value];
  });
  return Object.fromEntries(pairs);
}

export function buildGraph(
  write: (emitter: GraphEmitter) => Readonly<Record<string, Value>>,
  context = noRanges,
): Graph {
  const emitter = createEmitter(new GraphBuilder(), context);
  const results = Object.entries(write(emitter)).map(([name, value]) => ({ name, value }));
  return emitter.builder.finish('test', results);
}

export function runGraph(
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
  precision: Precision,
  dims: Readonly<Record<string, number>> = {},
): Map<string, Tensor> {
  return interpretGraph(graph, {
    inputs: new Map(Object.entries(inputs)),
    dims: new Map(Object.entries(dims)),
    precision,
    weight: (path) => {
      throw new Error(`no weight ${path}`);
    },
  });
}

/** NumPy's common shape of operands. */
function commonShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, at) => {
    const sizes = shapes.map((shape) => shape[shape.length - rank + at] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
}

/**
 * One op on concrete tensors; elementwise operands are broadcast first. A list of attributes applies the op once for each.
 */
export function runOp(
  op: string,
  inputs: readonly Tensor[],
  attributes: Attributes | readonly Attributes[],
  precision: Precision,
): Tensor {
  const isElementwise = opNamed(op).traits.includes('elementwise');
  const shape = commonShape(inputs.map((input) => input.shape)).map(constantDim);
  const graph = buildGraph((emitter) => {
    const operands = inputs.map((input, at) => emitter.input(`x${at}`, tensorType(input.dtype, input.shape)));
    const given = isElementwise ? operands.map((operand) => broadcastTo(emitter, operand, shape)) : operands;
    const [first, ...rest] = [attributes].flat();
    let value = emitter.emit(op, given, first);
    for (const more of rest) value = emitter.emit(op, [value], more);
    return { y: value };
  });
  const named = Object.fromEntries(inputs.map((input, at) => [`x${at}`, input]));
  const result = runGraph(graph, named, precision).get('y');
  if (!result) throw new Error('no result');
  return result;
}

export function floats(shape: readonly number[], values: ArrayLike<number>): Tensor {
  return tensorOf('f32', shape, values, 'f64');
}

/** Reproducible numbers in -1..1 (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

export function randomTensor(dtype: DType, shape: readonly number[], seed: number): Tensor {
  const random = randomNumbers(seed);
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Array.from({ length: count }, () => {
    const value = random();
    if (dtype === 'bool') return Number(value > 0);
    if (dtype === 'u32') return Math.floor((value + 1) * 10);
    return dtype === 'i32' ? Math.round(value * 10) : value * 2;
  });
  return tensorOf(dtype, shape, values, 'f64');
}

/** The greatest `|a - b| / (1 + |b|)`; infinity when lengths differ or only one side is a number. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let at = 0; at < expected.length; at++) {
    const a = actual[at] ?? Number.NaN;
    const b = expected[at] ?? Number.NaN;
    if (Object.is(a, b) || a === b) continue;
    const gap = Math.abs(a - b) / (1 + Math.abs(b));
    worst = Math.max(worst, Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap);
  }
  return worst;
}

/** Random tensors for all inputs of a graph, by name. */
export function tensorsFor(
  graph: Graph,
  dims: Readonly<Record<string, number>>,
  seed: number,
): Readonly<Record<string, Tensor>> {
  const values = new Map(Object.entries(dims));
  const pairs = graph.inputs.flatMap((node, at) =>
    node.outputs.map(({ type }) => [
      String(node.attributes.name),
      randomTensor(type.dtype, concreteShape(type, values), seed * 31 + at),
    ]),
  );
  return Object.fromEntries(pairs);
}
