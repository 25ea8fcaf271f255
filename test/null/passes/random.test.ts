/**
 * Random graphs through all passes: every stage is legal and computes the same numbers.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Graph, Program } from '../../../src/ir/graph.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { maxBindings } from '../../../src/passes/fuse/materialize.ts';
import { optimize, toKernels } from '../../../src/passes/index.ts';
import { difference, type Sizes } from '../../support/equivalence.ts';
import { programOf } from '../../support/graphs.ts';
import { randomGraph } from '../../support/random-graph.ts';

const sizes: Sizes = { B: 2, T: 3, S: 1 };

/** Sums are folded and packed in the same order, so only constants folded in f64 may move a last bit. */
const tolerance = 1e-9;

function graphOf(program: Program): Graph {
  const [entry] = program.entries;
  if (!entry) throw new Error('no entry');
  return entry.graph;
}

test.each(profileNames)('random graphs compute the same before and after all passes (%s)', (profile) => {
  const counts = new Map<string, number>();
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1_000_000 }), fc.integer({ min: 3, max: 24 }), (seed, size) => {
      const program = programOf(randomGraph(seed, size));
      const context = { ranges: program.dims };
      const optimized = optimize(program, { verify: true });
      expect(difference(program, graphOf(program), graphOf(optimized.value), sizes, seed)).toBeLessThan(tolerance);
      const kernels = toKernels(optimized.value, profile, { verify: true });
      expect(kernels.diagnostics).toEqual([]);
      const graph = graphOf(kernels.value);
      expect(verifyGraph(graph, context, { stage: 'kernels' })).toEqual([]);
      expect(difference(program, graphOf(program), graph, sizes, seed)).toBeLessThan(tolerance);
      for (const node of graph.nodes.filter(({ op }) => op === 'fused')) {
        expect(node.inputs.length + node.outputs.length).toBeLessThanOrEqual(maxBindings);
        const skeleton = String(node.attributes.skeleton);
        counts.set(skeleton, (counts.get(skeleton) ?? 0) + 1);
      }
    }),
    { seed: 20240517, numRuns: 150 },
  );
  // The generator must reach every kernel family, or the property says little.
  const families = ['map', 'row', 'contraction', ...(profile === 'gpu' ? ['attention'] : [])];
  for (const family of families) expect(counts.get(family) ?? 0).toBeGreaterThan(20);
});
