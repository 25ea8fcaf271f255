/**
 * Writing a program anew with the sizes that remain when units are taken out.
 */
import { createEmitter } from '../../ir/emit.ts';
import {
  type Graph,
  GraphBuilder,
  type Node,
  onlyOutput,
  type Program,
  type Value,
  type Weight,
} from '../../ir/graph.ts';
import type { InferContext } from '../../ir/op.ts';
import { inferOp } from '../../ir/ops/index.ts';
import type { UnitConstant } from '../../ir/pruning.ts';
import { constantDim } from '../../ir/symbolic.ts';
import { sameType, type TensorType, tensorType } from '../../ir/types.ts';
import { InternalError, unreachable } from '../../support/error.ts';
import { definitionOf, hasTrait } from '../pass.ts';
import type { Cell, Places } from './places.ts';
import type { FoundSet } from './sets.ts';

/** Units of one set along an axis. */
interface Cut {
  readonly units: Int32Array;
  readonly count: number;
  readonly keep: number;
}

type Cuts = ReadonlyMap<Cell, ReadonlyMap<number, readonly Cut[]>>;

function cutsOf(sets: readonly FoundSet[]): Cuts {
  const cuts = new Map<Cell, Map<number, Cut[]>>();
  for (const { set, labels } of sets) {
    for (const [cell, axes] of labels) {
      const own = cuts.get(cell) ?? new Map<number, Cut[]>();
      for (const [axis, units] of axes) {
        const { count, keep } = set;
        own.set(axis, [...(own.get(axis) ?? []), { units, count, keep }]);
      }
      cuts.set(cell, own);
    }
  }
  return cuts;
}

/** How many of the first `length` indices remain. */
function remaining(cuts: readonly Cut[], length: number): number {
  let rest = length;
  for (const { units, count, keep } of cuts) {
    let inUnits = 0;
    for (let index = 0; index < length; index++) if ((units[index] ?? -1) >= 0) inUnits++;
    rest -= (inUnits * (count - keep)) / count;
  }
  return Number.isInteger(rest) ? rest : unreachable('units of different sizes');
}

class Shrinking {
  readonly #places: Places;
  readonly #cuts: Cuts;
  readonly #constants: ReadonlyMap<Cell, UnitConstant>;
  readonly #context: InferContext;

  constructor(places: Places, sets: readonly FoundSet[], context: InferContext) {
    this.#places = places;
    this.#cuts = cutsOf(sets);
    this.#constants = new Map(sets.flatMap(({ constants }) => [...constants]));
    this.#context = context;
  }

  typeOf(cell: Cell, type: TensorType): TensorType {
    const axes = this.#cuts.get(cell);
    if (!axes) return type;
    const shape = type.shape.map((dim, axis) => {
      const cuts = axes.get(axis);
      const [first] = cuts ?? [];
      return cuts && first ? constantDim(remaining(cuts, first.units.length)) : dim;
    });
    return { dtype: type.dtype, shape };
  }

  graph(graph: Graph): Graph {
    const builder = new GraphBuilder();
    const values = new Map<Value, Value>();
    const mapped = (value: Value): Value => values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`);
    for (const node of graph.nodes) {
      const outputs = this.#constant(builder, node) ?? this.#node(builder, node, node.inputs.map(mapped));
      node.outputs.forEach((output, at) => {
        values.set(output, outputs[at] ?? unreachable('a node lost an output'));
      });
    }
    const results = graph.results.map(({ name, value }) => ({ name, value: mapped(value) }));
    return builder.finish(graph.name, results);
  }

  /** A constant with a number per unit: a tensor of the file from now on. */
  #constant(builder: GraphBuilder, node: Node): readonly Value[] | undefined {
    const [output] = node.outputs;
    const cell = output && this.#places.of(output);
    const constant = cell && this.#constants.get(cell);
    if (!output || !cell || !constant) return undefined;
    const emitter = createEmitter(builder, this.#context, { span: node.span, label: constant.path });
    const type = this.typeOf(cell, { ...output.type, dtype: 'f32' });
    const leaf = emitter.weight([constant.path], type);
    return [output.type.dtype === 'f32' ? leaf : emitter.emit('cast', [leaf], { dtype: output.type.dtype })];
  }

  #node(builder: GraphBuilder, node: Node, inputs: readonly Value[]): readonly Value[] {
    const types = node.outputs.map((output) => this.typeOf(this.#places.of(output), output.type));
    const definition = definitionOf(node);
    const region = node.region && this.graph(node.region);
    const before = { inputs: node.inputs.map(({ type }) => type), outputs: node.outputs.map(({ type }) => type) };
    const after = { inputs: inputs.map(({ type }) => type), outputs: types };
    const isSame = [...before.inputs, ...before.outputs].every((type, at) =>
      sameType(type, [...after.inputs, ...after.outputs][at] ?? type),
    );
    const attributes = isSame
      ? node.attributes
      : (definition.resized?.(node.attributes, {
          before,
          after,
          remaining: (operand, axis, count) => {
            const value = node.inputs[operand] ?? unreachable(`no operand ${operand}`);
            return remaining(this.#cuts.get(this.#places.of(value))?.get(axis) ?? [], count);
          },
        }) ?? node.attributes);
    if (!isSame && !hasTrait(node, 'stated')) {
      const inferred = inferOp(definition, after.inputs, attributes, this.#context);
      const fits = !('failure' in inferred) && inferred.every((type, at) => sameType(type, types[at] ?? type));
      if (!fits) throw new InternalError(`\`${node.op}\` does not take the sizes that pruning leaves`);
    }
    const { span, label } = node;
    return builder.add(node.op, inputs, types, { attributes, ...(region ? { region } : {}), span, label }).outputs;
  }
}

/** The program without what the sets drop: which units they are is decided by the weights that are loaded. */
export function shrink(program: Program, places: Places, sets: readonly FoundSet[]): Program {
  const shrinking = new Shrinking(places, sets, { ranges: program.dims });
  const cells = new Map(places.named().map((cell) => [cell.weight ?? cell.state ?? '', cell]));
  const byTie = (weight: Weight) => cells.get(weight.tied ?? weight.path);
  const constants = new Map(
    sets.flatMap(({ constants: own }) => [...own].map(([cell, one]) => [one.path, cell] as const)),
  );
  const added = [...constants].map(([path, cell]): Weight => {
    const { shape } = shrinking.typeOf(cell, cell.type);
    return { path, type: tensorType('f32', shape), span: cell.node.span, doc: undefined };
  });
  const weights = program.weights.map((weight) => {
    const cell = byTie(weight);
    return cell ? { ...weight, type: shrinking.typeOf(cell, weight.type) } : weight;
  });
  const states = program.states.map((state) => {
    const cell = cells.get(state.path);
    const width = cell && shrinking.typeOf(cell, onlyOutput(cell.node).type).shape.at(-1);
    return width ? { ...state, width: Number(width.key) } : state;
  });
  const { train } = program;
  const frozen = new Set([...(train?.frozen ?? []), ...constants.keys()]);
  return {
    ...program,
    weights: [...weights, ...added],
    states,
    entries: program.entries.map((entry) => ({ ...entry, graph: shrinking.graph(entry.graph) })),
    ...(train ? { train: { ...train, loss: shrinking.graph(train.loss), frozen } } : {}),
    pruned: { sets: [...(program.pruned?.sets ?? []), ...sets.map(({ set }) => set)] },
  };
}
