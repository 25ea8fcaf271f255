/**
 * Whole files or none, in Node: written beside the target under a temporary name, brought to the disk, then renamed over it.
 */
import { importByName, isNode } from './dynamic-import.ts';
import { messageOf, SoraError } from './error.ts';

/**
 * A crash at any moment leaves the old file or the new one, and at worst a file `.NAME.XXXXXXXXXXXX.tmp` beside it.
 *
 * @errors SORA7021 in browsers, and when the file cannot be written: the old one is then as it was
 */
export async function saveFile(path: string, bytes: Uint8Array): Promise<void> {
  if (!isNode())
    throw new SoraError('SORA7021', `\`${path}\` cannot be written here`, {
      help: 'keep the bytes that `checkpoint()` gives',
    });
  const { open, rename, rm } = await importByName<typeof import('node:fs/promises')>('node:fs/promises');
  const { basename, dirname, join } = await importByName<typeof import('node:path')>('node:path');
  const { randomBytes } = await importByName<typeof import('node:crypto')>('node:crypto');
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    // `wx`: never follows or reuses something that is already there.
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    // `ENOSPC: no space left on device, write`
    const why = messageOf(error).replace(/, \w+(?: '.*)?$/s, '');
    throw new SoraError('SORA7021', `\`${path}\` cannot be written: ${why}`, { cause: error });
  }
  // Where folders can be opened, the new name is brought to the disk too; elsewhere the system does it by itself.
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
