/**
 * The three-part test of a pass: what it does to the text, that it computes the same, and that it fired.
 */
import { expect } from 'vitest';
import type { Graph, Value } from '../../../src/ir/graph.ts';
import { printGraph } from '../../../src/ir/print.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { deadCode } from '../../../src/passes/dead-code.ts';
import type { Pass } from '../../../src/passes/pass.ts';
import { difference, type Sizes } from '../../support/equivalence.ts';
import { programOf, type Sketch, sketch, testDims } from '../../support/graphs.ts';

/** Awkward on purpose: one, and primes. */
const sizes: readonly Sizes[] = [
  { B: 1, T: 1, S: 1, N: 2 },
  { B: 2, T: 5, S: 3, N: 7 },
  { B: 3, T: 7, S: 2, N: 5 },
];

export function graphOf(write: (s: Sketch) => Readonly<Record<string, Value>>): Graph {
  const s = sketch();
  return s.finish(write(s));
}

/** The text of the body, for snapshots: one line per node, without the frame. */
export function bodyOf(graph: Graph): string {
  return printGraph(graph)
    .split('\n')
    .slice(1, -2)
    .map((line) => line.slice(2))
    .join('\n');
}

/**
 * Runs the pass, checks that the result is legal and computes the same for all sizes, and that it fired as often as
 * expected. What it left without readers is swept away, so that texts show the point.
 */
export function check(pass: Pass, before: Graph, fired: number): Graph {
  const context = { ranges: testDims };
  const result = pass.run(before, context);
  expect(result.fired).toBe(fired);
  expect(verifyGraph(result.graph, context, { stage: 'model' })).toEqual([]);
  const program = programOf(before);
  for (const size of sizes) expect(difference(program, before, result.graph, size, 5)).toBeLessThan(1e-12);
  return deadCode.run(result.graph, context).graph;
}
