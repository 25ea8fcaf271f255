/**
 * What the shapes of reductions and contractions mean for index vectors.
 */
import { type Graph, type Node, onlyOutput, type Value } from '../../ir/graph.ts';
import { opNamed } from '../../ir/ops/index.ts';
import { numbersOf, stringOf } from '../../ir/ops/shared.ts';
import { constantDim, type Dim } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { constantIndex, type Index } from './index-algebra.ts';
import { boolReducers, type Reducer, reducers } from './scalars.ts';

/** A region node that code generation has no words for: ends as SORA5001 at the node's place in the model. */
export class UnsupportedOp extends Error {
  readonly node: Node;

  constructor(node: Node, why = `\`${node.op}\` in a kernel`) {
    super(why);
    this.name = 'UnsupportedOp';
    this.node = node;
  }
}

/** The input of a region whose buffer a result is written into; undefined when it gets a buffer of its own. */
export function overwrittenInput(region: Graph, result: Value): Node | undefined {
  const operand = opNamed(result.node.op).updates;
  const target = operand === undefined ? undefined : result.node.inputs[operand]?.node;
  return target && region.inputs.includes(target) ? target : undefined;
}

export function operandOf(node: Node, at: number): Value {
  return node.inputs[at] ?? unreachable(`\`${node.op}\` without operand ${at}`);
}

export function reducerOf(node: Node): Reducer {
  const kind = stringOf(node.attributes, 'kind');
  const isBool = onlyOutput(node).type.dtype === 'bool';
  const reducer = isBool ? boolReducers[kind] : reducers[kind];
  if (!reducer) throw new UnsupportedOp(node, `a reduction of kind \`${kind}\``);
  return reducer;
}

export function reducedAxes(node: Node): readonly number[] {
  const rank = operandOf(node, 0).type.shape.length;
  return numbersOf(node.attributes, 'axes').map((axis) => (axis < 0 ? axis + rank : axis));
}

/** The operand's index vector for an index of the reduction's output; reduced axes are 0. */
export function outerToFull(node: Node, index: readonly Index[]): Index[] {
  const axes = reducedAxes(node);
  const rank = operandOf(node, 0).type.shape.length;
  const kept = onlyOutput(node).type.shape.length === rank;
  const full: Index[] = [];
  let next = 0;
  for (let axis = 0; axis < rank; axis++) {
    const reduced = axes.includes(axis);
    full.push(reduced ? constantIndex(0) : (index[kept ? axis : next] ?? constantIndex(0)));
    if (!reduced) next += 1;
  }
  return full;
}

/** The output's index vector for an index of the operand; the inverse of `outerToFull` on kept axes. */
export function fullToOuter(node: Node, full: readonly Index[]): readonly Index[] {
  const axes = reducedAxes(node);
  const kept = onlyOutput(node).type.shape.length === full.length;
  return full.flatMap((part, axis) => (axes.includes(axis) ? (kept ? [constantIndex(0)] : []) : [part]));
}

/** The axes of a `dot_general`: its output is [batch…, rows… (left's free), columns… (right's free)]. */
export interface DotShape {
  readonly left: Value;
  readonly right: Value;
  readonly batch: readonly Dim[];
  readonly rows: readonly Dim[];
  readonly columns: readonly Dim[];
  readonly contracted: readonly Dim[];
  leftIndex(output: readonly Index[], contracted: readonly Index[]): readonly Index[];
  rightIndex(output: readonly Index[], contracted: readonly Index[]): readonly Index[];
}

export function dotShape(node: Node): DotShape {
  const left = operandOf(node, 0);
  const right = operandOf(node, 1);
  const batchAxes = { left: numbersOf(node.attributes, 'lhs_batch'), right: numbersOf(node.attributes, 'rhs_batch') };
  const sumAxes = {
    left: numbersOf(node.attributes, 'lhs_contract'),
    right: numbersOf(node.attributes, 'rhs_contract'),
  };
  const freeAxes = (value: Value, batch: readonly number[], sum: readonly number[]) =>
    value.type.shape.map((_, axis) => axis).filter((axis) => !batch.includes(axis) && !sum.includes(axis));
  const leftFree = freeAxes(left, batchAxes.left, sumAxes.left);
  const rightFree = freeAxes(right, batchAxes.right, sumAxes.right);
  const extents = (value: Value, axes: readonly number[]) =>
    axes.map((axis) => value.type.shape[axis] ?? constantDim(1));
  const place = (axes: readonly number[], parts: readonly Index[], into: Index[]) => {
    axes.forEach((axis, at) => {
      into[axis] = parts[at] ?? constantIndex(0);
    });
  };
  const batches = batchAxes.left.length;
  return {
    left,
    right,
    batch: extents(left, batchAxes.left),
    rows: extents(left, leftFree),
    columns: extents(right, rightFree),
    contracted: extents(left, sumAxes.left),
    leftIndex(output, contracted) {
      const index: Index[] = [];
      place(batchAxes.left, output.slice(0, batches), index);
      place(leftFree, output.slice(batches, batches + leftFree.length), index);
      place(sumAxes.left, contracted, index);
      return index;
    },
    rightIndex(output, contracted) {
      const index: Index[] = [];
      place(batchAxes.right, output.slice(0, batches), index);
      place(rightFree, output.slice(batches + leftFree.length), index);
      place(sumAxes.right, contracted, index);
      return index;
    },
  };
}
