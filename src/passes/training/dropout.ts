/**
 * Dropout for a training step: every place where something is dropped gets its mask.
 *
 *   keep[i] = random(counter: i, block: step, key: seed + mix(stream)) >= p          i: place of the element, row-major
 *   y[i] = keep[i] ? x[i] / (1 - p) : 0
 *
 * `seed` and `step` are the two numbers of a hidden input, `stream` belongs to the place, so a mask depends on nothing else:
 * neither on the device nor on the order of kernels, and it may be computed again for the gradient instead of kept. Ops whose
 * decomposition drops something (attention) are decomposed. Graphs that nobody trains keep their places, which canonicalize
 * drops.
 *
 * Source: Srivastava et al. 2014; torch.nn.functional.dropout.
 */
import { createEmitter } from '../../ir/emit.ts';
import { type Attributes, type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import type { Emitter, InferContext } from '../../ir/op.ts';
import { broadcastTo, fillLike, reshapeTo, scalarConstant } from '../../ir/ops/build.ts';
import { inferenceAttributes, opNamed } from '../../ir/ops/index.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim, productOfDims } from '../../ir/symbolic.ts';
import { tensorType } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import { copyNode, type PassResult } from '../pass.ts';

/** The hidden input of seed and step, u32[2]: no parameter of a model has a colon in its name. */
export const seedInput = ':seed';

/** Random numbers have so many steps between 0 and 1; a probability is rounded to them, so that every precision agrees. */
const resolution = 2 ** 24;

/** A bijection of u32 that takes neighbours far apart (the finalizer of MurmurHash3): keys of streams differ in many bits. */
export function mixedStream(stream: number): number {
  let word = (stream + 1) >>> 0;
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return (word ^ (word >>> 16)) >>> 0;
}

/** Gives streams that no place of the graph has. */
export function freshStreams(graph: Graph): () => number {
  const counted = graph.nodes.flatMap(({ attributes }) =>
    attributes.stream === undefined ? [] : [numberOf(attributes, 'stream')],
  );
  // Odd ones belong to seeds.
  let next = 2 + Math.max(-2, ...counted.filter((stream) => stream % 2 === 0));
  return () => {
    next += 2;
    return next - 2;
  };
}

function drops(node: Node): boolean {
  return node.op === 'dropout' || inferenceAttributes(node) !== undefined || (node.region?.nodes.some(drops) ?? false);
}

/** `x` without what is dropped. */
function masked(emitter: Emitter, x: Value, attributes: Attributes, seeds: Value): Value {
  const p = numberOf(attributes, 'p');
  const threshold = Math.round(p * resolution) / resolution;
  if (threshold === 0) return x;
  const { shape } = x.type;
  const word = (at: number): Value =>
    reshapeTo(emitter, emitter.emit('slice', [seeds], { axis: 0, start: constantDim(at), size: constantDim(1) }), []);
  const offset = scalarConstant(emitter, mixedStream(numberOf(attributes, 'stream')), 'u32');
  const key = broadcastTo(emitter, emitter.emit('add', [word(0), offset]), shape);
  const block = broadcastTo(emitter, word(1), shape);
  const places = emitter.emit('iota', [], { length: productOfDims(shape), dtype: 'u32' });
  const numbers = emitter.emit('random', [reshapeTo(emitter, places, shape), key, block]);
  const isKept = emitter.emit('greater_equal', [numbers, fillLike(emitter, threshold, numbers)]);
  const scaled = emitter.emit('mul', [x, fillLike(emitter, 1 / (1 - p), x)]);
  return emitter.emit('select', [isKept, scaled, fillLike(emitter, 0, x)]);
}

/**
 * The graph with masks. When there is anything to drop it has one more input, the last one: `seedInput`. `fired` counts the
 * places; 0 gives the graph back.
 */
export function realizeDropout(graph: Graph, context: InferContext): PassResult {
  const places = graph.nodes.filter(drops);
  if (places.length === 0) return { graph, fired: 0 };
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
  const keep = (node: Node, outputs: readonly Value[]): void => {
    node.outputs.forEach((output, at) => {
      values.set(output, outputs[at] ?? unreachable(`\`${node.op}\` lost output ${at}`));
    });
  };
  for (const node of graph.inputs) keep(node, copyNode(builder, node, []).outputs);
  const seeds = builder.input(seedInput, tensorType('u32', [2]));
  /** Writes ops, and masks where one of them drops. */
  const writing = (place: Node): Emitter => {
    const plain = createEmitter(builder, context, { span: place.span, label: place.label });
    return {
      context,
      emit: (op, inputs, attributes = {}, region) => {
        const [x] = inputs;
        return op === 'dropout' && x ? masked(plain, x, attributes, seeds) : plain.emit(op, inputs, attributes, region);
      },
    };
  };
  for (const node of graph.nodes) {
    if (node.op === 'input') continue;
    const inputs = node.inputs.map(mapped);
    if (!drops(node)) {
      keep(node, copyNode(builder, node, inputs).outputs);
      continue;
    }
    const emitter = writing(node);
    const { decompose } = opNamed(node.op);
    const value =
      node.op === 'dropout'
        ? emitter.emit(node.op, inputs, node.attributes)
        : decompose?.(emitter, inputs, node.attributes, node.region);
    keep(node, [value ?? unreachable(`\`${node.op}\` drops something and has no decomposition`)]);
  }
  const results = graph.results.map(({ name, value }) => ({ name, value: mapped(value) }));
  return { graph: builder.finish(graph.name, results), fired: places.length };
}
