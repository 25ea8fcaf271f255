/**
 * Splits weights that are larger than a storage binding may be: into parts of whole rows, each a buffer of its own. How an op
 * does with parts is said by its definition (`byParts`): lookups add rows of zeros, products stand side by side or are added.
 *
 * Other readers, and weights without enough rows, keep the weight whole; code generation refuses it then.
 */
import { createEmitter } from '../ir/emit.ts';
import { type Node, usersOf, type Value, type WeightFormat } from '../ir/graph.ts';
import type { InferContext } from '../ir/op.ts';
import { stringsOf } from '../ir/ops/shared.ts';
import { nmWords } from '../ir/pruning.ts';
import { constantDim, constantValue, multiplyDims } from '../ir/symbolic.ts';
import type { TensorType } from '../ir/types.ts';
import { definitionOf, formatOf, type Pass, type RewriteContext, rewriteGraph, sparsityOf } from './pass.ts';

/** What every WebGPU device can bind (the default of `maxStorageBufferBindingSize`). */
export const maxBindingBytes = 128 * 1024 * 1024;

/** Parts begin at multiples of this, so that panels and reads by four stay whole. */
const rowMultiple = 64;

/** More than any model has; beyond it, the sizes are a mistake. */
const mostParts = 64;

/** Bytes of a tensor of known shape on the device. */
export function bytesOfType(type: TensorType): number {
  const elements = constantValue(type.shape.reduce(multiplyDims, constantDim(1))) ?? 0;
  return elements * (type.dtype === 'f16' ? 2 : 4);
}

/** Bits of an element, and how many share a scale of 32 bits, if any do. */
function bitsOf(format: WeightFormat, summed: number): number {
  const { kind, group = summed, asymmetric } = format;
  if (kind === 'f16') return 16;
  return (kind === 'int8' ? 8 : 4) + (32 + (asymmetric ? 8 : 0)) / Math.max(1, Math.min(group, summed));
}

/** Bytes of a weight on the device; packed ones may take some more at their ends. */
export function bytesOfWeight(node: Node, context: InferContext): number {
  const type = node.outputs[0]?.type;
  if (type === undefined) return 0;
  const format = formatOf(node, context);
  const sparse = sparsityOf(node, context);
  if (sparse) return Math.ceil((bytesOfType(type) * nmWords(sparse)) / sparse.of);
  if (format === undefined) return bytesOfType(type);
  const rows = constantValue(type.shape[0] ?? constantDim(1)) ?? 1;
  const elements = bytesOfType(type) / (type.dtype === 'f16' ? 2 : 4);
  return Math.ceil((elements * bitsOf(format, format.transposed ? rows : elements / Math.max(1, rows))) / 8);
}

/** Where the rows are what is summed over, parts are whole groups; those of n:m weights divide `rowMultiple`. */
function groupRows(node: Node, context: InferContext): number {
  const format = formatOf(node, context);
  return format?.transposed && format.group !== undefined ? format.group : 1;
}

/** Rows of each part, as even as their beginnings allow; undefined when not even `rowMultiple` rows fit, or too many parts are needed. */
function partRows(type: TensorType, bytes: number, limit: number, multiple: number): readonly number[] | undefined {
  const rows = constantValue(type.shape[0] ?? constantDim(1)) ?? 1;
  const most = Math.floor(limit / (bytes / rows) / multiple) * multiple;
  if (most === 0) return undefined;
  const count = Math.ceil(rows / most);
  if (count > mostParts) return undefined;
  const each = Math.min(most, Math.ceil(rows / count / multiple) * multiple);
  const whole = Math.ceil(rows / each) - 1;
  return [...Array.from({ length: whole }, () => each), rows - whole * each];
}

function emitParts(node: Node, rows: readonly number[], { builder, context }: RewriteContext): readonly Value[] {
  const type = node.outputs[0]?.type;
  if (type === undefined) return [];
  const emitter = createEmitter(builder, context, { span: node.span, label: node.label });
  let first = 0;
  return rows.map((count) => {
    const part = { ...type, shape: [constantDim(count), ...type.shape.slice(1)] };
    const value = emitter.weight(stringsOf(node.attributes, 'paths'), part, first);
    first += count;
    return value;
  });
}

export function splitWeights(limit: number = maxBindingBytes): Pass {
  return {
    name: 'split-weights',
    summary: 'splits weights that are larger than a binding',
    run(graph, context) {
      const users = usersOf(graph);
      /** Parts of the weights that are split, made when first read. */
      const parts = new Map<Node, readonly Value[]>();
      const isResult = (node: Node) => graph.results.some(({ value }) => value.node === node);
      const rowsOf = (node: Node): readonly number[] | undefined => {
        const [output] = node.outputs;
        const bytes = node.op === 'weight' ? bytesOfWeight(node, context) : 0;
        if (node.op !== 'weight' || !output || bytes <= limit || isResult(node)) return undefined;
        const takes = (user: Node) =>
          definitionOf(user).byParts !== undefined && user.inputs.filter((input) => input === output).length === 1;
        return (users.get(output) ?? []).every(takes)
          ? partRows(output.type, bytes, limit, rowMultiple * groupRows(node, context))
          : undefined;
      };
      return rewriteGraph(graph, context, (node, inputs, rewriter) => {
        const rows = rowsOf(node);
        if (rows) {
          parts.set(node, emitParts(node, rows, rewriter));
          return undefined;
        }
        const at = node.inputs.findIndex((input) => parts.has(input.node));
        const own = node.inputs[at] && parts.get(node.inputs[at].node);
        const result = own && definitionOf(node).byParts?.(rewriter, inputs, node.attributes, at, own);
        return result && [result];
      });
    },
  };
}
