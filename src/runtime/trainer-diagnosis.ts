/**
 * Where a step stops being finite: its gradients once more in the interpreter, node by node.
 */
import type { Artifact, EntrySpec } from './artifact.ts';
import type { CpuModule, HostTensor, WatchedNode } from './cpu.ts';
import { hostInputs } from './executor.ts';
import type { BoundInputs } from './inputs.ts';
import type { HostFloats } from './memory-tensors.ts';
import { type Checkpoint, hostWeight } from './weights.ts';

/** The first value that is not finite. */
export interface BadValue {
  readonly kind: 'weight' | 'input' | 'operation';
  /** Of the weight or the input; of an operation what it is, such as `exp`. */
  readonly name: string;
  /** Of an operation: the part of the model that it belongs to, or the parts that it comes after. */
  readonly place: readonly string[];
  readonly shape: readonly number[];
}

export interface DiagnosisParts {
  readonly artifact: Artifact;
  readonly entry: EntrySpec;
  readonly inputs: BoundInputs;
  /** What trains, and where everything else is read. */
  readonly trained: ReadonlyMap<string, HostFloats>;
  readonly checkpoint: Checkpoint;
  readonly interpreter: CpuModule;
}

/** Thrown out of the interpreter when it is found. */
class Found {
  readonly node: WatchedNode;
  readonly shape: readonly number[];

  constructor(node: WatchedNode, shape: readonly number[]) {
    this.node = node;
    this.shape = shape;
  }
}

/** @returns undefined when the interpreter, which adds in another order, finds none */
export async function firstBadValue(parts: DiagnosisParts): Promise<BadValue | undefined> {
  const { artifact, entry, trained, checkpoint, interpreter } = parts;
  for (const [name, { shape, data }] of trained)
    if (!areFinite(data)) return { kind: 'weight', name, place: [], shape };
  const inputs = hostInputs(entry, parts.inputs);
  for (const [name, { dtype, shape, data }] of inputs)
    if (dtype === 'f32' && !areFinite(data)) return { kind: 'input', name, place: [], shape };
  const executor = await interpreter.createExecutor(artifact.program, (path, tied) =>
    hostWeight(checkpoint, path, artifact.weights, tied),
  );
  const states = {
    get(path: string): HostTensor | undefined {
      const tensor = trained.get(path.replace(/^weight:/, ''));
      return tensor && { dtype: 'f32', ...tensor };
    },
    set() {},
  };
  try {
    await executor.run(entry.name, parts.inputs.dims, inputs, states, (node) => {
      const bad = node.results.find(({ data }) => data instanceof Float32Array && !areFinite(data));
      if (bad) throw new Found(node, bad.shape);
    });
  } catch (error) {
    if (!(error instanceof Found)) throw error;
    const { node, shape } = error;
    return { kind: 'operation', name: node.op, place: node.label === undefined ? node.behind() : [node.label], shape };
  }
  return undefined;
}

/** -inf is how masks hide keys, and no mistake. */
function areFinite(data: ArrayLike<number>): boolean {
  for (let at = 0; at < data.length; at++) {
    const value = data[at] ?? 0;
    if (Number.isNaN(value) || value === Number.POSITIVE_INFINITY) return false;
  }
  return true;
}
