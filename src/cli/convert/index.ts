/**
 * Formats that `sorac weights convert` reads. A format says for itself whether a file is one of its own.
 */
import type { ByteSource } from '../../runtime/source.ts';
import { SoraError } from '../../support/error.ts';
import type { Conversion } from './conversion.ts';
import { isLlama2c, readLlama2c } from './llama2c.ts';
import { isOnnx, readOnnx } from './onnx/index.ts';

export { type Conversion, partOf, writeConversion } from './conversion.ts';

interface Format {
  readonly name: string;
  readonly recognise: (source: ByteSource) => Promise<boolean>;
  /** @param path undefined for a part of a file */
  readonly read: (source: ByteSource, path: string | undefined) => Promise<Conversion>;
}

/** In the order in which they are tried: llama2.c has the stricter header. */
const formats: readonly Format[] = [
  { name: 'llama2c', recognise: isLlama2c, read: readLlama2c },
  { name: 'onnx', recognise: isOnnx, read: readOnnx },
];

export const formatNames: readonly string[] = ['auto', ...formats.map((format) => format.name)];

export async function readForeign(
  source: ByteSource,
  path: string | undefined,
  formatName: string,
): Promise<Conversion> {
  const named = formats.find((format) => format.name === formatName);
  if (named !== undefined) return named.read(source, path);
  for (const format of formats) if (await format.recognise(source)) return format.read(source, path);
  throw new SoraError('SORA7011', `\`${source.name}\` is in no format that can be converted`, {
    help: `it can read ${formats.map((format) => format.name).join(' and ')}; safetensors files need no conversion`,
  });
}
