/**
 * Weights of a trainer: from the checkpoint into the arenas, and from there to a file.
 */
import type { Arenas } from './arenas.ts';
import type { Artifact, TrainingSpec } from './artifact.ts';
import { SoraError } from './error.ts';
import type { HostFloats } from './memory-tensors.ts';
import { encodeSafetensors, type TensorToWrite } from './safetensors.ts';
import { elementsOf } from './trainer-checkpoint.ts';
import type { TrainerContext } from './trainer-types.ts';
import { type Checkpoint, hostWeight } from './weights.ts';

/** Names of the weights that train. */
export function parameterNames(spec: TrainingSpec): ReadonlySet<string> {
  return new Set(spec.groups.flatMap((group) => group.parameters.map(({ path }) => path)));
}

/** Arenas with the weights of the checkpoint, and zeros where the optimizer begins. */
export async function openArenas(context: TrainerContext, seed: number, signal?: AbortSignal): Promise<Arenas> {
  const { artifact, spec, device } = context;
  const checkpoint = await context.openWeights(seed, signal);
  try {
    const arenas = await device.open(checkpoint);
    try {
      for (const { weights, parameters } of spec.groups) {
        const content = new Float32Array(artifact.arenas?.[weights]?.elements ?? 0);
        for (const { path, tied, shape, offset } of parameters) {
          signal?.throwIfAborted();
          const found = checkpoint.find(path, tied);
          if (found === undefined || found.info.shape.join() !== shape.join())
            throw new SoraError('SORA7201', `\`${checkpoint.name}\` has no \`${path}\` [${shape.join(', ')}] any more`);
          content.set(await found.file.readTensor(found.info.name, 'f32'), offset);
        }
        arenas.write(new Map([[weights, content]]));
      }
      return arenas;
    } catch (error) {
      arenas.free();
      throw error;
    }
  } finally {
    await checkpoint.close();
  }
}

/** Weights that train by name, as they are in the arenas. */
export async function trainedTensors(arenas: Arenas, spec: TrainingSpec): Promise<ReadonlyMap<string, HostFloats>> {
  const tensors = new Map<string, HostFloats>();
  for (const { weights, parameters } of spec.groups) {
    const content = await arenas.read(weights);
    for (const { path, shape, offset } of parameters)
      tensors.set(path, { shape, data: content.subarray(offset, offset + elementsOf(shape)) });
  }
  return tensors;
}

/** All weights of the model as a file: those given, the others from the checkpoint. A tied one stands in it once. */
export async function encodeWeights(
  artifact: Artifact,
  trained: ReadonlyMap<string, HostFloats>,
  checkpoint: Checkpoint,
): Promise<Uint8Array> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { shape, data }] of trained) tensors.set(name, { name, shape, data });
  const sources = new Map(artifact.weights.flatMap((spec) => spec.sources.map((source) => [source.path, source])));
  for (const { path, tied, shape } of sources.values()) {
    const isTied = tied !== undefined && (trained.has(tied) || checkpoint.find(path, undefined) === undefined);
    if (tensors.has(path) || isTied) continue;
    const { data } = await hostWeight(checkpoint, path, artifact.weights, tied);
    tensors.set(path, { name: path, shape, data });
  }
  // The readers of transformers ask for this key.
  return encodeSafetensors([...tensors.values()], { format: 'pt' });
}
