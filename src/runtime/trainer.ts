/**
 * A trainer: steps of a run over the hidden entries of a train block, and what the host keeps of it: how many steps were taken,
 * the schedule, the seed. Weights and what the optimizer keeps lie in arenas (decision 0007).
 *
 * Calls of one trainer run one after the other, in the order in which they were made.
 */
import type { ArenaCall } from './arenas.ts';
import type { Artifact, EntrySpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import { firstOf, makeEnding } from './ending.ts';
import { SoraError } from './error.ts';
import { type BoundInputs, bindInputs } from './inputs.ts';
import { withTensors } from './memory-tensors.ts';
import type { Results } from './model-session.ts';
import { checkOptions, type Names } from './options.ts';
import { encodeSafetensors } from './safetensors.ts';
import { saveFile } from './save-file.ts';
import type { SourceInput } from './source.ts';
import { encodeCheckpoint, keptArenas, readCheckpoint } from './trainer-checkpoint.ts';
import { firstBadValue } from './trainer-diagnosis.ts';
import { checkTrainerOptions, runOf, type TrainerOptions } from './trainer-options.ts';
import { pruneBefore } from './trainer-pruning.ts';
import { leastScale, makeLossScale } from './trainer-scale.ts';
import type {
  CheckpointOptions,
  Restored,
  StepResult,
  TrainBatch,
  Trainer,
  TrainerContext,
  TrainingCallOptions,
  WeightsOptions,
} from './trainer-types.ts';
import {
  averagesOf,
  encodeWeights,
  forTransformers,
  gradientTensors,
  mergedTensors,
  openArenas,
  trainedTensors,
} from './trainer-weights.ts';
import { type Checkpoint, trainedKey } from './weights.ts';

type Floats = Float32Array<ArrayBuffer>;

/** Keeps what micro-batches of one step draw apart: 2^32 divided by the golden ratio. */
const STRIDE = 0x9e3779b9;

const callOptions: Names<TrainingCallOptions> = { signal: 1 };
const weightsOptions: Names<WeightsOptions> = { signal: 1, ema: 1 };
const checkpointOptions: Names<CheckpointOptions> = { signal: 1, metadata: 1 };

/** Micro-batches on the device at once: while one runs, the next is written. */
const AHEAD = 2;

export async function makeTrainer(context: TrainerContext, options: TrainerOptions = {}): Promise<Trainer> {
  const { artifact, spec, ending, device } = context;
  checkTrainerOptions(options);
  let run = runOf(spec, options);
  const warn = options.onWarning ?? context.warn;
  const [gradients, evaluation, accumulate, update] = [spec.gradients, spec.evaluate, spec.accumulate, spec.update].map(
    (name) => entryNamed(artifact, name),
  ) as [EntrySpec, EntrySpec, EntrySpec, EntrySpec];
  const sums = spec.groups.map((group) => group.sums);
  const averages = averagesOf(spec);
  const scale = spec.precision === 'f16' ? makeLossScale() : undefined;
  const arenas = await openArenas(context, run.seed, options.signal);
  let steps = 0;
  let pending = 0;
  let tail: Promise<unknown> = Promise.resolve();
  const own = makeEnding(undefined);
  const leave = ending.listen((error) => own.end(error));
  // The model frees everything when it ends; a trainer by itself frees its arenas.
  own.listen(() => arenas.free());
  if (options.signal?.aborted) own.end(new SoraError('SORA6002', 'the trainer was not made'));
  options.signal?.throwIfAborted();
  if (own.error) throw own.error;

  const throwIfEnded = (): void => {
    if (own.error) throw own.error;
  };
  /** Runs `work` when everything before it is done, and waits for it, the end or the abort. */
  const inOrder = async <Options extends TrainingCallOptions, Value>(
    what: string,
    options: Options,
    known: Names<Options>,
    work: () => Promise<Value>,
  ): Promise<Value> => {
    throwIfEnded();
    checkOptions('SORA6032', what, options, known);
    const { signal } = options;
    signal?.throwIfAborted();
    const begin = async (): Promise<Value> => {
      throwIfEnded();
      signal?.throwIfAborted();
      return work();
    };
    const running = (pending === 0 ? begin() : tail.then(begin)).catch((error: unknown) => {
      throw own.error ?? error;
    });
    pending++;
    tail = running
      .catch(() => undefined)
      .then(() => {
        pending--;
      });
    return firstOf(running, own, signal);
  };
  /** The arenas that a call uses in the place of those of the weights. */
  const insteadOf = (what: string, { ema }: WeightsOptions): ReadonlyMap<number, number> | undefined => {
    if (ema !== undefined && typeof ema !== 'boolean')
      throw new SoraError('SORA6032', `\`ema\` of \`${what}\` is true or false`);
    if (ema === true && spec.ema === undefined)
      throw new SoraError('SORA6032', `\`${artifact.name}\` keeps no average of its weights`, {
        help: 'write `ema: 0.999` in the `train` block',
      });
    return ema === true ? averages : undefined;
  };
  const checked = (entry: EntrySpec, batch: TrainBatch): BoundInputs => {
    const bound = bindInputs(artifact, entry, batch);
    // The caller may fill the same array anew while this call waits for another.
    return { ...bound, data: bound.data.map((data) => data?.slice()) };
  };
  /** With what the random numbers of a step depend on, where there are any. */
  const gradientCall = (bound: BoundInputs, at: number, scaled = scale?.state.value ?? 1): ArenaCall => {
    const hidden = (gradients.hidden ?? []).map(({ role }) =>
      role === 'scale'
        ? { data: Float32Array.of(scaled), shape: [] }
        : { data: Uint32Array.of(run.seed + at * STRIDE, steps), shape: [2] },
    );
    const inputs = {
      ...bound,
      data: [...bound.data, ...hidden.map(({ data }) => data)],
      shapes: [...bound.shapes, ...hidden.map(({ shape }) => shape)],
    };
    return { entry: gradients, inputs };
  };
  const updateCall = (lr: number, count: number): ArenaCall => {
    const { beta1, beta2 } = spec.optimizer;
    const correction = (beta: number | undefined): number => (beta === undefined ? 1 : 1 / (1 - beta ** (steps + 1)));
    // The first step is taken in whole, as torch's AveragedModel does.
    const share = spec.ema === undefined ? [] : [steps === 0 ? 1 : 1 - spec.ema];
    const factor = 1 / (count * (scale?.state.value ?? 1));
    const data = Float32Array.of(lr, correction(beta1), correction(beta2), factor, ...share);
    return { entry: update, inputs: bindInputs(artifact, update, { rates: { data, shape: [data.length] } }) };
  };
  /** Leaves the sum of the gradients of several batches where those of one would be; their losses. */
  const accumulated = async (
    batches: readonly BoundInputs[],
    signal: AbortSignal | undefined,
  ): Promise<readonly number[]> => {
    await arenas.reserve(sums);
    const adding = (at: number): ArenaCall => {
      const keep = { data: Float32Array.of(at === 0 ? 0 : 1), shape: [] };
      return { entry: accumulate, inputs: bindInputs(artifact, accumulate, { keep }) };
    };
    const running: Promise<number>[] = [];
    for (const [at, batch] of batches.entries()) {
      await running[at - AHEAD];
      throwIfEnded();
      signal?.throwIfAborted();
      const sent = arenas.run([gradientCall(batch, at), adding(at)]);
      const one = sent.then(([results]) => scalar(gradients, results));
      one.catch(() => undefined);
      running.push(one);
    }
    const losses = await Promise.all(running);
    throwIfEnded();
    signal?.throwIfAborted();
    return losses;
  };
  /** Sends gradients and update; the update changes nothing where the norm is not finite. */
  const tryStep = async (
    batches: readonly BoundInputs[],
    lr: number,
    signal: AbortSignal | undefined,
  ): Promise<Pick<StepResult, 'loss' | 'gradNorm'>> => {
    const [only] = batches;
    context.begin();
    if (only && batches.length === 1) {
      const [given, changed] = await arenas.run([gradientCall(only, 0), updateCall(lr, 1)]);
      return { loss: scalar(gradients, given), gradNorm: scalar(update, changed) };
    }
    const losses = await accumulated(batches, signal);
    const loss = losses.reduce((sum, one) => sum + one, 0) / losses.length;
    if (!Number.isFinite(loss)) throw notFinite(artifact, steps + 1, 'loss', loss);
    const [changed] = await arenas.run([updateCall(lr, losses.length)]);
    return { loss, gradNorm: scalar(update, changed) };
  };
  const takeStep = async (batches: readonly BoundInputs[], signal: AbortSignal | undefined): Promise<StepResult> => {
    const lr = run.rate(steps);
    await pruneBefore(arenas, spec, steps, run.totalSteps);
    let { loss, gradNorm } = await tryStep(batches, lr, signal);
    // Gradients that no f16 holds: the same step, scaled by less.
    while (!Number.isFinite(gradNorm) && Number.isFinite(loss) && scale?.shrink()) {
      throwIfEnded();
      signal?.throwIfAborted();
      ({ loss, gradNorm } = await tryStep(batches, lr, signal));
    }
    if (!Number.isFinite(gradNorm)) {
      // The update changed nothing.
      const isLoss = !Number.isFinite(loss);
      throw notFinite(artifact, steps + 1, isLoss ? 'loss' : 'norm of the gradient', isLoss ? loss : gradNorm);
    }
    steps++;
    if (!Number.isFinite(loss)) throw notFinite(artifact, steps, 'loss', loss, true);
    const lossScale = scale && { lossScale: scale.state.value };
    scale?.grow();
    return { step: steps, loss, gradNorm, lr, ...lossScale };
  };
  const encoded = async ({ metadata = {} }: CheckpointOptions): Promise<Uint8Array> => {
    const contents = new Map<number, Floats>();
    for (const arena of keptArenas(spec)) contents.set(arena, await arenas.read(arena));
    return encodeCheckpoint(artifact, spec, { ...run, steps, scale: scale?.state, arenas: contents, metadata });
  };
  const restore = (what: string, source: SourceInput, given: TrainingCallOptions): Promise<Restored> =>
    inOrder(what, given, callOptions, async () => {
      const { signal } = given;
      const state = await readCheckpoint(artifact, spec, source, signal);
      const next = runOf(spec, options, state);
      throwIfEnded();
      signal?.throwIfAborted();
      if (state.source !== artifact.source)
        warn('sorac: the checkpoint was written by another version of the model; the run may go on differently');
      arenas.write(state.arenas);
      run = next;
      steps = state.steps;
      if (state.scale) scale?.restore(state.scale);
      return { steps, metadata: state.metadata };
    });
  /** What does not train comes from the checkpoint that the model was loaded from. */
  const withCheckpoint = async <Value>(
    signal: AbortSignal | undefined,
    use: (checkpoint: Checkpoint) => Promise<Value>,
  ): Promise<Value> => {
    const checkpoint = await context.openWeights(spec.seed, signal);
    try {
      return await use(checkpoint);
    } finally {
      await checkpoint.close();
    }
  };
  const close = async (): Promise<void> => {
    if (own.error?.code === 'SORA6002') return;
    leave();
    own.error = undefined;
    own.end(new SoraError('SORA6002', `a trainer of \`${artifact.name}\` was used after \`close\``));
  };
  return {
    get steps() {
      return steps;
    },
    get seed() {
      return run.seed;
    },
    get totalSteps() {
      return run.totalSteps;
    },
    async step(batch, given = {}) {
      throwIfEnded();
      const batches = Array.isArray(batch) ? (batch as readonly TrainBatch[]) : [batch as TrainBatch];
      if (batches.length === 0) throw noBatch('step');
      const bound = batches.map((one) => checked(gradients, one));
      return inOrder('step', given, callOptions, () => takeStep(bound, given.signal));
    },
    async gradients(batch, given = {}) {
      throwIfEnded();
      const bound = checked(gradients, batch);
      return inOrder('gradients', given, callOptions, async () => {
        for (let scaled = scale?.state.value ?? 1; ; scaled /= 2) {
          context.begin();
          const [results] = await arenas.run([gradientCall(bound, 0, scaled)]);
          const loss = scalar(gradients, results);
          const found = await gradientTensors(arenas, spec, scaled);
          if (found.areFinite || !scale || scaled < leastScale || !Number.isFinite(loss))
            return { loss, gradients: found.gradients };
        }
      });
    },
    async diagnose(batch, given = {}) {
      throwIfEnded();
      const { inputs } = gradientCall(checked(gradients, batch), 0);
      return inOrder('diagnose', given, callOptions, async () => {
        const interpreter = await context.interpreter();
        const trained = await trainedTensors(arenas, spec);
        return withCheckpoint(given.signal, (checkpoint) =>
          firstBadValue({ artifact, entry: gradients, inputs, trained, checkpoint, interpreter }),
        );
      });
    },
    evaluate: (batches, given = {}) =>
      inOrder('evaluate', given, { ...weightsOptions, onBatch: 1 }, async () => {
        const instead = insteadOf('evaluate', given);
        const { signal, onBatch } = given;
        const list = batches as Partial<Iterable<unknown> & AsyncIterable<unknown>> | undefined;
        if (!list?.[Symbol.iterator] && !list?.[Symbol.asyncIterator]) throw noBatch('evaluate');
        let [sum, rows, count] = [0, 0, 0];
        for await (const batch of batches) {
          throwIfEnded();
          signal?.throwIfAborted();
          const bound = bindInputs(artifact, evaluation, batch);
          context.begin();
          const [results] = await arenas.run([{ entry: evaluation, inputs: bound }], instead);
          const size = rowsOf(bound);
          sum += scalar(evaluation, results) * size;
          rows += size;
          count++;
          if (onBatch && results) onBatch(resultsOf(evaluation, results), batch);
        }
        if (count === 0) throw noBatch('evaluate');
        return { loss: sum / rows, batches: count, rows };
      }),
    weights: (given = {}) =>
      inOrder('weights', given, weightsOptions, async () => {
        const instead = insteadOf('weights', given);
        return withCheckpoint(given.signal, async (checkpoint) =>
          encodeWeights(artifact, await mergedTensors(arenas, spec, checkpoint, instead), checkpoint),
        );
      }),
    trained: (given = {}) =>
      inOrder('trained', given, weightsOptions, async () => {
        const tensors = await trainedTensors(arenas, spec, insteadOf('trained', given));
        return encodeSafetensors(
          [...tensors].map(([name, tensor]) => ({ name, ...tensor })),
          { ...forTransformers, [trainedKey]: artifact.name },
        );
      }),
    checkpoint: (given = {}) => inOrder('checkpoint', given, checkpointOptions, () => encoded(given)),
    restore: (bytes, given = {}) => restore('restore', bytes, given),
    save: (path, given = {}) =>
      inOrder('save', given, checkpointOptions, async () => {
        const bytes = await encoded(given);
        given.signal?.throwIfAborted();
        await saveFile(path, bytes);
      }),
    load: (source, given = {}) => restore('load', source, given),
    apply: (given = {}) =>
      inOrder('apply', given, weightsOptions, async () => {
        const instead = insteadOf('apply', given);
        await withCheckpoint(given.signal, async (checkpoint) => {
          const tensors = await mergedTensors(arenas, spec, checkpoint, instead);
          await device.apply(withTensors(checkpoint, tensors), new Set(tensors.keys()));
        });
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function entryNamed(artifact: Artifact, name: string): EntrySpec {
  const entry = artifact.entries.find((one) => one.name === name);
  if (!entry) throw new SoraError('SORA6006', `the module has no entry \`${name}\``);
  return entry;
}

/** The first result, a single number. */
function scalar(entry: EntrySpec, results: ReadonlyMap<string, HostTensor> | undefined): number {
  return results?.get(entry.results[0]?.name ?? '')?.data[0] ?? Number.NaN;
}

/** What the entry that is trained gives; the loss stands before it. */
function resultsOf(entry: EntrySpec, results: ReadonlyMap<string, HostTensor>): Results {
  return Object.fromEntries(entry.results.slice(1).map(({ name }) => [name, results.get(name) as HostTensor]));
}

/** The size of the first axis that there is. */
function rowsOf({ shapes }: BoundInputs): number {
  return shapes.find((shape) => shape.length > 0)?.[0] ?? 1;
}

function noBatch(what: string): SoraError {
  const help = `give \`${what}\` a list of batches`;
  return new SoraError('SORA6011', `\`${what}\` takes at least one batch`, what === 'step' ? {} : { help });
}

function notFinite(artifact: Artifact, step: number, what: string, value: number, isTaken = false): SoraError {
  const state = isTaken ? 'the weights have taken it' : 'the weights are as they were before it';
  return new SoraError('SORA6033', `step ${step} of \`${artifact.name}\`: the ${what} is ${value}; ${state}`, {
    help: '`diagnose` tells where it begins; a smaller learning rate or clipping of the norm may help',
  });
}
