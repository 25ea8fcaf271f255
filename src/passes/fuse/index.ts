/**
 * Fusion: turns a graph of tensor-level nodes into a graph of kernels.
 *
 * Afterwards a graph holds only `input`, `weight`, `constant` and `fused` nodes; each fused node has a `skeleton` (which
 * kernel family writes it) and a region (what it computes). Which values lie in buffers is decided in materialize.ts.
 *
 * Kernels stand in an order in which every reader finds what it means: see order.ts.
 *
 * Not here: schedules, WGSL, buffers (src/codegen).
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import { type Diagnostic, diagnose } from '../../support/diagnostic.ts';
import { unreachable } from '../../support/error.ts';
import type { Span } from '../../support/source.ts';
import { copyNode, hasTrait } from '../pass.ts';
import type { Ranges } from './cheap.ts';
import { coneOf, coneOfAll } from './cone.ts';
import { bindingsOf, materialize, maxBindings } from './materialize.ts';
import { orderOf } from './order.ts';
import { separatePhases } from './phases.ts';
import { type Kernel, kernelOf } from './region.ts';
import { roleOf } from './roles.ts';
import { joinSiblings } from './siblings.ts';

export interface Fusion {
  readonly graph: Graph;
  /** How many nodes were taken into a kernel of another one. */
  readonly fired: number;
  readonly diagnostics: readonly Diagnostic[];
}

const nowhere: Span = { file: { path: '', text: '' }, start: 0, end: 0 };

function refusal(node: Node, entry: Span | undefined): Diagnostic {
  const reason =
    roleOf(node) === 'foreign'
      ? `no kernel computes \`${node.op}\` yet`
      : `one kernel of \`${node.op}\` reads too many buffers`;
  const code = roleOf(node) === 'foreign' ? 'SORA4001' : 'SORA4002';
  return diagnose(code, reason, node.span ?? entry ?? nowhere, {
    notes: [`a kernel binds at most ${maxBindings} buffers, the one that it writes included`],
  });
}

/**
 * @param entry where to point when the offending node has no place of its own
 * @param ranges of the dims; without them nothing counts as small
 */
export function fuse(given: Graph, entry?: Span, ranges?: Ranges): Fusion {
  const { graph, phaseOf } = separatePhases(given);
  const { stored, groups } = materialize(graph, phaseOf, ranges);
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value =>
    values.get(value) ?? unreachable(`a kernel reads an unstored \`${value.node.op}\``);
  /** `roots` are written by `to`, one output each. */
  const keep = (roots: readonly Node[], to: Node): void => {
    const outputs = roots.flatMap((root) => root.outputs);
    outputs.forEach((output, index) => {
      values.set(output, to.outputs[index] ?? unreachable('kernels have the outputs of their roots'));
    });
  };
  const write = (kernel: Kernel, reads: readonly Value[]): Node =>
    builder.add(
      'fused',
      reads,
      kernel.roots.flatMap((root) => root.outputs.map((output) => output.type)),
      {
        attributes: { skeleton: kernel.skeleton },
        region: kernel.region,
        span: kernel.subject.span ?? kernel.root.span,
        label: kernel.subject.label ?? kernel.root.label,
      },
    );

  const diagnostics: Diagnostic[] = [];
  const effects = graph.nodes.filter((node) => hasTrait(node, 'effect'));
  const needed = new Set<Node>([...graph.results.map((result) => result.value.node), ...effects]);
  const kernels = new Map<Node, Kernel>();
  for (const node of [...graph.nodes].reverse()) {
    if (!stored.has(node) || !needed.has(node)) continue;
    const roots = groups.find((group) => group.includes(node)) ?? [node];
    // A kernel of several stands in the graph where the last of them stands.
    if (roots.at(-1) !== node) continue;
    const cone = coneOfAll(roots, node, isStored);
    const kernel = kernelOf(cone);
    if (!kernel || bindingsOf(cone) > maxBindings) diagnostics.push(refusal(node, entry));
    if (!kernel) continue;
    kernels.set(node, kernel);
    for (const read of kernel.reads) needed.add(read.node);
  }
  if (diagnostics.length > 0) return { graph, fired: 0, diagnostics };

  const placed = new Set<Node>();
  /** Inputs and other leaves stand where they stood, or earlier when a copy wants them. */
  const placeLeaf = (node: Node): void => {
    const isLeaf = node.op === 'input' || (needed.has(node) && roleOf(node) === 'stored');
    if (!isLeaf || placed.has(node)) return;
    placed.add(node);
    keep([node], copyNode(builder, node, []));
  };
  const copyOf = (value: Value): Value => {
    // A cone of nothing but its root is a plain copy.
    const copy = kernelOf(coneOf(value.node, () => true)) ?? unreachable('anything can be copied');
    const [output] = write(copy, copy.reads.map(mapped)).outputs;
    return output ?? unreachable('a copy has an output');
  };
  const order = orderOf(graph.nodes.flatMap((node) => kernels.get(node) ?? []));
  const before = new Map<Node, Value>();
  for (const leaf of order.copies) {
    placeLeaf(leaf);
    for (const output of leaf.outputs) before.set(leaf, copyOf(output));
  }
  // A result that is overwritten later is what was there before.
  const results = new Map<Value, Value>();
  for (const { value } of graph.results) {
    if (!order.isOverwritten(value.node)) continue;
    placeLeaf(value.node);
    results.set(value, copyOf(value));
  }
  const positions = new Map(graph.nodes.map((node, at) => [node, at]));
  let placedUpTo = 0;
  for (const kernel of order.units) {
    const position = positions.get(kernel.root) ?? 0;
    for (const node of graph.nodes.slice(placedUpTo, position)) placeLeaf(node);
    placedUpTo = Math.max(placedUpTo, position);
    const read = (value: Value) => (order.readsCopy(kernel, value.node) ? before.get(value.node) : undefined);
    keep(
      kernel.roots,
      write(
        kernel,
        kernel.reads.map((value) => read(value) ?? mapped(value)),
      ),
    );
  }
  for (const node of graph.nodes.slice(placedUpTo)) placeLeaf(node);
  // A result must be written by somebody: what only lies there is copied.
  const resultOf = (value: Value): Value => {
    const known = results.get(value) ?? mapped(value);
    return known.node.op === 'fused' ? known : copyOf(value);
  };
  const named = graph.results.map(({ name, value }) => ({ name, value: resultOf(value) }));
  const fired = [...kernels.values()].reduce((sum, { region, roots }) => sum + computed(region) - roots.length, 0);
  const siblings = joinSiblings(builder.finish(graph.name, named));
  return { graph: siblings.graph, fired: fired + siblings.fired, diagnostics };
}

function computed(region: Graph): number {
  return region.nodes.filter((node) => node.op !== 'input').length;
}
