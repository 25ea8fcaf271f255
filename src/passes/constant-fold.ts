/**
 * Computes at compile time what depends on constants only.
 *
 * Values are computed by the reference interpreter in double precision and rounded when they are stored, so folding is
 * at least as exact as running. Nothing grows: a broadcast stays a broadcast, since kernels read it for nothing, and an
 * expression of broadcast scalars becomes one scalar that is broadcast.
 */
import type { Node, Value } from '../ir/graph.ts';
import type { Tensor } from '../ir/op.ts';
import { dtypeNamed, numbersOf, stringOf } from '../ir/ops/shared.ts';
import { constantValue, type Dim } from '../ir/symbolic.ts';
import { tensorOf } from '../ir/tensor.ts';
import type { Shape } from '../ir/types.ts';
import { unreachable } from '../support/error.ts';
import { definitionOf, hasTrait, type Pass, type RewriteContext, rewriteGraph, splatOf } from './pass.ts';

/** Elements of a folded constant at most: constants are printed into the generated module. */
const largest = 4096;

function sizesOf(shape: Shape): readonly number[] | undefined {
  const sizes = shape.map(constantValue);
  return sizes.every((size) => size !== undefined) ? sizes : undefined;
}

function tensorOfConstant(value: Value): Tensor | undefined {
  const sizes = sizesOf(value.type.shape);
  if (value.node.op !== 'constant' || !sizes) return undefined;
  const { attributes } = value.node;
  const dtype = dtypeNamed(stringOf(attributes, 'dtype')) ?? unreachable('a constant has an element type');
  return tensorOf(dtype, sizes, numbersOf(attributes, 'values'), 'f64');
}

function elementCount(shape: Shape): number {
  return sizesOf(shape)?.reduce((product, size) => product * size, 1) ?? Number.POSITIVE_INFINITY;
}

/** Undefined for numbers that are not finite in f32: WGSL has no literal for them, so the device computes them. */
function emitConstant(tensor: Tensor, shape: readonly Dim[], { emit }: RewriteContext): Value | undefined {
  const values = [...tensor.data];
  if (!values.every((value) => Number.isFinite(Math.fround(value)))) return undefined;
  return emit('constant', [], { values, dtype: tensor.dtype, shape });
}

/** The op on constant tensors, when the result is no bigger than what it is made of. */
function foldTensors(node: Node, inputs: readonly Value[], context: RewriteContext): Value | undefined {
  const [output] = node.outputs;
  const interpret = definitionOf(node).interpret;
  if (!output || node.outputs.length !== 1 || !interpret || inputs.length === 0) return undefined;
  const limit = Math.min(largest, Math.max(...inputs.map((input) => elementCount(input.type.shape))));
  const sizes = sizesOf(output.type.shape);
  if (!sizes || elementCount(output.type.shape) > limit) return undefined;
  const tensors = inputs.map(tensorOfConstant);
  if (!tensors.every((tensor) => tensor !== undefined)) return undefined;
  const [result] = interpret(tensors, node.attributes, {
    precision: 'f64',
    dims: new Map(),
    outputShapes: [sizes],
    state: () => unreachable('a state is no constant'),
    keep: () => unreachable('a state is no constant'),
    weight: () => unreachable('constants read no weights'),
  });
  return result && emitConstant(result, output.type.shape, context);
}

/** An elementwise op on broadcast scalars: one scalar, broadcast. */
function foldSplats(node: Node, inputs: readonly Value[], context: RewriteContext): Value | undefined {
  const [output] = node.outputs;
  const { scalar } = definitionOf(node);
  if (!output || !scalar || inputs.length === 0) return undefined;
  const numbers = inputs.map(splatOf);
  if (!numbers.every((number) => number !== undefined)) return undefined;
  const dtypes = inputs.map((input) => input.type.dtype);
  const { dtype, shape } = output.type;
  // A tensor of one element, so that integers wrap around as they do when run.
  const value = emitConstant(tensorOf(dtype, [], [scalar(numbers, node.attributes, dtypes)], 'f64'), [], context);
  return value === undefined || shape.length === 0 ? value : context.emit('broadcast', [value], { shape });
}

export const constantFold: Pass = {
  name: 'constant-fold',
  summary: 'computes what depends on constants only',
  run: (graph, context) =>
    rewriteGraph(graph, context, (node, inputs, rewriter) => {
      if (hasTrait(node, 'effect') || hasTrait(node, 'leaf')) return undefined;
      const folded =
        (hasTrait(node, 'elementwise') ? foldSplats(node, inputs, rewriter) : undefined) ??
        foldTensors(node, inputs, rewriter);
      return folded && [folded];
    }),
};
