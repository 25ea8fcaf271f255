/**
 * Weights of the artifact: one per distinct `weight` node, with the layout that its readers like.
 */
import type { Node, Program } from '../../ir/graph.ts';
import { numbersOf, stringsOf } from '../../ir/ops/shared.ts';
import { constantValue, type Dim } from '../../ir/symbolic.ts';
import type { WeightLayout, WeightSpec } from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import { panelWidth } from './schedules.ts';

const rowMajor: WeightLayout = { kind: 'row-major' };

export function weightKey(node: Node): string {
  return stringsOf(node.attributes, 'paths').join('\n');
}

function numbers(shape: readonly Dim[]): readonly number[] {
  return shape.map((dim) => constantValue(dim) ?? unreachable(`a weight of shape \`${dim.key}\``));
}

/** Whether a fused node reads an operand only as the [N, K] side of products that sum over K. */
function isColumnOperand(node: Node, operand: number): boolean {
  const input = node.region?.inputs[operand];
  const value = input?.outputs[0];
  if (value === undefined || value.type.shape.length !== 2) return false;
  const users = node.region?.nodes.filter((user) => user.inputs.includes(value)) ?? [];
  const asColumns = (user: Node) =>
    user.op === 'dot_general' &&
    user.inputs[1] === value &&
    user.inputs[0] !== value &&
    numbersOf(user.attributes, 'rhs_contract').join() === '1' &&
    numbersOf(user.attributes, 'rhs_batch').length === 0;
  const isResult = node.region?.results.some((result) => result.value === value) ?? false;
  return users.length > 0 && users.every(asColumns) && !isResult;
}

export interface WeightTable {
  readonly specs: readonly WeightSpec[];
  /** Index of a `weight` node's spec. */
  indexOf(node: Node): number;
}

/** All weights that some kernel reads, in the order of the program's declarations. */
export function weightTable(program: Program, perProfile: readonly Program[]): WeightTable {
  const nodes = new Map<string, Node>();
  const inPanels = new Map<string, boolean>();
  for (const graph of perProfile.flatMap((profile) => profile.entries.map((entry) => entry.graph))) {
    for (const node of graph.nodes) if (node.op === 'weight') nodes.set(weightKey(node), node);
    for (const node of graph.nodes) {
      for (const [operand, value] of node.inputs.entries()) {
        if (value.node.op !== 'weight') continue;
        const key = weightKey(value.node);
        inPanels.set(key, (inPanels.get(key) ?? true) && isColumnOperand(node, operand));
      }
    }
    for (const { value } of graph.results) if (value.node.op === 'weight') inPanels.set(weightKey(value.node), false);
  }
  const declared = new Map(program.weights.map((weight, at) => [weight.path, { weight, at }]));
  const order = (node: Node) => declared.get(stringsOf(node.attributes, 'paths')[0] ?? '')?.at ?? 0;
  const sorted = [...nodes].sort(([a, left], [b, right]) => order(left) - order(right) || (a < b ? -1 : 1));
  const specs = sorted.map(([key, node]): WeightSpec => {
    const type = node.outputs[0]?.type ?? unreachable('a weight without a type');
    const paths = stringsOf(node.attributes, 'paths');
    const sources = paths.map((path) => {
      const own = declared.get(path)?.weight;
      const source = { path, shape: numbers(own?.type.shape ?? type.shape) };
      return own?.tied === undefined ? source : { ...source, tied: own.tied };
    });
    const layout: WeightLayout = inPanels.get(key) === true ? { kind: 'panels', width: panelWidth } : rowMajor;
    return { sources, shape: numbers(type.shape), dtype: type.dtype, layout };
  });
  const index = new Map(sorted.map(([key], at) => [key, at]));
  return { specs, indexOf: (node) => index.get(weightKey(node)) ?? unreachable(`no weight ${weightKey(node)}`) };
}
