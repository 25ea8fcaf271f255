/**
 * Drivers compile a kernel at its first dispatch, not when its pipeline is made. Warming up runs one workgroup of a kernel on empty
 * buffers, while the weights are read, so that the first call does not wait for the compiler.
 *
 * Which kernels a call takes depends on its dims: warmed are those of the *usual* call of an entry, one row of text as long as the
 * model allows. What generates text is warmed in two parts: loading waits for the kernels that take the prompt in; those of the
 * single steps follow by themselves until somebody calls, who then finds the device free.
 */
import type { Artifact, EntrySpec, ProfileName } from './artifact.ts';
import { type BufferPool, type Destroyable, guard, usage } from './buffers.ts';
import { napWhile } from './nap.ts';
import { type ImmediatePass, type Pipelines, UNIFORM_STRIDE } from './pipelines.ts';
import { evaluateSize } from './size.ts';

/** Before the later part begins: a caller in a hurry comes first. */
const HEAD_START_MILLISECONDS = 50;

/**
 * Kernels that loading waits for, and others that it does not wait for: of a model that generates those of the prompt and of the
 * steps, of any other those of every entry that its author wrote, and none.
 */
export function warmKernels(
  { dims, entries, generation }: Artifact,
  profile: ProfileName,
): readonly [first: ReadonlySet<string>, later: ReadonlySet<string>] {
  const kernels = (isMeant: (entry: EntrySpec) => boolean): Set<string> =>
    new Set(
      entries.filter(isMeant).flatMap(({ hidden, plans }) => {
        const usual = new Map(Object.entries(dims).map(([dim, { maximum }]) => [dim, maximum]));
        const rows = hidden?.[0]?.shape[0];
        if (typeof rows === 'string') usual.set(rows, 1);
        return plans[profile].steps.flatMap(({ kernel, when }) => {
          const value = when ? evaluateSize(when.value, usual) : 0;
          return when && (value < when.minimum || value > when.maximum) ? [] : [kernel];
        });
      }),
    );
  if (!generation) return [kernels(({ internal }) => !internal), new Set()];
  return [kernels(({ name }) => name === generation.prefill), kernels(({ name }) => name === generation.step)];
}

export interface WarmingUp {
  /** Settles when the first part is compiled; rejects with what the device says. */
  readonly first: Promise<void>;
  /** Begins the later part, which nobody waits for: a call compiles what is left, and tells what goes wrong. */
  goOn(): void;
  /** Ends the later part when the kernel under way is done. */
  stop(): void;
}

export function startWarmUp(
  device: GPUDevice,
  pool: BufferPool,
  pipelines: Pipelines,
  [first, later]: ReturnType<typeof warmKernels>,
): WarmingUp {
  let isStopped = false;
  // All are sent at once: the driver compiles one after the other without waiting for us.
  const warm = async (kernels: readonly string[]): Promise<void> => {
    const made: Destroyable[] = [];
    const work = () => kernels.map((kernel) => dispatch(device, pool, pipelines, kernel, made));
    try {
      const { checked } = guard(device, 'SORA6102', 'warm-up', work);
      await napWhile(device.queue.onSubmittedWorkDone());
      await checked;
    } finally {
      made.map(pool.destroy);
    }
  };
  const running = warm([...first]);
  running.catch(() => undefined);
  const goOn = async (): Promise<void> => {
    for (const kernel of later) if (!isStopped) await warm([kernel]);
  };
  return {
    first: running,
    goOn() {
      setTimeout(() => goOn().catch(() => undefined), HEAD_START_MILLISECONDS);
    },
    stop() {
      isStopped = true;
    },
  };
}

/** One workgroup, with every size 1. Reads and writes past the small buffers are harmless: WebGPU confines them. */
function dispatch(
  device: GPUDevice,
  pool: BufferPool,
  pipelines: Pipelines,
  kernel: string,
  made: Destroyable[],
): void {
  const { spec, pipeline, layout } = pipelines.get(kernel);
  const empty = (): GPUBuffer => {
    const buffer = pool.create('warm-up', UNIFORM_STRIDE, usage.storage | usage.uniform | usage.copyTarget);
    made.push(buffer);
    return buffer;
  };
  const group = (of: GPUBindGroupLayout, bindings: string): GPUBindGroup =>
    device.createBindGroup({
      layout: of,
      entries: [...bindings].map((access, binding) => {
        const words = access === 'p' ? pipelines.words?.create(device, pool, 'warm-up', 1) : undefined;
        if (words) made.push(words);
        return { binding, resource: words?.resource ?? { buffer: empty() } };
      }),
    });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group(layout, spec.bindings));
  const sizes = new Uint32Array(spec.params).fill(1);
  if (spec.params > 0 && pipelines.immediates) (pass as unknown as ImmediatePass).setImmediates(0, sizes);
  else if (spec.params > 0) {
    pass.setBindGroup(1, group(pipelines.uniformLayout, 'u'), [0]);
    device.queue.writeBuffer(made.at(-1) as GPUBuffer, 0, sizes);
  }
  pass.dispatchWorkgroups(1);
  pass.end();
  device.queue.submit([encoder.finish()]);
}
