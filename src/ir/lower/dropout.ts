/**
 * Places where training drops elements: which probability, and which random numbers decide.
 *
 * Every place of a program has a stream of its own, counted in the order in which its entries are elaborated, so each layer of
 * a `repeat` has one too. Places that are given one seed share a stream. See src/passes/training/dropout.ts.
 */
import { describe, numberOf } from './binding.ts';
import { type Context, report } from './context.ts';
import type { Operand } from './tensors.ts';

/** A number in 0 <= p < 1; undefined otherwise (reported). */
export function probability(context: Context, { binding, span }: Operand): number | undefined {
  const p = numberOf(binding);
  if (p !== undefined && p >= 0 && p < 1) return p;
  if (binding.kind === 'poison') return undefined;
  const message = `a probability of \`dropout\` is at least 0 and below 1, found ${describe(binding)}`;
  report(context, 'SORA2204', message, span);
  return undefined;
}

/** The stream of the next place, even, or of a seed, odd: a u32. */
export function streamOf(context: Context, seed?: number): number {
  if (seed !== undefined) return (((seed % 2 ** 31) + 2 ** 31) % 2 ** 31) * 2 + 1;
  context.drops += 1;
  return 2 * (context.drops - 1);
}
