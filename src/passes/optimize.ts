/**
 * Runs the profile-independent passes, in the order of `optimizations`, over every entry of a program.
 */
import type { Graph, Program } from '../ir/graph.ts';
import { assertVerified } from '../ir/verify.ts';
import type { Stage } from '../support/diagnostic.ts';
import { canonicalize } from './canonicalize.ts';
import { commonSubexpression } from './common-subexpression.ts';
import { constantFold } from './constant-fold.ts';
import { deadCode } from './dead-code.ts';
import { narrowRows } from './narrow-rows.ts';
import { pack } from './pack.ts';
import { contextOf, type Pass } from './pass.ts';

/** In this order; a pass stands twice when an earlier one makes work for it. */
export const optimizations: readonly Pass[] = [
  canonicalize,
  constantFold,
  commonSubexpression,
  deadCode,
  narrowRows,
  deadCode,
  pack,
  canonicalize,
  commonSubexpression,
  deadCode,
];

/** Called after each run of a pass on an entry: `--emit` prints with it, tests verify with it. */
export type OnPass = (pass: string, entry: string, graph: Graph, fired: number) => void;

export interface OptimizeOptions {
  /** Names of the passes to run; all when absent. */
  readonly only?: readonly string[];
  /** Names of the passes to leave out. */
  readonly without?: readonly string[];
  readonly onPass?: OnPass;
  readonly verify?: boolean;
}

export interface OptimizeStage extends Stage<Program> {
  /** Per pass, how many times it found something to do in all entries together. */
  readonly stats: Readonly<Record<string, number>>;
}

export function optimize(program: Program, options: OptimizeOptions = {}): OptimizeStage {
  const context = contextOf(program);
  const chosen = optimizations.filter(
    ({ name }) => (options.only?.includes(name) ?? true) && !options.without?.includes(name),
  );
  const stats: Record<string, number> = Object.fromEntries(chosen.map(({ name }) => [name, 0]));
  const entries = program.entries.map((entry) => {
    let graph = entry.graph;
    for (const pass of chosen) {
      const result = pass.run(graph, context);
      graph = result.graph;
      stats[pass.name] = (stats[pass.name] ?? 0) + result.fired;
      if (options.verify) assertVerified(graph, context, { stage: 'model' });
      options.onPass?.(pass.name, entry.name, graph, result.fired);
    }
    return { ...entry, graph };
  });
  return { value: { ...program, entries }, diagnostics: [], stats };
}
