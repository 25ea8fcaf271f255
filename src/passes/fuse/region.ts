/**
 * Makes the `fused` node of a cone: its region graph and its inputs.
 *
 * The region is built by a walk from the root, so two cones of the same structure give the same region text, whatever
 * stood between their nodes in the model: layers of a transformer share their kernels by this.
 */
import { type Graph, GraphBuilder, type Node, type Value } from '../../ir/graph.ts';
import { unreachable } from '../../support/error.ts';
import { copyNode, regionInputs } from '../pass.ts';
import { type Cone, skeletonOf } from './cone.ts';
import { outputOf, roleOf } from './roles.ts';

export interface Kernel {
  readonly skeleton: string;
  readonly region: Graph;
  /** Values of the outer graph, in the order of the region's inputs `i0`, `i1`, … */
  readonly reads: readonly Value[];
  /** The node that the kernel is about: the contraction, the first reduction, or the root. */
  readonly subject: Node;
  /** The stored nodes, in the order of the region's results, and the last of them. */
  readonly roots: readonly Node[];
  readonly root: Node;
}

/** Undefined when no kernel family takes the cone. */
export function kernelOf(cone: Cone): Kernel | undefined {
  const skeleton = skeletonOf(cone);
  if (skeleton === undefined) return undefined;
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const { reads, read } = regionInputs(builder, values);
  const compute = (node: Node): void => {
    const inputs = node.inputs.map((input) => {
      if (!cone.nodes.has(input.node)) return read(input);
      if (!values.has(input)) compute(input.node);
      return values.get(input) ?? unreachable('just computed');
    });
    // No labels inside: they would tell layers apart. The fused node carries one.
    const copy = copyNode(builder, { ...node, label: undefined }, inputs);
    node.outputs.forEach((output, index) => {
      values.set(output, copy.outputs[index] ?? unreachable('copies have the same outputs'));
    });
  };
  const results = cone.roots.map((node, at) => {
    // A cone whose root is stored already is a plain copy: an input that is returned as a result.
    const root = outputOf(node);
    if (roleOf(node) === 'stored') read(root);
    else if (!values.has(root)) compute(node);
    return { name: `o${at}`, value: values.get(root) ?? unreachable('roots are computed') };
  });
  const subject =
    [...cone.nodes].find((node) => roleOf(node) === 'anchor' || roleOf(node) === 'reduction') ?? cone.root;
  return { skeleton, region: builder.finish('region', results), reads, subject, roots: cone.roots, root: cone.root };
}
