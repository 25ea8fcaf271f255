/**
 * n:m weights: kernels of both profiles on every adapter against the interpreter, which is given the numbers that are there. What is left
 * is rounding: f32 sums in another order.
 */
import { describe, expect, test } from 'vitest';
import { compile } from '../../../src/compile.ts';
import { openSafetensors } from '../../../src/runtime/index.ts';
import { masked, nmMask } from '../../../src/runtime/masks.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { gpuDevices } from '../../support/devices.ts';
import { compiled, matrixText, randomCheckpoint, withProfile } from '../../support/packed.ts';
import { callsOf, distance, placesOf, resultsOf } from '../../support/packed-calls.ts';

/** Ends of panels, of words of places; small groups of which several make a step. */
const cases: readonly (readonly [outputs: number, inputs: number, keep: number, of: number])[] = [
  [1, 4, 2, 4],
  [7, 36, 2, 4],
  [33, 64, 2, 8],
  [129, 132, 1, 4],
  [13, 20, 1, 2],
  [40, 96, 1, 16],
  [160, 72, 1, 8],
];

function sparseText(outputs: number, inputs: number, keep: number, of: number): string {
  const text = matrixText(outputs, inputs, 'f32');
  return `${text.slice(0, text.indexOf('quantize'))}prune Packed { "**": nm(${keep}, ${of}) }\n`;
}

describe.each(cases.map((one, at) => [...one, at] as const))('[%i, %i], %i of %i', (outputs, inputs, keep, of, at) => {
  const { artifact } = compiled(sparseText(outputs, inputs, keep, of));
  const weights = randomCheckpoint(artifact);
  const calls = callsOf(outputs, inputs);
  const wanted = resultsOf(artifact, weights, 'cpu', calls);

  test('the interpreter sees the numbers that are there', async () => {
    const file = await openSafetensors(weights);
    const dense = compiled(sparseText(outputs, inputs, keep, of).replace(/prune[\s\S]*/, '')).artifact;
    const pruned = await Promise.all(
      [...file.tensors.values()].map(async ({ name, shape }) => {
        const data = await file.readTensor(name, 'f32');
        return { name, shape, data: masked(data, nmMask(data, shape, name === 't' ? 0 : 1, { keep, of })) };
      }),
    );
    const want = await resultsOf(dense, encodeSafetensors(pruned), 'cpu', calls);
    expect((await wanted).map((values) => [...Array.from(values)])).toEqual(
      want.map((values) => [...Array.from(values)]),
    );
    expect(artifact.weights.map(({ layout }) => layout.kind)).toEqual(['nm', 'nm']);
  });

  test.each(placesOf(at))('%s, %s', { timeout: 240_000 }, async (device, profile) => {
    const results = await resultsOf(withProfile(artifact, profile), weights, device, calls);
    for (const [call, want] of (await wanted).entries()) {
      // Sums of up to 132 products round in another order; lookups are exact.
      const [entry = ''] = calls[call] ?? [];
      const tolerance = entry === 'product' || entry === 'turned' ? 2e-6 : 0;
      expect(distance(results[call] ?? [], want), `${entry}, call ${call}`).toBeLessThanOrEqual(tolerance);
    }
  });
});

test('weights larger than a binding lie in parts, whichever way they lie', { timeout: 240_000 }, async () => {
  const [device] = gpuDevices;
  if (device === undefined) return;
  // Only products and lookups can do with parts.
  const text = sparseText(256, 320, 2, 4).replace(/ {2}entry doubled.*\n/, '');
  const file = { path: 'parts.sora', text };
  const { value } = compile({ file, bindingBytes: 64 * 1024 });
  if (!value) throw new Error('does not compile');
  const weights = randomCheckpoint(value.artifact);
  // Three rows, both ways.
  const calls = callsOf(256, 320).slice(2, 4);
  const whole = await resultsOf(compiled(file.text).artifact, weights, device, calls);
  const parts = await resultsOf(value.artifact, weights, device, calls);
  expect(value.artifact.weights.filter(({ first, layout }) => first !== undefined && layout.kind === 'nm')).not.toEqual(
    [],
  );
  for (const [call, want] of whole.entries()) expect(distance(parts[call] ?? [], want)).toBeLessThanOrEqual(2e-6);
});
