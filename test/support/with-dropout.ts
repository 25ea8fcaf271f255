/**
 * Random graphs that drop: places of dropout put into a graph at random, and the masks that they must get, computed here by
 * plain loops.
 */
import { createEmitter } from '../../src/ir/emit.ts';
import { type Graph, GraphBuilder, type Value } from '../../src/ir/graph.ts';
import type { Emitter, Tensor } from '../../src/ir/op.ts';
import { fillLike } from '../../src/ir/ops/build.ts';
import { opNamed } from '../../src/ir/ops/index.ts';
import { philox2 } from '../../src/ir/ops/random.ts';
import { evaluateDim } from '../../src/ir/symbolic.ts';
import { elementCount, tensorOf } from '../../src/ir/tensor.ts';
import type { TensorType } from '../../src/ir/types.ts';
import { copyNode, rewriteGraph } from '../../src/passes/pass.ts';
import { mixedStream } from '../../src/passes/training/dropout.ts';
import { randomNumbers } from './equivalence.ts';
import { testDims } from './graphs.ts';

/** `dropout` behind about a third of the float values, and in every second attention. */
export function withDropout(graph: Graph, seed: number): Graph {
  const next = randomNumbers(seed);
  let places = 0;
  return rewriteGraph(graph, { ranges: testDims }, (node, inputs, { builder, emit }) => {
    const [output] = node.outputs;
    if (output?.type.dtype !== 'f32' || node.op === 'input' || node.op === 'weight') return undefined;
    const p = [0.1, 0.3, 0.5, 0.75][Math.floor(4 * next())] ?? 0.5;
    const mine = { ...node.attributes, dropout: p, stream: 2 * places };
    if (node.op === 'attention' && next() < 0.5) {
      places++;
      return [emit(node.op, inputs, mine, node.region)];
    }
    if (next() > 0.35) return undefined;
    const [copied] = copyNode(builder, node, inputs).outputs;
    return copied && [emit('dropout', [copied], { p, stream: 2 * places++ })];
  }).graph;
}

/** Whether training keeps element `place` of a tensor. */
export function isKept(place: number, p: number, stream: number, seed: number, step: number): boolean {
  const word = philox2(place, (seed + mixedStream(stream)) >>> 0, step);
  return (word >>> 8) / 2 ** 24 >= Math.round(p * 2 ** 24) / 2 ** 24;
}

export interface Mask {
  /** Of the input that holds the factors: 0, or 1 / (1 - p). */
  readonly name: string;
  readonly type: TensorType;
  readonly p: number;
  readonly stream: number;
}

/** The graph with a product by an input, `mask:NUMBER`, in place of each `dropout`. */
export function withMasks(graph: Graph): { readonly graph: Graph; readonly masks: readonly Mask[] } {
  const builder = new GraphBuilder();
  const plain = createEmitter(builder, { ranges: testDims });
  const values = new Map<Value, Value>();
  const masks: Mask[] = [];
  const emitter: Emitter = {
    context: plain.context,
    emit(op, inputs, attributes = {}, region) {
      const [x] = inputs;
      if (op !== 'dropout' || !x) return plain.emit(op, inputs, attributes, region);
      const mask = {
        name: `mask:${masks.length}`,
        type: x.type,
        p: Number(attributes.p),
        stream: Number(attributes.stream),
      };
      masks.push(mask);
      const factors = plain.input(mask.name, mask.type);
      const zeros = fillLike(plain, 0, x);
      // What goes is 0 even where the operand is infinite.
      return plain.emit('select', [plain.emit('greater', [factors, zeros]), plain.emit('mul', [x, factors]), zeros]);
    },
  };
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((input) => values.get(input) ?? input);
    const decompose = node.attributes.dropout === undefined ? undefined : opNamed(node.op).decompose;
    let [value] = node.outputs;
    if (decompose) value = decompose(emitter, inputs, node.attributes, node.region);
    else if (node.op === 'dropout') value = emitter.emit(node.op, inputs, node.attributes);
    else [value] = copyNode(builder, node, inputs).outputs;
    const [output] = node.outputs;
    if (output && value) values.set(output, value);
  }
  const results = graph.results.map(({ name, value }) => ({ name, value: values.get(value) ?? value }));
  return { graph: builder.finish(graph.name, results), masks };
}

/** The factors of a mask in a step. */
export function factorsOf(
  { type, p, stream }: Mask,
  dims: ReadonlyMap<string, number>,
  seed: number,
  step: number,
): Tensor {
  const shape = type.shape.map((dim) => evaluateDim(dim, dims));
  const values = Array.from({ length: elementCount(shape) }, (_, at) =>
    isKept(at, p, stream, seed, step) ? 1 / (1 - p) : 0,
  );
  return tensorOf('f32', shape, values, 'f64');
}
