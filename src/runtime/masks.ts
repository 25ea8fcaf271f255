/**
 * Which single weights stay: 1 and 0 per element, for rules of `prune` about weights. By magnitude; of equals the one with the
 * lower index goes first (a share) or stays (n of m), as the goldens of pruning have it.
 */

/** Digits of a product that can be trusted: 0.1 of 20 is 2, not 1.9999999999999996. */
function wholePart(value: number): number {
  return Math.floor(Number(value.toPrecision(12)));
}

/** How many of `count` go when a share stays. */
export function droppedOf(count: number, keep: number): number {
  return wholePart(count * (1 - keep));
}

/** Those with the least scores go. */
export function scoreMask(scores: Float32Array, keep: number): Uint8Array {
  const mask = new Uint8Array(scores.length).fill(1);
  const dropped = droppedOf(scores.length, keep);
  if (dropped === 0) return mask;
  const limit = scores.slice().sort()[dropped - 1] ?? 0;
  let rest = dropped;
  for (let i = 0; i < scores.length; i++) {
    if ((scores[i] ?? 0) >= limit) continue;
    mask[i] = 0;
    rest--;
  }
  for (let i = 0; i < scores.length && rest > 0; i++) {
    if (scores[i] !== limit) continue;
    mask[i] = 0;
    rest--;
  }
  return mask;
}

/** The floor(n (1 - keep)) smallest go. */
export function magnitudeMask(data: Float32Array, keep: number): Uint8Array {
  return scoreMask(data.map(Math.abs), keep);
}

/** The same number with the least movement goes; what is 0 already goes first. */
export function movementMask(data: Float32Array, movement: Float32Array, keep: number): Uint8Array {
  const scores = movement.map((value, at) => (data[at] === 0 ? Number.NEGATIVE_INFINITY : value));
  return scoreMask(scores, keep);
}

/**
 * Of each `of` consecutive inputs the `keep` largest stay. Inputs run along `axis`; the last group of a row may be shorter and
 * keeps as many, if it has them.
 */
export function nmMask(
  data: Float32Array,
  shape: readonly number[],
  axis: number,
  { keep, of }: { readonly keep: number; readonly of: number },
): Uint8Array {
  const mask = new Uint8Array(data.length);
  const size = shape[axis] ?? 1;
  const inner = shape.slice(axis + 1).reduce((product, each) => product * each, 1);
  const group: number[] = [];
  for (let block = 0; block < data.length; block += size * inner) {
    for (let lane = 0; lane < inner; lane++) {
      for (let first = 0; first < size; first += of) {
        group.length = 0;
        for (let at = first; at < Math.min(first + of, size); at++) group.push(block + at * inner + lane);
        group.sort((a, b) => Math.abs(data[b] ?? 0) - Math.abs(data[a] ?? 0) || a - b);
        for (const place of group.slice(0, keep)) mask[place] = 1;
      }
    }
  }
  return mask;
}

/** The numbers with 0 where the mask has it. */
export function masked(data: Float32Array, mask: Uint8Array): Float32Array {
  return data.map((value, at) => (mask[at] === 1 ? value : 0));
}
