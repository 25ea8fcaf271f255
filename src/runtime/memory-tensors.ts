/**
 * Tensors in the memory of the host where tensors of a checkpoint are expected: fresh weights behind those of a file, trained
 * ones before them.
 */
import type { Artifact, ElementType, InitializerSpec } from './artifact.ts';
import { convertElements, type ElementArray, newElements } from './convert.ts';
import { SoraError } from './error.ts';
import { drawWeight } from './fresh-weights.ts';
import type { TensorInfo } from './safetensors.ts';
import { product } from './size.ts';
import { type Checkpoint, type FoundTensor, openCheckpoint, type WeightsInput } from './weights.ts';

/** @param data row-major, as many elements of four bytes as the shape has; asked for when it is read */
function memoryTensor(
  name: string,
  shape: readonly number[],
  data: () => ElementArray,
  dtype: 'F32' | 'I32' | 'U32' = 'F32',
): FoundTensor {
  const elements = product(shape);
  const info: TensorInfo = { name, dtype, shape, elements, offset: 0, bytes: elements * 4 };
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
  readonly dtype: ElementType;
  readonly initial?: InitializerSpec;
  readonly tied?: string;
  readonly trains: boolean;
}

/** Every tensor that the model takes from a checkpoint, by name. */
function neededTensors(artifact: Artifact): ReadonlyMap<string, NeededTensor> {
  const needed = new Map<string, NeededTensor>();
  for (const { sources, dtype } of artifact.weights)
    for (const source of sources) needed.set(source.path, { ...source, dtype, trains: false });
  const groups = artifact.training?.groups ?? [];
  for (const parameter of groups.flatMap((group) => group.parameters))
    needed.set(parameter.path, { ...needed.get(parameter.path), ...parameter, dtype: 'f32', trains: true });
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
  let last: { readonly path: string; readonly data: ElementArray } | undefined;
  const drawn = (path: string | undefined): FoundTensor | undefined => {
    const tensor = path === undefined ? undefined : needed.get(path);
    const initial = tensor?.initial;
    if (path === undefined || tensor === undefined || initial === undefined) return undefined;
    const own = tensor.trains ? seed : (artifact.training?.seed ?? 0);
    const { dtype, shape } = tensor;
    const draw = (): ElementArray => {
      const drawn = drawWeight(initial, own, path, product(shape));
      // Whole numbers begin with a constant.
      return dtype === 'f32' || dtype === 'f16'
        ? drawn
        : newElements(dtype === 'i32' ? 'i32' : 'u32', drawn.length).fill(drawn[0] ?? 0);
    };
    const type = dtype === 'f32' || dtype === 'f16' ? 'F32' : dtype === 'i32' ? 'I32' : 'U32';
    const data = (): ElementArray => {
      if (last?.path !== path) last = { path, data: draw() };
      return last.data;
    };
    return memoryTensor(path, shape, data, type);
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
  metadata: new Map(),
  find: () => undefined,
  close: async () => {},
};
