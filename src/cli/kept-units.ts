/**
 * How many heads and neurons a compressed checkpoint holds: what a module has to be compiled for when layers differ.
 */
import { keptCounts, keptKey, readKept } from '../compression/kept.ts';
import { SoraError } from '../support/error.ts';
import { readMetadata } from './tensor-file.ts';

/** Of a file that cannot be read nothing: what loads it says why, after mistakes in the model. */
async function metadataOf(path: string): Promise<ReadonlyMap<string, string>> {
  try {
    return await readMetadata(path);
  } catch (error) {
    if (error instanceof SoraError) return new Map();
    throw error;
  }
}

/**
 * By id of the set; undefined when the file says nothing.
 *
 * @errors SORA7009 when what it says cannot be read
 */
export async function keptUnits(path: string | undefined): Promise<ReadonlyMap<string, number> | undefined> {
  const text = path === undefined ? undefined : (await metadataOf(path)).get(keptKey);
  if (path === undefined || text === undefined) return undefined;
  const kept = readKept(text);
  if (!kept) throw new SoraError('SORA7009', `\`${path}\`: \`${keptKey}\` says nothing that can be read`);
  return keptCounts(kept);
}
