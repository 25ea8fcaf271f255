/**
 * Brings equal things into one form, by small local rules: views that change nothing go, views of views become one,
 * constants stand on the right, neutral operands go. What it leaves is easier to compare, to fold and to fuse.
 *
 * Rules are data: one list for all ops, asked by trait, and a table of neutral elements per op. No rule changes a
 * rounding; `x + 0` for `x` does turn -0 + 0 into -0, which compares equal.
 */
import type { Graph, Node, Value } from '../ir/graph.ts';
import type { InferContext } from '../ir/op.ts';
import { inferenceAttributes } from '../ir/ops/index.ts';
import { dimOf, numberOf, numbersOf } from '../ir/ops/shared.ts';
import { addDims, constantDim, constantValue, dimBounds, subtractDims } from '../ir/symbolic.ts';
import { sameShape, sameType } from '../ir/types.ts';
import { hasTrait, type Pass, type PassResult, type RewriteContext, rewriteGraph, splatOf } from './pass.ts';

type Rule = (node: Node, inputs: readonly Value[], context: RewriteContext) => Value | undefined;

/** The value of the right operand that gives back the left one. */
const neutralRight: Readonly<Record<string, number>> = { add: 0, sub: 0, mul: 1, div: 1 };

/** Ops that undo themselves. */
const involutions: ReadonlySet<string> = new Set(['neg', 'not']);

/** Reshapes, broadcasts, slices and casts to the type that the operand has already. */
const dropSameType: Rule = (node, [input]) => {
  const [output] = node.outputs;
  if (!input || !output || !sameType(input.type, output.type)) return undefined;
  if (node.op === 'transpose') {
    return numbersOf(node.attributes, 'permutation').every((axis, at) => axis === at) ? input : undefined;
  }
  // What `reverse` does to a tensor never shows in its type.
  if (node.op === 'reverse') return undefined;
  return hasTrait(node, 'view') || node.op === 'cast' ? input : undefined;
};

/** What only other passes understood: gradients are written by now, or never. */
const dropIdentity: Rule = (node, [input]) => (hasTrait(node, 'identity') ? input : undefined);

/** The same for attributes. */
const dropTraining: Rule = (node, inputs, { emit }) => {
  const attributes = inferenceAttributes(node);
  return attributes && emit(node.op, inputs, attributes, node.region);
};

const dropSingleConcat: Rule = (node, inputs) => (node.op === 'concat' && inputs.length === 1 ? inputs[0] : undefined);

/** A view of one number repeated is that number repeated in another shape. */
const viewOfSplat: Rule = (node, [input], { emit }) => {
  const [output] = node.outputs;
  const source = input?.node.op === 'broadcast' ? input.node.inputs[0] : undefined;
  if (!source || !output || source.type.shape.length > 0) return undefined;
  if (!hasTrait(node, 'view') || hasTrait(node, 'filling')) return undefined;
  return output.type.shape.length === 0 ? source : emit('broadcast', [source], { shape: output.type.shape });
};

/** Reshape of reshape, transpose of transpose, broadcast of broadcast, slice of slice along one axis. */
const joinViews: Rule = (node, [input], { emit }) => {
  const [output] = node.outputs;
  const inner = input?.node;
  const [source] = inner?.inputs ?? [];
  if (!inner || !source || !output || inner.op !== node.op) return undefined;
  switch (node.op) {
    case 'reshape':
    case 'broadcast':
      return emit(node.op, [source], { shape: output.type.shape });
    case 'transpose': {
      const first = numbersOf(inner.attributes, 'permutation');
      const permutation = numbersOf(node.attributes, 'permutation').map((axis) => first[axis] ?? axis);
      return emit(node.op, [source], { permutation });
    }
    case 'slice': {
      const axis = numberOf(node.attributes, 'axis');
      if (numberOf(inner.attributes, 'axis') !== axis) return undefined;
      const start = addDims(dimOf(inner.attributes, 'start'), dimOf(node.attributes, 'start'));
      return emit(node.op, [source], { axis, start, size: dimOf(node.attributes, 'size') });
    }
    default:
      return undefined;
  }
};

/** `2 + x` becomes `x + 2`. */
const constantsRight: Rule = (node, [left, right], { emit }) => {
  if (!left || !right || !hasTrait(node, 'commutative')) return undefined;
  return splatOf(left) !== undefined && splatOf(right) === undefined
    ? emit(node.op, [right, left], node.attributes)
    : undefined;
};

const dropNeutral: Rule = (node, [left, right]) => {
  if (!left || !right || !Object.hasOwn(neutralRight, node.op)) return undefined;
  return splatOf(right) === neutralRight[node.op] ? left : undefined;
};

const dropInvolution: Rule = (node, [input]) =>
  input && involutions.has(node.op) && input.node.op === node.op ? input.node.inputs[0] : undefined;

/** A choice that is made already, or between equal things. */
const decideSelect: Rule = (node, [condition, yes, no]) => {
  if (node.op !== 'select' || !condition || !yes || !no) return undefined;
  if (yes === no) return yes;
  const decided = splatOf(condition);
  return decided === undefined ? undefined : decided === 0 ? no : yes;
};

/** A size that is known. */
const knownDim: Rule = (node, _, { emit }) => {
  const value = node.op === 'dim_value' ? constantValue(dimOf(node.attributes, 'value')) : undefined;
  const [output] = node.outputs;
  if (value === undefined || !output) return undefined;
  return emit('constant', [], { values: [value], dtype: output.type.dtype, shape: [] });
};

/** What is no less than `b` already is `b` where it may be no more: `min(max(x, 0), 0)`. */
const decideClamp: Rule = (node, [left, right]) => {
  if (node.op !== 'min' || !left || !right || left.node.op !== 'max') return undefined;
  const [most, least] = [splatOf(right), left.node.inputs[1] && splatOf(left.node.inputs[1])];
  return most !== undefined && least !== undefined && least >= most ? right : undefined;
};

/** Any combination of one element is that element. */
const dropUnitReduction: Rule = (node, [input], { emit }) => {
  const [output] = node.outputs;
  if (!input || !output || node.op !== 'reduce') return undefined;
  const isUnit = numbersOf(node.attributes, 'axes').every((axis) => {
    const dim = input.type.shape[axis < 0 ? axis + input.type.shape.length : axis];
    return dim !== undefined && constantValue(dim) === 1;
  });
  return isUnit ? emit('reshape', [input], { shape: output.type.shape }) : undefined;
};

/** Rows 0, 1, 2, … of a table that has as many are its first rows: learned positions. */
const gatherInOrder: Rule = (node, [table, indices], { emit, context }) => {
  const rows = table?.type.shape[0];
  const length = indices?.type.shape[0];
  if (node.op !== 'gather' || indices?.node.op !== 'iota' || !table || !rows || !length) return undefined;
  const isWithin = dimBounds(subtractDims(rows, length), context.ranges).minimum >= 0;
  return isWithin ? emit('slice', [table], { axis: 0, start: constantDim(0), size: length }) : undefined;
};

/** That rule alone, for graphs that are to be differentiated: a slice has a cheaper gradient than a lookup. */
export function sliceOrderedLookups(graph: Graph, context: InferContext): Graph {
  return rewriteGraph(graph, context, (node, inputs, rewriter) => {
    const value = gatherInOrder(node, inputs, rewriter);
    return value && [value];
  }).graph;
}

const rules: readonly Rule[] = [
  gatherInOrder,
  dropSameType,
  dropIdentity,
  dropTraining,
  dropSingleConcat,
  dropUnitReduction,
  viewOfSplat,
  joinViews,
  constantsRight,
  dropNeutral,
  dropInvolution,
  decideSelect,
  decideClamp,
  knownDim,
];

function sweep(graph: Graph, context: InferContext): PassResult {
  return rewriteGraph(graph, context, (node, inputs, rewriter) => {
    const [output] = node.outputs;
    for (const rule of rules) {
      const value = rule(node, inputs, rewriter);
      if (value && output && sameShape(value.type.shape, output.type.shape)) return [value];
    }
    return undefined;
  });
}

export const canonicalize: Pass = {
  name: 'canonicalize',
  summary: 'brings equal expressions into one form',
  run(graph, context) {
    let fired = 0;
    let current = graph;
    // Each rule removes a node or moves a constant to the right, so this ends; a few sweeps are usual.
    for (;;) {
      const result = sweep(current, context);
      if (result.fired === 0) return { graph: current, fired };
      fired += result.fired;
      current = result.graph;
    }
  },
};
