/**
 * n:m weights on their way to the device: of each group of neighbours along the inputs the largest numbers and their places (NmLayout).
 * A checkpoint whose weights are pruned already gives them as they are; any other is pruned while it is read.
 */
import type { NmFormat, NmLayout, WeightSpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import { masked, nmMask } from './masks.ts';
import type { FoundTensor } from './weights.ts';

/** The tensor with 0 for all that goes. */
export async function sparseTensor({ file, info }: FoundTensor, format: NmFormat): Promise<HostTensor> {
  const data = await file.readTensor(info.name, 'f32');
  const mask = nmMask(data, info.shape, format.transposed ? 0 : 1, format);
  return { dtype: 'f32', shape: info.shape, data: masked(data, mask) as Float32Array<ArrayBuffer> };
}

/** Writes a source into the buffer of a weight; `base` is where it begins on axis 0 of the weight, below 0 for an earlier part. */
export async function placeSparse(
  found: FoundTensor,
  { shape }: WeightSpec,
  { width, format, bits }: NmLayout,
  words: Uint32Array,
  base: number,
): Promise<void> {
  const { keep, of, transposed } = format;
  const { data } = await sparseTensor(found, format);
  const [rowsHere = 1, columnsHere = 1] = found.info.shape;
  const [first = 1, second = 1] = shape;
  const [outputs, inputs] = transposed ? [second, first] : [first, second];
  const [outputsHere, inputsHere] = transposed ? [columnsHere, rowsHere] : [rowsHere, columnsHere];
  const [firstOutput, firstInput] = transposed ? [0, base] : [base, 0];
  const groups = inputs / of;
  const perWord = 32 / bits;
  const wordsOfRow = Math.ceil(groups / perWord);
  const placeStart = Math.ceil(outputs / width) * width * groups * keep;
  const placeBits = Math.log2(of);
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const mask = nmMask(data as Float32Array, found.info.shape, transposed ? 0 : 1, format);
  const stride = transposed ? columnsHere : 1;
  for (let row = 0; row < outputsHere; row++) {
    const output = firstOutput + row;
    if (output < 0 || output >= outputs) continue;
    const panel = Math.floor(output / width);
    const lane = output % width;
    const begin = transposed ? row : row * columnsHere;
    for (let input = 0; input < inputsHere; input += of) {
      const group = (firstInput + input) / of;
      if (group < 0 || group >= groups) continue;
      const wordAt = placeStart + (panel * wordsOfRow + Math.floor(group / perWord)) * width + lane;
      const shift = (group % perWord) * bits;
      let count = 0;
      for (let place = 0; place < of; place++) {
        const at = begin + (input + place) * stride;
        if (mask[at] !== 1) continue;
        floats[(panel * groups * keep + group * keep + count) * width + lane] = data[at] ?? 0;
        words[wordAt] = ((words[wordAt] ?? 0) | (place << (shift + count * placeBits))) >>> 0;
        count++;
      }
    }
  }
}
