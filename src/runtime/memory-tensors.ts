/**
 * Tensors in the memory of the host where tensors of a checkpoint are expected: fresh weights behind those of a file, trained
 * ones before them.
 */
import type { Artifact, ElementType, InitializerSpec } from './artifact.ts';
import { convertElements, type ElementArray, newElements } from './convert.ts';
import { SoraError } from './error.ts';
import { drawWeight } from './fresh-weights.ts';
import type { TensorInfo } from './safetensors.ts';
import { type Checkpoint, type FoundTensor, openCheckpoint, type WeightsInput } from './weights.ts';

const product = (shape: readonly number[]): number => shape.reduce((value, dim) => value * dim, 1);

/** @param data row-major, as many elements as the shape has; asked for when it is read */
function memoryTensor(name: string, shape: readonly number[], data: () => Float32Array<ArrayBuffer>): FoundTensor {
  const elements = product(shape);
  const info: TensorInfo = { name, dtype: 'F32', shape, elements, offset: 0, bytes: elements * 4 };
  return {
    info,
    file: {
      name: 'memory',
      async readTensor<Type extends ElementType>(_name: string, dtype: Type): Promise<ElementArray<Type>> {
        const target = newElements(dtype, elements);
        const { buffer, byteOffset, byteLength } = data();
        convertElements(info, new Uint8Array(buffer, byteOffset, byteLength), target, dtype, 0);
        return target;
      },
      async readChunks(_info, write, start = 0, end = elements) {
        const { buffer, byteOffset } = data();
        write(new Uint8Array(buffer, byteOffset + start * 4, (end - start) * 4), start);
      },
    },
  };
}

export interface HostFloats {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** Tensors by name before those of `base`. One that is tied to a name given here is that tensor. */
export function withTensors(base: Checkpoint, tensors: ReadonlyMap<string, HostFloats>): Checkpoint {
  const found = (path: string | undefined): FoundTensor | undefined => {
    const tensor = path === undefined ? undefined : tensors.get(path);
    return path === undefined || tensor === undefined ? undefined : memoryTensor(path, tensor.shape, () => tensor.data);
  };
  return { ...base, find: (path, tied) => found(path) ?? found(tied) ?? base.find(path, tied) };
}

interface NeededTensor {
  readonly shape: readonly number[];
  readonly initial?: InitializerSpec;
  readonly tied?: string;
  readonly trains: boolean;
}

/** Every tensor that the model takes from a checkpoint, by name. */
function neededTensors(artifact: Artifact): ReadonlyMap<string, NeededTensor> {
  const sources = artifact.weights.flatMap((spec) => spec.sources.map((source) => ({ ...source, trains: false })));
  const groups = artifact.training?.groups ?? [];
  const needed = new Map<string, NeededTensor>(sources.map((source) => [source.path, source]));
  for (const parameter of groups.flatMap((group) => group.parameters))
    needed.set(parameter.path, { ...needed.get(parameter.path), ...parameter, trains: true });
  return needed;
}

export interface TrainingWeights {
  readonly checkpoint: Checkpoint;
  /** Names of weights that the checkpoint lacks and that are drawn. */
  readonly fresh: readonly string[];
}

/**
 * The checkpoint, with a fresh tensor for each that it lacks and that says how it is drawn. A checkpoint that has no tensor of
 * the model is none of it: then nothing is drawn.
 *
 * @param seed u32: draws what trains; what does not is the same for every trainer
 * @errors SORA7201 when there is no checkpoint and a weight cannot be drawn; `checkCheckpoint` tells what else is missing
 */
export async function openTrainingWeights(
  artifact: Artifact,
  input: WeightsInput | undefined,
  seed: number,
  signal?: AbortSignal,
): Promise<TrainingWeights> {
  const needed = neededTensors(artifact);
  const base = input === undefined ? noCheckpoint : await openCheckpoint(input, signal);
  const lacking = [...needed].filter(([path, { tied }]) => base.find(path, tied) === undefined);
  if (input !== undefined && lacking.length === needed.size) return { checkpoint: base, fresh: [] };
  // Kept while it is read in parts.
  let last: { readonly path: string; readonly data: Float32Array<ArrayBuffer> } | undefined;
  const drawn = (path: string | undefined): FoundTensor | undefined => {
    const tensor = path === undefined ? undefined : needed.get(path);
    const initial = tensor?.initial;
    if (path === undefined || tensor === undefined || initial === undefined) return undefined;
    const own = tensor.trains ? seed : (artifact.training?.seed ?? 0);
    return memoryTensor(path, tensor.shape, () => {
      if (last?.path !== path) last = { path, data: drawWeight(initial, own, path, product(tensor.shape)) };
      return last.data;
    });
  };
  const find: Checkpoint['find'] = (path, tied) => base.find(path, tied) ?? drawn(tied) ?? drawn(path);
  const bare = lacking.filter(([path, { tied }]) => find(path, tied) === undefined).map(([path]) => path);
  const [first] = bare;
  if (input === undefined && first !== undefined) {
    const others = bare.length > 1 ? ` and ${bare.length - 1} more` : '';
    const message = `\`${artifact.name}\` needs \`weights\`: \`${first}\`${others} cannot be drawn fresh`;
    throw new SoraError('SORA7201', message, { help: 'load a checkpoint, or say in the model how they begin' });
  }
  const fresh = lacking.map(([path]) => path).filter((path) => !bare.includes(path));
  return { checkpoint: { ...base, find }, fresh };
}

const noCheckpoint: Checkpoint = {
  name: 'no checkpoint',
  names: [],
  tensors: [],
  find: () => undefined,
  close: async () => {},
};
