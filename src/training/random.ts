/**
 * Random draws of a training run. Every draw is a function of the seed, of what it is for and of counters, so a run that
 * is resumed in the middle draws what it would have drawn.
 */
import { philox } from '../runtime/philox.ts';

/** What a draw is for: equal counters of two purposes must not give equal numbers. Dropout and sampling use purpose 0. */
const purposes = { shuffle: 0x5f01, split: 0x5f02, pool: 0x5f03, mask: 0x5f04, window: 0x5f05 } as const;

export type Purpose = keyof typeof purposes;

/** Four numbers in [0, 1), of 32 bits each, for a whole seed in 0..2^53 and whole counters in 0..2^32. */
export function draws(
  seed: number,
  purpose: Purpose,
  [first, second, third]: readonly [number, number, number],
): readonly [number, number, number, number] {
  const [a, b, c, d] = philox([first >>> 0, second >>> 0, purposes[purpose], third >>> 0], keyOf(seed));
  return [a / 2 ** 32, b / 2 ** 32, c / 2 ** 32, d / 2 ** 32];
}

function keyOf(seed: number): readonly [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** A whole number in 0..below, all as likely (to one part in 2^21 for `below` of 2^32). */
export function drawBelow(seed: number, purpose: Purpose, first: number, second: number, below: number): number {
  const [upper, lower] = philox([first >>> 0, second >>> 0, purposes[purpose], 0], keyOf(seed));
  return Math.floor((((upper >>> 5) * 2 ** 26 + (lower >>> 6)) / 2 ** 53) * below);
}

/**
 * The numbers 0..length in an order that the seed, the purpose and `counter` decide (Fisher and Yates).
 *
 * @param length whole, below 2^32
 */
export function permutation(seed: number, purpose: Purpose, counter: number, length: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, at) => at);
  for (let last = length - 1; last > 0; last--) {
    const other = drawBelow(seed, purpose, counter, last, last + 1);
    const kept = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}
