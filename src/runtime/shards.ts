/**
 * From what a person names to safetensors files: a Hugging Face folder, an index of shards (`*.index.json`), or the file
 * itself. The index is treated as hostile: its shards stay in its own folder.
 *
 * Not here: what the files hold (safetensors.ts), what the model needs (weights.ts).
 */
import { importByName, isNode } from './dynamic-import.ts';
import { messageOf, SoraError } from './error.ts';
import { scanJson } from './json-scan.ts';
import { openSource, type SourceInput } from './source.ts';

/** A file to open, with the tensors that an index promises to be in it. */
export interface Shard {
  readonly source: SourceInput;
  readonly promised?: readonly string[];
}

/** An index has one line per tensor: the largest published ones stay under 10 MB. */
const MAXIMUM_INDEX_BYTES = 100_000_000;

/**
 * Plain names in plain folders: no way up, no root, nothing that one system reads as a path and another does not, nothing
 * that an address would need escaped.
 */
const shardName = /^(?:\w[\w.-]*\/){0,8}\w[\w.-]*\.safetensors$/;

/** The files behind one input. Folders only by their path in Node; an address of an index works everywhere. */
export async function findShards(input: SourceInput, signal?: AbortSignal): Promise<readonly Shard[]> {
  const text = typeof input === 'string' ? input : 'href' in input ? input.href : undefined;
  if (text?.endsWith('.index.json')) return readIndex(text, signal);
  return text === undefined || !isNode() || /^(?:https?|file):/i.test(text)
    ? [{ source: input }]
    : openFolder(text, signal);
}

/** The file of this name in the folder of `address`, which is a path or an address. */
function beside(address: string, name: string): string {
  return address.replace(/[^/\\]*$/, name);
}

async function readIndex(address: string, signal: AbortSignal | undefined): Promise<readonly Shard[]> {
  const refuse = (what: string): SoraError =>
    new SoraError('SORA7010', `\`${address}\` is not a usable index of shards: ${what}`);
  const source = await openSource(address, signal);
  let bytes: Uint8Array;
  try {
    if (source.size > MAXIMUM_INDEX_BYTES) throw refuse(`it has ${source.size} bytes`);
    bytes = await source.read(0, source.size);
  } finally {
    await source.close();
  }
  const root = scanJson(new TextDecoder().decode(bytes), address);
  const map = root.kind === 'object' ? root.fields.get('weight_map') : undefined;
  if (map?.kind !== 'object') throw refuse('it has no `weight_map`');
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of map.fields) {
    const name = file.kind === 'string' ? file.text : '';
    if (!shardName.test(name)) throw refuse(`\`${tensor}\` lies in \`${name}\`, no .safetensors file of its folder`);
    const known = shards.get(name);
    if (known) known.push(tensor);
    else shards.set(name, [tensor]);
  }
  return [...shards].map(([name, promised]) => ({ source: beside(address, name), promised }));
}

/** A folder as `save_pretrained` writes it; anything else is the file itself. */
async function openFolder(path: string, signal: AbortSignal | undefined): Promise<readonly Shard[]> {
  const { readdir } = await importByName<typeof import('node:fs/promises')>('node:fs/promises');
  let names: readonly string[];
  try {
    names = (await readdir(path)).sort();
  } catch (error) {
    // Not a folder or not there: opening the file says what is wrong.
    if (/ENOTDIR|ENOENT/.test(messageOf(error))) return [{ source: path }];
    throw new SoraError('SORA7001', `cannot read \`${path}\`: ${messageOf(error)}`, { cause: error });
  }
  const inside = (name: string): string => beside(`${path}/`, name);
  const files = names.filter((name) => name.endsWith('.safetensors'));
  const indexes = names.filter((name) => name.endsWith('.safetensors.index.json'));
  // As transformers: `model.safetensors` goes before an index.
  const whole = 'model.safetensors';
  const [only] = files.includes(whole) ? [whole] : indexes.length === 1 ? indexes : files;
  if (only?.endsWith('.json')) return readIndex(inside(only), signal);
  if (only === whole || files.length === 1) return [{ source: inside(only ?? '') }];
  if (files.length === 0) throw new SoraError('SORA7001', `the folder \`${path}\` holds no .safetensors file`);
  throw new SoraError('SORA7001', `the folder \`${path}\` holds ${files.length} .safetensors files, no index`, {
    help: 'name the file',
  });
}
