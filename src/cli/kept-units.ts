/**
 * How many heads and neurons a compressed checkpoint holds: what a module has to be compiled for when layers differ.
 */
import { keptCounts, keptKey, readKept } from '../compression/kept.ts';
import { SoraError } from '../support/error.ts';
import { readMetadata } from './tensor-file.ts';

/**
 * By id of the set; undefined when the file says nothing.
 *
 * @errors SORA7009 when what it says cannot be read
 */
export async function keptUnits(path: string | undefined): Promise<ReadonlyMap<string, number> | undefined> {
  const text = path === undefined ? undefined : (await readMetadata(path)).get(keptKey);
  if (path === undefined || text === undefined) return undefined;
  const kept = readKept(text);
  if (!kept) throw new SoraError('SORA7009', `\`${path}\`: \`${keptKey}\` says nothing that can be read`);
  return keptCounts(kept);
}
