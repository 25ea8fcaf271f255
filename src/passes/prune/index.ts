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
import { pruneRows } from './rows.ts';
import { type FoundSet, Sets, type SetsOptions } from './sets.ts';
import { shrink } from './shrink.ts';

export type PruneOptions = SetsOptions;

function find(program: Program, options: PruneOptions): Stage<readonly FoundSet[]> & { readonly places: Places } {
  const places = new Places(program);
  const sets = new Sets(program, places, options);
  for (const [at, rule] of (program.prune?.units ?? []).entries()) sets.add(rule, at);
  return { value: [...sets.found.values()], diagnostics: sets.diagnostics, places };
}

/** What is done before units are looked for. */
function withoutLayersAndRows(program: Program, options: PruneOptions): Stage<Program> {
  const layers = pruneLayers(program);
  return layers.diagnostics.length > 0 ? layers : pruneRows(layers.value, options);
}

/** What the rules of a program that is not pruned yet come to. */
export function planOf(program: Program, options: PruneOptions = {}): Stage<PrunePlan> {
  const before = withoutLayersAndRows(program, options);
  const { value, diagnostics } = find(before.value, options);
  const sets = [...(before.value.pruned?.sets ?? []), ...value.map(({ set }) => set)];
  return { value: { sets }, diagnostics: [...before.diagnostics, ...diagnostics] };
}

/** The program with the sizes that its rules leave; the program itself when it has none. */
export function prune(program: Program, options: PruneOptions = {}): Stage<Program> {
  const before = withoutLayersAndRows(program, options);
  if (before.diagnostics.length > 0 || (program.prune?.units ?? []).length === 0) return before;
  const { value, diagnostics, places } = find(before.value, options);
  if (diagnostics.length > 0) return { value: program, diagnostics };
  return { value: shrink(before.value, places, value), diagnostics };
}
