/**
 * Runner `plain`: one forward pass per variant, every expected output a result of one entry.
 */
import type { Program } from '../ir/graph.ts';
import { gradientEntry } from '../passes/index.ts';
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

/** The program with an entry that gives the gradients of `sum(out * cotangent)` that the case expects. */
export function withGradients(program: Program, variants: readonly GoldenVariant[]): Program {
  const names = new Set(
    variants.flatMap(({ gradients }) => [...gradients.keys()].map((key) => key.slice('grad.'.length))),
  );
  const entry = program.entries.find((candidate) => candidate.results.some(({ name }) => name === 'out'));
  if (names.size === 0 || entry === undefined) return program;
  return { ...program, entries: [...program.entries, gradientEntry(program, entry, 'out', names)] };
}

/** Runner `adaptive`: a forward pass, and its gradients by the entry of `withGradients`. */
export async function runAdaptive(
  place: Place,
  variant: GoldenVariant,
  entries: readonly EntrySpec[],
  model: OpenModel,
): Promise<readonly Row[]> {
  const { outputs, gradients } = variant;
  const rows = await runForward(place, variant, [...outputs.keys()], entries, model);
  if (gradients.size === 0) return rows;
  const backward = await runForward(place, { ...variant, outputs: gradients }, [...gradients.keys()], entries, model);
  return [...rows, ...backward];
}
