/**
 * Runner `train`: a recorded run of PyTorch, repeated by the trainer that the compiler makes of a `train` block. The block is
 * written from what `case.json` says of the run.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry } from '../ir/graph.ts';
import { printType } from '../ir/types.ts';
import { createModel } from '../runtime/index.ts';
import { deviceChoice } from './device-choice.ts';
import { compileFile } from './execute.ts';
import { failedRow, type Place, type Row } from './golden-rows.ts';
import { type FileTensor, type HostTensor, hostTensor, readTensorBytes, readTensorFile } from './tensor-file.ts';

/** What `case.json` says under `train`. */
export interface RecordedRun {
  readonly kind: 'classify' | 'lm';
  readonly optimizer: string;
  readonly lr: number;
  readonly steps: number;
  readonly momentum?: number;
  readonly weight_decay?: number;
  readonly label_smoothing?: number;
  /** Steps, not a share; the rate then falls to 0 along a cosine. */
  readonly warmup?: number;
  readonly clip?: number;
  readonly lora?: { readonly r: number; readonly alpha: number; readonly targets: readonly string[] };
}

const numberFields = ['momentum', 'weight_decay', 'label_smoothing', 'warmup', 'clip'] as const;

/** The run that `case.json` describes, or what is wrong with it. */
export function recordedRun(value: unknown): RecordedRun | string {
  const run = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const isCount = (each: unknown) => Number.isInteger(each) && Number(each) >= 1;
  if (run.kind !== 'classify' && run.kind !== 'lm') return '`train` of case.json needs `kind`: `classify` or `lm`';
  if (typeof run.optimizer !== 'string' || !/^[a-z]+$/.test(run.optimizer))
    return '`train` of case.json has no `optimizer`';
  if (typeof run.lr !== 'number' || !isCount(run.steps)) return '`train` of case.json needs numbers `lr` and `steps`';
  const odd = numberFields.find((name) => run[name] !== undefined && typeof run[name] !== 'number');
  if (odd !== undefined) return `\`${odd}\` of case.json is no number`;
  const { lora } = run as { readonly lora?: Readonly<Record<string, unknown>> };
  const targets = lora?.targets;
  const isLora =
    isCount(lora?.r) &&
    typeof lora?.alpha === 'number' &&
    Array.isArray(targets) &&
    targets.every((name) => typeof name === 'string' && /^[\w.]+$/.test(name));
  if (lora !== undefined && !isLora) return '`lora` of case.json needs `r`, `alpha` and `targets`';
  return run as unknown as RecordedRun;
}

/** Blocks that train `entry` of `model` as the run did. `vectors` are the weights of one axis: they never decayed. */
export function usesOf(run: RecordedRun, model: string, entry: Entry, vectors: readonly string[]): string {
  const [tokens] = entry.parameters;
  const [logits] = entry.results;
  if (!tokens || !logits) throw new RangeError(`\`${entry.name}\` has no parameters or no results`);
  const smoothing = run.label_smoothing === undefined ? '' : `, smoothing: ${run.label_smoothing}`;
  const isLanguage = run.kind === 'lm';
  const loss = isLanguage
    ? `next_token(${logits.name}, ${tokens.name})`
    : `cross_entropy(${logits.name}, labels${smoothing})`;
  const target = isLanguage
    ? ''
    : `target labels: ${printType({ dtype: 'i32', shape: logits.type.shape.slice(0, -1) })}`;
  const rate = run.warmup === undefined ? `${run.lr}` : `cosine(peak: ${run.lr}, warmup: ${run.warmup / run.steps})`;
  const settings = [
    `lr: ${rate}`,
    ...(run.momentum === undefined ? [] : [`momentum: ${run.momentum}`]),
    ...(run.weight_decay === undefined ? [] : [`weight_decay: ${run.weight_decay}`]),
  ];
  const names = vectors.map((path) => JSON.stringify(path)).join(', ');
  const adapters = (run.lora?.targets ?? []).map(
    (name) => `"**.${name}.weight": lora(rank: ${run.lora?.r}, alpha: ${run.lora?.alpha})`,
  );
  return [
    `train ${model}.${entry.name} {`,
    ...(target === '' ? [] : [target]),
    `loss: ${loss}`,
    `optimizer: ${run.optimizer}(${settings.join(', ')})`,
    ...(run.clip === undefined ? [] : [`clip_norm: ${run.clip}`]),
    ...((run.weight_decay ?? 0) > 0 && vectors.length > 0 ? [`no_decay: ${names}`] : []),
    '}',
    ...(adapters.length === 0 ? [] : [`adapter ${model} {`, ...adapters, '}']),
    '',
  ].join('\n');
}

/** A case of the runner `train`. */
export interface TrainCase {
  readonly folder: string;
  readonly train: RecordedRun;
  /** Parts of weights whose true gradient is 0: what is recorded of them is rounding noise. */
  readonly noGradient: Readonly<Record<string, readonly [number, number]>>;
  readonly path: string;
  readonly model: string;
  readonly configPath: string;
  readonly weightsPath: string;
}

/** The rules of the reference cases: losses absolute, gradients by their scale, weights by how far they moved. */
const tolerances = { loss: 1e-4, gradient: 1e-4, moved: 1e-3, movedByAdam: 9e-3 } as const;

/** Row `at` of every tensor of `train.*`, or all of `eval.*`. */
function batchOf(inputs: ReadonlyMap<string, FileTensor>, prefix: string, at?: number): Record<string, HostTensor> {
  const own = [...inputs].filter(([key]) => key.startsWith(prefix));
  return Object.fromEntries(
    own.map(([key, file]) => {
      const tensor = hostTensor(file);
      if (at === undefined) return [key.slice(prefix.length), tensor];
      const shape = tensor.shape.slice(1);
      const size = shape.reduce((product, dim) => product * dim, 1);
      return [key.slice(prefix.length), { shape, data: tensor.data.slice(at * size, (at + 1) * size) }];
    }),
  );
}

interface Compared {
  readonly absolute: number;
  readonly relative: number;
  /** Where it is worst. */
  readonly name: string;
}

/** The greatest difference over all tensors, of the scale of each; parts without a gradient are left out. */
function worstOf(
  names: readonly string[],
  got: (name: string) => ArrayLike<number> | undefined,
  want: (name: string) => ArrayLike<number> | undefined,
  scaleOf: (name: string) => number,
  noGradient: TrainCase['noGradient'],
): Compared {
  let worst: Compared = { absolute: 0, relative: 0, name: '' };
  for (const name of names) {
    const [left, right] = [got(name), want(name)];
    if (!left || !right || left.length !== right.length) return { absolute: Number.NaN, relative: Number.NaN, name };
    const [from = 0, to = 0] = noGradient[name] ?? [];
    let absolute = 0;
    for (let at = 0; at < left.length; at++) {
      if (at >= from && at < to) continue;
      const difference = Math.abs((left[at] ?? Number.NaN) - (right[at] ?? Number.NaN));
      // A difference that is no number is the worst of all.
      if (!(difference <= absolute)) absolute = difference;
    }
    const relative = absolute / Math.max(scaleOf(name), Number.MIN_VALUE);
    if (!(relative <= worst.relative)) worst = { absolute, relative, name };
  }
  return worst;
}

const greatest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Repeats the run and compares it: one row for each kind of number. */
export async function runTraining(place: Place, golden: TrainCase, device: string, seen: (adapter: string) => void) {
  const { folder, train, path, model, configPath, noGradient } = golden;
  const plain = compileFile({ path, model, configPath }).compilation?.program;
  const entry = plain?.entries.find((candidate) => candidate.steps === undefined && !candidate.isHidden);
  if (!plain || !entry) return [failedRow(place, 'no entry that could be trained')];
  const vectors = plain.weights.filter(({ type }) => type.shape.length === 1).map((weight) => weight.path);
  const uses = usesOf(train, model, entry, vectors);
  const { compilation, diagnostics } = compileFile({ path, model, configPath, uses });
  if (!compilation) return [failedRow(place, diagnostics[0]?.message ?? 'the train block does not compile')];

  const adapters = join(folder, 'adapter', 'adapter_model.safetensors');
  const files = [golden.weightsPath, ...(existsSync(adapters) ? [adapters] : [])];
  const inputs = await readTensorFile(join(folder, 'inputs.safetensors'));
  const outputs = await readTensorFile(join(folder, 'outputs.safetensors'));
  const start = new Map<string, FileTensor>();
  for (const file of files) for (const [name, tensor] of await readTensorFile(file)) start.set(name, tensor);
  const want = (key: string): Float32Array | undefined => outputs.get(key)?.read('f32');

  const choice = deviceChoice(device);
  const loaded = await createModel(compilation.artifact, {
    weights: files,
    ...(choice === 'auto' ? {} : { adapter: choice }),
    cpu: () => import('../cpu.ts'),
  });
  seen(`${loaded.device.name} (${loaded.device.kind})`);
  try {
    const trainer = await loaded.trainer({ totalSteps: train.steps });
    const parameters = compilation.program.training?.groups.flatMap((group) =>
      group.parameters.map(({ weight }) => weight.path),
    );
    const names = parameters ?? [];
    const before = await trainer.evaluate([batchOf(inputs, 'eval.')]);
    const { gradients } = await trainer.gradients(batchOf(inputs, 'train.', 0));
    const steps: { readonly loss: number; readonly norm: number; readonly lr: number }[] = [];
    for (let step = 0; step < train.steps; step++) {
      const { loss, gradNorm, lr } = await trainer.step(batchOf(inputs, 'train.', step));
      steps.push({ loss, norm: gradNorm, lr });
    }
    const trained = await readTensorBytes(await trainer.trained());
    const after = await trainer.evaluate([batchOf(inputs, 'eval.')]);
    await trainer.apply();
    const evaluated = await loaded.call(entry.name, withoutTargets(batchOf(inputs, 'eval.'), entry));

    const row = (result: string, found: Compared, most: number): Row => ({
      ...place,
      result,
      maxAbsolute: found.absolute,
      maxRelative: found.relative,
      outcome: found.relative <= most ? 'pass' : 'fail',
      ...(found.relative <= most ? {} : { detail: found.name }),
    });
    const series = (
      result: string,
      got: readonly number[],
      key: string,
      scale: (wanted: ArrayLike<number>) => number,
    ) => {
      const wanted = want(key) ?? new Float32Array();
      return row(
        result,
        worstOf(
          [key],
          () => got,
          () => wanted,
          () => scale(wanted),
          {},
        ),
        tolerances.loss,
      );
    };
    const one = () => 1;
    const moved = (name: string) => {
      const [from, to] = [start.get(name)?.read('f32'), want(`final.${name}`)];
      return from && to ? greatest(to.map((value, at) => value - (from[at] ?? 0))) : 0;
    };
    const isNoisy = train.optimizer === 'adam';
    return [
      series(
        'loss',
        steps.map(({ loss }) => loss),
        'loss',
        one,
      ),
      series(
        'grad_norm',
        steps.map(({ norm }) => norm),
        'grad_norm',
        greatest,
      ),
      series(
        'lr',
        steps.map(({ lr }) => lr),
        'lr',
        greatest,
      ),
      series('eval_loss_before', [before.loss], 'eval_loss_before', one),
      series('eval_loss_after', [after.loss], 'eval_loss_after', one),
      row(
        'gradients',
        worstOf(
          names,
          (name) => gradients[name]?.data,
          (name) => want(`grad.${name}`),
          (name) => greatest(want(`grad.${name}`) ?? []),
          noGradient,
        ),
        tolerances.gradient,
      ),
      row(
        'final weights',
        worstOf(
          names,
          (name) => trained.get(name)?.read('f32'),
          (name) => want(`final.${name}`),
          moved,
          noGradient,
        ),
        isNoisy ? tolerances.movedByAdam : tolerances.moved,
      ),
      row(
        'eval_logits',
        worstOf(
          ['eval_logits'],
          () => Object.values(evaluated)[0]?.data,
          want,
          () => greatest(want('eval_logits') ?? []),
          {},
        ),
        isNoisy ? tolerances.movedByAdam : tolerances.moved,
      ),
    ];
  } finally {
    await loaded.close();
  }
}

function withoutTargets(batch: Record<string, HostTensor>, entry: Entry): Record<string, HostTensor> {
  const names = new Set(entry.parameters.map(({ name }) => name));
  return Object.fromEntries(Object.entries(batch).filter(([name]) => names.has(name)));
}
