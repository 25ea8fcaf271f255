/**
 * Devices for tests: every one that this machine has, found once per process. The CPU interpreter is a device too, but tests
 * that look at buffers and pipelines need a real one: `gpuDevices`.
 */
import { existsSync } from 'node:fs';
import { type AdapterChoice, findSwiftShader, type OpenDevice, openDevice } from '../../src/runtime/index.ts';

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

/** Opens a device. It is left to the end of the process, so that tests may destroy it or not. */
export async function testDevice(kind: TestDevice): Promise<Extract<OpenDevice, { kind: 'webgpu' }>> {
  const opened = await openDevice({ adapter: kind });
  if (opened.kind !== 'webgpu') throw new Error(`${kind} is not a WebGPU device`);
  return opened;
}
