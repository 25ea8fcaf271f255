/**
 * Whole processes: the runtime as generated modules carry it, in a folder without packages.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runtimeText } from '../../../src/codegen/module/runtime-text.generated.ts';
import { encodeSafetensors } from '../../../src/runtime/index.ts';
import { gpuDevices } from '../../support/devices.ts';
import { handArtifact, handBias, handTable } from '../../support/hand-artifact.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-process-'));
afterAll(() => rmSync(folder, { recursive: true }));

writeFileSync(join(folder, 'runtime.mjs'), runtimeText);
writeFileSync(join(folder, 'artifact.json'), JSON.stringify(handArtifact));
writeFileSync(
  join(folder, 'weights.safetensors'),
  encodeSafetensors([
    { name: 'table.first', shape: [2, 3], data: Float32Array.from(handTable.slice(0, 2).flat()) },
    { name: 'table.second', shape: [3, 3], data: Float32Array.from(handTable.slice(2).flat()) },
    { name: 'bias', shape: [3], data: Float32Array.from(handBias) },
  ]),
);

function run(body: string, cwd = process.cwd(), environment: Record<string, string> = {}) {
  const path = join(folder, `script-${Math.random().toString(36).slice(2)}.mjs`);
  writeFileSync(
    path,
    `import { readFileSync } from 'node:fs';
import { createModel } from './runtime.mjs';
const artifact = JSON.parse(readFileSync(new URL('./artifact.json', import.meta.url), 'utf8'));
const weights = ${JSON.stringify(join(folder, 'weights.safetensors'))};
const inputs = { x: { data: Float32Array.of(1, 2, 3), shape: [1, 3] } };
${body}
`,
  );
  const env = { ...process.env, ...environment };
  const done = spawnSync(process.execPath, [path], { cwd, env, encoding: 'utf8', timeout: 60_000 });
  return { status: done.status, stdout: done.stdout.trim(), stderr: done.stderr };
}

describe.runIf(gpuDevices.length > 0)('a process', () => {
  test('with live devices of several adapters ends by itself', () => {
    const done = run(`
const kinds = [];
for (const adapter of ${JSON.stringify([...gpuDevices, ...gpuDevices])}) {
  const model = await createModel(artifact, { adapter, weights });
  globalThis[kinds.length] = model;
  const { y } = await model.call('apply', inputs);
  kinds.push(model.device.kind + ' ' + y.data.join(' '));
}
console.log(kinds.join(', '));`);
    expect(done.stdout).toBe([...gpuDevices, ...gpuDevices].map((kind) => `${kind} 14 30 48`).join(', '));
    expect(done.status).toBe(0);
  });

  test('finds the packages of the project it is started in', () => {
    const done = run(
      `const model = await createModel(artifact, { adapter: '${gpuDevices[0]}', weights });
console.log(model.device.kind);`,
    );
    expect(done.stdout).toBe(gpuDevices[0]);
  });

  test('leaves the environment as it was', () => {
    const done = run(
      `await createModel(artifact, { adapter: '${gpuDevices[0]}', weights });
console.log(process.env.VK_ICD_FILENAMES, process.env.VK_DRIVER_FILES);`,
    );
    expect(done.stdout).toBe('undefined undefined');
  });
});

test('without the package `webgpu` and without the interpreter the error names the next command', () => {
  const done = run(
    `try { await createModel(artifact, { weights }); } catch (error) { console.log(error.code, error.help); }`,
    folder,
    { SORAC_DEVICE: '' },
  );
  expect(done.stdout).toBe('SORA6001 npm install webgpu');
  expect(done.status).toBe(0);
});

test('with a broken choice in SORAC_DEVICE the error lists what there is', () => {
  const done = run(
    `await createModel(artifact, { weights }).catch((error) => console.log(error.code, error.help));`,
    folder,
    {
      SORAC_DEVICE: 'tpu',
    },
  );
  expect(done.stdout).toBe('SORA6001 use one of auto, gpu, lavapipe, swiftshader, cpu');
});
