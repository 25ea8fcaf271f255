/**
 * A run of many cases: case number i of a seed is always the same text, whatever ran before. Used by the command and by tests.
 */
import { checkModel, checkText } from './oracles.ts';
import { randomModel } from './random-model.ts';
import { randomSource, type TextKind, textKinds } from './sources.ts';

export type Kind = TextKind | 'valid';
export const kinds: readonly Kind[] = [...textKinds, 'valid'];

export interface Figures {
  cases: number;
  readonly byKind: Record<Kind, number>;
  /** Texts without a syntax error, and texts without any error. */
  parses: number;
  checks: number;
  slowest: number;
}

export interface Failure {
  readonly kind: Kind;
  readonly seed: number;
  readonly message: string;
  readonly source: string;
}

export function newFigures(): Figures {
  return { cases: 0, byKind: { bytes: 0, tokens: 0, grammar: 0, valid: 0 }, parses: 0, checks: 0, slowest: 0 };
}

/** Spreads case numbers, so that neighbouring seeds of a run share no cases. */
export function caseSeed(seed: number, index: number): number {
  let bits = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
  bits = Math.imul(bits ^ (bits >>> 15), 0x2c1b3c6d) >>> 0;
  return (bits ^ (bits >>> 13)) >>> 0;
}

export function sourceOf(kind: Kind, seed: number): string {
  return kind === 'valid' ? randomModel(seed).source : randomSource(kind, seed);
}

/** Runs one case; undefined when every oracle holds. */
export function runCase(kind: Kind, seed: number, figures: Figures): Failure | undefined {
  const start = performance.now();
  try {
    if (kind === 'valid') checkModel(randomModel(seed));
    else {
      // The whole pipeline costs as much as a hundred checks: one text in sixteen that is accepted goes through it.
      const outcome = checkText(randomSource(kind, seed), seed % 16 === 0);
      if (outcome.parses) figures.parses++;
      if (outcome.checks) figures.checks++;
    }
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind, seed, message, source: sourceOf(kind, seed) };
  } finally {
    figures.cases++;
    figures.byKind[kind]++;
    figures.slowest = Math.max(figures.slowest, performance.now() - start);
  }
  return undefined;
}
