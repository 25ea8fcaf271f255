/**
 * The loop of `sorac train`: steps, evaluations, checkpoints. Everything that a resumed run needs is in the position and in the
 * trainer's own checkpoint, so that it ends in the bits of a run that nobody stopped.
 */
import type { Scored } from '../../ir/graph.ts';
import type { Inputs } from '../../runtime/inputs.ts';
import type { Results } from '../../runtime/model-session.ts';
import type { StepResult, Trainer } from '../../runtime/trainer-types.ts';
import { SoraError } from '../../support/error.ts';
import { writeFileAtomic } from '../../support/node-atomic-file.ts';
import type { Batches, Checkpoints, EventFile } from '../../training/index.ts';
import { describeMeasures, makeJudge } from './judge.ts';
import type { Progress } from './progress.ts';
import { type Evaluated, type Position, pathsOf, type RunIdentity, saveCheckpoint } from './record.ts';

export interface RunJob {
  readonly trainer: Trainer;
  readonly train: Batches;
  readonly validation: Batches | undefined;
  readonly test: Batches | undefined;
  readonly scored: readonly Scored[];
  /** Whether a moving average of the weights is what the run is about: it is evaluated and written. */
  readonly ema: boolean;
  readonly epochs: number;
  /** Batches of a step. */
  readonly accumulate: number;
  readonly maxSteps: number | undefined;
  readonly saveSteps: number | undefined;
  readonly out: string;
  readonly checkpoints: Checkpoints;
  readonly identity: RunIdentity;
  readonly events: EventFile | undefined;
  readonly progress: Progress;
  /** Where a step of these batches stops being finite, in words. */
  readonly diagnose: (batches: readonly Inputs[]) => Promise<string | undefined>;
  /** Becomes true when somebody wants the run to stop. */
  readonly isInterrupted: () => boolean;
  /** Called whenever there is something new for `train.json`. */
  readonly onRecord: (test?: Evaluated) => void;
}

export interface RunEnd {
  readonly isInterrupted: boolean;
  readonly test: Evaluated | undefined;
}

/** Points of the curve in an epoch. */
const pointsPerEpoch = 50;

class Interruption extends Error {}

function stepsPerEpoch({ train, accumulate }: Pick<RunJob, 'train' | 'accumulate'>): number {
  return Math.ceil(train.perEpoch / accumulate);
}

export function totalSteps(job: Pick<RunJob, 'train' | 'accumulate' | 'epochs' | 'maxSteps'>): number {
  return Math.min(job.epochs * stepsPerEpoch(job), job.maxSteps ?? Number.MAX_SAFE_INTEGER);
}

/** Loss and metrics of one part; stops between two batches when the run is to stop. */
async function evaluate(job: RunJob, batches: Batches): Promise<Evaluated> {
  const judge = makeJudge(job.scored);
  async function* inputs(): AsyncIterable<Inputs> {
    for await (const batch of batches.epoch(0)) {
      if (job.isInterrupted()) throw new Interruption();
      yield batch.inputs;
    }
  }
  const onBatch = (results: Results, batch: Inputs) => judge.add(results, batch);
  const { loss } = await job.trainer.evaluate(inputs(), { ema: job.ema, onBatch });
  return { loss, measures: judge.result() };
}

interface Group {
  readonly inputs: readonly Inputs[];
  readonly examples: number;
}

/** The batches of the next step. */
async function nextGroup({ train, accumulate }: RunJob, epoch: number, from: number): Promise<Group> {
  const inputs: Inputs[] = [];
  let examples = 0;
  for (let index = from; index < Math.min(from + accumulate, train.perEpoch); index++) {
    const batch = await train.batch(epoch, index);
    inputs.push(batch.inputs);
    examples += batch.size;
  }
  return { inputs, examples };
}

function noteStep(job: RunJob, position: Position, result: StepResult, examples: number): void {
  const { sums, points } = position;
  const { loss, lr, gradNorm, step } = result;
  sums.loss += loss;
  sums.steps++;
  sums.pointLoss += loss;
  sums.pointSteps++;
  if (sums.pointSteps >= Math.max(1, Math.floor(stepsPerEpoch(job) / pointsPerEpoch))) {
    points.push({ step, loss: sums.pointLoss / sums.pointSteps, lr });
    sums.pointLoss = 0;
    sums.pointSteps = 0;
  }
  job.events?.scalar('train/loss', loss, step);
  job.events?.scalar('train/learning_rate', lr, step);
  job.events?.scalar('train/gradient_norm', gradNorm, step);
  const place = { step: Math.ceil(position.batch / job.accumulate), steps: stepsPerEpoch(job) };
  const { epochs } = job;
  job.progress.step({ epoch: position.epoch + 1, epochs, ...place, loss, left: totalSteps(job) - step }, examples);
}

/** One step; an error of one that is not finite says where that began, when that can be found. */
async function takeStep({ trainer, diagnose }: RunJob, { inputs }: Group): Promise<StepResult> {
  try {
    return await trainer.step(inputs);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'SORA6033')) throw error;
    const place = await diagnose(inputs);
    const found = place === undefined ? '' : `the first value that is not finite is ${place}`;
    throw new SoraError('SORA6033', [error.message, found].filter((text) => text !== '').join('\n  '), {
      help: 'a smaller learning rate or `clip_norm` in the `train` block may help',
      cause: error,
    });
  }
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** The steps of an epoch that are left. */
async function runEpoch(job: RunJob, position: Position): Promise<void> {
  const { trainer, train, saveSteps, checkpoints, identity } = job;
  const most = totalSteps(job);
  let coming = nextGroup(job, position.epoch, position.batch);
  while (position.batch < train.perEpoch && trainer.steps < most) {
    if (job.isInterrupted()) {
      coming.catch(() => undefined);
      throw new Interruption();
    }
    const group = await coming;
    const next = position.batch + group.inputs.length;
    // Rows are read and texts tokenized while the device works.
    coming = nextGroup(job, position.epoch, next);
    coming.catch(() => undefined);
    const result = await takeStep(job, group);
    // The interpreter works in this thread: without a turn of the event loop no signal would be seen.
    await turn();
    position.batch = next;
    noteStep(job, position, result, group.examples);
    if (saveSteps !== undefined && result.step % saveSteps === 0 && next < train.perEpoch)
      await saveCheckpoint(checkpoints, 'last', trainer, identity, position);
  }
}

function noteEvaluation(job: RunJob, part: string, { loss, measures }: Evaluated, step: number): void {
  job.events?.scalar(`${part}/loss`, loss, step);
  for (const [name, value] of Object.entries(measures)) job.events?.scalar(`${part}/${name}`, value, step);
}

/** "dev loss 0.0987  accuracy 97.10 %" */
export function describeEvaluation(name: string, { loss, measures }: Evaluated): string {
  return [`${name} loss ${loss.toFixed(4)}`, describeMeasures(measures)].filter((part) => part !== '').join('  ');
}

async function finishEpoch(job: RunJob, position: Position): Promise<void> {
  const { trainer, checkpoints, identity, progress } = job;
  const { sums } = position;
  const validation = job.validation && (await evaluate(job, job.validation));
  const steps = trainer.steps;
  if (validation) noteEvaluation(job, 'validation', validation, steps);
  const trainLoss = sums.loss / sums.steps;
  position.epoch++;
  position.batch = 0;
  sums.loss = 0;
  sums.steps = 0;
  position.epochs.push({ epoch: position.epoch, steps, trainLoss, ...(validation ? { validation } : {}) });
  const isBest = validation !== undefined && validation.loss < (position.best?.loss ?? Number.POSITIVE_INFINITY);
  if (isBest) position.best = { epoch: position.epoch, step: steps, loss: validation.loss };
  const parts = [`epoch ${position.epoch}/${job.epochs}`, `train loss ${trainLoss.toFixed(4)}`];
  if (validation) parts.push(describeEvaluation('dev', validation));
  progress.line(parts.join('  '));
  await saveCheckpoint(checkpoints, 'last', trainer, identity, position);
  if (isBest) {
    checkpoints.promote();
    writeFileAtomic(pathsOf(job.out).best, [await trainer.weights({ ema: job.ema })]);
  }
  job.onRecord();
}

/**
 * Runs from `position` to the end, or until it is interrupted: then the step under way is finished and everything saved.
 *
 * @errors SORA6033 for a loss that is not finite; the last checkpoint then stays as it is
 */
export async function runTraining(job: RunJob, position: Position): Promise<RunEnd> {
  const { trainer, checkpoints, identity } = job;
  const paths = pathsOf(job.out);
  const most = totalSteps(job);
  let isTrained = false;
  try {
    while (position.epoch < job.epochs && (trainer.steps < most || position.sums.steps > 0)) {
      await runEpoch(job, position);
      await finishEpoch(job, position);
    }
    writeFileAtomic(paths.last, [await trainer.weights({ ema: job.ema })]);
    isTrained = true;
    const test = job.test && (await evaluateBest(job, position, job.test));
    job.onRecord(test);
    return { isInterrupted: false, test };
  } catch (error) {
    if (!(error instanceof Interruption)) throw error;
    // While it is tested, the trainer may hold other weights than the last ones; those are saved.
    if (!isTrained) {
      await saveCheckpoint(checkpoints, 'last', trainer, identity, position);
      writeFileAtomic(paths.last, [await trainer.weights({ ema: job.ema })]);
    }
    job.onRecord();
    return { isInterrupted: true, test: undefined };
  } finally {
    job.progress.clear();
  }
}

/** The test with the weights of the best epoch; with the last ones where nothing was compared. */
async function evaluateBest(job: RunJob, position: Position, test: Batches): Promise<Evaluated> {
  const { trainer, checkpoints } = job;
  const steps = trainer.steps;
  if (position.best !== undefined && position.best.step !== steps) await trainer.load(checkpoints.path('best'));
  const result = await evaluate(job, test);
  noteEvaluation(job, 'test', result, steps);
  return result;
}
