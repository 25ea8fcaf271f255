/**
 * Whether a cone of nodes can be one row kernel.
 *
 * A row kernel takes one row (an index vector over the outer axes) at a time. Its reductions run over the same extents,
 * each is evaluated once per row, and afterwards the row's outputs are written. So, walking from the output back to the
 * leaves with an index vector, each reduction must be met at one index vector only, and that vector must not depend on
 * the place inside the row. The index vectors here are symbolic: a component is a name, with a note whether it moves
 * within a row.
 */
import type { Node, Value } from '../../ir/graph.ts';
import { constantDim, constantValue, type Dim, productOfDims, sameDim } from '../../ir/symbolic.ts';
import { type Shape, sameShape } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import { hasTrait, intsOf, shapeKey } from '../pass.ts';
import { roleOf } from './roles.ts';

export interface Component {
  readonly name: string;
  /** It takes several values within one row. */
  readonly moves: boolean;
}

export type Index = readonly Component[];

/** Where an axis of size 1 is read. */
export const origin: Component = { name: '0', moves: false };

/** The space that the reductions of a row kernel share. */
export interface RowDomain {
  /** Shape of what is reduced. */
  readonly shape: Shape;
  readonly axes: readonly number[];
}

export function domainOf(reduction: Node): RowDomain {
  const [operand] = reduction.inputs;
  if (!operand) return unreachable('a reduction has an operand');
  const rank = operand.type.shape.length;
  const axes = intsOf(reduction, 'axes').map((axis) => (axis < 0 ? axis + rank : axis));
  return { shape: operand.type.shape, axes: axes.sort((left, right) => left - right) };
}

export function sameDomain(left: RowDomain, right: RowDomain): boolean {
  return sameShape(left.shape, right.shape) && left.axes.join() === right.axes.join();
}

function isOne(dim: Dim): boolean {
  return constantValue(dim) === 1;
}

function blend(parts: readonly Component[], what: string): Component {
  const moving = parts.filter((part) => part !== origin);
  return { name: `${what}(${moving.map((part) => part.name).join(',')})`, moves: moving.some((part) => part.moves) };
}

/** Groups of axes with equal element counts: `[B, T, H*D] -> [B, T, H, D]` gives [0]-[0], [1]-[1], [2]-[2, 3]. */
function reshapeGroups(
  from: Shape,
  to: Shape,
): readonly (readonly [readonly number[], readonly number[]])[] | undefined {
  const left = from.flatMap((dim, axis) => (isOne(dim) ? [] : [axis]));
  const right = to.flatMap((dim, axis) => (isOne(dim) ? [] : [axis]));
  const product = (shape: Shape, axes: readonly number[]) =>
    productOfDims(axes.map((axis) => shape[axis] ?? constantDim(1)));
  const groups: (readonly [readonly number[], readonly number[]])[] = [];
  while (left.length > 0 || right.length > 0) {
    let found: readonly [number, number] | undefined;
    for (let width = 2; found === undefined && width <= left.length + right.length; width++) {
      for (let a = 1; a < width; a++) {
        if (a > left.length || width - a > right.length) continue;
        if (sameDim(product(from, left.slice(0, a)), product(to, right.slice(0, width - a)))) found = [a, width - a];
      }
    }
    if (!found) return undefined;
    groups.push([left.splice(0, found[0]), right.splice(0, found[1])]);
  }
  return groups;
}

type Groups = ReturnType<typeof reshapeGroups>;
const groupsOfReshapes = new WeakMap<Node, { readonly groups: Groups }>();

function throughReshape(node: Node, index: Index, from: Shape, to: Shape): Index {
  const known = groupsOfReshapes.get(node) ?? { groups: reshapeGroups(from, to) };
  groupsOfReshapes.set(node, known);
  const { groups } = known;
  if (!groups) return from.map((_, axis) => blend(index, `flat${axis}`));
  const result: Component[] = from.map(() => origin);
  for (const [inner, outer] of groups) {
    const parts = outer.map((axis) => index[axis] ?? origin);
    for (const [place, axis] of inner.entries()) {
      const [only] = parts;
      result[axis] = inner.length === 1 && parts.length === 1 && only ? only : blend(parts, `split${place}`);
    }
  }
  return result;
}

/** How each view turns an index of its output into one of its input. */
const views: Readonly<Record<string, (node: Node, index: Index, from: Shape, to: Shape) => Index>> = {
  reshape: throughReshape,
  transpose(node, index) {
    const permutation = intsOf(node, 'permutation');
    return permutation.map((_, axis) => index[permutation.indexOf(axis)] ?? origin);
  },
  broadcast: (_node, index, from, to) =>
    from.map((dim, axis) => (isOne(dim) ? origin : (index[axis + to.length - from.length] ?? origin))),
  slice(node, index) {
    const sliced = node.attributes.axis;
    return index.map((part, axis) =>
      axis === sliced ? blend([part], `from ${shapeKey([node.attributes.start as Dim])}`) : part,
    );
  },
};

/** The index at which an operand is read for an element of the node at `index`. */
export function operandIndex(node: Node, operand: number, index: Index): Index {
  const from = node.inputs[operand]?.type.shape ?? [];
  const to = node.outputs[0]?.type.shape ?? [];
  const role = roleOf(node);
  if (role === 'elementwise' || role === 'reduction') return index;
  const view = views[node.op];
  if (view && role === 'view') return view(node, index, from, to);
  // Lookups: every component may matter for every place.
  return from.map((dim, axis) => (isOne(dim) ? origin : blend(index, `${node.op}${operand}.${axis}`)));
}

/** Where an element of a row stands along a reduced axis. */
function placeAlong(axis: number, extent: Dim | undefined): Component {
  return extent && isOne(extent) ? origin : { name: `place${axis}`, moves: true };
}

/** Index of the kernel's output in terms of rows and places within a row; undefined when its shape is not of the domain. */
function outputIndex(shape: Shape, domain: RowDomain): Index | undefined {
  const reduced = new Set(domain.axes);
  const row = (axis: number): Component => ({ name: `row${axis}`, moves: false });
  if (sameShape(shape, domain.shape))
    return shape.map((dim, axis) => (reduced.has(axis) ? placeAlong(axis, dim) : row(axis)));
  const kept = domain.shape.map((dim, axis) => (reduced.has(axis) ? constantDim(1) : dim));
  if (sameShape(shape, kept)) return shape.map((_, axis) => (reduced.has(axis) ? origin : row(axis)));
  const outer = domain.shape.flatMap((dim, axis) => (reduced.has(axis) ? [] : [{ dim, axis }]));
  const dropped = outer.map(({ dim }) => dim);
  return sameShape(shape, dropped) ? outer.map(({ axis }) => row(axis)) : undefined;
}

/** The domain that the reductions of the cone under `root` share, or undefined when they do not fit one row kernel. */
export function rowDomain(root: Value, cone: ReadonlySet<Node>): RowDomain | undefined {
  const [first, ...others] = [...cone].filter((node) => hasTrait(node, 'reduction')).map(domainOf);
  if (!first) return undefined;
  if (!others.every((other) => sameDomain(first, other))) return undefined;
  // Reshapes at the end leave every element where it is in memory.
  let output = root;
  let start = outputIndex(output.type.shape, first);
  while (!start && output.node.op === 'reshape' && cone.has(output.node) && output.node.inputs[0]) {
    [output] = output.node.inputs;
    start = outputIndex(output.type.shape, first);
  }
  if (!start) return undefined;

  const met = new Map<Node, string>();
  const seen = new Set<string>();
  const walk = (value: Value, index: Index): boolean => {
    const { node } = value;
    if (!cone.has(node)) return true;
    const name = index.map((part) => part.name).join();
    const visit = `${node.id}@${name}`;
    if (seen.has(visit)) return true;
    seen.add(visit);
    if (!hasTrait(node, 'reduction')) {
      return node.inputs.every((input, operand) => walk(input, operandIndex(node, operand, index)));
    }
    if (index.some((part) => part.moves)) return false;
    if (met.has(node) && met.get(node) !== name) return false;
    met.set(node, name);
    const [operand] = node.inputs;
    if (!operand) return false;
    const keep = index.length === first.shape.length;
    const outer = [...index];
    const inside = first.shape.map((_, axis): Component => {
      if (first.axes.includes(axis)) {
        if (keep) outer.shift();
        return placeAlong(axis, first.shape[axis]);
      }
      return outer.shift() ?? origin;
    });
    // Each row is the one that the output asked for: same names as the output's own rows.
    const same = inside.every(
      (part, axis) => first.axes.includes(axis) || part.name === `row${axis}` || isOne(first.shape[axis] as Dim),
    );
    // Further operands have one element per row.
    const others = node.inputs.slice(1).every((input, at) => walk(input, operandIndex(node, at + 1, index)));
    return same && others && walk(operand, inside);
  };
  return walk(output, start) ? first : undefined;
}
