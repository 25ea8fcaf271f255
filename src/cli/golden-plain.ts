/**
 * Runner `plain`: one forward pass per variant, every expected output a result of one entry.
 */
import type { EntrySpec } from '../runtime/artifact.ts';
import { maskOf } from './compare.ts';
import type { OpenModel } from './execute.ts';
import { summarizeError } from './exit-codes.ts';
import type { GoldenVariant } from './golden-case.ts';
import { comparedRow, entryFor, failedRow, type Place, type Row } from './golden-rows.ts';
import { matchInputs } from './match-inputs.ts';

/** @param wanted names of the expected outputs that one entry must give. */
export async function runForward(
  place: Place,
  variant: GoldenVariant,
  wanted: readonly string[],
  entries: readonly EntrySpec[],
  model: OpenModel,
): Promise<readonly Row[]> {
  const entry = entryFor(entries, variant, wanted);
  if (entry === undefined) {
    return [failedRow(place, `no entry gives ${wanted.join(', ')} from ${[...variant.inputs.keys()].join(', ')}`)];
  }
  let results: Awaited<ReturnType<OpenModel['call']>>;
  try {
    results = await model.call(entry.name, matchInputs(entry, variant.inputs).inputs);
  } catch (error) {
    const summary = summarizeError(error);
    if (summary === undefined) throw error;
    return [failedRow(place, `${summary.code}: ${summary.message}`)];
  }
  const mask = maskOf(variant.inputs);
  return wanted.flatMap((name) => {
    const want = variant.outputs.get(name);
    return want === undefined ? [] : [comparedRow(place, name, results.get(name), want, mask)];
  });
}

/** Runner `adaptive`: a forward pass, and gradients, which nothing computes yet. */
export async function runAdaptive(
  place: Place,
  variant: GoldenVariant,
  entries: readonly EntrySpec[],
  model: OpenModel,
): Promise<readonly Row[]> {
  const rows = await runForward(place, variant, [...variant.outputs.keys()], entries, model);
  const later = variant.gradients.map(
    (result): Row => ({ ...place, result, outcome: 'not supported yet', detail: 'gradients' }),
  );
  return [...rows, ...later];
}
