/**
 * Tensor files of the command line (inputs, results, expected outputs): whole in memory, unlike checkpoints. The format
 * itself is src/runtime/safetensors.ts.
 */
import { accessSync, constants } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { ElementType } from '../runtime/artifact.ts';
import { convertElements, type ElementArray, type FileType, newElements } from '../runtime/convert.ts';
import { encodeSafetensors, openSafetensors, type TensorInfo } from '../runtime/safetensors.ts';
import { openCheckpoint } from '../runtime/weights.ts';
import { writeFileAtomic } from '../support/node-atomic-file.ts';
import { environmentError } from './exit-codes.ts';

/** A tensor as its file has it. */
export interface FileTensor {
  readonly dtype: FileType;
  readonly shape: readonly number[];
  /** The elements in another type; SORA7203 and SORA7204 when they do not fit it. */
  readonly read: <Type extends ElementType>(dtype: Type) => ElementArray<Type>;
}

/** A tensor as entries take and give it. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint32Array;
}

export function readTensorFile(path: string): Promise<ReadonlyMap<string, FileTensor>> {
  return readTensors(resolve(path));
}

export function readTensorBytes(bytes: Uint8Array): Promise<ReadonlyMap<string, FileTensor>> {
  return readTensors(bytes);
}

async function readTensors(source: string | Uint8Array): Promise<ReadonlyMap<string, FileTensor>> {
  const file = await openSafetensors(source);
  try {
    const tensors = new Map<string, FileTensor>();
    for (const [name, info] of file.tensors) {
      const bytes = new Uint8Array(info.bytes);
      const elementBytes = info.elements === 0 ? 0 : info.bytes / info.elements;
      await file.readChunks(info, (run, first) => bytes.set(run, first * elementBytes));
      tensors.set(name, fileTensor(info, bytes));
    }
    return tensors;
  } finally {
    await file.close();
  }
}

function fileTensor(info: TensorInfo, bytes: Uint8Array): FileTensor {
  return {
    dtype: info.dtype,
    shape: info.shape,
    read: (dtype) => {
      const elements = newElements(dtype, info.elements);
      convertElements(info, bytes, elements, dtype, 0);
      return elements;
    },
  };
}

/** What a checkpoint says of itself; the data is not read. */
export async function readMetadata(path: string): Promise<ReadonlyMap<string, string>> {
  const checkpoint = await openCheckpoint(path);
  await checkpoint.close();
  return checkpoint.metadata;
}

/** Names, types and shapes of a checkpoint (file, index of shards or folder); the data is not read. */
export async function readTensorHeaders(path: string): Promise<ReadonlyMap<string, TensorInfo>> {
  const checkpoint = await openCheckpoint(path);
  await checkpoint.close();
  return new Map(checkpoint.tensors.map((info) => [info.name, info]));
}

export function writeTensorFile(path: string, tensors: ReadonlyMap<string, HostTensor>): void {
  const list = [...tensors].map(([name, { shape, data }]) => ({ name, shape, data }));
  writeFileAtomic(resolve(path), [encodeSafetensors(list)]);
}

/** The file's elements as numbers of the kind that they are: floats as f32, whole numbers as i32 or u32. */
export function hostTensor(tensor: FileTensor): HostTensor {
  const { shape, dtype } = tensor;
  if (/^(F|BF)/.test(dtype)) return { shape, data: tensor.read('f32') };
  if (dtype === 'BOOL') return { shape, data: tensor.read('bool') };
  return { shape, data: dtype.startsWith('U') ? tensor.read('u32') : tensor.read('i32') };
}

export function dtypeOf(tensor: HostTensor): string {
  if (tensor.data instanceof Float32Array) return 'f32';
  return tensor.data instanceof Int32Array ? 'i32' : 'u32';
}

export function describeElements(tensor: HostTensor): string {
  return `${dtypeOf(tensor)}[${tensor.shape.join(', ')}]`;
}

/** Asked before a model is loaded, so that a long run does not end at its last step. */
export function checkWritable(path: string): void {
  const folder = dirname(resolve(path));
  try {
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw environmentError(`\`${path}\` cannot be written: no writable folder \`${folder}\``, undefined, cause);
  }
}
