/**
 * The weights of an ONNX model under the names of its parameters: floats bit by bit, whole numbers with scales as f32.
 */
import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { type ByteSource, openSource } from '../../../runtime/source.ts';
import { bytesOf, type Conversion, type ConvertedTensor, withBlocks } from '../conversion.ts';
import { impossible, type OnnxTensor, readOnnxGraph } from './model.ts';
import {
  isQuantizationParameter,
  type Links,
  linksOf,
  type ParameterName,
  parameterOf,
  quantizationOf,
} from './uses.ts';
import {
  dequantize,
  fileTypeOf,
  type OnnxFiles,
  type Quantization,
  readAllBits,
  readBits,
  transpose,
} from './values.ts';

/** A model begins with its version (field 1, a small number): the parser decides about the rest. */
export async function isOnnx(source: ByteSource): Promise<boolean> {
  if (source.size < 2) return false;
  const [tag = 0, version = 0] = await source.read(0, 2);
  return tag === 0x08 && version > 0 && version < 0x80;
}

/** @param path of the model, for files beside it; undefined: there are none */
export async function readOnnx(source: ByteSource, path: string | undefined): Promise<Conversion> {
  const model = withBlocks(source);
  const graph = await readOnnxGraph(model);
  const links = linksOf(model, graph);
  const files = openFiles(source, path);
  const tensors: ConvertedTensor[] = [];
  const skipped: string[] = [];
  let quantized = 0;
  for (const tensor of graph.tensors) {
    if (isQuantizationParameter(links, tensor)) continue;
    const how = isSmallWhole(tensor) ? quantizationOf(links, tensor) : undefined;
    const isFloat = /^b?f/.test(tensor.type);
    const parameter = isFloat || how !== undefined ? parameterOf(links, tensor, how !== undefined) : undefined;
    if (parameter === undefined) {
      if ((isFloat || how !== undefined) && tensor.elements > 1) skipped.push(tensor.name);
      continue;
    }
    if (how !== undefined) quantized++;
    tensors.push(converted(files, links, tensor, parameter, how));
  }
  return {
    format: quantized === 0 ? 'ONNX' : `ONNX, ${quantized} of ${tensors.length} tensors dequantized to f32`,
    tensors,
    config: undefined,
    files: new Map(),
    notes: [...skippedNote(skipped), ...skippedNote([...graph.unreadable.keys()])],
    close: () => files.close(),
  };
}

const isSmallWhole = ({ type }: OnnxTensor): boolean => /^[iu](?:8|16|32)$/.test(type);

function skippedNote(names: readonly string[]): readonly string[] {
  if (names.length === 0) return [];
  const some = names.slice(0, 4).map((name) => `\`${name}\``);
  const rest = names.length > some.length ? ` and ${names.length - some.length} more` : '';
  return [`left out, because no module of the graph has them as a parameter: ${some.join(', ')}${rest}`];
}

function converted(
  files: OnnxFiles,
  links: Links,
  tensor: OnnxTensor,
  { name, isTransposed }: ParameterName,
  how: Quantization | undefined,
): ConvertedTensor {
  const [rows = 0, columns = 0] = tensor.shape;
  if (isTransposed && tensor.shape.length !== 2) throw impossible(links.source, tensor.name, 'is no matrix');
  const shape = isTransposed ? [columns, rows] : tensor.shape;
  const whole = async (): Promise<Uint8Array> =>
    how === undefined ? readAllBits(files, tensor) : bytesOf(await dequantize(files, tensor, how));
  async function* once(): AsyncIterable<Uint8Array> {
    const bits = await whole();
    yield isTransposed ? transpose(bits, rows, columns) : bits;
  }
  const chunks = how === undefined && !isTransposed ? () => readBits(files, tensor) : once;
  return { name, dtype: how === undefined ? fileTypeOf(tensor.type) : 'F32', shape, chunks };
}

/** Files of external data are inside the model's folder, links followed. */
function openFiles(model: ByteSource, path: string | undefined): OnnxFiles & { close(): Promise<void> } {
  const opened = new Map<string, Promise<ByteSource>>();
  return {
    model,
    open(location) {
      const known = opened.get(location);
      if (known !== undefined) return known;
      const source = openBeside(model, path, location);
      opened.set(location, source);
      return source;
    },
    async close() {
      // One that could not be opened has said so where it was asked for.
      for (const each of await Promise.allSettled(opened.values())) {
        if (each.status === 'fulfilled') await each.value.close();
      }
    },
  };
}

async function openBeside(model: ByteSource, path: string | undefined, location: string): Promise<ByteSource> {
  const refuse = (why: string): Error => impossible(model, location, why);
  if (path === undefined) throw refuse('is in a file of its own, and only one file was given');
  if (location === '' || isAbsolute(location) || location.includes('\0'))
    throw refuse('names no file beside the model');
  const folder = realpathSync(dirname(resolve(path)));
  let real: string;
  try {
    real = realpathSync(join(folder, location));
  } catch {
    throw refuse('names a file that is not there');
  }
  if (!real.startsWith(folder + sep)) throw refuse('names a file outside of the folder of the model');
  return openSource(real);
}
