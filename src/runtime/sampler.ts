/**
 * Choosing the next token. The order is that of `generate` of transformers: repetition penalty, temperature, the K most
 * probable, the nucleus, the least share of the best; then one draw among what is left.
 *
 * A step tells the most probable tokens, not all logits. `choose` works on these and says when they cannot decide; then it is
 * asked again with all logits. Both ways walk the tokens in one order (greater logit first, lower id among equals), so they
 * give the same token for the same draw.
 */

export interface Sampling {
  /** 0: always the most probable token. */
  readonly temperature: number;
  /** Only so many of the most probable tokens; undefined: all. */
  readonly topK: number | undefined;
  /** The least set of most probable tokens whose probability together is at least this; 1: all. */
  readonly topP: number;
  /** Only tokens at least this times as probable as the best; 0: all. */
  readonly minP: number;
  /** Logits of tokens in the text so far are divided by this where positive, multiplied where negative; 1: as they are. */
  readonly repetitionPenalty: number;
}

/** Logits in descending order; all of them, or the greatest. */
export interface Candidates {
  readonly ids: ArrayLike<number>;
  readonly logits: ArrayLike<number>;
  /** Whether these are all tokens of the vocabulary. */
  readonly isAll: boolean;
  /** log of the sum over the whole vocabulary of exp(logit * heat). */
  readonly logTotal: number;
}

/** What logits are multiplied by at a temperature: an f32, because the device takes its sums with it. */
export function heatOf(temperature: number): number {
  return temperature === 0 ? 1 : Math.fround(1 / temperature);
}

/** Tokens of the text so far. */
export type History = ReadonlySet<number>;

interface Ordered {
  readonly ids: readonly number[];
  readonly logits: readonly number[];
  /** How many from the front stand where they would among all tokens. */
  readonly sure: number;
}

function penalized(candidates: Candidates, penalty: number, history: History): Ordered {
  const ids = Array.from(candidates.ids);
  const logits = Array.from(candidates.logits);
  if (penalty === 1 || history.size === 0) return { ids, logits, sure: ids.length };
  const pairs = ids.map((id, at) => {
    const logit = logits[at] ?? 0;
    return { id, logit: !history.has(id) ? logit : logit > 0 ? logit / penalty : logit * penalty };
  });
  pairs.sort((a, b) => b.logit - a.logit || a.id - b.id);
  // Tokens that are not told have at most the least logit that is; a penalty below 1 may raise them above it.
  const floor = penalty > 1 ? (logits.at(-1) ?? 0) : Number.POSITIVE_INFINITY;
  const unsure = pairs.findIndex(({ logit }) => !(logit > floor));
  return {
    ids: pairs.map(({ id }) => id),
    logits: pairs.map(({ logit }) => logit),
    sure: candidates.isAll || unsure < 0 ? pairs.length : unsure,
  };
}

/**
 * The token for a draw in [0, 1); undefined when these candidates do not decide it. With all candidates it is always decided.
 */
export function choose(candidates: Candidates, sampling: Sampling, history: History, draw: number): number | undefined {
  const { temperature, topK = Number.POSITIVE_INFINITY, topP, minP, repetitionPenalty } = sampling;
  const { ids, logits, sure } = penalized(candidates, repetitionPenalty, history);
  if (temperature === 0) return sure > 0 ? ids[0] : undefined;
  if (sure === 0) return undefined;
  const heat = heatOf(temperature);
  const best = logits[0] ?? 0;
  const weight = (at: number): number => Math.exp(((logits[at] ?? 0) - best) * heat);

  // What the best K weigh together: the sum of them, or of the whole vocabulary, which the device has taken.
  const limit = Math.min(topK, candidates.isAll ? ids.length : Number.POSITIVE_INFINITY);
  const isPlain = repetitionPenalty === 1 || history.size === 0;
  let whole: number | undefined;
  if (limit <= sure) {
    whole = 0;
    for (let at = 0; at < limit; at++) whole += weight(at);
  } else if (topK === Number.POSITIVE_INFINITY && isPlain) whole = Math.exp(candidates.logTotal - best * heat);

  // The end of what is kept: the first of K, nucleus and least share.
  let kept = 0;
  let sum = 0;
  let isClosed = limit <= sure;
  const end = Math.min(limit, sure);
  for (; kept < end; kept++) {
    const own = weight(kept);
    const isNucleusFull = whole !== undefined && topP < 1 && kept > 0 && sum >= topP * whole;
    if (isNucleusFull || (kept > 0 && own < minP)) {
      isClosed = true;
      break;
    }
    // Without its whole nobody knows where the nucleus ends.
    if (whole === undefined && topP < 1) return undefined;
    sum += own;
  }
  if (whole !== undefined && topP < 1 && sum >= topP * whole) isClosed = true;
  const filtersNothing = topP >= 1 && minP === 0 && topK === Number.POSITIVE_INFINITY;
  const total = isClosed ? sum : filtersNothing ? whole : undefined;
  if (total === undefined) return undefined;
  let left = draw * total;
  let last = 0;
  for (let at = 0; at < kept; at++) {
    const own = weight(at);
    if (own > 0) last = at;
    left -= own;
    if (left < 0) return ids[at];
  }
  // Rounding may leave a little at the end of a closed set; else the token is further down.
  return isClosed ? ids[last] : undefined;
}

/** All logits of a row as candidates. */
export function allCandidates(row: ArrayLike<number>): Candidates {
  const ids = Array.from({ length: row.length }, (_, id) => id);
  ids.sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0) || a - b);
  return { ids, logits: ids.map((id) => row[id] ?? 0), isAll: true, logTotal: Number.NaN };
}
