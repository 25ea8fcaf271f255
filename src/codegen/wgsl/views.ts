/**
 * Views as index arithmetic: where a view's element lies in its operand (pull), and where an operand's element lies in a
 * view that keeps every element (push).
 */
import { type Node, onlyOutput } from '../../ir/graph.ts';
import { dimOf, numberOf, numbersOf } from '../../ir/ops/shared.ts';
import { slidesOf } from '../../ir/ops/window.ts';
import {
  constantDim,
  constantValue,
  type Dim,
  multiplyDims,
  productOfDims,
  sameDim,
  subtractDims,
} from '../../ir/symbolic.ts';
import type { Shape } from '../../ir/types.ts';
import { addIndices, constantIndex, type Index, type IndexAlgebra, scaleIndex } from './index-algebra.ts';

/**
 * The index vector of one shape for the same row-major position in another. Axes are matched in the smallest groups of
 * equal size, so that an axis that stays does not go through a division.
 */
export function reshapeIndex(algebra: IndexAlgebra, index: readonly Index[], from: Shape, to: Shape): readonly Index[] {
  const result: Index[] = [];
  let fromAt = 0;
  let toAt = 0;
  while (fromAt < from.length || toAt < to.length) {
    const fromStart = fromAt;
    const toStart = toAt;
    let fromSize = constantDim(1);
    let toSize = constantDim(1);
    const takeFrom = () => {
      fromSize = multiplyDims(fromSize, from[fromAt++] ?? constantDim(1));
    };
    const takeTo = () => {
      toSize = multiplyDims(toSize, to[toAt++] ?? constantDim(1));
    };
    if (fromAt < from.length) takeFrom();
    if (toAt < to.length) takeTo();
    while (!sameDim(fromSize, toSize) && (fromAt < from.length || toAt < to.length)) {
      const grow =
        degree(fromSize) < degree(toSize)
          ? 'from'
          : degree(fromSize) > degree(toSize)
            ? 'to'
            : smaller(fromSize, toSize);
      if ((grow === 'from' && fromAt < from.length) || toAt >= to.length) takeFrom();
      else takeTo();
    }
    // Ones at the end of a group belong to it; ones before the next group would leave it empty.
    while (fromAt < from.length && isOne(from[fromAt])) fromAt++;
    while (toAt < to.length && isOne(to[toAt])) toAt++;
    const position = algebra.linearize(index.slice(fromStart, fromAt), from.slice(fromStart, fromAt));
    result.push(...algebra.delinearize(position, to.slice(toStart, toAt)));
  }
  return result;
}

function isOne(dim: Dim | undefined): boolean {
  return dim !== undefined && constantValue(dim) === 1;
}

function degree(dim: Dim): number {
  return Math.max(0, ...dim.terms.map((term) => term.factors.length));
}

function smaller(left: Dim, right: Dim): 'from' | 'to' {
  const size = (dim: Dim) => dim.terms.reduce((sum, term) => sum + Math.abs(term.coefficient), 0);
  return size(left) <= size(right) ? 'from' : 'to';
}

/** The operand's index vector of a view with one operand; undefined when the node is no such view. */
export function viewIndex(algebra: IndexAlgebra, node: Node, index: readonly Index[]): readonly Index[] | undefined {
  const from = node.inputs[0]?.type.shape;
  const to = node.outputs[0]?.type.shape;
  if (!from || !to) return undefined;
  switch (node.op) {
    case 'reshape':
      return reshapeIndex(algebra, index, to, from);
    case 'transpose': {
      const operand: Index[] = [];
      numbersOf(node.attributes, 'permutation').forEach((axis, at) => {
        operand[axis] = index[at] ?? constantIndex(0);
      });
      return operand;
    }
    case 'broadcast': {
      const added = to.length - from.length;
      return from.map((dim, axis) =>
        constantValue(dim) === 1 ? constantIndex(0) : (index[axis + added] ?? constantIndex(0)),
      );
    }
    case 'slice': {
      const axis = numberOf(node.attributes, 'axis');
      const start = constantIndex(dimOf(node.attributes, 'start'));
      return index.map((part, at) => (at === axis ? addIndices(part, start) : part));
    }
    case 'reverse': {
      const axes = numbersOf(node.attributes, 'axes');
      return index.map((part, axis) => (axes.includes(axis) ? fromEnd(part, to[axis]) : part));
    }
    case 'window': {
      const operand = [...index.slice(0, from.length)];
      for (const [at, { axis, stride, dilation }] of slidesOf(node.attributes).entries()) {
        const inside = index[from.length + at] ?? constantIndex(0);
        const start = scaleIndex(index[axis] ?? constantIndex(0), stride);
        operand[axis] = addIndices(start, scaleIndex(inside, dilation));
      }
      return operand;
    }
    default:
      return undefined;
  }
}

function fromEnd(part: Index, dim: Dim | undefined): Index {
  const last = subtractDims(dim ?? constantDim(1), constantDim(1));
  return addIndices(constantIndex(last), scaleIndex(part, -1));
}

/** The view's index vector of an operand's element, for views that keep every element once. */
export function pushIndex(algebra: IndexAlgebra, node: Node, index: readonly Index[]): readonly Index[] | undefined {
  const from = node.inputs[0]?.type.shape;
  const to = node.outputs[0]?.type.shape;
  if (!from || !to) return undefined;
  if (node.op === 'reshape') return reshapeIndex(algebra, index, from, to);
  if (node.op === 'transpose') {
    return numbersOf(node.attributes, 'permutation').map((axis) => index[axis] ?? constantIndex(0));
  }
  if (node.op === 'reverse') {
    const axes = numbersOf(node.attributes, 'axes');
    return index.map((part, axis) => (axes.includes(axis) ? fromEnd(part, to[axis]) : part));
  }
  // A broadcast that repeats nothing puts axes of length 1 in front.
  if (node.op === 'broadcast')
    return [...Array.from({ length: to.length - from.length }, () => constantIndex(0)), ...index];
  return undefined;
}

/** Whether `pushIndex` undoes this view: it shows each element of its operand once. */
export function keepsElements(node: Node): boolean {
  const [input] = node.inputs;
  if (!['reshape', 'transpose', 'reverse', 'broadcast'].includes(node.op) || input === undefined) return false;
  return sameDim(productOfDims(input.type.shape), productOfDims(onlyOutput(node).type.shape));
}
