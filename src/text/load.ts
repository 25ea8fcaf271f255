/**
 * `loadTokenizer`: the file's first bytes say which tokenizer it is.
 */
import { SoraError } from '../runtime/error.ts';
import { openSource, type SourceInput } from '../runtime/source.ts';
import type { TokenizerConfig } from './config.ts';
import { tokenizerFromJson } from './hugging-face.ts';
import { tokenizerFromPieces } from './sentence-pieces.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface LoadTokenizerOptions {
  /** `tokenizer_config.json`, read; else the one beside `tokenizer.json`, when a path or an address is given and it exists. */
  readonly config?: TokenizerConfig;
}

/** The largest published vocabularies take some 30 MB. */
const maximumBytes = 256 * 1024 * 1024;

/**
 * @param input `tokenizer.json` or `tokenizer.bin`: a path, an address, a Blob or bytes
 * @errors SORA7001 when it cannot be read, SORA7018 when it is no tokenizer
 */
export async function loadTokenizer(input: SourceInput, options: LoadTokenizerOptions = {}): Promise<Tokenizer> {
  const { bytes, name } = await readAll(input);
  if (!looksLikeJson(bytes)) return tokenizerFromPieces(bytes, name);
  const config = options.config ?? (await configBeside(input)) ?? {};
  return tokenizerFromJson(parseObject(bytes, name), config, name);
}

/** Reads a `tokenizer_config.json`. */
export async function loadTokenizerConfig(input: SourceInput): Promise<TokenizerConfig> {
  const { bytes, name } = await readAll(input);
  return parseObject(bytes, name);
}

async function readAll(input: SourceInput): Promise<{ readonly bytes: Uint8Array; readonly name: string }> {
  const source = await openSource(input);
  try {
    const name = typeof input === 'string' || 'href' in input ? source.name : 'tokenizer';
    if (source.size > maximumBytes)
      throw new SoraError('SORA7018', `\`${name}\` has ${source.size} bytes: no tokenizer`);
    return { bytes: await source.read(0, source.size), name };
  } finally {
    await source.close();
  }
}

/** `tokenizer.bin` begins with a small number: a zero byte is among its first four, which JSON cannot have. */
function looksLikeJson(bytes: Uint8Array): boolean {
  if (bytes.subarray(0, 4).includes(0)) return false;
  return /^\uFEFF?\s*\{/.test(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, 256)));
}

function parseObject(bytes: Uint8Array, name: string): TokenizerConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new SoraError('SORA7018', `\`${name}\` is not JSON`, { cause });
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw new SoraError('SORA7018', `\`${name}\` is not a JSON object`);
  }
  return parsed as TokenizerConfig;
}

async function configBeside(input: SourceInput): Promise<TokenizerConfig | undefined> {
  const place = typeof input === 'string' ? input : 'href' in input ? input.href : undefined;
  if (place === undefined || !/tokenizer\.json$/.test(place)) return undefined;
  try {
    return await loadTokenizerConfig(place.replace(/tokenizer\.json$/, 'tokenizer_config.json'));
  } catch (error) {
    // Not there; a file that is there and broken is a mistake worth telling.
    if (error instanceof SoraError && error.code === 'SORA7001') return undefined;
    throw error;
  }
}
