/**
 * Weights of number formats on their way to the device: read as floats and quantized, or as the packed tensors of a file, which gives the
 * same bits. Only modules with such weights carry this file.
 */
import type { Artifact, PackedLayout, WeightSpec } from './artifact.ts';
import { convertElements } from './convert.ts';
import type { HostTensor } from './cpu.ts';
import { eightLanesFor } from './eight-lanes.ts';
import { SoraError } from './error.ts';
import { halfToSingle, singleToHalf } from './half.ts';
import { placeSparse, sparseTensor } from './nm-weights.ts';
import {
  decodeRows,
  describeFormat,
  type Encoded,
  encodeRows,
  groupsOf,
  matrixOf,
  transpose,
  unpackNibbles,
} from './number-formats.ts';
import type { Checkpoint, FoundTensor, Packer } from './weights.ts';
import { wordTexturesFor } from './word-textures.ts';

type Format = PackedLayout['format'];

/** Words of eight lanes, a vector of four each, that lie beside each other. */
const VECTORS = 32;

/** How many numbers are read as floats at a time, in whole rows. */
const blockElements = 1 << 20;

/** The checkpoint for a model with such weights; as it is for others. */
export function withPacker(checkpoint: Checkpoint, artifact: Artifact): Checkpoint {
  const isOurs = ({ layout, dtype }: WeightSpec) => layout.kind === 'packed' || layout.kind === 'nm' || dtype === 'f16';
  if (!artifact.weights.some(isOurs)) return checkpoint;
  const found = (path: string, tied: string | undefined): FoundTensor => {
    const tensor = checkpoint.find(path, tied);
    if (!tensor) throw new SoraError('SORA7201', `\`${checkpoint.name}\` has no tensor \`${path}\``);
    return tensor;
  };
  const packer: Packer = {
    textures: wordTexturesFor,
    share: eightLanesFor,
    async fill(spec, layout, buffer) {
      const words = new Uint32Array(buffer, 0, layout.words);
      const begin = spec.first ?? 0;
      let base = -begin;
      for (const { path, shape, tied } of spec.sources) {
        if (layout.kind === 'nm') await placeSparse(found(path, tied), spec, layout, words, base);
        else await encoded(found(path, tied), shape, layout.format, placerOf(spec, layout, words, shape, base));
        base += shape[0] ?? 1;
      }
    },
    host(path, tied) {
      for (const { sources, layout, dtype } of artifact.weights) {
        const source = sources.find((one) => one.path === path);
        if (!source) continue;
        if (layout.kind === 'nm') return sparseTensor(found(path, tied), layout.format);
        if (layout.kind === 'packed') return decoded(found(path, tied), source.shape, layout.format);
        return dtype === 'f16' ? halves(found(path, tied)) : undefined;
      }
      return undefined;
    },
  };
  return { ...checkpoint, packer };
}

/** Rows from `firstRow` on, as outputs. */
type Take = (rows: Encoded, firstRow: number) => void;

/** All rows of a tensor, in runs. */
async function encoded(found: FoundTensor, shape: readonly number[], format: Format, take: Take): Promise<void> {
  const { rows, columns } = matrixOf(shape, format);
  const { file, info, packed } = found;
  if (packed) {
    const [is, wanted] = [describeFormat(packed.format, shape), describeFormat(format, shape)];
    if (is !== wanted) {
      throw new SoraError('SORA7206', `\`${info.name}\` of \`${file.name}\` is ${is}, the module has ${wanted}`, {
        help: 'load the checkpoint that it was made from, or compile the model with the formats of the file',
      });
    }
    const { numbers, scales, zeros } = await packed.read();
    const values = format.kind === 'int8' ? new Int8Array(numbers.buffer) : unpackNibbles(numbers, columns, format);
    take({ values, scales, zeros }, 0);
    return;
  }
  try {
    if (format.transposed) {
      take(encodeRows(transpose(await file.readTensor(info.name, 'f32'), columns, rows), columns, format), 0);
      return;
    }
    const step = Math.max(1, Math.floor(blockElements / Math.max(1, columns)));
    for (let first = 0; first < rows; first += step) {
      const start = first * columns;
      const end = Math.min(rows, first + step) * columns;
      const block = new Float32Array(end - start);
      await file.readChunks(info, (bytes, at) => convertElements(info, bytes, block, 'f32', at - start), start, end);
      take(encodeRows(block, columns, format), first);
    }
  } catch (error) {
    if (!(error instanceof SoraError) || error.code !== 'SORA7204') throw error;
    throw new SoraError('SORA7204', `tensor \`${info.name}\` of \`${file.name}\`: ${error.message}`);
  }
}

async function decoded(found: FoundTensor, shape: readonly number[], format: Format): Promise<HostTensor> {
  const { rows, columns } = matrixOf(shape, format);
  const numbers = new Float32Array(rows * columns);
  await encoded(found, shape, format, (part, first) => numbers.set(decodeRows(part, columns, format), first * columns));
  return { dtype: 'f32', shape, data: format.transposed ? transpose(numbers, rows, columns) : numbers };
}

async function halves({ file, info }: FoundTensor): Promise<HostTensor> {
  const data = await file.readTensor(info.name, 'f32');
  for (let at = 0; at < data.length; at++) data[at] = halfToSingle(singleToHalf(data[at] ?? 0));
  return { dtype: 'f16', shape: info.shape, data };
}

/**
 * Writes rows of a source into the buffer of a weight, as PackedLayout says. `base` is where the source begins on axis 0 of the weight: an
 * output, or an input of a transposed one.
 */
function placerOf(
  { shape }: WeightSpec,
  { width, run, format }: PackedLayout,
  words: Uint32Array,
  source: readonly number[],
  base: number,
): Take {
  const { rows, columns } = matrixOf(shape, format);
  const { columns: inputs } = matrixOf(source, format);
  const bits = format.kind === 'int8' ? 8 : 4;
  const perWord = 32 / bits;
  const offset = format.kind === 'int8' ? 128 : format.asymmetric ? 0 : 8;
  const wordsOfRow = Math.ceil(columns / perWord);
  const groups = groupsOf(columns, format);
  const groupsHere = groupsOf(inputs, format);
  const panels = Math.ceil(rows / width);
  const scaleStart = panels * width * wordsOfRow;
  const zeroStart = scaleStart + panels * width * groups;
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const [firstInput, firstOutput] = format.transposed ? [base, 0] : [0, base];
  const firstGroup = format.group === undefined ? 0 : firstInput / format.group;
  return ({ values, scales, zeros }, firstRow) => {
    const count = scales.length / groupsHere;
    for (let row = 0; row < count; row++) {
      const output = firstOutput + firstRow + row;
      if (output < 0 || output >= rows) continue;
      const panel = Math.floor(output / width);
      const lane = output % width;
      const first = (lane - (lane % VECTORS)) * run + (lane % VECTORS);
      const end = Math.min(inputs, columns - firstInput);
      for (let at = Math.max(0, -firstInput); at < end; at++) {
        const input = firstInput + at;
        const word = Math.floor(input / perWord);
        const inRun = word % run;
        const place = (panel * wordsOfRow + word - inRun) * width + inRun * VECTORS + first;
        const number = (values[row * inputs + at] ?? 0) + offset;
        words[place] = (words[place] ?? 0) | (number << (bits * (input % perWord)));
      }
      const endGroup = Math.min(groupsHere, groups - firstGroup);
      for (let at = Math.max(0, -firstGroup); at < endGroup; at++) {
        const place = (panel * groups + firstGroup + at) * width + lane;
        floats[scaleStart + place] = scales[row * groupsHere + at] ?? 0;
        if (zeros) bytes[4 * zeroStart + place] = zeros[row * groupsHere + at] ?? 0;
      }
    }
  };
}
