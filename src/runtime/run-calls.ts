/**
 * Calls of entries on the device, several in one submit: what one leaves in a buffer is there for the next.
 */
import type { EntrySpec } from './artifact.ts';
import { guard } from './buffers.ts';
import type { HostTensor } from './cpu.ts';
import type { BroughtBuffers, EntryRunner } from './entry-runner.ts';
import { messageOf, SoraError } from './error.ts';
import type { BoundInputs } from './inputs.ts';

export interface RunnerCall {
  readonly entry: EntrySpec;
  readonly runner: EntryRunner;
  readonly inputs: BoundInputs;
  /** Needed by entries with states or arenas. */
  readonly brought?: BroughtBuffers | undefined;
}

/**
 * Runs all or, when the device refuses anything of it, none; the results of each call. An entry stands in the list once.
 *
 * @errors SORA6102, SORA6004 and SORA6005: what was made for the calls is then forgotten, and later calls go on
 */
export async function runCalls(
  device: GPUDevice,
  calls: readonly RunnerCall[],
): Promise<readonly ReadonlyMap<string, HostTensor>[]> {
  const what = calls.map(({ entry }) => `\`${entry.name}\``).join(' and ');
  try {
    const { value, checked } = guard(device, 'SORA6102', what, () => {
      const prepared = calls.map(({ runner, inputs, brought }) => runner.prepare(inputs, brought));
      const encoder = device.createCommandEncoder({ label: what });
      for (const call of prepared) call.load(encoder);
      const pass = encoder.beginComputePass();
      for (const call of prepared) call.encode(pass);
      pass.end();
      for (const call of prepared) call.copy(encoder);
      device.queue.submit([encoder.finish()]);
      return prepared;
    });
    const reading = Promise.all(value.map((call) => call.read()));
    reading.catch(() => undefined);
    await checked;
    return await reading;
  } catch (error) {
    for (const { runner } of calls) runner.reset();
    throw error instanceof SoraError
      ? error
      : new SoraError('SORA6102', `${what} failed: ${messageOf(error)}`, { cause: error });
  }
}
