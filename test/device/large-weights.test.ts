/**
 * Weights larger than a storage binding: a table of 134 MB that is looked up and multiplied with, at the limit that every
 * device has, and small tables under a small limit, where every row is compared.
 */
import { describe, expect, test } from 'vitest';
import { compile } from '../../src/compile.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import { createModel } from '../../src/runtime/index.ts';
import { encodeSafetensors } from '../../src/runtime/safetensors.ts';
import { firstGpuDevice, gpuDevices } from '../support/devices.ts';
import { describeDiagnostics } from '../support/language.ts';

function compiled(text: string, bindingBytes?: number): Artifact {
  const limit = bindingBytes === undefined ? {} : { bindingBytes };
  const { value, diagnostics } = compile({ file: { path: 'table.sora', text }, ...limit });
  if (value === undefined) throw new Error(describeDiagnostics(diagnostics).join('\n'));
  return value.artifact;
}

/** A table that is looked up, and multiplied with: as a head tied in the checkpoint, or as the same field. */
function tableText(rows: number, width: number, isTied: boolean): string {
  const head = isTied ? `  head = Linear(${width}, ${rows}, bias: false) tied embed.weight if missing\n` : '';
  const scores = isTied ? 'head(x)' : 'linear(x, embed.weight)';
  return `import { Embedding, Linear } from "sora:nn"

dim B in 1..8

model Table {
  embed = Embedding(${rows}, ${width})
${head}
  entry run(ids: i32[B], x: f32[B, ${width}]) -> { found: f32[B, ${width}], scores: f32[B, ${rows}], shifted: f32[B, ${rows}] } {
    let scores = ${scores}
    { found: embed(ids), scores: scores, shifted: scores + 1 }
  }
}
`;
}

/** Small whole numbers, so that sums of products are exact in f32 in any order. */
function tableValues(rows: number, width: number): Float32Array {
  return Float32Array.from({ length: rows * width }, (_, at) => ((at * 7919) % 31) - 15 + (at % width === 0 ? 1 : 0));
}

async function checkTable(artifact: Artifact, adapter: string, rows: number, width: number, ids: readonly number[]) {
  const table = tableValues(rows, width);
  const weights = encodeSafetensors([{ name: 'embed.weight', shape: [rows, width], data: table }]);
  const model = await createModel(artifact, { weights, adapter: adapter as 'lavapipe' });
  try {
    const { bytes } = model.stats();
    // Once on the device, with at most a panel more for each part.
    expect(bytes).toBeLessThan(table.byteLength + 64 * 32 * width * 4);
    const x = Float32Array.from({ length: ids.length * width }, (_, at) => (at % 3) - 1);
    const { found, scores, shifted } = await model.call('run', {
      ids: { data: Int32Array.from(ids), shape: [ids.length] },
      x: { data: x, shape: [ids.length, width] },
    });
    ids.forEach((id, b) => {
      const row = table.subarray(id * width, (id + 1) * width);
      expect(found?.data.slice(b * width, (b + 1) * width)).toEqual(row);
    });
    const dot = (b: number, row: number): number => {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += (x[b * width + k] ?? 0) * (table[row * width + k] ?? 0);
      return sum;
    };
    const step = Math.max(1, Math.floor(rows / 500));
    for (let b = 0; b < ids.length; b++) {
      for (let row = rows - 1; row >= 0; row -= step) {
        if (scores?.data[b * rows + row] !== dot(b, row))
          expect([b, row, scores?.data[b * rows + row]]).toEqual([b, row, dot(b, row)]);
        if (shifted?.data[b * rows + row] !== dot(b, row) + 1) expect([b, row, 'shifted']).toEqual([]);
      }
    }
  } finally {
    await model.close();
  }
}

describe.each(gpuDevices)('small tables in parts on %s', (device) => {
  test.each([
    [257, 12, 64 * 12 * 4, true],
    [257, 12, 128 * 12 * 4, false],
    [130, 5, 64 * 5 * 4, true],
    [1000, 8, 128 * 8 * 4 + 8, false],
  ])('[%d, %d], %d bytes a binding, tied %s', async (rows, width, limit, isTied) => {
    const artifact = compiled(tableText(rows, width, isTied), limit);
    expect(artifact.weights.length).toBeGreaterThan(1);
    await checkTable(artifact, device, rows, width, [0, 63, 64, rows - 1, rows - 2]);
  });
});

test.skipIf(firstGpuDevice === undefined)(
  'a table of 134 MB at the limit of every device, held once',
  async () => {
    const artifact = compiled(tableText(65_600, 512, true));
    expect(artifact.weights.map(({ first = 0, shape }) => [first, shape[0]])).toEqual([
      [0, 32_832],
      [32_832, 32_768],
      [0, 32_832],
      [32_832, 32_768],
    ]);
    await checkTable(artifact, firstGpuDevice ?? 'lavapipe', 65_600, 512, [0, 32_831, 32_832, 65_599]);
  },
  60_000,
);
