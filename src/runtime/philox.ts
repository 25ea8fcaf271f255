/**
 * Random numbers that depend on a key and a counter alone: the same draws for the same seed on every platform, in any order.
 *
 * Philox4x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
 */

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const weyl = [0x9e3779b9, 0xbb67ae85] as const;

type Four = readonly [number, number, number, number];

/** The upper half of the product of two u32. src/ir/ops/random.ts has its own; test/null/runtime/options.test.ts compares. */
export function high(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const other = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(other / 0x10000)) >>> 0;
}

/** Four u32 of a counter of four u32 under a key of two. */
export function philox(counter: Four, key: readonly [number, number]): Four {
  let [a, b, c, d] = counter;
  let [first, second] = key;
  for (let round = 0; round < 10; round++) {
    const [m, n] = multipliers;
    [a, b, c, d] = [
      (high(n, c) ^ b ^ first) >>> 0,
      Math.imul(n, c) >>> 0,
      (high(m, a) ^ d ^ second) >>> 0,
      Math.imul(m, a) >>> 0,
    ];
    first = (first + weyl[0]) >>> 0;
    second = (second + weyl[1]) >>> 0;
  }
  return [a, b, c, d];
}

/** A number in [0, 1) with 53 random bits, for a whole seed, a position of a text and a row. */
export function uniform(seed: number, position: number, row: number): number {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  const [upper, lower] = philox([position >>> 0, row >>> 0, 0, 0], key);
  return ((upper >>> 5) * 2 ** 26 + (lower >>> 6)) / 2 ** 53;
}
