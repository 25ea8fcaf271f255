import { afterEach, describe, expect, test, vi } from 'vitest';
import { type AdapterChoice, kindOf } from '../../../src/runtime/adapter.ts';
import type { CpuModule } from '../../../src/runtime/cpu.ts';
import { openDevice } from '../../../src/runtime/device.ts';

const cpuModule: CpuModule = { createExecutor: () => Promise.reject(new Error('not asked for')) };
const cpu = () => Promise.resolve(cpuModule);
const noAdapter = { requestAdapter: () => Promise.resolve(null) };

afterEach(() => vi.unstubAllEnvs());

describe('without an adapter', () => {
  test('the interpreter runs, with one line that says why and what to do', async () => {
    vi.stubEnv('SORAC_DEVICE', '');
    const lines: string[] = [];
    const opened = await openDevice({ gpu: noAdapter, cpu, warn: (line) => lines.push(line) });
    expect(opened.info).toMatchObject({ kind: 'cpu', name: 'CPU interpreter', profile: undefined });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^sorac: no GPU adapter \(.*\); running on the CPU interpreter, which is slow\. .+$/);
  });

  test('a device asked for by name is not replaced', async () => {
    await expect(openDevice({ gpu: noAdapter, cpu, adapter: 'gpu' })).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6001', help: expect.stringMatching(/\w/) }),
    );
  });

  test('and without the interpreter it is an error with the next step', async () => {
    vi.stubEnv('SORAC_DEVICE', '');
    const broken = () => Promise.reject(new Error('no package'));
    await expect(openDevice({ gpu: noAdapter, cpu: broken })).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6001', message: expect.stringContaining('no package') }),
    );
  });
});

describe('the choice', () => {
  test('cpu never asks for an adapter and warns of nothing', async () => {
    const gpu = { requestAdapter: () => Promise.reject(new Error('asked')) };
    const lines: string[] = [];
    const opened = await openDevice({ adapter: 'cpu', gpu, cpu, warn: (line) => lines.push(line) });
    expect(opened.kind).toBe('cpu');
    expect(lines).toEqual([]);
  });

  test('comes from SORAC_DEVICE when the caller makes none', async () => {
    vi.stubEnv('SORAC_DEVICE', 'cpu');
    expect((await openDevice({ cpu, gpu: noAdapter })).kind).toBe('cpu');
  });

  test('must be a known one', async () => {
    await expect(openDevice({ adapter: 'cuda' as AdapterChoice, cpu })).rejects.toEqual(
      expect.objectContaining({ code: 'SORA6001', help: 'use one of auto, gpu, lavapipe, swiftshader, cpu' }),
    );
  });
});

test.each([
  [{ architecture: '', device: 'llvmpipe-llvm-15', description: 'llvmpipe: Mesa 25' }, 'lavapipe'],
  [{ architecture: 'swiftshader', device: '', description: '' }, 'swiftshader'],
  [{ architecture: 'swiftshader', device: '', description: '', isFallbackAdapter: true }, 'swiftshader'],
  [{ architecture: '', device: '', description: 'Microsoft Basic Render Driver' }, 'software'],
  [{ architecture: '', device: '', description: '', isFallbackAdapter: true }, 'software'],
  [{ architecture: 'ampere', device: 'NVIDIA A100', description: '' }, 'gpu'],
  [undefined, 'gpu'],
])('%j is %s', (info, kind) => {
  expect(kindOf(info as GPUAdapterInfo | undefined)).toBe(kind);
});
