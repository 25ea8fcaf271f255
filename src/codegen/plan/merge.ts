/**
 * Kernels of several nodes as the region of one: what one of them stored for the other is computed inside.
 */
import { type Graph, GraphBuilder, type Node, type Result, type Value } from '../../ir/graph.ts';
import { copyNode, regionInputs } from '../../passes/pass.ts';
import { unreachable } from '../../support/error.ts';

export interface MergedRegion {
  readonly region: Graph;
  /** Operands, in the order of the region's inputs. */
  readonly inputs: readonly Value[];
  /** The value inside that stands for an output of one of the nodes. */
  inside(output: Value): Value;
}

/**
 * @param nodes in order: each may read what those before it give
 * @param results names and outputs of the nodes that the region gives
 */
export function mergeRegions(nodes: readonly Node[], results: readonly Result[]): MergedRegion {
  const builder = new GraphBuilder();
  const known = new Map<Value, Value>();
  const { reads: inputs, read: inside } = regionInputs(builder, known);
  for (const node of nodes) {
    const region = node.region ?? unreachable('a kernel without a region');
    const copies = new Map<Value, Value>();
    const copyOf = (value: Value) => copies.get(value) ?? unreachable('regions are in order');
    for (const inner of region.nodes) {
      if (inner.op === 'input') {
        const outer = node.inputs[region.inputs.indexOf(inner)] ?? unreachable('a region input without a value');
        for (const output of inner.outputs) copies.set(output, inside(outer));
        continue;
      }
      const copy = copyNode(builder, inner, inner.inputs.map(copyOf));
      inner.outputs.forEach((output, at) => {
        copies.set(output, copy.outputs[at] ?? unreachable('copies have the same outputs'));
      });
    }
    node.outputs.forEach((output, at) => {
      const result = region.results[at] ?? unreachable('an output without a result');
      known.set(output, copyOf(result.value));
    });
  }
  const own = results.map(({ name, value }) => ({ name, value: inside(value) }));
  return { region: builder.finish('region', own), inputs, inside };
}
