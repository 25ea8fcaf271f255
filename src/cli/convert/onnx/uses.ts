/**
 * What the graph says about an initializer: how its whole numbers become values, and which parameter of which module it is.
 *
 * Exporters keep the names of parameters that they store as they are. Where they fold something into a weight (the transpose
 * of a linear layer), the result gets a name of its own (`onnx::MatMul_123`); then the name of the node that reads it has the
 * module's path: `/model/layers.0/self_attn/q_proj/MatMul` reads `model.layers.0.self_attn.q_proj.weight`, transposed.
 */
import type { ByteSource } from '../../../runtime/source.ts';
import { type OnnxGraph, type OnnxNode, type OnnxTensor, unsupported } from './model.ts';
import type { Quantization } from './values.ts';

export interface Operand {
  readonly node: OnnxNode;
  readonly index: number;
}

export interface Links {
  readonly source: ByteSource;
  readonly tensors: ReadonlyMap<string, OnnxTensor>;
  readonly uses: ReadonlyMap<string, readonly Operand[]>;
  readonly producers: ReadonlyMap<string, OnnxNode>;
}

export function linksOf(source: ByteSource, graph: OnnxGraph): Links {
  const uses = new Map<string, Operand[]>();
  const producers = new Map<string, OnnxNode>();
  for (const node of graph.nodes) {
    node.inputs.forEach((name, index) => {
      const list = uses.get(name);
      if (list) list.push({ node, index });
      else uses.set(name, [{ node, index }]);
    });
    for (const name of node.outputs) producers.set(name, node);
  }
  return { source, tensors: new Map(graph.tensors.map((tensor) => [tensor.name, tensor])), uses, producers };
}

/** Ops that take a weight as whole numbers, by the places of weight, scale and zero point among their operands. */
const quantizedOperands: ReadonlyMap<
  string,
  { readonly weight: number; readonly scale: number; readonly zero: number }
> = new Map([
  ['DequantizeLinear', { weight: 0, scale: 1, zero: 2 }],
  ['QLinearMatMul', { weight: 3, scale: 4, zero: 5 }],
  ['QLinearConv', { weight: 3, scale: 4, zero: 5 }],
  ['QGemm', { weight: 3, scale: 4, zero: 5 }],
  ['DynamicQuantizeMatMul', { weight: 1, scale: 2, zero: 3 }],
  ['MatMulIntegerToFloat', { weight: 1, scale: 3, zero: 5 }],
]);

/** Ops with their weights in blocks of 4 bits and the like. */
const packedOps = new Set(['MatMulNBits', 'MatMulBnb4', 'GatherBlockQuantized']);

/** Operands that only say how others are to be read: they are no weights themselves. */
export function isQuantizationParameter(links: Links, tensor: OnnxTensor): boolean {
  const uses = links.uses.get(tensor.name) ?? [];
  return uses.length > 0 && uses.every(({ node, index }) => isParameterOperand(links, node, index));
}

function isParameterOperand(links: Links, node: OnnxNode, index: number): boolean {
  const places = quantizedOperands.get(node.op);
  if (places !== undefined) return index === places.scale || index === places.zero;
  if (node.op === 'MatMulInteger' || node.op === 'ConvInteger') return index >= 2;
  // Scales of an integer product stand in a product with the scale of its other operand.
  return node.op === 'Mul' && node.inputs.some((name) => links.producers.get(name)?.op === 'DynamicQuantizeLinear');
}

/** How the graph turns the whole numbers of `tensor` into values; undefined when they are no weight. */
export function quantizationOf(links: Links, tensor: OnnxTensor): Quantization | undefined {
  for (const { node, index } of links.uses.get(tensor.name) ?? []) {
    if (packedOps.has(node.op)) {
      throw unsupported(
        links.source,
        `weights in packed blocks (\`${node.op}\`)`,
        'convert the 8-bit or the f32 export',
      );
    }
    const places = quantizedOperands.get(node.op);
    if (places?.weight === index) {
      if ((node.integers.get('block_size') ?? 0) !== 0)
        throw unsupported(links.source, `scales by block (\`${node.op}\`)`);
      return parameters(links, tensor, node.inputs[places.scale], node.inputs[places.zero], axisOf(node, tensor));
    }
    if ((node.op === 'MatMulInteger' || node.op === 'ConvInteger') && index === 1) {
      const axis = node.op === 'MatMulInteger' ? tensor.shape.length - 1 : 0;
      return parameters(links, tensor, scaleAfter(links, node), node.inputs[3], axis);
    }
    // Rows are chosen first and dequantized then.
    const next = node.op === 'Gather' && index === 0 ? onlyUse(links, node) : undefined;
    if (next?.node.op === 'DequantizeLinear' && next.index === 0) {
      return parameters(links, tensor, next.node.inputs[1], next.node.inputs[2], tensor.shape.length - 1);
    }
  }
  return undefined;
}

/** The axis that has the scales, when there are many. */
function axisOf(node: OnnxNode, tensor: OnnxTensor): number {
  const rank = tensor.shape.length;
  // Products count columns; the others name the axis, which is 1 unless said otherwise (0 for convolutions).
  if (node.op === 'QLinearConv') return 0;
  if (node.op === 'QGemm') return node.integers.get('transB') === 1 ? 0 : 1;
  if (node.op !== 'DequantizeLinear') return rank - 1;
  const axis = node.integers.get('axis') ?? 1;
  return axis < 0 ? axis + rank : axis;
}

function parameters(
  links: Links,
  tensor: OnnxTensor,
  scaleName: string | undefined,
  zeroName: string | undefined,
  axis: number,
): Quantization {
  const scale = links.tensors.get(scaleName ?? '');
  const zero = zeroName === undefined || zeroName === '' ? undefined : links.tensors.get(zeroName);
  if (scale === undefined || (zeroName !== undefined && zeroName !== '' && zero === undefined)) {
    throw unsupported(links.source, `\`${tensor.name}\`, whose scale or zero point is no initializer`);
  }
  return { scale, zero, axis };
}

/** `MatMulInteger -> Cast -> Mul(…, Mul(scale of the input, scale of the weight))`: the one initializer among the factors. */
function scaleAfter(links: Links, node: OnnxNode): string | undefined {
  const cast = onlyUse(links, node);
  const product = cast?.node.op === 'Cast' ? onlyUse(links, cast.node) : undefined;
  if (product?.node.op !== 'Mul') return undefined;
  const factors = product.node.inputs.flatMap((name) => {
    const inner = links.producers.get(name);
    return inner?.op === 'Mul' ? inner.inputs : [name];
  });
  const scales = factors.filter((name) => links.tensors.has(name));
  return scales.length === 1 ? scales[0] : undefined;
}

function onlyUse(links: Links, node: OnnxNode): Operand | undefined {
  const uses = links.uses.get(node.outputs[0] ?? '') ?? [];
  return uses.length === 1 ? uses[0] : undefined;
}

export interface ParameterName {
  readonly name: string;
  /** The file has the transpose of the parameter. */
  readonly isTransposed: boolean;
}

/** Names that exporters and optimizers make up: of the torch exporter, of nodes, of shared constants. */
const madeUp = /^(?:onnx::|\/|_?val_\d|ortshared_|\d+$)/;

/** The parameter that an initializer is, or undefined for constants of the graph. */
export function parameterOf(links: Links, tensor: OnnxTensor, isQuantized: boolean): ParameterName | undefined {
  const own = isQuantized ? tensor.name.replace(/_quantized$/, '') : tensor.name;
  if (!madeUp.test(own)) return { name: own, isTransposed: false };
  for (const use of links.uses.get(tensor.name) ?? []) {
    const found = parameterOfUse(links, tensor, use, false, 0);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Ops that pass a weight on. */
const passing = new Set(['DequantizeLinear', 'Cast', 'Identity', 'Transpose']);
/** Nodes between an initializer and the op that it belongs to. */
const maximumSteps = 4;

const products = new Set(['MatMul', 'MatMulInteger', 'QLinearMatMul', 'DynamicQuantizeMatMul', 'MatMulIntegerToFloat']);

function parameterOfUse(
  links: Links,
  tensor: OnnxTensor,
  { node, index }: Operand,
  isTurned: boolean,
  steps: number,
): ParameterName | undefined {
  if (passing.has(node.op)) {
    const next = index === 0 && steps < maximumSteps ? onlyUse(links, node) : undefined;
    return next && parameterOfUse(links, tensor, next, isTurned !== (node.op === 'Transpose'), steps + 1);
  }
  const path = modulePath(node);
  if (path === undefined) return undefined;
  const rank = tensor.shape.length;
  // A linear layer computes x wᵀ: as the second operand of a product its weight stands transposed.
  if (products.has(node.op)) {
    const isSecond = index === 1 || index === 3;
    return rank === 2 ? { name: `${path}.weight`, isTransposed: isSecond !== isTurned } : undefined;
  }
  if (node.op === 'Gemm' || node.op === 'QGemm') {
    const [weight, bias] = node.op === 'Gemm' ? [1, 2] : [3, 6];
    if (index === bias) return { name: `${path}.bias`, isTransposed: false };
    const stands = node.integers.get('transB') !== 1;
    return index === weight ? { name: `${path}.weight`, isTransposed: stands !== isTurned } : undefined;
  }
  if (node.op === 'Conv' || node.op === 'Gather') {
    const name = node.op === 'Conv' && index === 2 ? 'bias' : 'weight';
    return isTurned ? undefined : { name: `${path}.${name}`, isTransposed: false };
  }
  if (rank !== 1) return undefined;
  if (node.op === 'Add') return { name: `${path}.bias`, isTransposed: false };
  return node.op === 'Mul' ? { name: `${path}.weight`, isTransposed: false } : undefined;
}

/** `/model/layers.0/mlp/up_proj/MatMul` -> `model.layers.0.mlp.up_proj`. */
function modulePath(node: OnnxNode): string | undefined {
  if (!node.name.startsWith('/')) return undefined;
  const parts = node.name.split('/').slice(1, -1);
  return parts.length > 0 && parts.every((part) => /^[\w.-]+$/.test(part)) ? parts.join('.') : undefined;
}
