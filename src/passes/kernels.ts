/**
 * From tensor programs to kernel programs, per device profile: decompose what has no kernel of its own, clean up, fuse.
 */
import type { Entry, Graph, Program } from '../ir/graph.ts';
import type { ProfileName } from '../ir/target.ts';
import { assertVerified } from '../ir/verify.ts';
import type { Diagnostic, Stage } from '../support/diagnostic.ts';
import { alignReductions } from './align-reductions.ts';
import { canonicalize } from './canonicalize.ts';
import { commonSubexpression } from './common-subexpression.ts';
import { constantFold } from './constant-fold.ts';
import { deadCode } from './dead-code.ts';
import { decompose } from './decompose.ts';
import { dropBarriers } from './drop-barriers.ts';
import { fuse } from './fuse/index.ts';
import { narrowConcat } from './narrow-concat.ts';
import type { OnPass } from './optimize.ts';
import { contextOf, type Pass } from './pass.ts';
import { splitWeights } from './split-weights.ts';

export interface KernelOptions {
  readonly onPass?: OnPass;
  /** Check every graph after every pass; a broken one throws `InternalError`. */
  readonly verify?: boolean;
  /** Weights above so many bytes are split; what a binding holds on every device when left out. */
  readonly bindingBytes?: number;
}

export interface KernelStage extends Stage<Program> {
  /** Per pass, how many times it found something to do in all entries together. */
  readonly stats: Readonly<Record<string, number>>;
}

/** What runs before fusion, in order. */
export function kernelPasses(profile: ProfileName, bindingBytes?: number): readonly Pass[] {
  return [
    decompose(profile),
    splitWeights(bindingBytes),
    narrowConcat,
    canonicalize,
    constantFold,
    commonSubexpression,
    alignReductions,
    canonicalize,
    commonSubexpression,
    deadCode,
    dropBarriers,
  ];
}

/** A program whose graphs hold only `input`, `weight`, `constant` and `fused` nodes. */
export function toKernels(program: Program, profile: ProfileName, options: KernelOptions = {}): KernelStage {
  const context = contextOf(program);
  const diagnostics: Diagnostic[] = [];
  const stats: Record<string, number> = {};
  const record = (pass: string, entry: Entry, graph: Graph, fired: number): Graph => {
    stats[pass] = (stats[pass] ?? 0) + fired;
    if (options.verify) assertVerified(graph, context, { stage: pass === 'fuse' ? 'kernels' : 'model' });
    options.onPass?.(pass, entry.name, graph, fired);
    return graph;
  };
  const entries = program.entries.map((entry): Entry => {
    let graph = entry.graph;
    for (const pass of kernelPasses(profile, options.bindingBytes)) {
      const result = pass.run(graph, context);
      graph = record(pass.name, entry, result.graph, result.fired);
    }
    const fusion = fuse(graph, entry.span, program.dims);
    diagnostics.push(...fusion.diagnostics);
    if (fusion.diagnostics.length > 0) return entry;
    return { ...entry, graph: record('fuse', entry, fusion.graph, fusion.fired) };
  });
  return { value: { ...program, entries }, diagnostics, stats };
}
