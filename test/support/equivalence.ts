/**
 * Executed equivalence: two programs give the same numbers in the interpreter, in f64, on random inputs.
 */

import type { Graph, Program } from '../../src/ir/graph.ts';
import { interpretGraph } from '../../src/ir/interpret.ts';
import type { Tensor } from '../../src/ir/op.ts';
import { evaluateDim } from '../../src/ir/symbolic.ts';
import { elementCount, tensorOf } from '../../src/ir/tensor.ts';
import type { TensorType } from '../../src/ir/types.ts';

/** mulberry32: the same numbers on every machine for a seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  };
}

/** Floats in [-1, 1), integers 0 or 1 (masks, token types, and indices of any table), booleans. */
export function randomTensor(type: TensorType, dims: ReadonlyMap<string, number>, next: () => number): Tensor {
  const shape = type.shape.map((dim) => evaluateDim(dim, dims));
  const isFloat = type.dtype === 'f32' || type.dtype === 'f16';
  const values = Array.from({ length: elementCount(shape) }, () => (isFloat ? 2 * next() - 1 : Math.floor(2 * next())));
  return tensorOf(type.dtype, shape, values, isFloat ? 'f64' : 'f32');
}

export type Sizes = Readonly<Record<string, number>>;

/** Results of a graph of `program` on inputs and weights made from the seed. */
export function runSeeded(program: Program, graph: Graph, sizes: Sizes, seed: number): Map<string, Tensor> {
  const dims = new Map(Object.entries(sizes));
  const next = randomNumbers(seed);
  const weights = new Map(program.weights.map(({ path, type }) => [path, randomTensor(type, dims, next)]));
  const entry = program.entries[0];
  const inputs = new Map(entry?.parameters.map(({ name, type }) => [name, randomTensor(type, dims, next)]));
  return interpretGraph(graph, {
    inputs,
    dims,
    precision: 'f64',
    weight(path) {
      const tensor = weights.get(path);
      if (!tensor) throw new Error(`no weight ${path}`);
      return tensor;
    },
  });
}

/**
 * Greatest difference of any result element between two graphs of one program; NaN only matches NaN. Infinite when the
 * results are not of the same names and shapes.
 */
export function difference(program: Program, left: Graph, right: Graph, sizes: Sizes, seed: number): number {
  const a = runSeeded(program, left, sizes, seed);
  const b = runSeeded(program, right, sizes, seed);
  if ([...a.keys()].join() !== [...b.keys()].join()) return Number.POSITIVE_INFINITY;
  let greatest = 0;
  for (const [name, tensor] of a) {
    const other = b.get(name);
    if (!other || other.shape.join() !== tensor.shape.join()) return Number.POSITIVE_INFINITY;
    tensor.data.forEach((value, at) => {
      const twin = other.data[at] ?? Number.NaN;
      if (Object.is(value, twin) || value === twin) return;
      const gap = Math.abs(value - twin);
      greatest = Math.max(greatest, Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap);
    });
  }
  return greatest;
}
