/**
 * Checks a plan for what would give wrong numbers silently: a buffer read before it is written, a scratch slot written
 * while a later step still needs what it holds, one buffer read and written by one dispatch, a buffer too small.
 *
 * The checker knows values only through what the steps say, so it is told which value each step reads and writes.
 */
import type { EntryPlan } from '../../runtime/artifact.ts';
import { evaluateSize } from './sizes.ts';

/** What a step means: names of the values at its buffers, in the order of `Step.buffers`, and their sizes. */
export interface StepMeaning {
  readonly reads: readonly { readonly buffer: number; readonly value: string; readonly bytes: number }[];
  /** `over`: what the buffer must hold when the step begins, because the step changes it in place. */
  readonly writes: readonly {
    readonly buffer: number;
    readonly value: string;
    readonly bytes: number;
    readonly over?: string;
  }[];
}

/** Sentences about what is wrong with a plan at the given dims; empty when nothing is. */
export function planProblems(
  plan: EntryPlan,
  meanings: readonly StepMeaning[],
  dims: Readonly<Record<string, number>>,
): readonly string[] {
  const problems: string[] = [];
  const holds = new Map<number, string>();
  const sizeOf = (buffer: number): number => {
    const spec = plan.buffers[buffer];
    return spec && 'bytes' in spec ? evaluateSize(spec.bytes, dims) : Number.POSITIVE_INFINITY;
  };
  plan.steps.forEach((step, at) => {
    const meaning = meanings[at];
    if (!meaning) return;
    for (const { buffer, value, bytes } of meaning.reads) {
      const spec = plan.buffers[buffer];
      // A state comes with what earlier calls left, until this call writes it.
      const isFresh = (spec?.kind === 'state' || spec?.kind === 'arena') && !holds.has(buffer);
      const isGiven = spec?.kind === 'input' || spec?.kind === 'weight' || spec?.kind === 'constant' || isFresh;
      if (!isGiven && holds.get(buffer) !== value) {
        problems.push(
          `step ${at} (${step.kernel}) reads ${value} from buffer ${buffer}, which holds ${holds.get(buffer)}`,
        );
      }
      if (bytes > sizeOf(buffer)) problems.push(`step ${at} reads ${bytes} bytes of buffer ${buffer}`);
    }
    for (const { buffer, value, bytes, over } of meaning.writes) {
      const kind = plan.buffers[buffer]?.kind;
      const found = holds.get(buffer);
      if (over !== undefined && found !== undefined && found !== over)
        problems.push(`step ${at} (${step.kernel}) changes ${over} in buffer ${buffer}, which holds ${found}`);
      const isKept = kind === 'state' || kind === 'arena';
      if (isKept && holds.has(buffer)) problems.push(`step ${at} writes the state ${buffer} again`);
      if (kind !== 'scratch' && kind !== 'result' && !isKept)
        problems.push(`step ${at} writes buffer ${buffer} of kind ${kind}`);
      if (meaning.reads.some((read) => read.buffer === buffer)) {
        problems.push(`step ${at} (${step.kernel}) reads and writes buffer ${buffer}`);
      }
      if (bytes > sizeOf(buffer)) problems.push(`step ${at} writes ${bytes} bytes into buffer ${buffer}`);
      holds.set(buffer, value);
    }
    const seen = [...meaning.reads, ...meaning.writes].map((use) => use.buffer);
    for (const buffer of step.buffers) {
      if (!seen.includes(buffer)) problems.push(`step ${at} binds buffer ${buffer} for no value`);
    }
  });
  plan.buffers.forEach((spec, buffer) => {
    if (spec.kind === 'result' && !holds.has(buffer)) problems.push(`nothing writes the result ${spec.name}`);
  });
  return problems;
}
