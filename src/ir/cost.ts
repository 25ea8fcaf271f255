/**
 * What a graph costs for given dims: arithmetic, and bytes that cross memory if every node reads its operands and writes
 * its results once. A region keeps its intermediates in registers, so only its operands and results count.
 *
 * An estimate for choosing and reporting, not a prediction of time: every scalar function counts as one operation.
 */
import { decomposeNode } from './emit.ts';
import type { Graph, Node, Value } from './graph.ts';
import { concreteShape } from './interpret.ts';
import { hasTrait, opNamed } from './ops/index.ts';
import { elementCount } from './tensor.ts';
import type { DType } from './types.ts';

export interface Cost {
  /** Multiplications and additions count separately. */
  readonly flops: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** In device memory. */
const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, f16: 2, i32: 4, u32: 4, bool: 4 };

type Dims = ReadonlyMap<string, number>;

function shapeOf(value: Value, dims: Dims): number[] {
  return concreteShape(value.type, dims);
}

function bytesOf(values: readonly Value[], dims: Dims): number {
  return values.reduce((sum, value) => sum + elementCount(shapeOf(value, dims)) * bytesPerElement[value.type.dtype], 0);
}

/** Elements that a node reads of each operand. What a region reads of an operand is the most that a reader inside reads. */
function elementsRead(node: Node, dims: Dims): readonly number[] {
  const inputs = node.inputs.map((value) => shapeOf(value, dims));
  const { region } = node;
  if (region) {
    return inputs.map((shape, at) => {
      const operand = region.inputs[at]?.outputs[0];
      const readers = region.nodes.filter((inner) => operand && inner.inputs.includes(operand));
      const counts = readers.flatMap((inner) =>
        elementsRead(inner, dims).filter((_, index) => inner.inputs[index] === operand),
      );
      return counts.length === 0 ? elementCount(shape) : Math.max(...counts);
    });
  }
  const outputs = node.outputs.map((value) => shapeOf(value, dims));
  return opNamed(node.op).elementsRead?.(inputs, outputs) ?? inputs.map(elementCount);
}

function bytesRead(node: Node, dims: Dims): number {
  const counts = elementsRead(node, dims);
  return node.inputs.reduce((sum, value, at) => sum + (counts[at] ?? 0) * bytesPerElement[value.type.dtype], 0);
}

function flopsOf(node: Node, dims: Dims): number {
  const definition = opNamed(node.op);
  if (node.region && hasTrait(node, 'region')) return graphFlops(node.region, dims);
  const inputs = node.inputs.map((value) => shapeOf(value, dims));
  const outputs = node.outputs.map((value) => shapeOf(value, dims));
  if (definition.flops) return definition.flops(inputs, outputs, node.attributes);
  if (hasTrait(node, 'leaf') || hasTrait(node, 'movement')) return 0;
  if (definition.level === 'model') {
    const lower = decomposeNode(node, { ranges: new Map() });
    return lower ? graphFlops(lower, dims) : 0;
  }
  return elementCount((hasTrait(node, 'reduction') ? inputs[0] : outputs[0]) ?? []);
}

function graphFlops(graph: Graph, dims: Dims): number {
  return graph.nodes.reduce((sum, node) => sum + flopsOf(node, dims), 0);
}

/** A node that writes into the buffer of an operand writes part of its result. */
function bytesWritten(node: Node, dims: Dims): number {
  const writer = node.region?.results[0]?.value.node ?? node;
  const written = opNamed(writer.op).elementsWritten?.(writer.inputs.map((value) => shapeOf(value, dims)));
  const [output] = node.outputs;
  return written === undefined || !output ? bytesOf(node.outputs, dims) : written * bytesPerElement[output.type.dtype];
}

/** Inputs, weights and constants lie in memory already: reading them is counted where they are used. */
export function costOfNode(node: Node, dims: Dims): Cost {
  const isStored = hasTrait(node, 'stated') && hasTrait(node, 'leaf');
  return {
    flops: flopsOf(node, dims),
    bytesRead: bytesRead(node, dims),
    bytesWritten: isStored || node.op === 'constant' ? 0 : bytesWritten(node, dims),
  };
}

export function costOfGraph(graph: Graph, dims: Dims): Cost {
  const costs = graph.nodes.map((node) => costOfNode(node, dims));
  const total = (pick: (cost: Cost) => number) => costs.reduce((sum, cost) => sum + pick(cost), 0);
  return {
    flops: total((cost) => cost.flops),
    bytesRead: total((cost) => cost.bytesRead),
    bytesWritten: total((cost) => cost.bytesWritten),
  };
}
