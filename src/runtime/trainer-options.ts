/**
 * Options of a trainer, checked.
 */
import type { ScheduleSpec, TrainingSpec } from './artifact.ts';
import { SoraError } from './error.ts';
import { learningRates } from './learning-rate.ts';
import { checkOptions, type Names } from './options.ts';

export interface TrainerOptions {
  /** Fresh weights and what is dropped depend on it: a whole number from 0 to 2^32 - 1. Default: that of the train block. */
  readonly seed?: number;
  /** Steps of the whole run, at least 1. Schedules need it, unless they are constant from the start. */
  readonly totalSteps?: number;
  /** The greatest learning rate. Default: that of the train block. */
  readonly lr?: number;
  /** What is to be different from the schedule of the train block. */
  readonly schedule?: Partial<Pick<ScheduleSpec, 'kind' | 'warmup' | 'final' | 'every' | 'factor'>>;
  /** Told what is odd and goes on. Default: `warn` of `load`. */
  readonly onWarning?: (line: string) => void;
  /** Stops making the trainer. */
  readonly signal?: AbortSignal;
}

const trainerOptions: Names<TrainerOptions> = {
  seed: 1,
  totalSteps: 1,
  lr: 1,
  schedule: 1,
  onWarning: 1,
  signal: 1,
};

const scheduleOptions: Names<NonNullable<TrainerOptions['schedule']>> = {
  kind: 1,
  warmup: 1,
  final: 1,
  every: 1,
  factor: 1,
};

/** @errors SORA6032 for options of other names */
export function checkTrainerOptions(options: TrainerOptions): void {
  checkOptions('SORA6032', 'trainer', options, trainerOptions);
  if (options.schedule !== undefined) checkOptions('SORA6032', 'schedule', options.schedule, scheduleOptions);
}

/** What a checkpoint brings back, unless the options say otherwise. */
export interface Run {
  readonly seed: number;
  readonly totalSteps: number | undefined;
  readonly schedule: ScheduleSpec;
}

export interface CheckedRun extends Run {
  /** The learning rate of a step, counted from 0. @errors SORA6032 when `totalSteps` is missing and needed */
  rate(step: number): number;
}

function refuse(what: string, help?: string): never {
  throw new SoraError('SORA6032', what, help === undefined ? {} : { help });
}

/** Whether a number can be a seed: u32. */
export function isSeed(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32;
}

const isRate = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

/** @errors SORA6032 for values that make no run */
export function checkRun({ seed, totalSteps, schedule }: Run): CheckedRun {
  if (!isSeed(seed)) refuse(`\`seed\` is a whole number from 0 to ${2 ** 32 - 1}, got ${seed}`);
  if (totalSteps !== undefined && !(Number.isSafeInteger(totalSteps) && totalSteps >= 1))
    refuse(`\`totalSteps\` is a whole number of at least 1, got ${totalSteps}`);
  const { kind, peak, warmup, final = 0, every = 1, factor = 1 } = schedule;
  if (!['constant', 'linear', 'cosine', 'step'].includes(kind))
    refuse(`there is no schedule \`${kind}\``, 'use `constant`, `linear`, `cosine` or `step`');
  if (kind === 'step' && schedule.every === undefined) refuse('the schedule `step` needs `every`, a number of steps');
  if (!(Number.isSafeInteger(every) && every >= 1)) refuse(`\`every\` is a whole number of steps, got ${every}`);
  if (!(isRate(factor) && factor <= 1)) refuse(`\`factor\` is a number from 0 to 1, got ${factor}`);
  if (!isRate(peak)) refuse(`\`lr\` is a number of at least 0, got ${peak}`);
  if (!isRate(final)) refuse(`\`final\` is a learning rate of at least 0, got ${final}`);
  if (!(isRate(warmup) && warmup <= 1)) refuse(`\`warmup\` is a share of all steps from 0 to 1, got ${warmup}`);
  // What only evaluates, or goes on with a checkpoint, need not know how long the run is.
  let rates: ((step: number) => number) | undefined;
  const rate = (step: number): number => {
    rates ??= learningRates(schedule, totalSteps);
    return rates(step);
  };
  return { seed, totalSteps, schedule, rate };
}

/** The run that the train block and the options describe; `before` is that of a checkpoint. */
export function runOf(spec: TrainingSpec, options: TrainerOptions, before?: Run): CheckedRun {
  const { seed, totalSteps, lr, schedule } = options;
  return checkRun({
    seed: before?.seed ?? seed ?? spec.seed,
    totalSteps: totalSteps ?? before?.totalSteps,
    schedule: {
      ...(before?.schedule ?? spec.schedule),
      ...(lr === undefined ? {} : { peak: lr }),
      ...schedule,
    },
  });
}
