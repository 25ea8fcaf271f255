/**
 * All values of a program by what they are: readings of one tensor of the checkpoint, or of one state, are one *cell*,
 * whichever entry reads it. And which nodes touch a cell.
 */
import type { Graph, Node, Program, Value } from '../../ir/graph.ts';
import type { AxisRun } from '../../ir/op.ts';
import { alongside } from '../../ir/ops/axes.ts';
import { stringOf, stringsOf } from '../../ir/ops/shared.ts';
import { constantValue } from '../../ir/symbolic.ts';
import type { TensorType } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import { definitionOf, hasTrait } from '../pass.ts';

export interface Cell {
  readonly type: TensorType;
  /** The node that gives it, in one of the graphs. */
  readonly node: Node;
  /** Of a tensor of the checkpoint. */
  readonly weight: string | undefined;
  readonly state: string | undefined;
  /** Why its shape cannot change: it is what callers give or get. */
  fixed: string | undefined;
  /** Nodes that read or give it. */
  readonly touching: Set<Node>;
}

export function sizeOf(cell: Cell, axis: number): number | undefined {
  const dim = cell.type.shape[axis];
  return dim && constantValue(dim);
}

/** Sets of runs that are the same features, as the node's op says. */
export function runsOf(node: Node): readonly (readonly AxisRun[])[] {
  const definition = definitionOf(node);
  const [inputs, outputs] = [node.inputs, node.outputs].map((values) => values.map(({ type }) => type));
  if (!inputs || !outputs) return [];
  if (definition.axes) return definition.axes(inputs, outputs, node.attributes);
  return hasTrait(node, 'elementwise') ? alongside(inputs, outputs) : [];
}

export class Places {
  readonly #cells = new Map<Value, Cell>();
  readonly #byName = new Map<string, Cell>();
  readonly #ties: ReadonlyMap<string, string>;
  readonly #runs = new Map<Node, readonly (readonly AxisRun[])[]>();
  /** Nodes of all graphs, in order. */
  readonly nodes: Node[] = [];

  constructor(program: Program) {
    this.#ties = new Map(program.weights.flatMap(({ path, tied }) => (tied === undefined ? [] : [[path, tied]])));
    const { train } = program;
    for (const { graph } of program.entries) this.#read(graph, true);
    if (train) this.#read(train.loss, true);
  }

  of(value: Value): Cell {
    return this.#cells.get(value) ?? unreachable(`a value of \`${value.node.op}\` is in no graph`);
  }

  /** The cell that a run lies in; undefined when the node has no such value. */
  at(node: Node, { of, at }: AxisRun): Cell | undefined {
    const value =
      of === 'operand'
        ? node.inputs[at]
        : of === 'result'
          ? node.outputs[at]
          : of === 'inner'
            ? node.region?.inputs[at]?.outputs[0]
            : node.region?.results[at]?.value;
    return value && this.of(value);
  }

  runs(node: Node): readonly (readonly AxisRun[])[] {
    const known = this.#runs.get(node);
    if (known) return known;
    const runs = runsOf(node);
    this.#runs.set(node, runs);
    return runs;
  }

  /** Cells of tensors of the checkpoint and of states. */
  named(): readonly Cell[] {
    return [...this.#byName.values()];
  }

  #read(graph: Graph, isOutermost: boolean): void {
    for (const node of graph.nodes) {
      if (node.region) this.#read(node.region, false);
      for (const output of node.outputs) this.#add(output);
      if (isOutermost && node.op === 'input')
        for (const output of node.outputs)
          this.of(output).fixed = `the parameter \`${stringOf(node.attributes, 'name')}\``;
      this.nodes.push(node);
      const { region } = node;
      const inner = region
        ? [...region.inputs.flatMap(({ outputs }) => outputs), ...region.results.map((one) => one.value)]
        : [];
      for (const value of [...node.inputs, ...node.outputs, ...inner]) this.of(value).touching.add(node);
    }
    if (isOutermost) for (const { name, value } of graph.results) this.of(value).fixed ??= `the result \`${name}\``;
  }

  #add(value: Value): void {
    const { node, type } = value;
    const path = node.op === 'weight' ? stringsOf(node.attributes, 'paths')[0] : undefined;
    const weight = path === undefined ? undefined : (this.#ties.get(path) ?? path);
    const state = node.op === 'state' ? stringOf(node.attributes, 'path') : undefined;
    const name = weight !== undefined ? `weight ${weight}` : state !== undefined ? `state ${state}` : undefined;
    const known = name === undefined ? undefined : this.#byName.get(name);
    const cell = known ?? { type, node, weight, state, fixed: undefined, touching: new Set<Node>() };
    if (name !== undefined) this.#byName.set(name, cell);
    this.#cells.set(value, cell);
  }
}
