/**
 * Packed weights as textures, where a driver reads a texel of four words in fewer instructions than four words of a buffer.
 *
 * On lavapipe (Mesa 25.0) a vector of four words takes eight lanes some 330 instructions from a buffer, each word of each lane with a
 * check of its own, and 50 from a storage texture. On SwiftShader the texel takes 1.3 times as long as the vector, so it has buffers.
 */
import type { DeviceKind } from './adapter.ts';
import type { Artifact, EntryPlan } from './artifact.ts';
import type { BufferPool, Destroyable } from './buffers.ts';

/** Texels of a row: with the 8,192 rows that every device has, 128 MiB. */
const WIDTH = 1024;
/** Four words. */
const TEXEL_BYTES = 16;
/** GPUTextureUsage.COPY_DST | STORAGE_BINDING */
const USAGE = 0x0a;

/** How kernels declare words (src/codegen/wgsl/writer.ts): everything but the binding's number. */
const declaration =
  /var<storage, read> (\w+): array<vec4<u32>>;\nfn (\w+)\(at: u32\) -> vec4<u32> \{ return \1\[at\]; \}/g;

/** A weight on the device. */
export interface WeightMemory {
  readonly resource: GPUBindingResource;
  /** @param bytes as many as the weight was made of */
  write(bytes: ArrayBuffer): void;
}

export interface WordTextures {
  /** The text of a kernel with textures in the place of buffers of words. */
  declare(code: string): string;
  readonly layout: Pick<GPUBindGroupLayoutEntry, 'storageTexture'>;
  /** A texture for so many bytes, counted by the pool. */
  create(device: GPUDevice, pool: BufferPool, what: string, bytes: number): WeightMemory & Destroyable;
}

/** Where this kind of device gains from them, and the kernels of the plans and the weights fit. */
export function wordTexturesFor(
  device: GPUDevice,
  kind: DeviceKind,
  { kernels, weights }: Pick<Artifact, 'kernels' | 'weights'>,
  plans: readonly EntryPlan[],
): WordTextures | undefined {
  if (kind !== 'lavapipe') return undefined;
  const { maxStorageTexturesPerShaderStage: most, maxTextureDimension2D: rows } = device.limits;
  const isRead = plans.every(({ steps }) =>
    steps.every(({ kernel }) => (kernels[kernel]?.bindings.split('p').length ?? 0) - 1 <= most),
  );
  const isHeld = weights.every(({ layout }) => !('words' in layout) || layout.words * 4 <= rows * WIDTH * TEXEL_BYTES);
  return isRead && isHeld ? wordTextures : undefined;
}

export const wordTextures: WordTextures = {
  declare: (code) =>
    code.replace(
      declaration,
      (_, name, read) =>
        `var ${name}: texture_storage_2d<rgba32uint, read>;\n` +
        `fn ${read}(at: u32) -> vec4<u32> { return textureLoad(${name}, vec2u(at % ${WIDTH}u, at / ${WIDTH}u)); }`,
    ),
  layout: { storageTexture: { access: 'read-only', format: 'rgba32uint' } },
  create(device, pool, what, bytes) {
    const bytesPerRow = WIDTH * TEXEL_BYTES;
    const size: [number, number] = [WIDTH, Math.max(1, Math.ceil(bytes / bytesPerRow))];
    const texture = device.createTexture({ label: what, size, format: 'rgba32uint', usage: USAGE });
    const memory = {
      resource: texture.createView(),
      write(source: ArrayBuffer): void {
        // Whole rows: a weight hardly ever ends with one.
        const data = new Uint8Array(bytesPerRow * size[1]);
        data.set(new Uint8Array(source));
        device.queue.writeTexture({ texture }, data, { bytesPerRow }, size);
      },
      destroy: () => texture.destroy(),
    };
    pool.keep(memory, bytesPerRow * size[1]);
    return memory;
  },
};
