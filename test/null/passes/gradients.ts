/**
 * Gradients of graphs with a scalar result `loss` against central differences in f64.
 */
import { expect } from 'vitest';
import type { Graph } from '../../../src/ir/graph.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { isFloat } from '../../../src/ir/types.ts';
import { assertVerified } from '../../../src/ir/verify.ts';
import { differentiate } from '../../../src/passes/autodiff.ts';
import { noRanges, runGraph } from '../ir/support.ts';

/** Central differences of a smooth function in f64: the error of the formula is about step², of rounding 1e-16 / step. */
const step = 1e-5;

type Tensors = Readonly<Record<string, Tensor>>;

/** The loss and its gradients with respect to the float inputs, `gradient:NAME`, but for those in `fixed`. */
export function gradientsOf(graph: Graph, inputs: Tensors, fixed: readonly string[] = []): Map<string, Tensor> {
  const wrt = new Map(
    graph.inputs.flatMap((node) => {
      const name = String(node.attributes.name);
      const isWanted = !fixed.includes(name) && isFloat(node.outputs[0]?.type.dtype ?? 'i32');
      return isWanted ? [[node, `gradient:${name}`] as const] : [];
    }),
  );
  const differentiated = differentiate(graph, noRanges, { loss: 'loss', wrt });
  assertVerified(differentiated.graph, noRanges, { stage: 'model' });
  return runGraph(differentiated.graph, inputs, 'f64');
}

export function lossAt(graph: Graph, inputs: Tensors): number {
  return runGraph(graph, inputs, 'f64').get('loss')?.data[0] ?? Number.NaN;
}

/** The greatest |numeric - analytic| over 1 + |analytic|, over all elements of all float inputs. */
export function worstGap(graph: Graph, inputs: Tensors, fixed: readonly string[] = []): number {
  let worst = 0;
  for (const [name, gradient] of gradientsOf(graph, inputs, fixed)) {
    const tensor = inputs[name.slice('gradient:'.length)];
    if (!name.startsWith('gradient:') || !tensor) continue;
    expect(gradient.shape).toEqual(tensor.shape);
    for (let at = 0; at < tensor.data.length; at++) {
      const before = tensor.data[at] ?? 0;
      tensor.data[at] = before + step;
      const above = lossAt(graph, inputs);
      tensor.data[at] = before - step;
      const below = lossAt(graph, inputs);
      tensor.data[at] = before;
      const own = gradient.data[at] ?? Number.NaN;
      const gap = Math.abs((above - below) / (2 * step) - own) / (1 + Math.abs(own));
      worst = Math.max(worst, Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap);
    }
  }
  return worst;
}
