/**
 * Structured pruning: rules about layers, rows, heads and neurons of a `prune` block make models and matrices smaller (decision 0009).
 *
 * Shapes follow from the rules alone. Which units stay is said by the weights: `planOf` gives what belongs to each, src/compression
 * scores and slices by it, and the program that `prune` makes loads the sliced file.
 *
 * Sources: Michel et al. 2019 (heads); Fang et al. 2023 (DepGraph: what hangs together is found in the graph).
 */
import type { Program } from '../../ir/graph.ts';
import type { PrunePlan } from '../../ir/pruning.ts';
import type { Stage } from '../../support/diagnostic.ts';
import { pruneLayers } from './layers.ts';
import { Places } from './places.ts';
import { type PrunedRows, pruneRows } from './rows.ts';
import { type FoundSet, Sets, type SetsOptions } from './sets.ts';
import { shrink } from './shrink.ts';

export type PruneOptions = SetsOptions;

interface Found extends Stage<readonly FoundSet[]> {
  readonly places: Places;
}

function find(program: Program, options: PruneOptions): Found {
  const places = new Places(program);
  const sets = new Sets(program, places, options);
  for (const [at, rule] of (program.prune?.units ?? []).entries()) sets.add(rule, at);
  return { value: [...sets.found.values()], diagnostics: sets.diagnostics, places };
}

/** What the rules of a program that is not pruned yet come to. */
export function planOf(program: Program, options: PruneOptions = {}): Stage<PrunePlan> {
  const whole = withoutLayersAndRows(program, options);
  const { value, diagnostics } = find(whole.value.program, options);
  const sets = [...whole.value.sets, ...value.map(({ set }) => set)];
  return { value: { sets }, diagnostics: [...whole.diagnostics, ...diagnostics] };
}

/** What is done before units are looked for. */
function withoutLayersAndRows(program: Program, options: PruneOptions): Stage<PrunedRows> {
  const layers = pruneLayers(program);
  if (layers.diagnostics.length > 0) return { value: { program, sets: [] }, diagnostics: layers.diagnostics };
  return pruneRows(layers.value, program.prune?.units.length ?? 0, options);
}

/** The program with the sizes that its rules leave; the program itself when it has none. */
export function prune(program: Program, options: PruneOptions = {}): Stage<Program> {
  const before = withoutLayersAndRows(program, options);
  if (before.diagnostics.length > 0) return { value: program, diagnostics: before.diagnostics };
  const { program: whole, sets } = before.value;
  if ((program.prune?.units ?? []).length === 0)
    return { value: sets.length === 0 ? whole : { ...whole, pruned: { sets } }, diagnostics: [] };
  const { value, diagnostics, places } = find(whole, options);
  if (diagnostics.length > 0) return { value: program, diagnostics };
  const shrunk = shrink(whole, places, value);
  return { value: { ...shrunk, pruned: { sets: [...sets, ...(shrunk.pruned?.sets ?? [])] } }, diagnostics };
}
