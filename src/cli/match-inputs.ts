/**
 * Tensors of a file to the parameters of an entry, by name. 64-bit token ids are narrowed with a range check. Dims are
 * inferred from the shapes by the runtime, which also checks them against each other and against their bounds.
 */
import type { EntrySpec, TensorSpec } from '../runtime/artifact.ts';
import { closest } from '../support/suggest.ts';
import { dataError } from './exit-codes.ts';
import type { FileTensor, HostTensor } from './tensor-file.ts';

export interface MatchedInputs {
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /** Tensors of the file that no parameter takes. */
  readonly unused: readonly string[];
}

export function matchInputs(entry: EntrySpec, tensors: ReadonlyMap<string, FileTensor>): MatchedInputs {
  const inputs: Record<string, HostTensor> = {};
  for (const parameter of entry.inputs) {
    const tensor = tensors.get(parameter.name);
    if (tensor !== undefined) {
      inputs[parameter.name] = convertInput(parameter, tensor);
    } else if (parameter.initial === undefined) {
      throw missingInput(entry, parameter, tensors);
    }
  }
  const wanted = new Set(entry.inputs.map((parameter) => parameter.name));
  return { inputs, unused: [...tensors.keys()].filter((name) => !wanted.has(name)) };
}

function missingInput(entry: EntrySpec, parameter: TensorSpec, tensors: ReadonlyMap<string, FileTensor>): Error {
  const taken = new Set(entry.inputs.map((other) => other.name));
  const free = [...tensors.keys()].filter((name) => !taken.has(name));
  const near = closest(parameter.name, free);
  return dataError(
    `the inputs have no tensor \`${parameter.name}\`, which entry \`${entry.name}\` needs as ${describe(parameter)}`,
    near !== undefined
      ? `there is a \`${near}\`: rename it`
      : `the file has: ${[...tensors.keys()].map((name) => `\`${name}\``).join(', ') || 'nothing'}`,
  );
}

function describe(parameter: TensorSpec): string {
  return `${parameter.dtype}[${parameter.shape.map(describeSize).join(', ')}]`;
}

function describeSize(size: TensorSpec['shape'][number]): string {
  if (typeof size === 'number') return String(size);
  if (typeof size === 'string') return size;
  const [operator, ...operands] = size;
  const parts = operands.map(describeSize);
  return operator === '+' || operator === '-' || operator === '*'
    ? `(${parts.join(` ${operator} `)})`
    : `${operator}(${parts.join(', ')})`;
}

function convertInput(parameter: TensorSpec, tensor: FileTensor): HostTensor {
  if (tensor.shape.length !== parameter.shape.length) {
    const { length } = tensor.shape;
    throw dataError(
      `input \`${parameter.name}\` has ${length} ${length === 1 ? 'axis' : 'axes'} [${tensor.shape.join(', ')}], expected ${describe(parameter)}`,
    );
  }
  // f16 parameters cross the border of a module as f32.
  return { data: tensor.read(parameter.dtype === 'f16' ? 'f32' : parameter.dtype), shape: tensor.shape };
}
