/**
 * Kernels to pipelines: one per kernel, made together when a model is loaded. Runtime dims come as immediates where the device
 * has them, else from a uniform buffer with one line of the text replaced.
 */
import {
  type Artifact,
  type EntryPlan,
  IMMEDIATE_DECLARATION,
  type KernelSpec,
  UNIFORM_DECLARATION,
} from './artifact.ts';
import { damaged, messageOf, SoraError } from './error.ts';
import type { WordTextures } from './word-textures.ts';

/** GPUShaderStage.COMPUTE */
const COMPUTE = 4;

/** Dynamic offsets of uniform bindings are multiples of this on every device. */
export const UNIFORM_STRIDE = 256;

export interface Pipelines {
  readonly immediates: boolean;
  /** Where packed weights are textures. */
  readonly words: WordTextures | undefined;
  /** Rewrites kernels whose lanes read for each other (eight-lanes.ts). */
  readonly share: ((code: string) => string) | undefined;
  get(kernel: string): Pipeline;
  readonly count: number;
  /** Layout of group 1 when there are no immediates. */
  readonly uniformLayout: GPUBindGroupLayout;
}

export interface Pipeline {
  readonly spec: KernelSpec;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compute passes of this device know immediates; older type packages do not. */
export interface ImmediatePass {
  setImmediates(offset: number, data: Uint32Array): void;
}

/** Tries it: the language feature stands on an object that an injected device does not lead to. */
export async function hasImmediates(device: GPUDevice): Promise<boolean> {
  const pass = device.createCommandEncoder().beginComputePass() as Partial<ImmediatePass>;
  if (typeof pass.setImmediates !== 'function') return false;
  device.pushErrorScope('validation');
  try {
    const code = 'var<immediate> dims: u32;\n@compute @workgroup_size(1) fn main() { _ = dims; }\n';
    const layout = device.createPipelineLayout({
      bindGroupLayouts: [],
      immediateSize: 64,
    } as GPUPipelineLayoutDescriptor);
    device.createComputePipeline({
      layout,
      compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
    });
  } catch {
    await device.popErrorScope();
    return false;
  }
  return (await device.popErrorScope()) === null;
}

export function kernelsOf(plans: readonly EntryPlan[]): readonly string[] {
  return [...new Set(plans.flatMap((plan) => plan.steps.map((step) => step.kernel)))];
}

/**
 * @errors SORA6004 when a kernel needs more than the device has, SORA6006 when the device refuses its text.
 */
export async function createPipelines(
  device: GPUDevice,
  kernels: Artifact['kernels'],
  names: readonly string[],
  { immediates, words, share }: Pick<Pipelines, 'immediates' | 'words' | 'share'>,
): Promise<Pipelines> {
  const layouts = new Map<string, GPUBindGroupLayout>();
  const uniformLayout = device.createBindGroupLayout({
    label: 'dims',
    entries: [{ binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } }],
  });
  const bindingLayout = (bindings: string): GPUBindGroupLayout => {
    const known = layouts.get(bindings);
    if (known) return known;
    const layout = device.createBindGroupLayout({
      label: bindings,
      entries: [...bindings].map((access, binding) => ({
        binding,
        visibility: COMPUTE,
        ...(access === 'p' && words
          ? words.layout
          : { buffer: { type: access === 'w' ? 'storage' : 'read-only-storage' } }),
      })),
    });
    layouts.set(bindings, layout);
    return layout;
  };
  const create = async (name: string): Promise<readonly [string, Pipeline]> => {
    const spec = Object.hasOwn(kernels, name) ? kernels[name] : undefined;
    if (!spec) throw damaged(`kernel \`${name}\``);
    checkKernel(device, name, spec);
    const shared = share ? share(spec.code) : spec.code;
    const declared = words ? words.declare(shared) : shared;
    const code = immediates ? declared : declared.replace(IMMEDIATE_DECLARATION, UNIFORM_DECLARATION);
    const layout = bindingLayout(spec.bindings);
    const module = device.createShaderModule({ label: name, code });
    const asImmediates = immediates && spec.params > 0 ? { immediateSize: spec.params * 4 } : {};
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: name,
        layout: device.createPipelineLayout({
          bindGroupLayouts: !immediates && spec.params > 0 ? [layout, uniformLayout] : [layout],
          ...asImmediates,
        } as GPUPipelineLayoutDescriptor),
        compute: { module, entryPoint: 'main' },
      });
      return [name, { spec, pipeline, layout }];
    } catch (error) {
      const lines = (await module.getCompilationInfo()).messages.map(
        (text) => `  ${text.lineNum}:${text.linePos} ${text.message}`,
      );
      const why = lines.length > 0 ? `\n${lines.join('\n')}` : `: ${messageOf(error)}`;
      throw new SoraError('SORA6006', `the device refuses kernel \`${name}\`${why}`, { cause: error });
    }
  };
  device.pushErrorScope('validation');
  const made = Promise.allSettled(names.map(create));
  const scope = device.popErrorScope();
  const results = await made;
  const layoutError = await scope;
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  if (layoutError) throw new SoraError('SORA6006', `the device refuses a pipeline layout: ${layoutError.message}`);
  const pipelines = new Map(results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])));
  return {
    immediates,
    words,
    share,
    uniformLayout,
    count: pipelines.size,
    get(kernel) {
      const pipeline = pipelines.get(kernel);
      if (!pipeline) throw damaged(`kernel \`${kernel}\``);
      return pipeline;
    },
  };
}

function checkKernel(device: GPUDevice, name: string, spec: KernelSpec): void {
  const most = device.limits.maxStorageBuffersPerShaderStage;
  if (spec.bindings.length > most) {
    const need = `kernel \`${name}\` binds ${spec.bindings.length} buffers`;
    throw new SoraError('SORA6004', `${need}, the device's \`maxStorageBuffersPerShaderStage\` is ${most}`);
  }
  const missing = (spec.features ?? []).filter((feature) => !device.features.has(feature));
  if (missing.length > 0) {
    throw new SoraError('SORA6004', `kernel \`${name}\` needs the device feature ${missing.join(', ')}`);
  }
}
