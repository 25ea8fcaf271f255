/**
 * Memory of the process: loading needs little beside the weights themselves, and models that are closed leave nothing.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compile } from '../../../src/compile.ts';
import type { Artifact } from '../../../src/runtime/artifact.ts';
import { createModel } from '../../../src/runtime/index.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { firstGpuDevice, testDevice } from '../../support/devices.ts';
import { collectGarbage, MiB, memory } from '../../support/memory.ts';

function compiled(text: string): Artifact {
  const { value } = compile({ file: { path: 'memory.sora', text } });
  if (value === undefined) throw new Error('the model does not compile');
  return value.artifact;
}

const isMeasurable = firstGpuDevice !== undefined && process.platform === 'linux';

describe.skipIf(!isMeasurable)('memory', () => {
  const device = firstGpuDevice ?? 'lavapipe';

  test('loading holds one tensor beside the device', async () => {
    const [layers, width] = [8, 2048];
    const tensor = width * width * 4;
    const artifact = compiled(`import { Linear } from "sora:nn"
dim B in 1..8
model Deep {
  repeat layer[${layers}] = Linear(${width}, ${width}, bias: false)
  entry run(x: f32[B, ${width}]) -> y: f32[B, ${width}] = layer(x)
}
`);
    const folder = mkdtempSync(join(tmpdir(), 'sorac-memory-'));
    const path = join(folder, 'deep.safetensors');
    const entries = Array.from({ length: layers }, (_, at) => [
      `layer.${at}.weight`,
      { dtype: 'F32', shape: [width, width], data_offsets: [at * tensor, (at + 1) * tensor] },
    ]);
    const header = JSON.stringify(Object.fromEntries(entries));
    const text = header.padEnd(Math.ceil(header.length / 8) * 8);
    const file = openSync(path, 'w');
    writeSync(file, new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer));
    writeSync(file, text);
    for (let at = 0; at < layers; at++) writeSync(file, new Uint8Array(tensor).fill(at));
    closeSync(file);
    try {
      const opened = await testDevice(device);
      collectGarbage();
      const before = memory();
      let loaded = 0;
      let most = 0;
      const look = () => {
        most = Math.max(most, memory() - before - loaded);
      };
      const timer = setInterval(look, 2);
      const onProgress = (progress: { readonly loaded: number }) => {
        look();
        loaded = progress.loaded;
      };
      const model = await createModel(artifact, { weights: path, device: opened.device, onProgress });
      clearInterval(timer);
      expect(model.stats().bytes).toBe(layers * tensor);
      await model.close();
      // The buffer that is being filled, the copy of it that the driver takes, and chunks of the file.
      expect(most / MiB).toBeLessThan((2.2 * tensor) / MiB + 50);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 60_000);

  test('models that are closed leave nothing on a device that stays', async () => {
    const artifact = compiled(`import { Linear } from "sora:nn"
dim B in 1..8
model Small {
  up = Linear(32, 64)
  down = Linear(64, 32)
  entry run(x: f32[B, 32]) -> y: f32[B, 32] = down(up(x))
}
`);
    const weights = encodeSafetensors(
      artifact.weights.flatMap(({ sources }) =>
        sources.map(({ path, shape }) => {
          const count = shape.reduce((product, dim) => product * dim, 1);
          return { name: path, shape, data: new Float32Array(count).fill(0.25) };
        }),
      ),
    );
    const opened = await testDevice(device);
    const x = { data: new Float32Array(32).fill(1), shape: [1, 32] };
    const cycle = async (at: number): Promise<void> => {
      const model = await createModel(artifact, { weights, device: opened.device });
      const abort = new AbortController();
      const running = model.call('run', { x }, { signal: abort.signal }).catch(() => undefined);
      if (at % 2 === 1) abort.abort();
      await running;
      await model.close();
      expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
    };
    for (let at = 0; at < 40; at++) await cycle(at);
    collectGarbage();
    const before = memory();
    for (let at = 0; at < 60; at++) await cycle(at);
    collectGarbage();
    // A leak of one small buffer and its wrappers per cycle would be more than this.
    expect((memory() - before) / MiB).toBeLessThan(10);
  }, 120_000);
});
