/**
 * WebGPU in Node: npm `webgpu` (Dawn) over the system's drivers. The only file that imports `webgpu` and `koffi`.
 *
 * Facts this is built on (measured with webgpu 0.6.2, Linux):
 * - The object that `create()` gives must outlive its devices, or Node can crash: they are kept for good.
 * - An adapter gives one device, so each caller gets a new adapter.
 * - The Vulkan loader reads `VK_ICD_FILENAMES` at `create()`; several of them with different drivers live well side by side.
 * - Without a system libvulkan, one that koffi has loaded with global symbols before is found by its soname.
 */
import { type AdapterChoice, kindOf } from './adapter.ts';
import { importByName, importFromHereOrProject } from './dynamic-import.ts';
import { messageOf } from './error.ts';
import { findSwiftShader } from './swiftshader.ts';

export type NodeAdapter =
  | { readonly adapter: GPUAdapter }
  | { readonly adapter: undefined; readonly reason: string; readonly help: string };

interface WebGpuPackage {
  create(flags: readonly string[]): GPU;
}

/** Shared by every copy of this runtime in the process: each generated module carries one. */
interface Registry {
  readonly instances: Map<string, GPU>;
  /** Opening is one at a time, as it goes through an environment variable. */
  last: Promise<unknown>;
}

function registry(): Registry {
  const key = Symbol.for('sorac.webgpu');
  const holder = globalThis as { [key]?: Registry };
  holder[key] ??= { instances: new Map(), last: Promise.resolve() };
  return holder[key];
}

/** @param threads of lavapipe; undefined: as many as there are cores, or as its own variable says */
export function openNodeAdapter(choice: AdapterChoice, threads?: number): Promise<NodeAdapter> {
  const shared = registry();
  const opening = shared.last.then(() => walkLadder(choice, shared, threads));
  shared.last = opening.catch(() => undefined);
  return opening;
}

async function walkLadder(choice: AdapterChoice, shared: Registry, threads: number | undefined): Promise<NodeAdapter> {
  const webgpu = await importWebGpu();
  if (typeof webgpu === 'string') {
    return {
      adapter: undefined,
      reason: `npm package \`webgpu\` cannot be loaded: ${webgpu}`,
      help: 'npm install webgpu',
    };
  }
  if (process.platform !== 'linux') return platformAdapter(webgpu, choice, shared);

  const wants = (rung: AdapterChoice): boolean => choice === 'auto' || choice === rung;
  const drivers = await findDrivers();
  const hasLoader = await hasSystemLoader();
  if (drivers.chosen !== undefined && hasLoader) {
    const adapter = await requestAdapter(webgpu, drivers.chosen, shared, threads);
    if (adapter && wants(kindOf(adapter.info) as AdapterChoice)) return { adapter };
  }
  if (wants('gpu') && hasLoader && drivers.hardware.length > 0 && (await hasGpuNode())) {
    const adapter = await requestAdapter(webgpu, drivers.hardware.join(':'), shared);
    if (adapter && kindOf(adapter.info) === 'gpu') return { adapter };
  }
  if (wants('lavapipe') && hasLoader && drivers.lavapipe) {
    const adapter = await requestAdapter(webgpu, drivers.lavapipe, shared, threads);
    if (adapter) return { adapter };
  }
  let koffiMissing = false;
  if (wants('swiftshader')) {
    const swiftShader = await findSwiftShader();
    koffiMissing = swiftShader !== undefined && !hasLoader && !(await preload(swiftShader.loader));
    if (swiftShader && !koffiMissing) {
      const adapter = await requestAdapter(webgpu, swiftShader.icd, shared);
      if (adapter) return { adapter };
    }
  }
  return { adapter: undefined, ...(await explain(choice, drivers, hasLoader, koffiMissing)) };
}

/** macOS (Metal) and Windows (D3D12) need no drivers found for them. */
async function platformAdapter(webgpu: WebGpuPackage, choice: AdapterChoice, shared: Registry): Promise<NodeAdapter> {
  const adapter = await requestAdapter(webgpu, undefined, shared);
  if (adapter && (choice === 'auto' || kindOf(adapter.info) === choice)) return { adapter };
  return { adapter: undefined, reason: 'WebGPU gave no such adapter', help: 'update the graphics driver' };
}

async function importWebGpu(): Promise<WebGpuPackage | string> {
  try {
    return await importFromHereOrProject<WebGpuPackage>('webgpu');
  } catch (error) {
    return messageOf(error).split('\n')[0] ?? '';
  }
}

/** The second is the older name; newer loaders prefer the first, so both are set. */
const driverVariables = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'] as const;

/** Mesa reads it when its driver begins. */
export const threadVariable = 'LP_NUM_THREADS';

async function requestAdapter(
  webgpu: WebGpuPackage,
  drivers: string | undefined,
  shared: Registry,
  threads?: number,
): Promise<GPUAdapter | undefined> {
  const before = [...driverVariables, threadVariable].map((name) => [name, process.env[name]] as const);
  if (drivers !== undefined) for (const name of driverVariables) process.env[name] = drivers;
  if (threads !== undefined) process.env[threadVariable] = String(threads);
  try {
    // Its driver has begun with what stood here then.
    const key = `${drivers ?? ''} ${process.env[threadVariable] ?? ''}`;
    const gpu = shared.instances.get(key) ?? webgpu.create([]);
    shared.instances.set(key, gpu);
    return (await gpu.requestAdapter({ powerPreference: 'high-performance' })) ?? undefined;
  } catch {
    return undefined;
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

interface Drivers {
  /** What the user's own `VK_DRIVER_FILES` or `VK_ICD_FILENAMES` says; it wins over what is found. */
  readonly chosen: string | undefined;
  readonly hardware: readonly string[];
  readonly lavapipe: string | undefined;
}

/** Driver manifests where the Vulkan loader looks for them. */
async function findDrivers(): Promise<Drivers> {
  const { readdirSync } = await importByName<typeof import('node:fs')>('node:fs');
  const { join } = await importByName<typeof import('node:path')>('node:path');
  const { homedir } = await importByName<typeof import('node:os')>('node:os');
  const list = (value: string | undefined, otherwise: string): string[] =>
    (value || otherwise).split(':').filter(Boolean);
  const folders = [
    ...list(process.env.XDG_CONFIG_HOME, join(homedir(), '.config')),
    ...list(process.env.XDG_CONFIG_DIRS, '/etc/xdg'),
    '/usr/local/etc',
    '/etc',
    ...list(process.env.XDG_DATA_HOME, join(homedir(), '.local/share')),
    ...list(process.env.XDG_DATA_DIRS, '/usr/local/share:/usr/share'),
  ];
  const manifests = folders.flatMap((folder) => {
    const manifestFolder = join(folder, 'vulkan/icd.d');
    try {
      return readdirSync(manifestFolder)
        .filter((name) => name.endsWith('.json'))
        .sort()
        .map((name) => join(manifestFolder, name));
    } catch {
      return [];
    }
  });
  const isLavapipe = (path: string): boolean => /\/lvp_icd[^/]*\.json$/.test(path);
  return {
    chosen: process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES || undefined,
    hardware: manifests.filter((path) => !isLavapipe(path)),
    lavapipe: manifests.find(isLavapipe),
  };
}

const loaderFolders = [
  '/usr/lib',
  '/usr/lib64',
  '/lib',
  '/lib64',
  '/usr/local/lib',
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
];

async function hasSystemLoader(): Promise<boolean> {
  const { existsSync } = await importByName<typeof import('node:fs')>('node:fs');
  const own = (process.env.LD_LIBRARY_PATH ?? '').split(':').filter(Boolean);
  return [...own, ...loaderFolders].some((folder) => existsSync(`${folder}/libvulkan.so.1`));
}

async function hasGpuNode(): Promise<boolean> {
  const { existsSync } = await importByName<typeof import('node:fs')>('node:fs');
  return ['/dev/dri', '/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg', '/dev/kfd'].some((path) => existsSync(path));
}

/** Loads the Vulkan loader so that Dawn's own attempt finds it; false when koffi is not there. */
async function preload(loader: string): Promise<boolean> {
  try {
    const found = await importFromHereOrProject<{ default?: Koffi } & Partial<Koffi>>('koffi');
    const koffi = found.default ?? found;
    // The handle is kept: the library must stay.
    const kept = (globalThis as { [preloaded]?: unknown })[preloaded];
    if (kept === undefined && koffi.load) {
      (globalThis as { [preloaded]?: unknown })[preloaded] = koffi.load(loader, { global: true });
    }
    return true;
  } catch {
    return false;
  }
}

interface Koffi {
  load(path: string, options: { readonly global: boolean }): unknown;
}

const preloaded = Symbol.for('sorac.libvulkan');

/** Why there is no adapter, and the command that mends it. */
async function explain(
  choice: AdapterChoice,
  drivers: Drivers,
  hasLoader: boolean,
  koffiMissing: boolean,
): Promise<{ reason: string; help: string }> {
  const { existsSync, readdirSync, readFileSync } = await importByName<typeof import('node:fs')>('node:fs');
  if (koffiMissing) return { reason: 'SwiftShader needs the npm package `koffi` here', help: 'npm install koffi' };
  if (choice === 'swiftshader') {
    return { reason: 'SwiftShader is not in the cache', help: 'npx sorac gpu install' };
  }
  if (choice === 'gpu' && existsSync('/dev/nvidia0') && drivers.hardware.length === 0) {
    const reason = 'there is an NVIDIA GPU but no Vulkan driver file for it';
    return { reason, help: 'start the container with NVIDIA_DRIVER_CAPABILITIES=all' };
  }
  if (choice === 'gpu')
    return { reason: 'no hardware adapter was found', help: 'install the Vulkan driver of the GPU' };
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const isDebian12 = /VERSION_CODENAME=bookworm/.test(release);
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  // Debian 12's own Mesa 22.3.6 is too old for Dawn; apt knows that of its backports only once they are among its sources.
  const packages = `${sudo}apt-get install -y ${isDebian12 ? '-t bookworm-backports ' : ''}mesa-vulkan-drivers libvulkan1`;
  const isListed = (existsSync('/etc/apt/sources.list.d') ? readdirSync('/etc/apt/sources.list.d') : [])
    .map((name) => `/etc/apt/sources.list.d/${name}`)
    .concat('/etc/apt/sources.list')
    .some((path) => existsSync(path) && readFileSync(path, 'utf8').includes('bookworm-backports'));
  const install =
    isDebian12 && !isListed ? `${packages} (after the two lines of the README that add bookworm-backports)` : packages;
  const withoutRoot = process.arch === 'x64' ? '; without root: npx sorac gpu install' : '';
  if (!hasLoader || !drivers.lavapipe)
    return { reason: 'no Vulkan driver is installed', help: `${install}${withoutRoot}` };
  return { reason: 'the installed lavapipe is too old or broken', help: `${install}${withoutRoot}` };
}
