/**
 * Graphs that write states in place, with the states they need: what optimizers are made of.
 */
import type { Graph, Program, Value } from '../../src/ir/graph.ts';
import { interpretGraph } from '../../src/ir/interpret.ts';
import type { Tensor } from '../../src/ir/op.ts';
import { constantDim } from '../../src/ir/symbolic.ts';
import { type DType, tensorType } from '../../src/ir/types.ts';
import { programOf, type Sketch, sketch } from './graphs.ts';

/** A leaf for a state with constant sizes. */
export function stateLeaf(s: Sketch, path: string, shape: readonly number[], dtype: DType = 'f32'): Value {
  const [output] = s.builder.add('state', [], [tensorType(dtype, shape)], { attributes: { path } }).outputs;
  if (!output) throw new Error('a leaf has an output');
  return output;
}

export function updatesOf(write: (s: Sketch) => Readonly<Record<string, Value>>): Graph {
  const s = sketch();
  return s.finish(write(s));
}

/** A program of one entry, with the states in the order of their leaves. */
export function statefulProgram(graph: Graph): Program {
  const states = graph.nodes.flatMap((node) => {
    const type = node.outputs[0]?.type;
    if (node.op !== 'state' || !type) return [];
    const [batch = constantDim(1)] = type.shape;
    return [{ path: String(node.attributes.path), dtype: type.dtype, batch, positions: 1, width: 1, span: undefined }];
  });
  return { ...programOf(graph), states };
}

export interface Ran {
  readonly results: ReadonlyMap<string, Tensor>;
  /** By path: what the states hold afterwards. */
  readonly states: ReadonlyMap<string, Tensor>;
}

/** Runs a graph with states in the interpreter, in f64. */
export function runUpdates(
  graph: Graph,
  given: { readonly inputs: ReadonlyMap<string, Tensor>; readonly states: ReadonlyMap<string, Tensor> },
  dims: ReadonlyMap<string, number>,
): Ran {
  const states = new Map(given.states);
  const need = (path: string): Tensor => {
    const tensor = states.get(path);
    if (!tensor) throw new Error(`no state ${path}`);
    return tensor;
  };
  const results = interpretGraph(graph, {
    inputs: given.inputs,
    dims,
    precision: 'f64',
    weight: (path) => {
      throw new Error(`no weight ${path}`);
    },
    states: { read: need, write: (path, tensor) => states.set(path, tensor) },
  });
  return { results, states };
}

/** One step of Adam over vectors of `count`, with the gradient scaled to a greatest norm first. */
export function adam(s: Sketch, count: number, name = ''): Record<'m' | 'v' | 'w', Value> {
  const [w, m, v] = ['w', 'm', 'v'].map((path) => stateLeaf(s, `${path}${name}`, [count]));
  if (!w || !m || !v) throw new Error('three leaves');
  const g = s.argument(`g${name}`, 'f32', [count]);
  const rates = s.argument(`rates${name}`, 'f32', [3]);
  const rate = (at: number) => {
    const one = s.emit('slice', [rates], { axis: 0, start: constantDim(at), size: constantDim(1) });
    return s.like(one, g);
  };
  const norm = s.emit('sqrt', [s.emit('reduce', [s.emit('mul', [g, g])], { kind: 'sum', axes: [0], keep: true })]);
  const limit = s.emit('div', [s.fill(0.5, norm), s.emit('max', [norm, s.fill(0.5, norm)])]);
  const scaled = s.emit('mul', [g, s.like(limit, g)]);
  const mix = (old: Value, next: Value, share: number) =>
    s.emit('add', [s.emit('mul', [s.fill(share, old), old]), s.emit('mul', [s.fill(1 - share, next), next])]);
  const m1 = s.emit('assign', [m, mix(m, scaled, 0.9)]);
  const v1 = s.emit('assign', [v, mix(v, s.emit('mul', [scaled, scaled]), 0.999)]);
  const root = s.emit('sqrt', [s.emit('mul', [v1, rate(2)])]);
  const step = s.emit('div', [s.emit('mul', [m1, rate(1)]), s.emit('add', [root, s.fill(1e-8, root)])]);
  const decayed = s.emit('mul', [w, s.emit('sub', [s.fill(1, w), s.emit('mul', [rate(0), s.fill(0.01, w)])])]);
  const w1 = s.emit('assign', [w, s.emit('sub', [decayed, s.emit('mul', [rate(0), step])])]);
  return { m: m1, v: v1, w: w1 };
}
