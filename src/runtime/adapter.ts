/**
 * The rungs of the device ladder by name, and which of them an adapter is.
 */

/** What was asked for. `auto` walks the ladder; anything else is taken or refused. */
export type AdapterChoice = 'auto' | 'gpu' | 'lavapipe' | 'swiftshader' | 'cpu';

/** What was found. `software` is a software adapter that is neither of the two known ones, such as WARP. */
export type DeviceKind = 'gpu' | 'lavapipe' | 'swiftshader' | 'software' | 'cpu';

export function kindOf(info: GPUAdapterInfo | undefined): Exclude<DeviceKind, 'cpu'> {
  const text = `${info?.architecture} ${info?.device} ${info?.description}`.toLowerCase();
  if (text.includes('llvmpipe') || text.includes('lavapipe')) return 'lavapipe';
  if (text.includes('swiftshader')) return 'swiftshader';
  return info?.isFallbackAdapter === true || text.includes('basic render') ? 'software' : 'gpu';
}
