/**
 * Did-you-mean: the nearest of some names.
 *
 * Distance is Damerau-Levenshtein in its optimal string alignment form (insert, delete, replace, swap neighbours;
 * Damerau 1964). A name is near when the distance is at most 2, or at most a third of its length for long names;
 * of short names at most 1.
 */

/** Edits from one word to the other; stops early and gives `limit + 1` when there are more than `limit`. */
export function editDistance(from: string, to: string, limit = Number.POSITIVE_INFINITY): number {
  if (Math.abs(from.length - to.length) > limit) return limit + 1;
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (swapped) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    if (Math.min(...current) > limit) return limit + 1;
    beforeLast = last;
    last = current;
  }
  return last[to.length] ?? 0;
}

/** The nearest candidate, or undefined when none is near. Case counts half: `layernorm` finds `LayerNorm`. */
export function closest(name: string, candidates: Iterable<string>): string | undefined {
  // Two edits turn a short word into one that has nothing to do with it: `cat` into `cos`.
  const allowed = name.length <= 4 ? 1 : Math.max(2, Math.floor(name.length / 3));
  let best: string | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    if (candidate === name) continue;
    const folded = editDistance(name.toLowerCase(), candidate.toLowerCase(), allowed);
    if (folded > allowed || folded >= candidate.length) continue;
    // Among equals the one that goes on as the name does: `modul` is `module` rather than `model`.
    const score = folded + editDistance(name, candidate) / 2 - (candidate.startsWith(name) ? 0.25 : 0);
    if (score < bestScore || (score === bestScore && best !== undefined && candidate < best)) {
      best = candidate;
      bestScore = score;
    }
  }
  return best;
}
