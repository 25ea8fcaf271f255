/** Graphs through the passes and code generation, for tests of both kinds. */
import { generate, type PlannedEntries, planProgram } from '../../../src/codegen/generate.ts';
import type { Program } from '../../../src/ir/graph.ts';
import { optimize, toKernels } from '../../../src/passes/index.ts';
import type { Artifact } from '../../../src/runtime/artifact.ts';
import type { Stage } from '../../../src/support/diagnostic.ts';

function input(program: Program) {
  const optimized = optimize(program).value;
  const perProfile = {
    software: toKernels(optimized, 'software').value,
    gpu: toKernels(optimized, 'gpu').value,
  };
  return { program, perProfile, compiler: 'sorac test', source: '0000' };
}

export function compiled(program: Program): Stage<Artifact> {
  return generate(input(program));
}

export function planned(program: Program): Stage<PlannedEntries> {
  return planProgram(input(program));
}
