/**
 * How far results are from expected ones, by one rule: err = max|got - want| / max|want| over a tensor. An element-wise
 * relative tolerance would fail on values that are zero in theory.
 */
import type { FileTensor, HostTensor } from './tensor-file.ts';

export interface Difference {
  /** max |got - want| over the compared elements. */
  readonly maxAbsolute: number;
  /** max |got - want| / max |want|; the absolute error where all wanted values are 0. */
  readonly maxRelative: number;
  readonly compared: number;
  readonly isEqual: boolean;
  /** Why the tensors cannot be compared at all. */
  readonly problem?: string;
}

/** 1 where a row [b, t] counts, 0 where it is padding. */
export interface TokenMask {
  /** [B, T] */
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
}

/**
 * @param got       [...shape] results
 * @param want      [...shape] expected
 * @param tolerance largest `maxRelative` that passes; integers must be equal
 * @param mask      [B, T]; outputs whose shape starts with [B, T] are compared only where it is 1
 */
export function compareTensors(got: HostTensor, want: HostTensor, tolerance: number, mask?: TokenMask): Difference {
  if (!sameShape(got.shape, want.shape)) {
    return incomparable(`shape [${got.shape.join(', ')}] where [${want.shape.join(', ')}] is expected`);
  }
  if (got.data.length !== want.data.length) return incomparable('the number of elements differs');
  const isPerToken = mask !== undefined && want.shape.length >= 2 && sameShape(mask.shape, want.shape.slice(0, 2));
  const perRow = isPerToken ? want.shape.slice(2).reduce((product, size) => product * size, 1) : 1;
  let maxAbsolute = 0;
  let largest = 0;
  let compared = 0;
  for (let index = 0; index < want.data.length; index++) {
    if (isPerToken && mask.values[Math.floor(index / perRow)] !== 1) continue;
    const expected = want.data[index] ?? Number.NaN;
    const actual = got.data[index] ?? Number.NaN;
    compared++;
    // Equal infinities and NaN where NaN is expected are no difference; any other non-finite value is an infinite one.
    if (Object.is(actual, expected) || actual === expected) {
      if (Number.isFinite(expected)) largest = Math.max(largest, Math.abs(expected));
      continue;
    }
    const difference = Math.abs(actual - expected);
    maxAbsolute = Math.max(maxAbsolute, Number.isFinite(difference) ? difference : Number.POSITIVE_INFINITY);
    if (Number.isFinite(expected)) largest = Math.max(largest, Math.abs(expected));
  }
  const maxRelative = largest > 0 ? maxAbsolute / largest : maxAbsolute;
  const isInteger = !(want.data instanceof Float32Array);
  return { maxAbsolute, maxRelative, compared, isEqual: isInteger ? maxAbsolute === 0 : maxRelative <= tolerance };
}

function incomparable(problem: string): Difference {
  return {
    maxAbsolute: Number.POSITIVE_INFINITY,
    maxRelative: Number.POSITIVE_INFINITY,
    compared: 0,
    isEqual: false,
    problem,
  };
}

function sameShape(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((size, axis) => size === right[axis]);
}

/** The attention mask among a call's inputs, when it has one. */
export function maskOf(inputs: ReadonlyMap<string, FileTensor>): TokenMask | undefined {
  const mask = inputs.get('attention_mask');
  return mask === undefined ? undefined : { shape: mask.shape, values: mask.read('i32') };
}
