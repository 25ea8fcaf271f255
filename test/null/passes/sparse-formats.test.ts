/**
 * Which weights of n:m rules are held packed, how they lie, and that programs say so in their text.
 */
import { describe, expect, test } from 'vitest';
import { nmPlaces } from '../../../src/codegen/plan/weights.ts';
import { compile, lowerSource } from '../../../src/compile.ts';
import { printProgram } from '../../../src/ir/print.ts';
import { nmWords, placeBits } from '../../../src/ir/pruning.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { bytesOfWeight, contextOf } from '../../../src/passes/index.ts';
import type { Artifact } from '../../../src/runtime/artifact.ts';
import { withPacker } from '../../../src/runtime/packed-weights.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { fillWeight, openCheckpoint, weightElements } from '../../../src/runtime/weights.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';

const text = (rules: string) => `dim B in 1..8
model Net {
  w: f32[5, 8]
  t: f32[8, 5]
  odd: f32[8, 6]
  bias: f32[8]
  entry go(x: f32[B, 8]) -> { a: f32[B, 5], b: f32[B, 5], c: f32[B, 8] } {
    { a: linear(x, w), b: matmul(x, t), c: linear(x[:, 0:6], odd, bias) }
  }
}
prune Net { ${rules} }
`;

const lowered = (rules: string) => lowerSource({ file: sourceFile(text(rules)) });
const sparseOf = (rules: string) =>
  Object.fromEntries(lowered(rules).value?.weights.map(({ path, sparse }) => [path, sparse]) ?? []);

describe('which', () => {
  test('matrices whose inputs come in whole groups, whichever way they lie', () => {
    expect(sparseOf('"w", "t": nm(2, 4)')).toEqual({
      w: { keep: 2, of: 4 },
      t: { keep: 2, of: 4, transposed: true },
      odd: undefined,
      bias: undefined,
    });
    // Groups of two, but loads of four.
    expect(sparseOf('"**": nm(1, 2)').odd).toBeUndefined();
    expect(sparseOf('"**": nm(1, 2)').w).toEqual({ keep: 1, of: 2 });
  });

  test('the last rule that names a weight holds; shares are not packed', () => {
    expect(sparseOf('"w": nm(2, 4)\n "w": keep 0.5').w).toBeUndefined();
    expect(sparseOf('"w": keep 0.5\n "w": nm(1, 4)').w).toEqual({ keep: 1, of: 4 });
  });

  test('none of a model that trains', () => {
    const block = 'train Net.go { target y: f32[B, 5], loss: mse(a, y), optimizer: sgd(0.1) }';
    const { value, diagnostics } = lowerSource({ file: sourceFile(`${text('"w", "t": nm(4, 8)')}${block}\n`) });
    expect(describeDiagnostics(diagnostics)).toEqual([]);
    expect(value?.weights.some(({ sparse }) => sparse !== undefined)).toBe(false);
  });

  test('not those with a number format', () => {
    const source = `${text('"w", "t": nm(2, 4)')}quantize Net { "w": int8 }\n`;
    const { value } = lowerSource({ file: sourceFile(source) });
    expect(value?.weights.map(({ sparse, format }) => [sparse?.of, format?.kind]).slice(0, 2)).toEqual([
      [undefined, 'int8'],
      [4, undefined],
    ]);
  });

  test.each([
    ['nm(3, 4)', '3 numbers and 6 bits of places are 81.3 % of 4 numbers'],
    ['nm(7, 8)', '100 %'],
    ['nm(4, 8)', '2.5 comparisons'],
    ['nm(1, 3)', 'groups of 2, 4, 8, 16, not of 3', 'odd'],
  ])('%s stays dense, with the figures', (rule, words, name = 'w') => {
    const { value, diagnostics } = lowered(`"${name}": ${rule}`);
    expect(value?.weights.find(({ path }) => path === name)?.sparse).toBeUndefined();
    const [first = ''] = describeDiagnostics(diagnostics);
    expect(first).toContain('SORA3002');
    expect(first).toContain(words);
  });
});

test('the text form keeps it, the verifier knows what may be', () => {
  const program = lowered('"w", "t": nm(2, 4)').value;
  if (!program) throw new Error('no program');
  const printed = printProgram(program);
  expect(printed).toContain('weight "t" : f32[8, 5] sparse 2 of 4 transposed');
  expect(printProgram(readProgram(printed))).toBe(printed);
  expect(verifyProgram(program, { stage: 'model' })).toEqual([]);
  const wrong = { ...program, weights: program.weights.map((weight) => ({ ...weight, sparse: { keep: 4, of: 4 } })) };
  expect(verifyProgram(wrong, { stage: 'model' }).join()).toContain('keeps 4 of 4');
});

test('bytes', () => {
  expect([1, 2].map((keep) => placeBits({ keep, of: 4 }))).toEqual([2, 4]);
  expect(nmWords({ keep: 2, of: 4 })).toBe(2.125);
  expect(nmPlaces([64, 128], { keep: 2, of: 4 })).toMatchObject({ groups: 32, words: 4, places: 4096, end: 4352 });
  const program = lowered('"w": nm(2, 4)').value;
  const leaf = program?.entries[0]?.graph.nodes.find(({ op }) => op === 'weight');
  if (!program || !leaf) throw new Error('no weight');
  expect(bytesOfWeight(leaf, contextOf(program))).toBe(85);
});

describe('on the device', () => {
  const artifactOf = (rules: string): Artifact => {
    const { value } = compile({ file: sourceFile(text(rules)) });
    if (!value) throw new Error('does not compile');
    return value.artifact;
  };
  const numbers = (count: number) => Float32Array.from({ length: count }, (_, at) => ((at * 7) % 11) - 5);

  test.each(['w', 't'])('%s: numbers by group, places behind them', async (path) => {
    const artifact = artifactOf('"w", "t": nm(2, 4)');
    const tensors = { w: [5, 8], t: [8, 5], odd: [8, 6], bias: [8] };
    const file = encodeSafetensors(
      Object.entries(tensors).map(([name, shape]) => ({
        name,
        shape,
        data: numbers((shape[0] ?? 1) * (shape[1] ?? 1)),
      })),
    );
    const checkpoint = withPacker(await openCheckpoint(file), artifact);
    const spec = artifact.weights.find(({ sources }) => sources[0]?.path === path);
    if (spec?.layout.kind !== 'nm') throw new Error('not packed');
    const buffer = new ArrayBuffer(weightElements(spec) * 4);
    await fillWeight(checkpoint, spec, buffer);
    const [floats, words] = [new Float32Array(buffer), new Uint32Array(buffer)];
    const data = numbers(40);
    const at = (output: number, input: number) => data[path === 'w' ? output * 8 + input : input * 5 + output] ?? 0;
    const host = await checkpoint.packer?.host(path, undefined);
    for (let output = 0; output < 5; output++) {
      for (let group = 0; group < 2; group++) {
        const own = [0, 1, 2, 3].map((place) => ({ place, size: Math.abs(at(output, group * 4 + place)) }));
        const kept = own
          .sort((a, b) => b.size - a.size || a.place - b.place)
          .slice(0, 2)
          .map(({ place }) => place)
          .sort();
        const bits = ((words[2 * 2 * 32 + output] ?? 0) >> (group * 4)) & 15;
        expect([bits & 3, bits >> 2]).toEqual(kept);
        for (const [index, place] of kept.entries())
          expect(floats[(group * 2 + index) * 32 + output]).toBe(at(output, group * 4 + place));
        for (let place = 0; place < 4; place++) {
          const seen = host?.data[path === 'w' ? output * 8 + group * 4 + place : (group * 4 + place) * 5 + output];
          expect(seen).toBe(kept.includes(place) ? at(output, group * 4 + place) : 0);
        }
      }
    }
    await checkpoint.close();
  });
});
