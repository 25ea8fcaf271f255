/**
 * Which units a compressed file holds, as text for its `__metadata__`: `0-3 5 7-9` per set. The compiler needs the counts where
 * they differ from layer to layer, people need the numbers.
 */
import type { KeptUnits } from './units.ts';

/** Key in `__metadata__`. */
export { keptKey } from '../runtime/trainer-weights.ts';

function printRun(from: number, to: number): string {
  return from === to ? String(from) : `${from}-${to}`;
}

function printUnits(units: readonly number[]): string {
  const runs: string[] = [];
  let from = units[0];
  for (const [at, unit] of units.entries()) {
    const next = units[at + 1];
    if (next === unit + 1 || from === undefined) continue;
    runs.push(printRun(from, unit));
    from = next;
  }
  return runs.join(' ');
}

function readUnits(text: string): readonly number[] | undefined {
  const units: number[] = [];
  for (const run of text === '' ? [] : text.split(' ')) {
    const match = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(run);
    if (!match) return undefined;
    const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (to < from || from <= (units.at(-1) ?? -1)) return undefined;
    for (let unit = from; unit <= to; unit++) units.push(unit);
  }
  return units;
}

export function printKept(kept: KeptUnits): string {
  return JSON.stringify(Object.fromEntries([...kept].map(([id, units]) => [id, printUnits(units)])));
}

/** Undefined when the text is not one that `printKept` gives. */
export function readKept(text: string): KeptUnits | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined;
  const kept = new Map<string, readonly number[]>();
  for (const [id, value] of Object.entries(parsed)) {
    const units = typeof value === 'string' ? readUnits(value) : undefined;
    if (units === undefined) return undefined;
    kept.set(id, units);
  }
  return kept;
}

/** How many units of each set stay: the `kept` of a compilation. */
export function keptCounts(kept: KeptUnits): ReadonlyMap<string, number> {
  return new Map([...kept].map(([id, units]) => [id, units.length]));
}
