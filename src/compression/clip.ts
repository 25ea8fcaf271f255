/**
 * Scales of groups of weights: by the greatest, by a percentile, or by the least squared error. A scale that cuts off the
 * greatest weights rounds all the others more finely.
 */
import { roundEven } from '../runtime/number-formats.ts';

/** Integers that a format has: -most..most, or 0..most with a zero point. */
export interface Levels {
  readonly most: number;
  readonly isSymmetric: boolean;
}

export interface Scale {
  /** An f32. */
  readonly scale: number;
  /** 0 in symmetric formats. */
  readonly zero: number;
}

export type Clipping =
  | { readonly kind: 'minmax' }
  /** Share of the weights of a group that is not cut off, above 0. */
  | { readonly kind: 'percentile'; readonly share: number }
  | { readonly kind: 'mse' };

/** The scale whose range is `low` to `high`; 0 belongs to every range. */
export function scaleOfRange(low: number, high: number, { most, isSymmetric }: Levels): Scale {
  const [least, greatest] = [Math.min(low, 0), Math.max(high, 0)];
  const range = isSymmetric ? Math.max(-least, greatest) : greatest - least;
  const scale = Math.fround(Math.fround(range) / most);
  // Nothing but zeros, or what an f32 takes for it.
  if (!(scale > 0)) return { scale: 1, zero: 0 };
  const zero = isSymmetric ? 0 : clamp(roundEven(Math.fround(-least / scale)), 0, most);
  return { scale, zero };
}

function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}

/** The stored integer, zero point included. */
export function codeOf(value: number, { scale, zero }: Scale, { most, isSymmetric }: Levels): number {
  return clamp(roundEven(Math.fround(value / scale)) + zero, isSymmetric ? -most : 0, most);
}

export function numberOf(code: number, { scale, zero }: Scale): number {
  return Math.fround((code - zero) * scale);
}

/** Shares of the whole range that are tried; the first of equals wins, so nothing is cut off for no gain. */
const shrinks = Array.from({ length: 26 }, (_, step) => 1 - step * 0.02);

/**
 * @param values     those of one group
 * @param importance how much the error of each counts; all alike when left out
 */
export function fitScale(values: Float32Array, levels: Levels, clipping: Clipping, importance?: Float64Array): Scale {
  let [low, high] = [0, 0];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (clipping.kind === 'minmax' || low === high) return scaleOfRange(low, high, levels);
  if (clipping.kind === 'percentile') return percentileScale(values, levels, clipping.share);
  let best = scaleOfRange(low, high, levels);
  let least = errorOf(values, best, levels, Number.POSITIVE_INFINITY, importance);
  for (const shrink of shrinks) {
    const scale = scaleOfRange(low * shrink, high * shrink, levels);
    const error = errorOf(values, scale, levels, least, importance);
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/** The squared error; what is at least `most` is of no interest. */
function errorOf(
  values: Float32Array,
  scale: Scale,
  levels: Levels,
  most: number,
  importance: Float64Array | undefined,
): number {
  let sum = 0;
  for (let at = 0; at < values.length && sum < most; at++) {
    const value = values[at] ?? 0;
    const lost = value - numberOf(codeOf(value, scale, levels), scale);
    sum += lost * lost * (importance?.[at] ?? 1);
  }
  return sum;
}

/** Both ends of an asymmetric range are cut by themselves. */
function percentileScale(values: Float32Array, levels: Levels, share: number): Scale {
  if (levels.isSymmetric) {
    const bound = quantile(Float32Array.from(values, Math.abs).sort(), share);
    return scaleOfRange(-bound, bound, levels);
  }
  const sorted = Float32Array.from(values).sort();
  return scaleOfRange(quantile(sorted, 1 - share), quantile(sorted, share), levels);
}

/** Between two values as far as the share lies between them. */
function quantile(sorted: Float32Array, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = Math.floor(place);
  const [low = 0, high = low] = [sorted[below], sorted[Math.min(below + 1, sorted.length - 1)]];
  return low + (high - low) * (place - below);
}
