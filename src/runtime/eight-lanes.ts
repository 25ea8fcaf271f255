/**
 * Kernels for subgroups of eight lanes. A value that is the same for all lanes of a small workgroup is loaded by each of them on lavapipe,
 * unless its place is a constant; eight lanes that load a value each and read those of the others need an eighth of the loads.
 *
 * Only where a workgroup is one subgroup, so that a lane's number in one is that in the other. Elsewhere kernels are as they are written.
 */
import type { DeviceKind } from './adapter.ts';
import { EIGHT_LANES } from './artifact.ts';

const WIDTH = 8;

/** What rewrites kernels where the device has such subgroups; other kinds of device are not measured. */
export function eightLanesFor(device: GPUDevice, kind: DeviceKind): ((code: string) => string) | undefined {
  if (kind !== 'lavapipe' || !device.features.has('subgroups')) return undefined;
  const { subgroupMinSize, subgroupMaxSize } = device.adapterInfo;
  return subgroupMinSize === WIDTH && subgroupMaxSize === WIDTH ? shareLanes : undefined;
}

const alternatives = new RegExp(`= [^\\n]*; ${EIGHT_LANES}([^\\n]*)`, 'g');

/** The text of a kernel whose lanes read for each other, where it was written for that. */
export function shareLanes(code: string): string {
  if (!code.includes(EIGHT_LANES) || !code.includes(`@workgroup_size(${WIDTH})`)) return code;
  return `enable subgroups;\n${code.replace(alternatives, '= $1;')}`;
}
