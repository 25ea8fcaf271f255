/**
 * What is legal about kernels that write states in place: nobody reads the old value behind them, and they themselves read
 * what they overwrite only at the index at which they write.
 */
import type { Graph, Node } from './graph.ts';
import { hasTrait, ops } from './ops/index.ts';

/** Which operand an op overwrites. */
function target(node: Node): { readonly operand: number; readonly node: Node } | undefined {
  const operand = ops.get(node.op)?.updates;
  const overwritten = operand === undefined ? undefined : node.inputs[operand]?.node;
  return operand === undefined || !overwritten ? undefined : { operand, node: overwritten };
}

/** Region inputs that results are written over. */
function overwrittenInputs(region: Graph): ReadonlySet<Node> {
  return new Set(region.results.flatMap(({ value }) => target(value.node)?.node ?? []));
}

function regionProblems(node: Node, region: Graph): readonly string[] {
  const written = overwrittenInputs(region);
  if (written.size === 0) return [];
  const seen = { here: new Set<Node>(), elsewhere: new Set<Node>() };
  const isFine = (inner: Node, isHere: boolean): boolean => {
    if (written.has(inner)) return isHere;
    const visited = seen[isHere ? 'here' : 'elsewhere'];
    if (visited.has(inner)) return true;
    visited.add(inner);
    const own = target(inner);
    if (own && !isHere) return false;
    const stays = isHere && hasTrait(inner, 'elementwise');
    return inner.inputs.every((input, operand) => operand === own?.operand || isFine(input.node, stays));
  };
  const fine = region.results.every(({ value }) => isFine(value.node, true));
  return fine ? [] : [`%${node.id} reads what it overwrites at another index`];
}

/** Sentences about a graph of kernels. */
export function updateProblems(graph: Graph): readonly string[] {
  /** By what they overwrite. */
  const writers = new Map<Node, Node>();
  return graph.nodes.flatMap((node) => {
    const { region } = node;
    if (!region || !hasTrait(node, 'region')) return [];
    const late = node.inputs.flatMap((input) => {
      const writer = writers.get(input.node);
      return writer ? [`%${node.id} reads %${input.node.id}, which %${writer.id} has overwritten`] : [];
    });
    for (const input of overwrittenInputs(region)) {
      const outer = node.inputs[region.inputs.indexOf(input)]?.node;
      if (outer) writers.set(outer, node);
    }
    return [...late, ...regionProblems(node, region)];
  });
}
