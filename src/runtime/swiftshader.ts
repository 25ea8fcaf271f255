/**
 * SwiftShader in the user's cache: a Vulkan driver that needs no root and no GPU. It comes from the npm package
 * `@sparticuz/chromium` as a tar compressed with brotli; only the files of the Vulkan driver are taken.
 *
 * Nothing here uses the network: `sorac gpu install` fetches the package.
 */
import { importByName } from './dynamic-import.ts';
import { SoraError } from './error.ts';

export const swiftShaderVersion = '143.0.4';

const LOADER = 'libvulkan.so.1';
const ICD = 'vk_swiftshader_icd.json';
/** The archive's EGL and GLES libraries are not needed for Vulkan. */
const files = [LOADER, 'libvk_swiftshader.so', ICD] as const;

/** Four times what the archive holds unpacked: a bomb stops here. */
const MAXIMUM_UNPACKED_BYTES = 64 * 1024 * 1024;

export interface SwiftShader {
  /** The Vulkan loader, for machines without one. */
  readonly loader: string;
  readonly icd: string;
}

export async function swiftShaderFolder(): Promise<string> {
  const { homedir } = await importByName<typeof import('node:os')>('node:os');
  const { join } = await importByName<typeof import('node:path')>('node:path');
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(base, 'sorac', `swiftshader-${swiftShaderVersion}`);
}

/** The driver in the cache. A copy of the package that a project has installed is unpacked on the way. */
export async function findSwiftShader(): Promise<SwiftShader | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const { existsSync } = await importByName<typeof import('node:fs')>('node:fs');
  const { join } = await importByName<typeof import('node:path')>('node:path');
  const folder = await swiftShaderFolder();
  const found: SwiftShader = { loader: join(folder, LOADER), icd: join(folder, ICD) };
  if (existsSync(found.icd)) return found;
  const archive = await installedArchive();
  if (!archive) return undefined;
  await unpackSwiftShader(archive, folder);
  return found;
}

/** The archive of an installed package of the pinned version, looked for as Node does from the working directory. */
async function installedArchive(): Promise<Uint8Array | undefined> {
  const { existsSync, readFileSync } = await importByName<typeof import('node:fs')>('node:fs');
  const { dirname, join } = await importByName<typeof import('node:path')>('node:path');
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    const root = join(folder, 'node_modules', '@sparticuz', 'chromium');
    const archive = join(root, 'bin', 'swiftshader.tar.br');
    if (existsSync(archive)) {
      const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
      const isPinned = (manifest as { version?: unknown } | null)?.version === swiftShaderVersion;
      return isPinned ? new Uint8Array(readFileSync(archive)) : undefined;
    }
    if (dirname(folder) === folder) return undefined;
  }
}

/**
 * Unpacks the driver into `folder`, which appears complete or not at all. A folder that is already there is kept.
 *
 * @param archive `bin/swiftshader.tar.br` of the package
 * @errors SORA7001 when the archive is damaged, too big or lacks a file
 */
export async function unpackSwiftShader(archive: Uint8Array, folder: string): Promise<void> {
  const { mkdir, rename, rm, writeFile, access } =
    await importByName<typeof import('node:fs/promises')>('node:fs/promises');
  const { dirname, join } = await importByName<typeof import('node:path')>('node:path');
  const { brotliDecompressSync } = await importByName<typeof import('node:zlib')>('node:zlib');
  let tar: Uint8Array;
  try {
    tar = brotliDecompressSync(archive, { maxOutputLength: MAXIMUM_UNPACKED_BYTES });
  } catch (error) {
    throw new SoraError('SORA7001', 'the SwiftShader archive is damaged or too big', { cause: error });
  }
  const members = readTar(tar);
  const missing = files.filter((name) => !members.has(name));
  if (missing.length > 0) throw new SoraError('SORA7001', `the SwiftShader archive has no ${missing.join(', ')}`);
  const unique = Math.random().toString(36).slice(2);
  const temporary = `${folder}.tmp-${process.pid}-${unique}`;
  await mkdir(dirname(folder), { recursive: true });
  await mkdir(temporary, { mode: 0o700 });
  try {
    for (const name of files) await writeFile(join(temporary, name), members.get(name) ?? new Uint8Array());
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // Another process was quicker: its folder is as good.
    const isThere = await access(join(folder, ICD)).then(
      () => true,
      () => false,
    );
    if (!isThere) throw error;
  }
}

/** Plain files of a ustar archive whose names are expected; every other member is skipped, whatever it is. */
function readTar(tar: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const text = (start: number, length: number): string => {
    const field = tar.subarray(start, start + length);
    const end = field.indexOf(0);
    return String.fromCharCode(...(end < 0 ? field : field.subarray(0, end)));
  };
  for (let at = 0; at + 512 <= tar.byteLength; ) {
    const header = tar.subarray(at, at + 512);
    if (header.every((byte) => byte === 0)) break;
    let sum = 0;
    for (let i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0x20 : (header[i] ?? 0);
    const size = Number.parseInt(text(at + 124, 12).trim(), 8);
    const isSound =
      Number.parseInt(text(at + 148, 8).trim(), 8) === sum && size >= 0 && at + 512 + size <= tar.byteLength;
    if (!isSound) throw new SoraError('SORA7001', 'the SwiftShader archive is damaged');
    const name = text(at, 100).replace(/^\.\//, '');
    const type = header[156];
    const isFile = type === 0x30 || type === 0;
    if (isFile && files.some((file) => file === name)) found.set(name, tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return found;
}
