import { SoraError } from './error.ts';

/**
 * Did-you-mean for names that share most of their beginning and ending: a missing or an extra part is the usual mistake.
 */
export function nearest(
  name: string,
  candidates: readonly string[],
  fold: (candidate: string) => string = (candidate) => candidate,
): string | undefined {
  let best: string | undefined;
  let bestScore = 0;
  for (const candidate of candidates) {
    const other = fold(candidate);
    let tail = 0;
    while (tail < Math.min(name.length, other.length) && name.at(-1 - tail) === other.at(-1 - tail)) tail++;
    let head = 0;
    while (head < Math.min(name.length, other.length) - tail && name[head] === other[head]) head++;
    const score = (head + tail) / Math.max(name.length, other.length);
    if (score > bestScore) {
      best = candidate;
      bestScore = score;
    }
  }
  return bestScore > 0.6 ? best : undefined;
}

/** `maxTokens`, `max_tokens` and `maxtokens` are one name to somebody who mistypes. */
const folded = (name: string): string => name.replace(/[_-]/g, '').toLowerCase();

/** `what` has no `kind` of that name: with the nearest that there is, or all. */
export function unknownName(
  code: string,
  what: string,
  kind: string,
  name: string,
  known: readonly string[],
): SoraError {
  const near = nearest(folded(name), known, folded);
  return new SoraError(code, `${what} has no ${kind} \`${name}\``, {
    help: near === undefined ? `there is ${known.join(', ')}` : `did you mean \`${near}\`?`,
  });
}
