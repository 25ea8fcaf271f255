/**
 * The checkpoint of a run as one safetensors file: weights that train under their names, what the optimizer keeps of each as
 * `SLOT:NAME`, and where the run is in the metadata. Nothing depends on how arenas are laid out.
 */
import type { Artifact, ParameterSpec, TrainingSpec } from './artifact.ts';
import { SoraError } from './error.ts';
import { encodeSafetensors, openSafetensors, type SafetensorsFile, type TensorToWrite } from './safetensors.ts';
import { product } from './size.ts';
import type { SourceInput } from './source.ts';
import { isSeed, type Run } from './trainer-options.ts';
import { isScale, type ScaleState } from './trainer-scale.ts';

type Floats = Float32Array<ArrayBuffer>;

/** Key of the metadata that is ours; the others are the caller's. */
const KEY = 'sorac.training';
const VERSION = 1;

export interface RunState extends Run {
  /** Steps taken. */
  readonly steps: number;
  /** Of a run in f16. */
  readonly scale?: ScaleState | undefined;
}

/** What the caller keeps with a checkpoint. */
export type Metadata = Readonly<Record<string, string>>;

export interface TrainingState extends RunState {
  /** By index, each as long as its arena. */
  readonly arenas: ReadonlyMap<number, Floats>;
  readonly metadata: Metadata;
  /** Hash of the source that the run was compiled from. */
  readonly source: string;
}

interface Piece {
  readonly name: string;
  readonly arena: number;
  readonly parameter: ParameterSpec;
}

/** Every tensor of a checkpoint. */
function piecesOf(artifact: Artifact, spec: TrainingSpec): readonly Piece[] {
  return spec.groups.flatMap(({ weights, slots, parameters }) =>
    parameters.flatMap((parameter) => [
      { name: parameter.path, arena: weights, parameter },
      ...slots.map((arena) => {
        const [slot] = (artifact.arenas?.[arena]?.path ?? '').split(':');
        return { name: `${slot}:${parameter.path}`, arena, parameter };
      }),
    ]),
  );
}

/** Arenas that a checkpoint holds. */
export function keptArenas(spec: TrainingSpec): readonly number[] {
  return spec.groups.flatMap(({ weights, slots }) => [weights, ...slots]);
}

/** @errors SORA6032 when the caller's metadata is no table of texts */
export function encodeCheckpoint(
  artifact: Artifact,
  spec: TrainingSpec,
  state: Omit<TrainingState, 'source'>,
): Uint8Array {
  const { steps, seed, totalSteps, schedule, scale, metadata } = state;
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value === 'string' && key !== KEY && key !== '__proto__') continue;
    throw new SoraError('SORA6032', `\`metadata\` takes texts by name; \`${key}\` is none`);
  }
  const tensors = piecesOf(artifact, spec).map(({ name, arena, parameter: { shape, offset } }): TensorToWrite => {
    const data = state.arenas.get(arena) ?? new Float32Array();
    return { name, shape, data: data.subarray(offset, offset + product(shape)) };
  });
  const own = {
    version: VERSION,
    model: artifact.name,
    source: artifact.source,
    optimizer: spec.optimizer.name,
    steps,
    seed,
    ...(totalSteps === undefined ? {} : { totalSteps }),
    schedule,
    ...(scale ? { scale } : {}),
  };
  return encodeSafetensors(tensors, { ...metadata, [KEY]: JSON.stringify(own) });
}

/**
 * Reads and checks a whole checkpoint before anything of it counts.
 *
 * @errors SORA6034 when it is not one of this model's training; SORA7001 to SORA7009 when it is no safetensors file
 */
export async function readCheckpoint(
  artifact: Artifact,
  spec: TrainingSpec,
  input: SourceInput,
  signal?: AbortSignal,
): Promise<TrainingState> {
  const file = await openSafetensors(input, signal);
  try {
    const run = readRun(file, artifact, spec);
    const pieces = piecesOf(artifact, spec);
    checkTensors(file, pieces);
    const arenas = new Map(
      keptArenas(spec).map((arena) => [arena, new Float32Array(artifact.arenas?.[arena]?.elements ?? 0)] as const),
    );
    for (const { name, arena, parameter } of pieces)
      arenas.get(arena)?.set(await file.readTensor(name, 'f32'), parameter.offset);
    const metadata = Object.fromEntries([...file.metadata].filter(([key]) => key !== KEY));
    return { ...run, arenas, metadata };
  } finally {
    await file.close();
  }
}

function unfit(file: SafetensorsFile, what: string, help?: string): SoraError {
  const options = help === undefined ? {} : { help };
  return new SoraError('SORA6034', `\`${file.name}\` does not go on with this training: ${what}`, options);
}

function readRun(
  file: SafetensorsFile,
  artifact: Artifact,
  spec: TrainingSpec,
): RunState & { readonly source: string } {
  const text = file.metadata.get(KEY);
  if (text === undefined) {
    throw unfit(file, 'it is no checkpoint of a training', 'weights alone go to `load`, as `weights`');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unfit(file, `its \`${KEY}\` is not JSON`);
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const { version, model, source, optimizer, steps, seed, totalSteps, schedule, scale } = fields;
  if (version !== VERSION) throw unfit(file, `it has version ${String(version)}, known is ${VERSION}`);
  if (model !== artifact.name) throw unfit(file, `it is of the model \`${String(model)}\`, not \`${artifact.name}\``);
  if (optimizer !== spec.optimizer.name)
    throw unfit(file, `its optimizer is \`${String(optimizer)}\`, that of the model \`${spec.optimizer.name}\``);
  const isCount = (count: unknown): count is number => Number.isSafeInteger(count) && Number(count) >= 0;
  const isRun =
    isCount(steps) && isSeed(seed) && (totalSteps === undefined || isCount(totalSteps)) && typeof source === 'string';
  if (!isRun || typeof schedule !== 'object' || schedule === null)
    throw unfit(file, `its \`${KEY}\` does not say where the run is`);
  if (spec.precision === 'f16' && !isScale(scale)) throw unfit(file, 'it is of a run that was not in f16');
  // The values of the schedule are checked where it is put to use.
  return {
    steps,
    seed,
    totalSteps,
    schedule: schedule as Run['schedule'],
    source,
    ...(isScale(scale) ? { scale } : {}),
  };
}

/** How many names an error lists. */
const LISTED = 4;

function checkTensors(file: SafetensorsFile, pieces: readonly Piece[]): void {
  const list = (names: readonly string[]): string => {
    const shown = names.slice(0, LISTED).map((name) => `\`${name}\``);
    return [...shown, ...(names.length > LISTED ? [`${names.length - LISTED} more`] : [])].join(', ');
  };
  const known = new Set(pieces.map(({ name }) => name));
  const missing = pieces.filter(({ name }) => !file.tensors.has(name)).map(({ name }) => name);
  if (missing.length > 0) throw unfit(file, `it lacks ${list(missing)}`);
  const extra = [...file.tensors.keys()].filter((name) => !known.has(name));
  if (extra.length > 0) throw unfit(file, `it has ${list(extra)}, which does not train here`);
  for (const { name, parameter } of pieces) {
    const info = file.tensors.get(name);
    const [has, wants] = [info?.shape.join(', '), parameter.shape.join(', ')];
    if (info?.dtype !== 'F32' || has !== wants)
      throw unfit(file, `\`${name}\` is ${info?.dtype}[${has}], expected F32[${wants}]`);
  }
}
