/**
 * A device without immediates, for the uniform buffers in their place.
 */

/** The device as one of a browser that does not know immediates. */
export function withoutImmediates(device: GPUDevice, shaders: string[]): GPUDevice {
  const wrap = <Target extends object>(target: Target, replace: (name: string, value: unknown) => unknown): Target =>
    new Proxy(target, {
      get(inner, name) {
        const value: unknown = Reflect.get(inner, name, inner);
        const bound = typeof value === 'function' ? value.bind(inner) : value;
        return typeof name === 'string' ? replace(name, bound) : bound;
      },
    });
  const encoder = (): GPUCommandEncoder =>
    wrap(device.createCommandEncoder(), (name, value) =>
      name !== 'beginComputePass'
        ? value
        : () =>
            wrap((value as () => GPUComputePassEncoder)(), (member, own) =>
              member === 'setImmediates' ? undefined : own,
            ),
    );
  const shader = (descriptor: GPUShaderModuleDescriptor): GPUShaderModule => {
    shaders.push(descriptor.code);
    return device.createShaderModule(descriptor);
  };
  return wrap(device, (name, value) =>
    name === 'createCommandEncoder' ? encoder : name === 'createShaderModule' ? shader : value,
  );
}
