/**
 * Weights of a trainer: from the checkpoint into the arenas, and from there to a file.
 */
import type { Arenas } from './arenas.ts';
import type { Artifact, TrainingSpec } from './artifact.ts';
import { SoraError } from './error.ts';
import type { HostFloats } from './memory-tensors.ts';
import type { Results } from './model-session.ts';
import { encodeSafetensors, type TensorToWrite } from './safetensors.ts';
import { product } from './size.ts';
import type { TrainerContext } from './trainer-types.ts';
import { type Checkpoint, hostWeight } from './weights.ts';

/** Arenas with the weights of the checkpoint, which an average begins with too, and zeros where the optimizer begins. */
export async function openArenas(context: TrainerContext, seed: number, signal?: AbortSignal): Promise<Arenas> {
  const { artifact, spec, device } = context;
  const checkpoint = await context.openWeights(seed, signal);
  try {
    const arenas = await device.open(checkpoint);
    try {
      for (const { weights, average, parameters } of spec.groups) {
        const content = new Float32Array(artifact.arenas?.[weights]?.elements ?? 0);
        for (const { path, tied, shape, offset } of parameters) {
          signal?.throwIfAborted();
          const found = checkpoint.find(path, tied);
          if (found === undefined || found.info.shape.join() !== shape.join())
            throw new SoraError('SORA7201', `\`${checkpoint.name}\` has no \`${path}\` [${shape.join(', ')}] any more`);
          content.set(await found.file.readTensor(found.info.name, 'f32'), offset);
        }
        arenas.write(new Map([weights, average ?? weights].map((arena) => [arena, content])));
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

/** Averages that stand in for weights: `instead` of a call. Nothing where there are none. */
export function averagesOf(spec: TrainingSpec): ReadonlyMap<number, number> {
  return new Map(
    spec.groups.flatMap(({ weights, average }) => (average === undefined ? [] : [[weights, average] as const])),
  );
}

/** Weights that train by name, as they are in the arenas or in those `instead`. */
export function trainedTensors(
  arenas: Arenas,
  spec: TrainingSpec,
  instead?: ReadonlyMap<number, number>,
): Promise<ReadonlyMap<string, HostFloats>> {
  return pieces(arenas, spec, ({ weights }) => instead?.get(weights) ?? weights);
}

/** What the last call left of gradients, by the name of the weight, divided by the scale of the loss. */
export async function gradientTensors(
  arenas: Arenas,
  spec: TrainingSpec,
  scale: number,
): Promise<{ readonly gradients: Results; readonly areFinite: boolean }> {
  const tensors = await pieces(arenas, spec, ({ gradients }) => gradients);
  for (const { data } of tensors.values()) for (let at = 0; at < data.length; at++) data[at] = (data[at] ?? 0) / scale;
  return {
    gradients: Object.fromEntries([...tensors].map(([name, tensor]) => [name, { dtype: 'f32', ...tensor }])),
    areFinite: [...tensors.values()].every(({ data }) => data.every(Number.isFinite)),
  };
}

/** The piece of each weight that trains in one arena of its group. */
async function pieces(
  arenas: Arenas,
  spec: TrainingSpec,
  arenaOf: (group: TrainingSpec['groups'][number]) => number,
): Promise<ReadonlyMap<string, HostFloats>> {
  const tensors = new Map<string, HostFloats>();
  for (const group of spec.groups) {
    const content = await arenas.read(arenaOf(group));
    for (const { path, shape, offset } of group.parameters)
      tensors.set(path, { shape, data: content.subarray(offset, offset + product(shape)) });
  }
  return tensors;
}

/** What the model's own weights become: those that train, and those that adapters stand beside with these added. */
export async function mergedTensors(
  arenas: Arenas,
  spec: TrainingSpec,
  checkpoint: Checkpoint,
  instead?: ReadonlyMap<number, number>,
): Promise<ReadonlyMap<string, HostFloats>> {
  const tensors = new Map(await trainedTensors(arenas, spec, instead));
  for (const { path, down, up, factor, transposed = false } of spec.adapters ?? []) {
    const [a, b, found] = [tensors.get(down), tensors.get(up), checkpoint.find(path)];
    if (!a || !b || !found) throw new SoraError('SORA7201', `\`${checkpoint.name}\` has no \`${path}\` any more`);
    const data = await found.file.readTensor(found.info.name, 'f32');
    addProduct(data, b, a, factor, transposed);
    tensors.set(path, { shape: found.info.shape, data });
    tensors.delete(down);
    tensors.delete(up);
  }
  return tensors;
}

/** target += factor up down, [outputs, rank] [rank, inputs]; each sum in f64, rounded once. */
function addProduct(target: Float32Array, up: HostFloats, down: HostFloats, factor: number, transposed: boolean): void {
  const [rank = 0, inputs = 0] = down.shape;
  const [outputs = 0] = up.shape;
  const row = new Float64Array(inputs);
  for (let output = 0; output < outputs; output++) {
    row.fill(0);
    for (let at = 0; at < rank; at++) {
      const weight = up.data[output * rank + at] ?? 0;
      for (let input = 0; input < inputs; input++)
        row[input] = (row[input] ?? 0) + weight * (down.data[at * inputs + input] ?? 0);
    }
    for (let input = 0; input < inputs; input++) {
      const place = transposed ? input * outputs + output : output * inputs + input;
      target[place] = (target[place] ?? 0) + factor * (row[input] ?? 0);
    }
  }
}

/** Key of the metadata that says which heads and neurons a file holds (src/compression/kept.ts). */
export const keptKey = 'sorac.pruned';

/** Metadata that the readers of transformers ask for. */
export const forTransformers = { format: 'pt' };

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
  // A sliced checkpoint says which units it holds, and stays one.
  const kept = checkpoint.metadata.get(keptKey);
  const metadata = { ...forTransformers, ...(kept === undefined ? {} : { [keptKey]: kept }) };
  return encodeSafetensors([...tensors.values()], metadata);
}
