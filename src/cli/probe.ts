/**
 * What one rung of the device ladder gives: the adapter, and whether a kernel computes the right numbers on it. A driver
 * may crash or hang, so each rung is tried in a process of its own, which is killed after a minute.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compile } from '../compile.ts';
import { type DeviceInfo, describeDevice } from '../runtime/device.ts';
import { createModel } from '../runtime/index.ts';
import { encodeSafetensors } from '../runtime/safetensors.ts';
import type { DeviceChoice } from './device-choice.ts';
import { summarizeError } from './exit-codes.ts';
import { reason } from './source-files.ts';

export interface Probe {
  readonly rung: DeviceChoice;
  readonly works: boolean;
  readonly device?: DeviceInfo;
  readonly milliseconds?: number;
  /** Why it does not work, and the command that mends it. */
  readonly problem?: string;
  readonly help?: string;
}

const probeTimeout = 60_000;

/** A probe tells its findings in its answer, not in warnings. */
const quiet = { cpu: () => import('../cpu.ts'), warn: () => {} };

/** The test kernel: y = x * 2 + 1 over one runtime dim, through the whole pipeline. */
const testModel = `dim N in 1..4096

model Probe() {
  entry forward(x: f32[N]) -> y: f32[N] {
    x * 2 + 1
  }
}
`;

/** Tries a rung in this process. */
export async function probeHere(rung: DeviceChoice): Promise<Probe> {
  try {
    const device = await describeDevice({ ...quiet, adapter: rung });
    const start = performance.now();
    const problem = await runTestKernel(rung);
    const milliseconds = Math.round(performance.now() - start);
    return problem === undefined
      ? { rung, works: true, device, milliseconds }
      : { rung, works: false, device, problem };
  } catch (error) {
    const summary = summarizeError(error);
    if (summary === undefined) return { rung, works: false, problem: reason(error) };
    const { message, help } = summary;
    return { rung, works: false, problem: message, ...(help === undefined ? {} : { help }) };
  }
}

async function runTestKernel(rung: DeviceChoice): Promise<string | undefined> {
  const { value, diagnostics } = compile({ file: { path: 'probe.sora', text: testModel } });
  if (value === undefined) return `the test model does not compile: ${diagnostics[0]?.message ?? ''}`;
  const weights = encodeSafetensors([]);
  const model = await createModel(value.artifact, { ...quiet, weights, adapter: rung });
  try {
    // Past one workgroup and not a multiple of it.
    const x = Float32Array.from({ length: 1003 }, (_, index) => index / 8);
    const { y } = await model.call('forward', { x: { data: x, shape: [x.length] } });
    const wrong = x.findIndex((value, index) => y?.data[index] !== value * 2 + 1);
    return wrong < 0 ? undefined : `the test kernel gave ${y?.data[wrong]} for element ${wrong}`;
  } finally {
    await model.close();
  }
}

/** Tries a rung in a process of its own. */
export function probeApart(rung: DeviceChoice): Promise<Probe> {
  const script = fileURLToPath(new URL('../../bin/sorac.js', import.meta.url));
  return new Promise((done) => {
    const child = spawn(process.execPath, [script, 'doctor', '--probe', rung, '--json'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), probeTimeout);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      done({ rung, works: false, problem: error.message });
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      done(readProbe(output) ?? { rung, works: false, problem: endOf(exitCode, signal) });
    });
  });
}

function endOf(exitCode: number | null, signal: NodeJS.Signals | null): string {
  if (signal === 'SIGKILL') return `no answer within ${probeTimeout / 1000} s`;
  return signal === null ? `its process ended with code ${exitCode}` : `its process crashed (${signal})`;
}

function readProbe(output: string): Probe | undefined {
  try {
    const document: unknown = JSON.parse(output);
    if (document === null || typeof document !== 'object' || !('probe' in document)) return undefined;
    return document.probe as Probe;
  } catch {
    return undefined;
  }
}
