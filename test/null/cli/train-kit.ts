/**
 * What tests of `sorac train` share: a small classifier with weights and data, and the command line in this process.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { runCommandLine } from '../../../src/cli/main.ts';
import { philox } from '../../../src/runtime/philox.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';

export interface CommandEnd {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** A terminal, which gets a progress bar. */
  readonly isTerminal?: boolean;
  /** Told everything that is written to stderr, as it is written. */
  readonly onError?: (text: string) => void;
}

export async function sorac(argv: readonly string[], options: CommandOptions = {}): Promise<CommandEnd> {
  const streams = { stdout: '', stderr: '' };
  const exitCode = await runCommandLine(argv, {
    stdout: { write: (text) => (streams.stdout += text) },
    stderr: {
      isTTY: options.isTerminal === true,
      write(text) {
        streams.stderr += text;
        options.onError?.(text);
      },
    },
  });
  // No error of a person may show our insides.
  expect(streams.stderr).not.toMatch(/\n\s+at .*[:(]\d+:\d+/);
  return { exitCode, ...streams };
}

/** An empty folder, gone when the test file ends. */
export function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sorac-train-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Numbers in [0, 1). */
export function uniform(at: number, lane = 0): number {
  return (philox([at, lane, 0, 0], [7, 7])[0] ?? 0) / 2 ** 32;
}

export const points = `import { Linear } from "sora:nn"

dim B in 1..16

model Points {
  up = Linear(2, 8)
  down = Linear(8, 3)

  entry score(x: f32[B, 2]) -> logits: f32[B, 3] = down(tanh(up(x)))
}

train Points.score {
  target y: i32[B]
  read x: vector("a", "b")
  loss: cross_entropy(logits, y)
  optimizer: adam(lr: cosine(peak: 0.05, warmup: 0.1))
}
`;

const shapes: Readonly<Record<string, readonly number[]>> = {
  'up.weight': [8, 2],
  'up.bias': [8],
  'down.weight': [3, 8],
  'down.bias': [3],
};

/** Points in a square; which third of it they are in is their label. */
export function pointRows(count: number): string {
  const rows = Array.from({ length: count }, (_, at) => {
    const [a, b] = [uniform(at, 1) * 2 - 1, uniform(at, 2) * 2 - 1];
    return `${a.toFixed(4)},${b.toFixed(4)},${a < -0.3 ? 'left' : a > 0.3 ? 'right' : 'middle'}`;
  });
  return `a,b,label\n${rows.join('\n')}\n`;
}

export interface Files {
  readonly folder: string;
  readonly model: string;
  readonly weights: string;
  readonly data: string;
}

export function weightsOf(all: Readonly<Record<string, readonly number[]>>): Uint8Array {
  return encodeSafetensors(
    Object.entries(all).map(([name, shape], lane) => {
      const length = shape.reduce((product, size) => product * size, 1);
      return { name, shape, data: Float32Array.from({ length }, (_, at) => uniform(at, lane + 10) - 0.5) };
    }),
  );
}

/** The classifier, its first weights and 100 points. */
export function pointFiles(model = points): Files {
  const folder = emptyFolder();
  const write = (name: string, content: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  write('package.json', '{}');
  return {
    folder,
    model: write('points.sora', model),
    weights: write('first.safetensors', weightsOf(shapes)),
    data: write('points.csv', pointRows(100)),
  };
}

export function command(files: Files, out: string, ...others: readonly string[]): readonly string[] {
  const { model, weights, data, folder } = files;
  const device = others.includes('--device') ? [] : ['--device', 'cpu'];
  return ['train', model, '--data', data, '--weights', weights, '--out', join(folder, out), ...device, ...others];
}
