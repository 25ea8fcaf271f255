/**
 * Weights: checks a checkpoint against what the model declares, then brings one tensor after the other to the device in the
 * element type and layout that its kernel reads. Peak host memory is about one tensor.
 */
import type { NmLayout, PackedLayout, WeightSpec } from './artifact.ts';
import { nameFinder } from './checkpoint-names.ts';
import { convertElements, newElements } from './convert.ts';
import type { HostTensor } from './cpu.ts';
import type { eightLanesFor } from './eight-lanes.ts';
import { damaged, SoraError } from './error.ts';
import { nearest } from './nearest.ts';
import { type PackedTensor, unpackTensors } from './packed-files.ts';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from './safetensors.ts';
import { findShards } from './shards.ts';
import { product } from './size.ts';
import type { SourceInput } from './source.ts';
import type { wordTexturesFor } from './word-textures.ts';

/**
 * One safetensors file, an index of shards (`*.index.json`), in Node the folder of a checkpoint, or several of these that
 * share the tensors between them.
 */
export type WeightsInput = SourceInput | readonly SourceInput[];

/** A tensor and what reads it. */
export interface FoundTensor {
  readonly file: Pick<SafetensorsFile, 'name' | 'readTensor' | 'readChunks'>;
  readonly info: TensorInfo;
  /** What it was in the file, where it stands for a packed one. */
  readonly packed?: PackedTensor;
}

/** Brings weights of number formats, of checkpoints that have them packed or as floats (packed-weights.ts). */
export interface Packer {
  fill(spec: WeightSpec, layout: PackedLayout | NmLayout, buffer: ArrayBuffer): Promise<void>;
  /** As kernels see the numbers; undefined for weights without a format. */
  host(path: string, tied: string | undefined): Promise<HostTensor> | undefined;
  /** For drivers that read these faster (word-textures.ts). */
  readonly textures: typeof wordTexturesFor;
  /** For kernels whose lanes read for each other (eight-lanes.ts). */
  readonly share: typeof eightLanesFor;
}

export interface Checkpoint {
  readonly name: string;
  /** All tensor names, for suggestions. */
  readonly names: readonly string[];
  /** Names, types and shapes of all tensors. */
  readonly tensors: readonly TensorInfo[];
  /** What the files say of themselves. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensor of this name (checkpoint-names.ts), or else the one that it is tied to. */
  find(path: string, tied?: string): FoundTensor | undefined;
  /** For models whose weights have number formats. */
  readonly packer?: Packer;
  close(): Promise<void>;
}

export async function openCheckpoint(input: WeightsInput, signal?: AbortSignal): Promise<Checkpoint> {
  const files: SafetensorsFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    const tensors = new Map<string, FoundTensor & { readonly isTrained: boolean }>();
    const inputs = Array.isArray(input) ? (input as readonly SourceInput[]) : [input as SourceInput];
    const shards = await Promise.all(inputs.map((one) => findShards(one, signal)));
    for (const { source, promised = [] } of shards.flat()) {
      const file = await openSafetensors(source, signal);
      files.push(file);
      const isTrained = file.metadata.has(trainedKey);
      const absent = promised.find((name) => !file.tensors.has(name));
      if (absent !== undefined) {
        throw new SoraError('SORA7010', `the index places \`${absent}\` in \`${file.name}\`, which has no such tensor`);
      }
      for (const info of file.tensors.values()) {
        const other = tensors.get(info.name);
        if (other?.isTrained === isTrained) {
          const message = `tensor \`${info.name}\` stands in \`${other.file.name}\` and \`${file.name}\``;
          throw new SoraError('SORA7004', message);
        }
        if (!other || isTrained) tensors.set(info.name, { file, info, isTrained });
      }
    }
    unpackTensors(tensors, files);
    const nameOf = nameFinder(new Set(tensors.keys()));
    const find = (path: string | undefined): FoundTensor | undefined =>
      path === undefined ? undefined : tensors.get(nameOf(path) ?? '');
    const [first] = files;
    const name =
      files.length > 2 ? `${first?.name} and ${files.length - 1} more` : files.map((file) => file.name).join(', ');
    return {
      name,
      names: [...tensors.keys()],
      tensors: [...tensors.values()].map(({ info }) => info),
      metadata: new Map(files.flatMap((file) => [...file.metadata])),
      find: (path, tied) => find(path) ?? find(tied),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Key of the metadata of files that `trained()` gives: what stands there takes the place of what was before. */
export const trainedKey = 'sorac.trained';

/** How many names an error lists before it only counts. */
const LISTED = 8;

/** The usual reason: sizes and layers of one checkpoint, weights of another. */
const ownConfig =
  'was the module compiled for this checkpoint? `sorac compile` takes its sizes with `--config config.json`';

/** Rules of `prune` make matrices smaller, not files. */
export const cutOut = 'it is cut smaller: `sorac compress` cuts the checkpoint';

/**
 * Compares names and shapes before anything is loaded, and reports everything that is wrong at once.
 *
 * @errors SORA7201 names are missing, SORA7202 shapes differ.
 */
export function checkCheckpoint(checkpoint: Checkpoint, specs: readonly WeightSpec[]): void {
  const sources = new Map(specs.flatMap((spec) => spec.sources.map((source) => [source.path, source] as const)));
  const missing: string[] = [];
  const wrong: string[] = [];
  let isDense = false;
  for (const { path, shape, tied, sliced } of sources.values()) {
    const found = checkpoint.find(path, tied);
    if (!found) missing.push(path);
    else if (!sameShape(found.info.shape, shape)) {
      isDense ||= sliced === true;
      wrong.push(`\`${path}\`: the model has [${shape.join(', ')}], the file [${found.info.shape.join(', ')}]`);
    }
  }
  const where = `\`${checkpoint.name}\``;
  if (missing.length > 0) {
    const used = new Set([...sources.values()].map(({ path, tied }) => checkpoint.find(path, tied)?.info.name));
    const unused = checkpoint.names.filter((name) => !used.has(name));
    const near = missing.slice(0, LISTED).map((path) => nearest(path, unused));
    const lines = near.map((name, at) => {
      const guess = name === undefined ? '' : `: did you mean \`${name}\`?`;
      return `  \`${missing[at]}\`${guess}`;
    });
    const count = `${missing.length} of ${sources.size} weights`;
    throw new SoraError('SORA7201', `${count} are not in ${where}\n${withRest(lines, missing.length)}`, {
      ...(near.every((name) => name === undefined) && { help: ownConfig }),
    });
  }
  if (wrong.length > 0) {
    const lines = wrong.slice(0, LISTED).map((line) => `  ${line}`);
    throw new SoraError(
      'SORA7202',
      `${wrong.length} weights of ${where} have another shape\n${withRest(lines, wrong.length)}`,
      { help: isDense ? cutOut : ownConfig },
    );
  }
}

function withRest(lines: readonly string[], count: number): string {
  return [...lines, ...(count > lines.length ? [`  and ${count - lines.length} more`] : [])].join('\n');
}

function sameShape(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((dim, axis) => dim === right[axis]);
}

export function weightElements(spec: WeightSpec): number {
  if (spec.layout.kind === 'row-major') return product(spec.shape);
  if (spec.layout.kind === 'packed' || spec.layout.kind === 'nm') return spec.layout.words;
  const [rows = 1, ...rest] = spec.shape;
  return Math.ceil(rows / spec.layout.width) * spec.layout.width * product(rest);
}

/**
 * Writes a weight's elements into `buffer` (zeroed, as long as `weightElements` says): sources one after the other along
 * axis 0, or the rows of them that the spec means, in the layout of the spec.
 */
export async function fillWeight(checkpoint: Checkpoint, spec: WeightSpec, buffer: ArrayBuffer): Promise<void> {
  if (spec.layout.kind === 'packed' || spec.layout.kind === 'nm') {
    if (!checkpoint.packer) throw damaged('the packer of weights');
    await checkpoint.packer.fill(spec, spec.layout, buffer);
    return;
  }
  const target = newElements(spec.dtype, weightElements(spec), buffer);
  const [rows = 1, ...rest] = spec.shape;
  const columns = product(rest);
  const begin = spec.first ?? 0;
  /** Row of the buffer that the source begins with; below 0 where it began in an earlier buffer. */
  let firstRow = -begin;
  for (const { path, shape, tied } of spec.sources) {
    const found = checkpoint.find(path, tied);
    if (!found) throw new SoraError('SORA7201', `\`${checkpoint.name}\` has no tensor \`${path}\``);
    const sourceRows = shape.length === 0 ? 1 : (shape[0] ?? 0);
    const base = firstRow * columns;
    const panels = spec.layout.kind === 'panels' ? { base, columns, width: spec.layout.width } : undefined;
    const start = Math.max(0, -firstRow);
    const end = Math.min(sourceRows, rows - firstRow);
    if (start < end) {
      const write = (bytes: Uint8Array, first: number): void =>
        convertElements(found.info, bytes, target, spec.dtype, panels ? first : base + first, panels);
      await found.file.readChunks(found.info, write, start * columns, end * columns);
    }
    firstRow += sourceRows;
  }
  if (firstRow < rows) {
    throw new SoraError('SORA7202', `the sources of a weight have ${firstRow + begin} rows, expected ${rows + begin}`);
  }
}

/** Equal for specs whose buffers hold the same: a tied weight whose own tensor is missing is the one that it is tied to. */
export function contentKey(checkpoint: Checkpoint, spec: WeightSpec): string {
  const names = spec.sources.map(({ path, tied }) => checkpoint.find(path, tied)?.info.name ?? path);
  return JSON.stringify([names, spec.shape, spec.first ?? 0, spec.dtype, spec.layout]);
}

/** A tensor of the checkpoint for the CPU interpreter, or the one that it is tied to. */
export async function hostWeight(
  checkpoint: Checkpoint,
  path: string,
  specs: readonly WeightSpec[],
  tied?: string,
): Promise<HostTensor> {
  const packed = checkpoint.packer?.host(path, tied);
  if (packed) return packed;
  const dtype = specs.find((spec) => spec.sources.some((source) => source.path === path))?.dtype ?? 'f32';
  const found = checkpoint.find(path, tied);
  if (!found) throw new SoraError('SORA7201', `\`${checkpoint.name}\` has no tensor \`${path}\``);
  const host = dtype === 'f16' ? 'f32' : dtype;
  return { dtype, shape: found.info.shape, data: await found.file.readTensor(found.info.name, host) };
}
