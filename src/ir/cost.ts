/**
 * What a graph costs for given dims: arithmetic, and bytes that cross memory if every node reads its operands and writes
 * its results once. A region keeps its intermediates in registers, so only its operands and results count.
 *
 * An estimate for choosing and reporting, not a prediction of time: every scalar function counts as one operation.
 */
import { decomposeNode } from './emit.ts';
import type { Graph, Node, Value, Weight } from './graph.ts';
import { concreteShape } from './interpret.ts';
import { hasTrait, opNamed } from './ops/index.ts';
import { stringsOf } from './ops/shared.ts';
import { nmWords } from './pruning.ts';
import { constantValue } from './symbolic.ts';
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

/** Values of the runtime dims; for weights with number formats what an element of them takes, by path (`storedBytes`). */
type Dims = ReadonlyMap<string, number>;
export type WeightBytes = ReadonlyMap<string, number>;

/** What a whole weight takes, scales and zero points included. */
export function weightBytes({ type, format, sparse }: Weight): number {
  const sizes = type.shape.map((dim) => constantValue(dim) ?? 0);
  const elements = elementCount(sizes);
  if (sparse !== undefined) return (elements / sparse.of) * nmWords(sparse) * 4;
  if (format === undefined) return elements * bytesPerElement[type.dtype];
  if (format.kind === 'f16') return elements * 2;
  const rows = format.transposed === true ? (sizes.at(-1) ?? 1) : (sizes[0] ?? 1);
  const columns = rows === 0 ? 0 : elements / rows;
  const groups = rows * Math.max(1, Math.ceil(columns / (format.group ?? Math.max(1, columns))));
  const bits = format.kind === 'int8' ? 8 : 4;
  return rows * Math.ceil((columns * bits) / 8) + groups * (format.asymmetric === true ? 5 : 4);
}

/** What an element of each weight with a number format takes, in bytes: a share of its scale included. */
export function storedBytes(weights: readonly Weight[]): WeightBytes {
  const formatted = weights.filter(({ format, sparse }) => format !== undefined || sparse !== undefined);
  return new Map(
    formatted.map((weight) => {
      const elements = elementCount(weight.type.shape.map((dim) => constantValue(dim) ?? 0));
      return [weight.path, weightBytes(weight) / Math.max(1, elements)];
    }),
  );
}

function elementBytes({ node, type }: Value, stored: WeightBytes): number {
  const path = node.op === 'weight' ? stringsOf(node.attributes, 'paths')[0] : undefined;
  return (path === undefined ? undefined : stored.get(path)) ?? bytesPerElement[type.dtype];
}

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

function bytesRead(node: Node, dims: Dims, stored: WeightBytes): number {
  const counts = elementsRead(node, dims);
  return node.inputs.reduce((sum, value, at) => sum + (counts[at] ?? 0) * elementBytes(value, stored), 0);
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
export function costOfNode(node: Node, dims: Dims, stored: WeightBytes = new Map()): Cost {
  const isStored = hasTrait(node, 'stated') && hasTrait(node, 'leaf');
  return {
    flops: flopsOf(node, dims),
    bytesRead: bytesRead(node, dims, stored),
    bytesWritten: isStored || node.op === 'constant' ? 0 : bytesWritten(node, dims),
  };
}

export function costOfGraph(graph: Graph, dims: Dims, stored: WeightBytes = new Map()): Cost {
  const costs = graph.nodes.map((node) => costOfNode(node, dims, stored));
  const total = (pick: (cost: Cost) => number) => costs.reduce((sum, cost) => sum + pick(cost), 0);
  return {
    flops: total((cost) => cost.flops),
    bytesRead: total((cost) => cost.bytesRead),
    bytesWritten: total((cost) => cost.bytesWritten),
  };
}
