/**
 * Safetensors as a dataset: every tensor is a column, row i is item i along the first axis of each.
 */
import type { ElementType } from '../../runtime/artifact.ts';
import { convertElements, type ElementArray, newElements } from '../../runtime/convert.ts';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '../../runtime/safetensors.ts';
import { type ColumnKind, type Dataset, dataFault, emptyFault, place, type Row, type Value } from './dataset.ts';

/** @errors SORA7041 tensors of different lengths, SORA7038 no rows, SORA7001 to SORA7009 for the file */
export async function openTensors(path: string): Promise<Dataset> {
  const file = await openSafetensors(path);
  try {
    return tensorRows(file, path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function tensorRows(file: SafetensorsFile, path: string): Dataset {
  const infos = [...file.tensors.values()];
  const [first] = infos;
  if (!first) throw emptyFault(path, 'the file has no tensors');
  for (const info of infos) {
    if (info.shape.length > 0 && info.shape[0] === first.shape[0]) continue;
    const shapes = `\`${first.name}\` is [${first.shape.join(', ')}], \`${info.name}\` is [${info.shape.join(', ')}]`;
    throw dataFault('SORA7041', path, `its tensors are no columns: ${shapes}`);
  }
  const length = first.shape[0] ?? 0;
  if (length === 0) throw emptyFault(path, 'its tensors have no items');
  return {
    name: path,
    length,
    columns: new Map(infos.map((info) => [info.name, columnKind(info)])),
    isStream: false,
    where: (index) => `${place(path)} item ${index}`,
    async row(index, only): Promise<Row> {
      if (!(index >= 0 && index < length)) throw new RangeError(`item ${index} of ${length}`);
      const row = new Map<string, Value>();
      for (const info of infos) {
        if (only?.has(info.name) !== false) row.set(info.name, await readItem(file, info, index));
      }
      return row;
    },
    close: () => file.close(),
  };
}

const isFloat = ({ dtype }: TensorInfo): boolean => /^(?:F|BF)/.test(dtype);

function columnKind(info: TensorInfo): ColumnKind {
  if (info.shape.length > 1) return 'tensor';
  return isFloat(info) ? 'number' : 'integer';
}

async function readItem(file: SafetensorsFile, info: TensorInfo, index: number): Promise<Value> {
  const shape = info.shape.slice(1);
  const count = shape.reduce((product, dim) => product * dim, 1);
  const start = index * count;
  const data = isFloat(info)
    ? await readAs(file, info, start, count, 'f32')
    : await readAs(file, info, start, count, 'i32');
  if (shape.length > 0) return { shape, data };
  const value = data[0] ?? Number.NaN;
  return Number.isFinite(value) ? value : undefined;
}

async function readAs<Type extends ElementType>(
  file: SafetensorsFile,
  info: TensorInfo,
  start: number,
  count: number,
  dtype: Type,
): Promise<ElementArray<Type>> {
  const elements = newElements(dtype, count);
  const write = (bytes: Uint8Array, at: number): void => convertElements(info, bytes, elements, dtype, at - start);
  await file.readChunks(info, write, start, start + count);
  return elements;
}
