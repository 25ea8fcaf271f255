/**
 * The device ladder: an injected device, the browser's or the caller's `gpu`, in Node a real adapter, lavapipe, SwiftShader from
 * the user's cache, and at last the CPU interpreter, with one warning line.
 *
 * Not here: how Node gets a `GPU` object (node-gpu.ts), running a model (model.ts).
 */
import { type AdapterChoice, type DeviceKind, kindOf } from './adapter.ts';
import type { ProfileName } from './artifact.ts';
import type { CpuModule } from './cpu.ts';
import { importFromHereOrProject, isNode } from './dynamic-import.ts';
import { messageOf, SoraError } from './error.ts';
import { type NodeAdapter, openNodeAdapter, threadVariable } from './node-gpu.ts';

/** The part of GPUDevice that tells it apart; generated types must not name WebGPU's own. */
export interface DeviceLike {
  readonly queue: object;
  readonly limits: object;
  readonly lost: Promise<unknown>;
  createBuffer(descriptor: never): unknown;
}

/** `navigator.gpu`, or what `create()` of npm `webgpu` gives. */
export interface GpuLike {
  requestAdapter(options?: never): Promise<unknown>;
}

export interface DeviceOptions {
  /** Used as it is and never destroyed by sorac. */
  readonly device?: DeviceLike;
  readonly gpu?: GpuLike;
  /** Default: the environment variable `SORAC_DEVICE`, else `auto`. */
  readonly adapter?: AdapterChoice;
  /**
   * In Node, threads of lavapipe beside the one that work is handed to; 0: that one computes. Each step of a text hands over some forty small
   * pieces, and threads that wake up for them may cost more than they do: greedy text with packed weights on two cores takes half to two thirds
   * of the time with 0. Prompts, large batches and training gain from threads. Default: one for each core. Nothing to a `device` or `gpu` of yours.
   */
  readonly driverThreads?: number;
  /** Gives the CPU interpreter; default: `import('sorac/cpu')`. */
  readonly cpu?: () => Promise<CpuModule>;
  /** Takes warning lines; default: stderr, or the console in browsers. */
  readonly warn?: (line: string) => void;
}

export interface DeviceInfo {
  readonly kind: DeviceKind;
  /** `llvmpipe: Mesa 25.0.7 …`, or what the adapter calls itself. */
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Which set of schedules it gets; undefined for the interpreter. */
  readonly profile: ProfileName | undefined;
  /** Whether the caller brought the device. */
  readonly injected: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  /** Whether its work takes no core of the host. */
  readonly isApart?: boolean;
}

export type OpenDevice =
  | { readonly kind: 'webgpu'; readonly device: GPUDevice; readonly info: DeviceInfo; close(): void }
  | { readonly kind: 'cpu'; readonly module: CpuModule; readonly info: DeviceInfo; close(): void };

const choices: readonly AdapterChoice[] = ['auto', 'gpu', 'lavapipe', 'swiftshader', 'cpu'];

export async function openDevice(options: DeviceOptions = {}): Promise<OpenDevice> {
  const { driverThreads: threads } = options;
  if (threads !== undefined && !(Number.isSafeInteger(threads) && threads >= 0)) {
    const found = typeof threads === 'number' ? threads : `a ${typeof threads}`;
    throw new SoraError('SORA6003', `\`driverThreads\` is a whole number of at least 0, got ${found}`);
  }
  if (options.device) return injectedDevice(options.device as unknown as GPUDevice);
  const choice = options.adapter ?? environmentChoice();
  if (!choices.includes(choice)) {
    throw new SoraError('SORA6001', `unknown device \`${choice}\``, { help: `use one of ${choices.join(', ')}` });
  }
  if (choice === 'cpu') return cpuDevice(options);
  const gpu = options.gpu ?? (globalThis.navigator as { gpu?: GpuLike } | undefined)?.gpu;
  if (gpu) {
    const adapter = await requestAdapter(gpu, choice);
    if (adapter) return adapterDevice(adapter);
    return noAdapter(options, choice, { reason: 'WebGPU gave no adapter', help: 'try another browser or driver' });
  }
  if (!isNode()) {
    const help = 'use a browser with WebGPU, or pass `device` or `gpu`';
    return noAdapter(options, choice, { reason: 'there is no WebGPU here', help });
  }
  const found: NodeAdapter = await openNodeAdapter(choice, threads);
  if (found.adapter) return adapterDevice(found.adapter, threads);
  return noAdapter(options, choice, found);
}

/** What a device is, without keeping it: for `sorac doctor`. */
export async function describeDevice(options: DeviceOptions = {}): Promise<DeviceInfo> {
  const opened = await openDevice(options);
  opened.close();
  return opened.info;
}

function environmentChoice(): AdapterChoice {
  const value = isNode() ? process.env.SORAC_DEVICE : undefined;
  return value === undefined || value === '' ? 'auto' : (value as AdapterChoice);
}

async function requestAdapter(gpu: GpuLike, choice: AdapterChoice): Promise<GPUAdapter | undefined> {
  const typed = gpu as unknown as GPU;
  const adapter = await typed.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return undefined;
  return choice === 'auto' || kindOf(adapter.info) === choice ? adapter : undefined;
}

/** Features that kernels or measurements use when they are there. */
const wantedFeatures = ['shader-f16', 'subgroups', 'timestamp-query'] as const;

/** Limits that plans can use more of than WebGPU's defaults. */
const wantedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxStorageTexturesPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
] as const;

async function adapterDevice(adapter: GPUAdapter, threads?: number): Promise<OpenDevice> {
  const device = await adapter
    .requestDevice({
      label: 'sorac',
      requiredFeatures: wantedFeatures.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(wantedLimits.map((limit) => [limit, adapter.limits[limit]])),
    })
    .catch((error: unknown) => {
      throw new SoraError('SORA6001', `the adapter gave no device: ${messageOf(error)}`, { cause: error });
    });
  const info = infoOf(device, adapter.info, false, threads);
  return { kind: 'webgpu', device, info, close: () => device.destroy() };
}

function injectedDevice(device: GPUDevice): OpenDevice {
  return { kind: 'webgpu', device, info: infoOf(device, device.adapterInfo, true), close() {} };
}

function infoOf(
  device: GPUDevice,
  adapter: GPUAdapterInfo | undefined,
  injected: boolean,
  threads: number | string | undefined = isNode() ? process.env[threadVariable] : undefined,
): DeviceInfo {
  const kind = kindOf(adapter);
  const limits: Record<string, number> = {};
  for (const name in device.limits) {
    const value: unknown = device.limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') limits[name] = value;
  }
  return {
    kind,
    name: adapter?.description || adapter?.device || adapter?.architecture || adapter?.vendor || 'unnamed adapter',
    vendor: adapter?.vendor ?? '',
    architecture: adapter?.architecture ?? '',
    profile: kind === 'gpu' ? 'gpu' : 'software',
    injected,
    features: [...device.features].sort(),
    limits,
    isApart: kind === 'gpu' || (kind === 'lavapipe' && String(threads) === '0'),
  };
}

interface Missing {
  readonly reason: string;
  /** The exact next command. */
  readonly help: string;
}

async function noAdapter(options: DeviceOptions, choice: AdapterChoice, missing: Missing): Promise<OpenDevice> {
  if (choice !== 'auto')
    throw new SoraError('SORA6001', `no ${choice} device: ${missing.reason}`, { help: missing.help });
  const opened = await cpuDevice(options).catch((error: unknown) => {
    const reason = `no device: ${missing.reason}, and the CPU interpreter is missing (${messageOf(error)})`;
    throw new SoraError('SORA6001', reason, { help: missing.help, cause: error });
  });
  const warn = options.warn ?? warnOnStderr;
  warn(`sorac: no GPU adapter (${missing.reason}); running on the CPU interpreter, which is slow. ${missing.help}`);
  return opened;
}

export function warnOnStderr(line: string): void {
  if (isNode()) process.stderr.write(`${line}\n`);
  else console.warn(line);
}

async function cpuDevice(options: DeviceOptions): Promise<OpenDevice> {
  const load = options.cpu ?? (() => importFromHereOrProject<CpuModule>('sorac/cpu'));
  const module = await load().catch((error: unknown) => {
    const reason = `the CPU interpreter cannot be loaded: ${messageOf(error)}`;
    throw new SoraError('SORA6001', reason, { help: 'npm install sorac', cause: error });
  });
  const info: DeviceInfo = {
    kind: 'cpu',
    name: 'CPU interpreter',
    vendor: 'sorac',
    architecture: '',
    profile: undefined,
    injected: false,
    features: [],
    limits: {},
  };
  return { kind: 'cpu', module, info, close() {} };
}
