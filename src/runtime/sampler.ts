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
  readonly ids: ArrayLike<number>;
  readonly logits: ArrayLike<number>;
  /** How many from the front stand where they would among all tokens. */
  readonly sure: number;
}

function penalized(candidates: Candidates, penalty: number, history: History): Ordered {
  if (penalty === 1 || history.size === 0) return { ...candidates, sure: candidates.ids.length };
  const ids = Array.from(candidates.ids);
  const logits = Array.from(candidates.logits);
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

const digitBits = 11;
const digits = 2 ** digitBits;

/**
 * All logits (f32) of a row as candidates: a radix sort from the lowest digit up, which keeps equals in the order of their ids
 * and takes a tenth of the time of a sort by comparison.
 */
export function allCandidates(row: ArrayLike<number>): Candidates {
  const logits = Float32Array.from(row);
  const words = new Uint32Array(logits.buffer);
  const keys = new Uint32Array(row.length);
  for (let id = 0; id < row.length; id++) {
    const word = words[id] ?? 0;
    // Greater logits first; -0 counts as 0.
    const bits = word === 0x80000000 ? 0 : word;
    keys[id] = bits >>> 31 === 1 ? bits : ~(bits | 0x80000000);
  }
  let ids = Int32Array.from(keys, (_, id) => id);
  for (let shift = 0; shift < 32; shift += digitBits) {
    const digitOf = (id: number): number => ((keys[id] ?? 0) >>> shift) & (digits - 1);
    const starts = new Int32Array(digits + 1);
    for (let at = 0; at < ids.length; at++)
      starts[digitOf(ids[at] ?? 0) + 1] = (starts[digitOf(ids[at] ?? 0) + 1] ?? 0) + 1;
    for (let digit = 0; digit < digits; digit++) starts[digit + 1] = (starts[digit + 1] ?? 0) + (starts[digit] ?? 0);
    const sorted = new Int32Array(ids.length);
    for (let at = 0; at < ids.length; at++) {
      const id = ids[at] ?? 0;
      const digit = digitOf(id);
      const place = starts[digit] ?? 0;
      sorted[place] = id;
      starts[digit] = place + 1;
    }
    ids = sorted;
  }
  const sorted = new Float32Array(row.length);
  for (let at = 0; at < ids.length; at++) sorted[at] = logits[ids[at] ?? 0] ?? 0;
  return { ids, logits: sorted, isAll: true, logTotal: Number.NaN };
}
