/**
 * The `signature` and `weights` constants of a module, as data.
 */
import type { Artifact, TensorSpec } from '../../runtime/artifact.ts';
import { printSize, shownDims } from './describe.ts';
import type { Data } from './literals.ts';

function tensorData(tensor: TensorSpec): Data {
  return {
    dtype: tensor.dtype,
    shape: tensor.shape.map((size) => (typeof size === 'number' ? size : printSize(size))),
    ...(tensor.initial === undefined ? {} : { initial: tensor.initial }),
    ...(tensor.range === undefined ? {} : { range: [...tensor.range] }),
    ...(tensor.except === undefined ? {} : { except: tensor.except }),
  };
}

export function signatureData(artifact: Artifact): Data {
  const byName = (tensors: readonly TensorSpec[]): Data =>
    Object.fromEntries(tensors.map((tensor) => [tensor.name, tensorData(tensor)]));
  return {
    name: artifact.name,
    config: artifact.config,
    dims: Object.fromEntries(shownDims(artifact).map(([name, dim]) => [name, { ...dim }])),
    entries: Object.fromEntries(
      artifact.entries
        .filter((entry) => entry.internal !== true)
        .map((entry) => [entry.name, { inputs: byName(entry.inputs), outputs: byName(entry.results) }]),
    ),
  };
}

/** Each tensor once, however many kernels read it in a layout of their own. */
export function weightsData(artifact: Artifact): Data {
  const weights = new Map(
    artifact.weights.flatMap((weight) =>
      weight.sources.map((source) => {
        const data: Data = { name: source.path, shape: [...source.shape], dtype: weight.dtype };
        return [source.path, data] as const;
      }),
    ),
  );
  return [...weights.values()];
}
