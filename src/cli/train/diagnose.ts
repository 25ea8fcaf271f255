/**
 * Where a step stopped being finite: the step once more in the interpreter, node by node.
 */
import type { Node, Program } from '../../ir/graph.ts';
import { concreteShape, dimsOfInputs, entryNamed, interpretGraph } from '../../ir/interpret.ts';
import type { Tensor } from '../../ir/op.ts';
import { elementCount } from '../../ir/tensor.ts';
import type { Inputs } from '../../runtime/inputs.ts';
import { openSafetensors, type SafetensorsFile } from '../../runtime/safetensors.ts';
import type { Trainer } from '../../runtime/trainer-types.ts';
import { positionAt } from '../../support/source.ts';

/** Milliseconds that a person waits for it. */
const patience = 30_000;

class OutOfTime extends Error {}

class Found extends Error {
  readonly node: Node;
  readonly shape: readonly number[];

  constructor(node: Node, shape: readonly number[]) {
    super('found');
    this.node = node;
    this.shape = shape;
  }
}

/** "`exp` [16, 8] at points.sora:9:40" */
function describeNode(node: Node, shape: readonly number[]): string {
  const { span } = node;
  const name = `\`${node.op}\` [${shape.join(', ')}]`;
  if (span === undefined) return name;
  const { line, column } = positionAt(span.file, span.start);
  return `${name} at ${span.file.path}:${line}:${column}`;
}

async function allTensors(file: SafetensorsFile): Promise<ReadonlyMap<string, Tensor>> {
  const tensors = new Map<string, Tensor>();
  for (const { name, shape } of file.tensors.values())
    tensors.set(name, { dtype: 'f32', shape, data: await file.readTensor(name, 'f32') });
  return tensors;
}

/** Inputs of the entry: those of the batch, and what stands for the ones that callers leave out. */
function inputsOf(
  program: Program,
  entryName: string,
  batch: Inputs,
  trainer: Trainer,
): {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly dims: ReadonlyMap<string, number>;
} {
  const { parameters } = entryNamed(program, entryName);
  const inputs = new Map<string, Tensor>();
  for (const { name, type } of parameters) {
    const given = batch[name];
    if (given) inputs.set(name, { dtype: type.dtype, shape: given.shape, data: given.data });
  }
  const dims = dimsOfInputs(parameters, inputs);
  for (const { name, type, initial, role } of parameters) {
    if (inputs.has(name)) continue;
    const shape = concreteShape(type, dims);
    if (role === 'seed')
      inputs.set(name, { dtype: type.dtype, shape, data: Uint32Array.of(trainer.seed, trainer.steps) });
    // The scale of the loss, which is not what makes a step go wrong.
    else if (role === 'scale') inputs.set(name, { dtype: type.dtype, shape, data: Float32Array.of(1) });
    else inputs.set(name, { dtype: type.dtype, shape, data: new Float32Array(elementCount(shape)).fill(initial ?? 0) });
  }
  return { inputs, dims };
}

/**
 * The first value of the step that is not finite, with the weights as they are now.
 *
 * @returns undefined when the interpreter finds none, or takes too long
 */
export async function firstBadValue(
  program: Program,
  trainer: Trainer,
  batches: readonly Inputs[],
  limit = patience,
): Promise<string | undefined> {
  const { training } = program;
  if (!training) return undefined;
  const weights = new Map([
    ...(await allTensors(await openSafetensors(await trainer.weights()))),
    ...(await allTensors(await openSafetensors(await trainer.trained()))),
  ]);
  const read = (path: string): Tensor => {
    const tensor = weights.get(path) ?? weights.get(tiedTo(program, path) ?? '');
    if (!tensor) throw new RangeError(`the run has no weight \`${path}\``);
    return tensor;
  };
  const bad = [...weights].find(([, { data }]) => !areFinite(data));
  if (bad) return `the weight \`${bad[0]}\``;
  const end = performance.now() + limit;
  for (const batch of batches) {
    try {
      interpretGraph(entryNamed(program, training.gradients).graph, {
        ...inputsOf(program, training.gradients, batch, trainer),
        precision: 'f32',
        weight: read,
        states: { read: (path) => ({ ...read(path.replace(/^weight:/, '')) }), write() {} },
        watch(node, results) {
          const wrong = results.find(({ data }) => data instanceof Float32Array && !areFinite(data));
          if (wrong) throw new Found(node, wrong.shape);
          if (performance.now() > end) throw new OutOfTime();
        },
      });
    } catch (error) {
      if (error instanceof OutOfTime) return undefined;
      if (error instanceof Found) return describeNode(error.node, error.shape);
      throw error;
    }
  }
  return undefined;
}

function tiedTo(program: Program, path: string): string | undefined {
  return program.weights.find((weight) => weight.path === path)?.tied;
}

/** -inf is how masks hide keys, and no mistake. */
function areFinite(data: Tensor['data']): boolean {
  return !data.some((value) => Number.isNaN(value) || value === Number.POSITIVE_INFINITY);
}
