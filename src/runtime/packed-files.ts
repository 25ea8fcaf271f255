/**
 * Packed tensors of checkpoints: whole numbers with scales beside them (number-formats.ts). A checkpoint shows them as the f32 tensors that
 * they stand for, so that every model can be loaded from them; who wants the numbers themselves finds them with the tensor. Every module
 * carries this file: it has no more than it takes.
 */
import { convertElements, newElements } from './convert.ts';
import { SoraError } from './error.ts';
import {
  formatKey,
  groupsOf,
  matrixOf,
  type NumberFormat,
  packedHead,
  readFormat,
  scaleName,
  zeroName,
} from './number-formats.ts';
import type { SafetensorsFile, TensorInfo } from './safetensors.ts';
import { product } from './size.ts';
import type { FoundTensor } from './weights.ts';

/** As the file has it. */
export interface PackedParts {
  readonly numbers: Uint8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
  readonly zeros: Uint8Array<ArrayBuffer> | undefined;
}

/** What a found tensor was in the file. */
export interface PackedTensor {
  readonly format: NumberFormat;
  read(): Promise<PackedParts>;
}

const prefix = formatKey('');

/**
 * Puts the f32 tensor in the place of each packed one; what stands beside is none of its own any more.
 *
 * @errors SORA7009 when metadata describe tensors that are not there or are something else
 */
export function unpackTensors(tensors: Map<string, FoundTensor>, files: readonly SafetensorsFile[]): void {
  for (const { name: where, metadata } of files) {
    for (const [key, text] of metadata) {
      if (!key.startsWith(prefix)) continue;
      const name = key.slice(prefix.length);
      const known = readFormat(text);
      const unpacked = known && unpackedTensor(tensors, name, known.format, known.shape);
      if (!unpacked) {
        throw new SoraError('SORA7009', `\`${where}\` says \`${key}\`: "${text}", which \`${name}\` is not`, {
          help: `tensors as packed have scales beside them, \`${scaleName(name)}\``,
        });
      }
      tensors.set(name, unpacked);
      for (const beside of [scaleName(name), zeroName(name)]) tensors.delete(beside);
    }
  }
}

function unpackedTensor(
  tensors: ReadonlyMap<string, FoundTensor>,
  name: string,
  format: NumberFormat,
  shape: readonly number[],
): FoundTensor | undefined {
  const { rows, columns } = matrixOf(shape, format);
  const perRow = format.group === undefined ? [] : [groupsOf(columns, format)];
  const find = (partName: string, dtype: string, wanted: readonly number[]): FoundTensor | undefined => {
    const found = tensors.get(partName);
    return found?.info.dtype === dtype && found.info.shape.join() === wanted.join() ? found : undefined;
  };
  const head = packedHead(shape, format);
  const numbers = find(name, head.dtype, head.shape);
  const scales = find(scaleName(name), 'F32', [rows, ...perRow]);
  const zeros = format.asymmetric ? find(zeroName(name), 'U8', [rows, ...perRow]) : undefined;
  if (!numbers || !scales || (format.asymmetric && !zeros)) return undefined;
  const read = async (): Promise<PackedParts> => ({
    numbers: await bytesOf(numbers),
    scales: new Float32Array((await bytesOf(scales)).buffer),
    zeros: zeros && (await bytesOf(zeros)),
  });
  const elements = product(shape);
  const info: TensorInfo = { name, dtype: 'F32', shape, elements, offset: 0, bytes: elements * 4 };
  /** Kept while it is read in parts. */
  let last: Float32Array<ArrayBuffer> | undefined;
  return {
    info,
    packed: { format, read },
    file: {
      name: numbers.file.name,
      async readTensor(_name, dtype) {
        const target = newElements(dtype, elements);
        convertElements(
          info,
          new Uint8Array(dequantized(await read(), format, rows, columns).buffer),
          target,
          dtype,
          0,
        );
        return target;
      },
      async readChunks(_info, write, start = 0, end = elements) {
        last ??= dequantized(await read(), format, rows, columns);
        write(new Uint8Array(last.buffer, start * 4, (end - start) * 4), start);
        if (end === elements) last = undefined;
      },
    },
  };
}

/** As the checkpoint has the weight, [rows, columns] or the other way round. */
function dequantized(
  { numbers, scales, zeros }: PackedParts,
  format: NumberFormat,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  const target = new Float32Array(rows * columns);
  const { kind, group = columns, transposed } = format;
  const isByte = kind === 'int8';
  const signed = new Int8Array(numbers.buffer);
  const width = isByte ? columns : Math.ceil(columns / 2);
  const groups = groupsOf(columns, format);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const place = row * groups + Math.floor(column / group);
      const at = row * width + (isByte ? column : column >> 1);
      const number = isByte
        ? (signed[at] ?? 0)
        : (((numbers[at] ?? 0) >> (4 * (column & 1))) & 15) - (zeros?.[place] ?? 8);
      // The product of two f32 is rounded once, by the array.
      target[transposed ? column * rows + row : row * columns + column] = number * (scales[place] ?? 0);
    }
  }
  return target;
}

async function bytesOf({ file, info }: FoundTensor): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(info.bytes);
  const at = fileElementBytes(info);
  await file.readChunks(info, (run, first) => bytes.set(run, first * at));
  return bytes;
}

const fileElementBytes = ({ bytes, elements }: TensorInfo): number => bytes / Math.max(1, elements);
