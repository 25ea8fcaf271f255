/**
 * Pruned weights in training: which parameters a `prune` rule is about, and that their zeros stay zeros (decision 0009).
 *
 * Which elements become 0, and when, is the host's business (src/runtime/trainer-pruning.ts).
 */
import type { Program, Value, WeightPruning } from '../../ir/graph.ts';
import type { Emitter } from '../../ir/op.ts';
import { calculus } from '../../ir/ops/calculus.ts';
import { transposedMatrices } from '../../ir/summed-axis.ts';

/** By the path that a weight is trained under; the last rule that names it holds. */
export function pruningsOf(program: Program): ReadonlyMap<string, WeightPruning> {
  const rules = program.prune?.weights ?? [];
  if (rules.length === 0) return new Map();
  const transposed = transposedMatrices(program.entries.map(({ graph }) => graph));
  const ties = new Map(program.weights.map(({ path, tied }) => [path, tied ?? path]));
  return new Map(
    rules.flatMap(({ paths, sparsity }) =>
      paths.map((path) => [ties.get(path) ?? path, { sparsity, transposed: transposed.has(path) }] as const),
    ),
  );
}

/** The new values, but 0 where the weight is exactly 0. */
export function keepingZeros(emitter: Emitter, weights: Value, next: Value): Value {
  const c = calculus(emitter);
  const zeros = c.fill(0, weights);
  return c.where('equal', weights, zeros, zeros, next);
}

/**
 * The sum over steps of -gradient weight: above 0 where steps move the weight away from 0. Sanh et al. 2020, "Movement pruning",
 * equation 3; there a weight that is masked keeps its gradient and may come back, here what is 0 stays 0.
 */
export function movedOf(emitter: Emitter, movement: Value, weights: Value, gradients: Value): Value {
  const c = calculus(emitter);
  return c.sub(movement, c.mul(gradients, weights));
}
