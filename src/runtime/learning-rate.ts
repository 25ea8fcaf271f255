/**
 * Learning rates of a run, step by step: those of `get_linear_schedule_with_warmup` and its siblings in transformers, and of
 * torch's `StepLR` taken once a step.
 */
import type { ScheduleSpec } from './artifact.ts';
import { SoraError } from './error.ts';

/** Whether the rates depend on how long the run is. */
export function needsTotal({ kind, warmup }: ScheduleSpec): boolean {
  return kind === 'linear' || kind === 'cosine' || warmup > 0;
}

/** Shares of the way from the final rate to the peak, by share of the steps after the warm-up. */
const shapes = {
  linear: (share: number) => 1 - share,
  cosine: (share: number) => (1 + Math.cos(Math.PI * share)) / 2,
};

/**
 * The learning rate of each step, counted from 0. With a warm-up of n steps that of step k < n is peak * k / n, so that the
 * very first step has rate 0. From `totalSteps` on it is `final`; those of `constant` and `step` never end.
 *
 * @param totalSteps whole, at least 1; needed unless the rates are constant from the start
 * @errors SORA6032 when it is needed and missing
 */
export function learningRates(spec: ScheduleSpec, totalSteps: number | undefined): (step: number) => number {
  const { kind, peak, final = 0, every = 1, factor = 0.1 } = spec;
  const endless = (step: number): number => (kind === 'step' ? peak * factor ** Math.floor(step / every) : peak);
  if (totalSteps === undefined) {
    if (!needsTotal(spec)) return endless;
    const what = kind === 'constant' || kind === 'step' ? 'a warm-up' : `the schedule \`${kind}\``;
    throw new SoraError('SORA6032', `${what} is a matter of how many steps there will be`, {
      help: 'give `totalSteps` to `trainer`',
    });
  }
  const warm = Math.round(spec.warmup * totalSteps);
  return (step) => {
    if (step < warm) return (peak * step) / warm;
    if (kind === 'constant' || kind === 'step') return endless(step - warm);
    const share = Math.min(1, (step - warm) / Math.max(1, totalSteps - warm));
    return final + (peak - final) * shapes[kind](share);
  };
}
