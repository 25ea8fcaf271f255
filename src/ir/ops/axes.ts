/**
 * What `axes` of op definitions are written with: runs of indices that are the same features.
 */
import type { AxisRun } from '../op.ts';
import { constantDim, constantValue, type Dim, divideDim, multiplyDims, sameDim } from '../symbolic.ts';
import type { Shape, TensorType } from '../types.ts';

type Part = Pick<AxisRun, 'from' | 'length' | 'each' | 'keys'>;
type Sets = readonly (readonly AxisRun[])[];

export function operand(at: number, axis: number, part: Part = {}): AxisRun {
  return { of: 'operand', at, axis, ...part };
}

export function result(axis: number, part: Part = {}): AxisRun {
  return { of: 'result', at: 0, axis, ...part };
}

/** All axes but some: result and operands of its rank with that dim run along. */
export function alongside(
  inputs: readonly TensorType[],
  outputs: readonly TensorType[],
  except: readonly number[] = [],
): Sets {
  const [out] = outputs;
  if (!out) return [];
  return out.shape.flatMap((dim, axis) => {
    if (except.includes(axis)) return [];
    const operands = inputs.flatMap(({ shape }, at) => {
      const own = shape.length === out.shape.length ? shape[axis] : undefined;
      return own && sameDim(own, dim) ? [operand(at, axis)] : [];
    });
    return [[result(axis), ...operands]];
  });
}

/** Axes that remain when some are reduced, which stay with size 1 or go. */
export function besideReduced(rank: number, axes: readonly number[], keep: boolean): Sets {
  const remaining = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !axes.includes(axis));
  return remaining.map((axis, place) => [operand(0, axis), result(keep ? axis : place)]);
}

/** Axes aligned at the end; what is repeated has no features of its own. */
export function spread(from: Shape, to: Shape): Sets {
  const added = to.length - from.length;
  return to.map((dim, axis) => {
    const own = from[axis - added];
    return own && sameDim(own, dim) ? [operand(0, axis - added), result(axis)] : [result(axis)];
  });
}

interface Group {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

const one = constantDim(1);

/** Neighbouring axes of both shapes with equal products, as short as can be told. */
function groupsOf(from: Shape, to: Shape): readonly Group[] {
  const groups: Group[] = [];
  let [i, j] = [0, 0];
  while (i < from.length && j < to.length) {
    const group = { from: [i], to: [j] };
    let left: Dim = from[i++] ?? one;
    let right: Dim = to[j++] ?? one;
    while (!sameDim(left, right)) {
      if (i < from.length && divideDim(right, left) !== undefined) {
        left = multiplyDims(left, from[i] ?? one);
        group.from.push(i++);
      } else if (j < to.length && divideDim(left, right) !== undefined) {
        right = multiplyDims(right, to[j] ?? one);
        group.to.push(j++);
      } else return groups;
    }
    groups.push(group);
  }
  return groups;
}

/** The axis of a group that counts in steps of `each`, and how. */
function runAt(sizes: readonly number[], each: number, keys: number): (Part & { readonly place: number }) | undefined {
  let behind = 1;
  for (let place = sizes.length - 1; place >= 0; place--) {
    const size = sizes[place] ?? 1;
    if (each >= behind && each < behind * size) return { place, each: each / behind, keys };
    behind *= size;
  }
  return undefined;
}

function suffixes(sizes: readonly number[]): readonly number[] {
  return sizes.map((_, place) => sizes.slice(place + 1).reduce((product, size) => product * size, 1));
}

/**
 * A reshape: neighbouring axes are taken apart into the factors that both sides have, and each factor runs along. [96] to
 * [3, 4, 8] has a set for the 3, one for the 4 and one for the 8.
 */
export function regrouped(from: Shape, to: Shape): Sets {
  return groupsOf(from, to).flatMap((group): Sets => {
    const left = group.from.map((axis) => constantValue(from[axis] ?? one));
    const right = group.to.map((axis) => constantValue(to[axis] ?? one));
    const isKnown = (sizes: readonly (number | undefined)[]): sizes is readonly number[] =>
      sizes.every((size) => size !== undefined && size > 0);
    if (!isKnown(left) || !isKnown(right)) {
      const [a, b] = [group.from[0], group.to[0]];
      const isSingle = group.from.length === 1 && group.to.length === 1;
      return isSingle && a !== undefined && b !== undefined ? [[operand(0, a), result(b)]] : [];
    }
    const total = left.reduce((product: number, size: number) => product * size, 1);
    const steps = [...new Set([...suffixes(left), ...suffixes(right)])].sort((a, b) => a - b);
    const bounds = [...steps, total];
    if (steps.some((step, at) => (bounds[at + 1] ?? step) % step !== 0)) return [];
    return steps.flatMap((step, at): Sets => {
      const keys = (bounds[at + 1] ?? step) / step;
      const [a, b] = [runAt(left, step, keys), runAt(right, step, keys)];
      if (keys === 1 || !a || !b) return [];
      const { place: own, ...ownPart } = a;
      const { place: other, ...otherPart } = b;
      return [[operand(0, group.from[own] ?? 0, ownPart), result(group.to[other] ?? 0, otherPart)]];
    });
  });
}
