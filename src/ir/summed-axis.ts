/**
 * Along which axis what reads a matrix sums: number formats group numbers that are summed together.
 */
import type { Graph, Value } from './graph.ts';
import { numbersOf, stringsOf } from './ops/shared.ts';
import { constantValue, productOfDims } from './symbolic.ts';
import type { TensorType } from './types.ts';

/** Axes of a weight by the axes of a view of it, as far as views permute and repeat. */
type Axes = readonly number[];

const none = -1;

function viewed(value: Value, axes: Axes): Axes | undefined {
  const [source] = value.node.inputs;
  // What is repeated along new axes (`matmul` over a batch) has none of the weight's there.
  if (value.node.op === 'broadcast' && source)
    return [...Array.from({ length: value.type.shape.length - source.type.shape.length }, () => none), ...axes];
  if (value.node.op !== 'transpose') return undefined;
  return numbersOf(value.node.attributes, 'permutation').map((axis) => axes[axis] ?? axis);
}

/** Paths of the matrices [inputs, outputs]: some product sums over axis 0, and nothing looks rows up or sums over axis 1. */
export function transposedMatrices(graphs: readonly Graph[]): ReadonlySet<string> {
  const first = new Set<string>();
  const others = new Set<string>();
  for (const graph of graphs) {
    const seen = new Map<Value, { readonly paths: readonly string[]; readonly axes: Axes }>();
    for (const node of graph.nodes) {
      const [output] = node.outputs;
      if (node.op === 'weight' && output?.type.shape.length === 2) {
        seen.set(output, { paths: stringsOf(node.attributes, 'paths'), axes: [0, 1] });
      }
      for (const [at, input] of node.inputs.entries()) {
        const source = seen.get(input);
        if (source === undefined) continue;
        const view = output && viewed(output, source.axes);
        if (view && output) seen.set(output, { ...source, axes: view });
        const summed =
          node.op === 'linear' && at === 1
            ? [1]
            : node.op === 'dot_general'
              ? numbersOf(node.attributes, at === 0 ? 'lhs_contract' : 'rhs_contract')
              : node.op === 'gather' && at === 0
                ? [1]
                : [];
        for (const axis of summed) {
          if (source.axes[axis] === none) continue;
          const set = source.axes[axis] === 0 ? first : others;
          for (const path of source.paths) set.add(path);
        }
      }
    }
  }
  return new Set([...first].filter((path) => !others.has(path)));
}

/** How many numbers of a weight a product sums over for one output; undefined where a size is not known. */
export function inputsOf({ shape }: TensorType, isTransposed: boolean): number | undefined {
  const axes = isTransposed ? shape.slice(0, 1) : shape.slice(1);
  return constantValue(productOfDims(axes));
}
