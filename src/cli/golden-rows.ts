/**
 * Rows of the table of reference cases, and how results of one call become rows.
 */
import type { EntrySpec } from '../runtime/artifact.ts';
import { compareTensors, type TokenMask } from './compare.ts';
import type { GoldenVariant } from './golden-case.ts';
import type { FileTensor, HostTensor } from './tensor-file.ts';
import { hostTensor } from './tensor-file.ts';

/** The comparison rule of f32 forward passes: a faithful f32 run is near 1e-6 to 1e-5, above 1e-3 it is a bug. */
export const tolerance = 1e-4;

export type Outcome = 'pass' | 'fail' | 'not supported yet';

export interface Row {
  readonly case: string;
  readonly variant: string;
  readonly result: string;
  readonly maxAbsolute?: number;
  readonly maxRelative?: number;
  readonly outcome: Outcome;
  readonly detail?: string;
}

/** Where a row belongs. */
export interface Place {
  readonly case: string;
  readonly variant: string;
}

export function failedRow(place: Place, detail: string, result = ''): Row {
  return { ...place, result, outcome: 'fail', detail };
}

/** One result against what is expected of it. */
export function comparedRow(
  place: Place,
  result: string,
  got: HostTensor | undefined,
  want: FileTensor | HostTensor,
  mask?: TokenMask,
): Row {
  if (got === undefined) return failedRow(place, 'the entry did not return it', result);
  const difference = compareTensors(got, 'read' in want ? hostTensor(want) : want, tolerance, mask);
  if (difference.problem !== undefined) return failedRow(place, difference.problem, result);
  const { maxAbsolute, maxRelative, isEqual } = difference;
  return { ...place, result, maxAbsolute, maxRelative, outcome: isEqual ? 'pass' : 'fail' };
}

/** The first entry that yields every wanted result from the inputs that are there. */
export function entryFor(
  entries: readonly EntrySpec[],
  variant: GoldenVariant,
  wanted: readonly string[],
): EntrySpec | undefined {
  return entries.find((entry) => {
    const results = new Set(entry.results.map((result) => result.name));
    const isFed = entry.inputs.every((input) => input.initial !== undefined || variant.inputs.has(input.name));
    return isFed && wanted.every((name) => results.has(name));
  });
}
