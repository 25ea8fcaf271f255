/**
 * The `signature` and `weights` constants of a module, as data.
 */
import type { Artifact, TensorSpec } from '../../runtime/artifact.ts';
import { printSize } from './describe.ts';
import type { Data } from './literals.ts';

function tensorData(tensor: TensorSpec): Data {
  return {
    dtype: tensor.dtype,
    shape: tensor.shape.map((size) => (typeof size === 'number' ? size : printSize(size))),
    ...(tensor.initial === undefined ? {} : { initial: tensor.initial }),
    ...(tensor.range === undefined ? {} : { range: [...tensor.range] }),
  };
}

export function signatureData(artifact: Artifact): Data {
  const byName = (tensors: readonly TensorSpec[]): Data =>
    Object.fromEntries(tensors.map((tensor) => [tensor.name, tensorData(tensor)]));
  return {
    name: artifact.name,
    config: artifact.config,
    dims: Object.fromEntries(Object.entries(artifact.dims).map(([name, dim]) => [name, { ...dim }])),
    entries: Object.fromEntries(
      artifact.entries.map((entry) => [entry.name, { inputs: byName(entry.inputs), outputs: byName(entry.results) }]),
    ),
  };
}

export function weightsData(artifact: Artifact): Data {
  return artifact.weights.flatMap((weight) =>
    weight.sources.map((source) => ({ name: source.path, shape: [...source.shape], dtype: weight.dtype })),
  );
}
