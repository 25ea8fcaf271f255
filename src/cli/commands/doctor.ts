/**
 * `sorac doctor`: versions, every rung of the device ladder, a test kernel on each, and the one command that is missing.
 * `--json` is what a bug report needs.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Option } from 'commander';
import { version } from '../../version.ts';
import { type Call, type Register, textOption } from '../command.ts';
import { type CommandResult, type Context, say } from '../context.ts';
import { deviceChoice } from '../device-choice.ts';
import { exitCodes } from '../exit-codes.ts';
import { type Probe, probeApart, probeHere } from '../probe.ts';

const rungs = ['gpu', 'lavapipe', 'swiftshader', 'cpu'] as const;

const rungTitles: Readonly<Record<(typeof rungs)[number], string>> = {
  gpu: 'GPU',
  lavapipe: 'lavapipe',
  swiftshader: 'SwiftShader',
  cpu: 'CPU interpreter',
};

/** Packages whose version decides what works. */
const packages = ['webgpu', 'koffi', 'chevrotain', 'ts-morph'] as const;

/** Limits that plans depend on. */
const shownLimits = [
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
] as const;

export const registerDoctor: Register = (program, bind) => {
  program
    .command('doctor')
    .description('what this machine can run on, and the one command that is missing')
    .addOption(new Option('--probe <rung>', 'try one rung in this process (used by doctor itself)').hideHelp())
    .action(bind(doctor));
};

async function doctor(context: Context, call: Call): Promise<CommandResult> {
  const only = textOption(call, 'probe');
  if (only !== undefined) {
    const probe = await probeHere(deviceChoice(only));
    return { exitCode: exitCodes.ok, document: { probe }, text: describeProbe(probe).join('\n') };
  }
  const versions = Object.fromEntries(packages.map((name) => [name, installedVersion(name)]));
  const probes: Probe[] = [];
  for (const rung of rungs) {
    if (context.stderr.isTTY === true) say(context, `trying ${rungTitles[rung]}`);
    // One after the other: software drivers take every core.
    probes.push(await probeApart(rung));
  }
  const chosen = probes.find((probe) => probe.works);
  const next = nextStep(probes, chosen);
  const platform = `${process.platform} ${process.arch}`;
  const text = [
    `sorac     ${version}`,
    `node      ${process.version}`,
    `platform  ${platform}`,
    `packages  ${Object.entries(versions)
      .map(([name, found]) => `${name} ${found ?? 'missing'}`)
      .join(', ')}`,
    '',
    ...probes.flatMap(describeProbe),
    '',
    chosen === undefined ? 'nothing works' : `models run on: ${chosen.device?.name ?? chosen.rung}`,
    ...(chosen?.rung === 'cpu' ? ['warning: the interpreter is right but slow'] : []),
    ...(next === undefined ? [] : [`next: ${next}`]),
  ];
  return {
    exitCode: chosen === undefined ? exitCodes.environment : exitCodes.ok,
    document: {
      ok: chosen !== undefined,
      sorac: version,
      node: process.version,
      platform,
      packages: versions,
      environment: driverEnvironment(),
      rungs: probes,
      chosen: chosen?.rung ?? null,
      next: next ?? null,
    },
    text: text.join('\n'),
  };
}

/** A working adapter needs nothing more; on the interpreter the first rung that says how to get it is the step. */
function nextStep(probes: readonly Probe[], chosen: Probe | undefined): string | undefined {
  if (chosen !== undefined && chosen.rung !== 'cpu') return undefined;
  const order = ['lavapipe', 'swiftshader', 'gpu', 'cpu'];
  const helpful = order.map((rung) => probes.find((probe) => probe.rung === rung && probe.help !== undefined));
  return helpful.find((probe) => probe !== undefined)?.help;
}

function describeProbe(probe: Probe): readonly string[] {
  const title = rungTitles[probe.rung as (typeof rungs)[number]] ?? probe.rung;
  // The runtime says `no lavapipe device: why`; the title has said the first half.
  const problem = (probe.problem ?? 'unknown').replace(/^no \w+ device: /, '');
  if (!probe.works) return [`${title.padEnd(16)}  no: ${problem}`];
  const device = probe.device;
  const first = `${title.padEnd(16)}  yes: ${device?.name ?? ''} (test kernel right, ${probe.milliseconds} ms)`;
  if (device === undefined || probe.rung === 'cpu') return [first];
  const limits = shownLimits.map((name) => `${name} ${device.limits[name] ?? '?'}`);
  const indent = ' '.repeat(18);
  return [
    first,
    `${indent}backend ${backend()}, vendor ${device.vendor || '?'}, architecture ${device.architecture || '?'}`,
    `${indent}features ${device.features.join(', ') || 'none'}`,
    `${indent}limits ${limits.join(', ')}`,
  ];
}

/** Dawn has one backend for compute on each platform. */
function backend(): string {
  if (process.platform === 'darwin') return 'Metal';
  return process.platform === 'win32' ? 'D3D12' : 'Vulkan';
}

/** Variables that steer drivers; they explain most surprises. */
function driverEnvironment(): Readonly<Record<string, string>> {
  const names = ['VK_ICD_FILENAMES', 'VK_DRIVER_FILES', 'LD_LIBRARY_PATH', 'SORAC_DEVICE', 'MESA_SHADER_CACHE_DISABLE'];
  const found: Record<string, string> = {};
  for (const name of names) {
    const value = process.env[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}

/** Packages hide their package.json behind `exports`, so the folder above the entry point is searched for it. */
function installedVersion(name: string): string | undefined {
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve(name));
  } catch {
    return undefined;
  }
  for (; ; folder = dirname(folder)) {
    try {
      const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const fields = manifest as { readonly name?: unknown; readonly version?: unknown };
      if (fields.name === name && typeof fields.version === 'string') return fields.version;
    } catch {
      // No manifest in this folder: go on upwards.
    }
    if (dirname(folder) === folder) return undefined;
  }
}
