/**
 * `sorac gpu install`: SwiftShader into the user's cache, a Vulkan driver that needs neither a GPU nor root. It comes from
 * an installed `@sparticuz/chromium` or, only on this explicit request, from the user's own npm registry.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  findSwiftShader,
  swiftShaderFolder,
  swiftShaderVersion,
  unpackSwiftShader,
} from '../../runtime/swiftshader.ts';
import type { Call, Register } from '../command.ts';
import { type CommandResult, type Context, say } from '../context.ts';
import { environmentError, exitCodes } from '../exit-codes.ts';
import { reason } from '../source-files.ts';
import { readTarMember } from '../tar.ts';

const packageName = '@sparticuz/chromium';

/** Of the package's tarball, as package-lock.json has it. */
const packageIntegrity =
  'sha512-/6I7uQTRhRDD2/gGPQ1Gkf+Dqk0RYDACPJDZfSzz0OWk4JmUTonNHPXbrn6UIklOHlnDLf8xAAzkOZKB/cJpLA==';

const archivePath = 'bin/swiftshader.tar.br';

/** The tarball has 68 MB: ten minutes are enough for a slow line. */
const fetchTimeout = 600_000;

export const registerGpu: Register = (program, bind) => {
  const gpu = program.command('gpu').description('software GPU for machines without Vulkan');
  gpu
    .command('install')
    .description(`fetch SwiftShader from npm (${packageName}@${swiftShaderVersion}) into the user's cache`)
    .option('--force', 'replace a copy that is already there')
    .action(bind(install));
};

async function install(context: Context, call: Call): Promise<CommandResult> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw environmentError(
      `SwiftShader is packed for Linux on x64 only, not for ${process.platform} on ${process.arch}`,
      'npx sorac doctor',
    );
  }
  const folder = await swiftShaderFolder();
  const isThere = existsSync(folder);
  if (isThere && call.options.force !== true) {
    const text = `SwiftShader is already in ${folder}`;
    return { exitCode: exitCodes.ok, document: { ok: true, folder, installed: false }, text };
  }
  const installed = findInstalled();
  const archive = installed === undefined ? fetchArchive(context) : readFileSync(installed);
  if (isThere) rmSync(folder, { recursive: true });
  await unpackSwiftShader(archive, folder);
  if ((await findSwiftShader()) === undefined) throw environmentError(`SwiftShader is not usable in ${folder}`);
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, folder, installed: true, from: installed ?? 'npm' },
    text: `SwiftShader is in ${folder}\nnext: npx sorac doctor`,
  };
}

/** A copy of the pinned version in a `node_modules` above the working directory or above sorac itself. */
function findInstalled(): string | undefined {
  for (const start of [process.cwd(), dirname(fileURLToPath(import.meta.url))]) {
    for (let folder = resolve(start); ; folder = dirname(folder)) {
      const root = join(folder, 'node_modules', packageName);
      const archive = join(root, archivePath);
      if (existsSync(archive) && versionOf(join(root, 'package.json')) === swiftShaderVersion) return archive;
      if (dirname(folder) === folder) break;
    }
  }
  return undefined;
}

function versionOf(path: string): unknown {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { readonly version?: unknown } | null)?.version;
  } catch {
    return undefined;
  }
}

/** The user's npm fetches it, with their registry, proxy and credentials; we never speak to a network ourselves. */
function fetchArchive(context: Context): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'sorac-gpu-'));
  try {
    say(context, `fetching ${packageName}@${swiftShaderVersion} (68 MB) with npm`);
    const isWindows = process.platform === 'win32';
    const npm = spawnSync(
      isWindows ? 'npm.cmd' : 'npm',
      [
        'pack',
        `${packageName}@${swiftShaderVersion}`,
        '--ignore-scripts',
        '--loglevel=error',
        '--pack-destination',
        folder,
      ],
      { encoding: 'utf8', timeout: fetchTimeout, shell: isWindows },
    );
    if (npm.error !== undefined) {
      throw environmentError(`npm cannot be started: ${npm.error.message}`, 'install npm, then try again', npm.error);
    }
    const file = npm.stdout.trim().split('\n').at(-1) ?? '';
    const path = join(folder, file);
    if (npm.status !== 0 || file === '' || !existsSync(path)) {
      const why = firstReason(npm.stderr);
      throw environmentError(
        `npm could not fetch the package${why === '' ? '' : `: ${why}`}`,
        `try it by hand: npm pack ${packageName}@${swiftShaderVersion}`,
      );
    }
    return extract(readFileSync(path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** npm's errors start with a code and end with the path of a log; what a person needs stands between. */
function firstReason(stderr: string): string {
  const lines = stderr.split('\n').flatMap((line) => /^npm (?:error|ERR!) (.*)$/.exec(line)?.[1] ?? []);
  return lines.find((line) => !/^(?:code|errno|syscall|A complete log)\b/.test(line)) ?? '';
}

/** Checked before it is looked into. */
function extract(tarball: Uint8Array): Uint8Array {
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  if (integrity !== packageIntegrity) {
    throw environmentError(
      `the fetched package is not the pinned one: ${integrity.slice(0, 24)}… instead of ${packageIntegrity.slice(0, 24)}…`,
      'does your registry change packages? ask its operator',
    );
  }
  let member: Uint8Array | undefined;
  try {
    member = readTarMember(gunzipSync(tarball), `package/${archivePath}`);
  } catch (cause) {
    throw environmentError(`the fetched package cannot be unpacked: ${reason(cause)}`, undefined, cause);
  }
  if (member === undefined) throw environmentError(`the fetched package has no ${archivePath}`);
  return member;
}
