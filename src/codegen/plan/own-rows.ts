/**
 * Which attentions write the new rows of their states themselves, instead of waiting for a dispatch that does
 * (wgsl/attention-update.ts): those that alone read them, together with what makes their query.
 */
import { type Node, type Result, usersOf, type Value } from '../../ir/graph.ts';
import { stringOf } from '../../ir/ops/shared.ts';
import { maxBindings } from '../../passes/index.ts';
import { underViews } from '../../passes/pass.ts';
import type { Kernel } from '../wgsl/kernel.ts';
import { mergeRegions } from './merge.ts';

export interface OwnRows {
  /** In order; a merged node has the outputs of the nodes that it stands for. */
  readonly nodes: readonly Node[];
  /** Of merged nodes. */
  readonly kernels: ReadonlyMap<Node, Kernel>;
}

const skeletonOf = (node: Node): string => stringOf(node.attributes, 'skeleton');

/** The operand that an attention's query is, under views. */
function queryOf(node: Node): Value | undefined {
  const { region } = node;
  const value = underViews(region?.nodes.find(({ op }) => op === 'attention')?.inputs[0]);
  return region && value?.node.op === 'input' ? node.inputs[region.inputs.indexOf(value.node)] : undefined;
}

/** One node for all of them, which are in order; the attention is the last. */
function merged(parts: readonly Node[], attention: Node): Node {
  const outputs = [attention, ...parts.filter((node) => skeletonOf(node) === 'append')].flatMap((node) => node.outputs);
  const results = outputs.map((value, at): Result => ({ name: `r${at}`, value }));
  const { region, inputs } = mergeRegions([...parts, attention], results);
  return { ...attention, inputs, outputs, region };
}

/**
 * @param isResult whether a value leaves the entry
 * @param kernelOf the kernel of a merged node; undefined when none can be written
 */
export function withOwnRows(
  nodes: readonly Node[],
  isResult: (value: Value) => boolean,
  kernelOf: (node: Node) => Kernel | undefined,
): OwnRows {
  const users = usersOf({ nodes });
  const isOnlyFor = (node: Node, reader: Node): boolean =>
    node.outputs.every((value) => {
      const [user, another] = users.get(value) ?? [];
      return !isResult(value) && user === reader && !another;
    });
  const kernels = new Map<Node, Kernel>();
  const placed = new Map<Node, Node | undefined>();
  for (const attention of nodes) {
    if (skeletonOf(attention) !== 'attention') continue;
    const query = queryOf(attention)?.node;
    const parts = nodes.filter((node) => {
      const isMeant = skeletonOf(node) === 'append' || (node === query && skeletonOf(node) === 'map');
      return isMeant && isOnlyFor(node, attention);
    });
    if (!parts.some((node) => skeletonOf(node) === 'append')) continue;
    const node = merged(parts, attention);
    const kernel = kernelOf(node);
    if (!kernel || kernel.text.bindings.length > maxBindings) continue;
    kernels.set(node, kernel);
    placed.set(attention, node);
    for (const part of parts) placed.set(part, undefined);
  }
  const kept = nodes.flatMap((node) => {
    const own = placed.has(node) ? placed.get(node) : node;
    return own ? [own] : [];
  });
  return { nodes: kept, kernels };
}
