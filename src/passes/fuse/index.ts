/**
 * Fusion: turns a graph of tensor-level nodes into a graph of kernels.
 *
 * Afterwards a graph holds only `input`, `weight`, `constant` and `fused` nodes; each fused node has a `skeleton` (which
 * kernel family writes it) and a region (what it computes). Which values lie in buffers is decided in materialize.ts.
 *
 * Not here: schedules, WGSL, buffers (src/codegen).
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import { type Diagnostic, diagnose } from '../../support/diagnostic.ts';
import { unreachable } from '../../support/error.ts';
import type { Span } from '../../support/source.ts';
import { copyNode, hasTrait } from '../pass.ts';
import { coneOf } from './cone.ts';
import { materialize, maxBindings } from './materialize.ts';
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

/** @param entry where to point when the offending node has no place of its own */
export function fuse(graph: Graph, entry?: Span): Fusion {
  const stored = materialize(graph);
  const isStored = (node: Node) => stored.has(node) || roleOf(node) === 'stored';
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value =>
    values.get(value) ?? unreachable(`a kernel reads an unstored \`${value.node.op}\``);
  const keep = (from: Node, to: Node): void => {
    from.outputs.forEach((output, index) => {
      values.set(output, to.outputs[index] ?? unreachable('kernels have the outputs of their root'));
    });
  };
  const write = (node: Node, kernel: Kernel): Node =>
    builder.add(
      'fused',
      kernel.reads.map(mapped),
      node.outputs.map((output) => output.type),
      {
        attributes: { skeleton: kernel.skeleton },
        region: kernel.region,
        span: kernel.subject.span ?? node.span,
        label: kernel.subject.label ?? node.label,
      },
    );

  const diagnostics: Diagnostic[] = [];
  const effects = graph.nodes.filter((node) => hasTrait(node, 'effect'));
  const needed = new Set<Node>([...graph.results.map((result) => result.value.node), ...effects]);
  const kernels = new Map<Node, Kernel>();
  for (const node of [...graph.nodes].reverse()) {
    if (!stored.has(node) || !needed.has(node)) continue;
    const kernel = kernelOf(coneOf(node, isStored));
    if (!kernel || kernel.reads.length >= maxBindings) diagnostics.push(refusal(node, entry));
    if (!kernel) continue;
    kernels.set(node, kernel);
    for (const read of kernel.reads) needed.add(read.node);
  }
  if (diagnostics.length > 0) return { graph, fired: 0, diagnostics };

  for (const node of graph.nodes) {
    const kernel = kernels.get(node);
    if (kernel) keep(node, write(node, kernel));
    else if (node.op === 'input' || (needed.has(node) && roleOf(node) === 'stored'))
      keep(node, copyNode(builder, node, []));
  }
  const results = graph.results.map((result) => {
    const value = mapped(result.value);
    if (value.node.op === 'fused') return { name: result.name, value };
    // A result must be written by somebody: copy what only lies there.
    const copy = kernelOf(coneOf(result.value.node, () => true)) ?? unreachable('anything can be copied');
    const [output] = write(result.value.node, copy).outputs;
    return { name: result.name, value: output ?? unreachable('a copy has an output') };
  });
  const fired = [...kernels.values()].reduce((sum, { region }) => sum + computed(region) - 1, 0);
  const siblings = joinSiblings(builder.finish(graph.name, results));
  return { graph: siblings.graph, fired: fired + siblings.fired, diagnostics };
}

function computed(region: Graph): number {
  return region.nodes.filter((node) => node.op !== 'input').length;
}
