/**
 * Devices for tests: every one that this machine has, found once per process. The CPU interpreter is a device too, but tests
 * that look at buffers and pipelines need a real one: `gpuDevices`.
 */
import { existsSync } from 'node:fs';
import { type AdapterChoice, findSwiftShader, type OpenDevice, openDevice } from '../../src/runtime/index.ts';
import { openNodeAdapter } from '../../src/runtime/node-gpu.ts';

export type TestDevice = Exclude<AdapterChoice, 'auto'>;

const lavapipeFolders = ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'];
const hasLavapipe = lavapipeFolders.some((folder) =>
  ['lvp_icd.json', 'lvp_icd.x86_64.json', 'lvp_icd.aarch64.json'].some((name) => existsSync(`${folder}/${name}`)),
);

/** Software adapters of this machine, quickest first; `SORAC_TEST_DEVICES=lavapipe,gpu` overrides. */
export const gpuDevices: readonly TestDevice[] = process.env.SORAC_TEST_DEVICES
  ? (process.env.SORAC_TEST_DEVICES.split(',') as TestDevice[])
  : [...(hasLavapipe ? (['lavapipe'] as const) : []), ...((await findSwiftShader()) ? (['swiftshader'] as const) : [])];

/** The quickest one: for tests whose point is not the adapter. */
export const firstGpuDevice: TestDevice | undefined = gpuDevices[0];

/** Features that a device may have and kernels may not count on. */
export const optionalFeatures = ['subgroups', 'shader-f16'] as const;

export type OptionalFeature = (typeof optionalFeatures)[number];

/** Opens a device with these features and no other; undefined when the adapter lacks one of them. */
export async function deviceWith(
  kind: TestDevice,
  features: readonly OptionalFeature[],
): Promise<GPUDevice | undefined> {
  const found = await openNodeAdapter(kind);
  if (!found.adapter) throw new Error(found.reason);
  const { adapter } = found;
  if (features.some((feature) => !adapter.features.has(feature))) return undefined;
  return adapter.requestDevice({ requiredFeatures: [...features] as GPUFeatureName[] });
}

/** Opens a device. It is left to the end of the process, so that tests may destroy it or not. */
export async function testDevice(kind: TestDevice): Promise<Extract<OpenDevice, { kind: 'webgpu' }>> {
  const opened = await openDevice({ adapter: kind });
  if (opened.kind !== 'webgpu') throw new Error(`${kind} is not a WebGPU device`);
  return opened;
}
