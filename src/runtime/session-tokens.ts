/**
 * Which tokens a session holds, for `generate` without a prompt and for the penalty. Only modules of models that generate text
 * carry it.
 */
import type { Artifact, EntrySpec } from './artifact.ts';
import type { BoundInputs } from './inputs.ts';
import { evaluateSize } from './size.ts';

/** By row and position; lists grow in place. */
export type KnownTokens = readonly number[][];

/** Stands at positions that something else than a token went into. */
export const unknownToken = -1;

export interface RememberedCall {
  readonly artifact: Artifact;
  readonly entry: EntrySpec;
  readonly bound: BoundInputs;
  /** Positions that each row held before the call, and how many it has put behind them. */
  readonly held: readonly number[];
  readonly real: readonly number[];
}

/** `known` with the tokens of a call that is done: of its input of that name, where it has one for each position. */
export function remember(known: KnownTokens, { artifact, entry, bound, held, real }: RememberedCall): KnownTokens {
  const name = artifact.generation?.tokens;
  const data = bound.data[entry.inputs.findIndex((input) => input.name === name && input.dtype === 'i32')];
  const width = evaluateSize(entry.steps ?? 0, bound.dims);
  const isByPosition = data?.length === held.length * width;
  return held.map((length, row) => {
    const tokens = known[row] ?? [];
    tokens.length = Math.min(tokens.length, length);
    for (let at = 0; at < (real[row] ?? 0); at++)
      tokens.push(isByPosition ? (data?.[row * width + at] ?? unknownToken) : unknownToken);
    return tokens;
  });
}
