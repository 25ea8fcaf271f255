/**
 * Graphs for tests of passes and code generation, built without any source text: a BERT encoder of any size, and the
 * emitter that small graphs are written with.
 */
import { createEmitter, type GraphEmitter } from '../../src/ir/emit.ts';
import { type Graph, GraphBuilder, type Program, type Result, type Value, type Weight } from '../../src/ir/graph.ts';
import { constantDim, type Dim, type DimRange, symbolDim } from '../../src/ir/symbolic.ts';
import { type DType, type TensorType, tensorType } from '../../src/ir/types.ts';

const wide: DimRange = { minimum: 1, maximum: 4096, multiple: 1 };

/** Ranges of the runtime dims that test graphs use. */
export const testDims: ReadonlyMap<string, DimRange> = new Map(['B', 'T', 'S', 'N'].map((name) => [name, wide]));

export const B: Dim = symbolDim('B');
export const T: Dim = symbolDim('T');

/** An emitter on a fresh graph with shorthands: what test graphs are written with. */
export interface Sketch extends GraphEmitter {
  /** An f32 weight leaf. */
  parameter(path: string, shape: readonly (Dim | number)[], dtype?: DType): Value;
  /** A graph input. */
  argument(name: string, dtype: DType, shape: readonly (Dim | number)[]): Value;
  /** `value` under a broadcast to the shape of `like`. */
  like(value: Value, like: Value): Value;
  /** A scalar constant, broadcast to the shape of `like`. */
  fill(number: number, like: Value): Value;
  finish(results: Readonly<Record<string, Value>>): Graph;
}

export function sketch(): Sketch {
  const builder = new GraphBuilder();
  const emitter = createEmitter(builder, { ranges: testDims });
  const like = (value: Value, other: Value): Value => emitter.emit('broadcast', [value], { shape: other.type.shape });
  return {
    ...emitter,
    parameter: (path, shape, dtype = 'f32') => emitter.weight([path], tensorType(dtype, shape)),
    argument: (name, dtype, shape) => emitter.input(name, tensorType(dtype, shape)),
    like,
    fill: (number, other) => like(emitter.constant(number, other.type.dtype), other),
    finish(results) {
      const list: Result[] = Object.entries(results).map(([name, value]) => ({ name, value }));
      return builder.finish('test', list);
    },
  };
}

/** A program with the graph as its only entry; parameters, results and weights are read off the graph. */
export function programOf(graph: Graph, name = 'test'): Program {
  const weights = new Map<string, Weight>();
  for (const node of graph.nodes) {
    const [path] = (node.attributes.paths as readonly string[] | undefined) ?? [];
    const type = node.outputs[0]?.type;
    if (node.op === 'weight' && path !== undefined && type) {
      weights.set(path, { path, type, span: undefined, doc: undefined });
    }
  }
  const parameters = graph.inputs.map((node) => ({
    name: String(node.attributes.name),
    type: node.outputs[0]?.type as TensorType,
    doc: undefined,
    initial: undefined,
  }));
  const results = graph.results.map((result) => ({ name: result.name, type: result.value.type }));
  const entry = { name: 'run', doc: undefined, parameters, results, graph, span: undefined };
  return {
    name,
    doc: undefined,
    config: {},
    dims: testDims,
    weights: [...weights.values()],
    states: [],
    entries: [entry],
  };
}

export interface BertSize {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly inner: number;
  readonly vocabulary: number;
  readonly positions: number;
}

/** Sizes with no factor in common with vector widths or tiles, to catch what only works for round numbers. */
export const smallBert: BertSize = { layers: 2, hidden: 12, heads: 3, inner: 20, vocabulary: 17, positions: 11 };

/** As people write it: constants on the left, the root of 2 as an expression. */
function gelu(s: Sketch, x: Value): Value {
  const half = s.emit('mul', [s.fill(0.5, x), x]);
  const root = s.emit('sqrt', [s.constant(2, 'f32')]);
  const bent = s.emit('erf', [s.emit('div', [x, s.like(root, x)])]);
  return s.emit('mul', [half, s.emit('add', [s.fill(1, x), bent])]);
}

function dense(s: Sketch, x: Value, path: string, outputs: number): Value {
  const inputs = x.type.shape[x.type.shape.length - 1] as Dim;
  return s.emit('linear', [
    x,
    s.parameter(`${path}.weight`, [outputs, inputs]),
    s.parameter(`${path}.bias`, [outputs]),
  ]);
}

function norm(s: Sketch, x: Value, path: string, width: number): Value {
  const gain = s.parameter(`${path}.weight`, [width]);
  return s.emit('layer_norm', [x, gain, s.parameter(`${path}.bias`, [width])], { eps: 1e-12 });
}

/** `mask` [B, T] as the bool [B, 1, 1, T] that attention takes. */
function paddingMask(s: Sketch, mask: Value): Value {
  const visible = s.emit('not_equal', [mask, s.fill(0, mask)]);
  return s.emit('reshape', [visible], { shape: [B, constantDim(1), constantDim(1), T] });
}

/** One encoder layer, post-norm: x [B, T, hidden], mask bool [B, 1, 1, T]. */
export function bertLayer(s: Sketch, x: Value, mask: Value, path: string, size: BertSize): Value {
  const named = s.at(undefined, path);
  const inside: Sketch = { ...s, ...named };
  const query = dense(inside, x, `${path}.attention.self.query`, size.hidden);
  const key = dense(inside, x, `${path}.attention.self.key`, size.hidden);
  const value = dense(inside, x, `${path}.attention.self.value`, size.hidden);
  const mixed = inside.emit('attention', [query, key, value, mask], {
    heads: size.heads,
    kv_heads: size.heads,
    scale: 1 / Math.sqrt(size.hidden / size.heads),
    extras: ['mask'],
  });
  const attended = dense(inside, mixed, `${path}.attention.output.dense`, size.hidden);
  const middle = norm(inside, inside.emit('add', [attended, x]), `${path}.attention.output.LayerNorm`, size.hidden);
  const up = gelu(inside, dense(inside, middle, `${path}.intermediate.dense`, size.inner));
  const down = dense(inside, up, `${path}.output.dense`, size.hidden);
  return norm(inside, inside.emit('add', [down, middle]), `${path}.output.LayerNorm`, size.hidden);
}

/** Sum of word, position and type embeddings, normalised: [B, T, hidden]. */
export function bertEmbeddings(s: Sketch, ids: Value, types: Value, size: BertSize): Value {
  const table = (name: string, rows: number) => s.parameter(`embeddings.${name}.weight`, [rows, size.hidden]);
  const words = s.emit('gather', [table('word_embeddings', size.vocabulary), ids]);
  const kinds = s.emit('gather', [table('token_type_embeddings', 2), types]);
  const places = s.emit('gather', [
    table('position_embeddings', size.positions),
    s.emit('iota', [], { length: T, dtype: 'i32' }),
  ]);
  const sum = s.emit('add', [s.emit('add', [words, kinds]), s.like(places, words)]);
  return norm(s, sum, 'embeddings.LayerNorm', size.hidden);
}

/** Mean of the rows of x [B, T, D] that `mask` [B, T] shows, of length 1: [B, D]. */
export function sentenceEmbedding(s: Sketch, x: Value, mask: Value): Value {
  const one = constantDim(1);
  const weights = s.emit('cast', [mask], { dtype: 'f32' });
  const column = s.emit('reshape', [weights], { shape: [B, T, one] });
  const sum = s.emit('reduce', [s.emit('mul', [x, s.like(column, x)])], { kind: 'sum', axes: [1], keep: false });
  const count = s.emit('reduce', [weights], { kind: 'sum', axes: [1], keep: true });
  const atLeast = s.emit('max', [count, s.fill(1e-9, count)]);
  const pooled = s.emit('div', [sum, s.like(atLeast, sum)]);
  const squares = s.emit('reduce', [s.emit('mul', [pooled, pooled])], { kind: 'sum', axes: [1], keep: true });
  const length = s.emit('max', [s.emit('sqrt', [squares]), s.fill(1e-12, squares)]);
  return s.emit('div', [pooled, s.like(length, pooled)]);
}

/** A whole encoder: `input_ids`, `attention_mask`, `token_type_ids` i32 [B, T] to a sentence embedding f32 [B, hidden]. */
export function bertGraph(size: BertSize = smallBert, withPooling = true): Graph {
  const s = sketch();
  const ids = s.argument('input_ids', 'i32', [B, T]);
  const mask = s.argument('attention_mask', 'i32', [B, T]);
  const types = s.argument('token_type_ids', 'i32', [B, T]);
  let x = bertEmbeddings(s, ids, types, size);
  const visible = paddingMask(s, mask);
  for (let layer = 0; layer < size.layers; layer++) {
    x = bertLayer(s, x, visible, `encoder.layer.${layer}`, size);
  }
  return s.finish(withPooling ? { sentence_embedding: sentenceEmbedding(s, x, mask) } : { last_hidden_state: x });
}
