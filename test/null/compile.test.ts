import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type CompileInput, compile } from '../../src/compile.ts';
import { version } from '../../src/version.ts';

const layer =
  'module Layer(width: int) {\n  weight: f32[width, width]\n\n  fn (x: f32[..., width]) = linear(x, weight)\n}\n';
const main = `import { Layer } from "./layer.sora"

dim B in 1..8

model Tiny {
  layer = Layer(4)

  entry forward(x: f32[B, 4]) -> y: f32[B, 4] = layer(x)
}
`;

function inputOf(files: Readonly<Record<string, string>>, rest: Partial<CompileInput> = {}): CompileInput {
  return {
    file: { path: 'main.sora', text: files['main.sora'] ?? '' },
    host: { readFile: (path) => files[path] },
    ...rest,
  };
}

describe('the pipeline', () => {
  test('gives every value of the way', () => {
    const { value, diagnostics } = compile(inputOf({ 'main.sora': main, 'layer.sora': layer }));
    expect(diagnostics).toEqual([]);
    expect(value?.program.weights.map((weight) => weight.path)).toEqual(['layer.weight']);
    expect(value?.kernels.gpu.entries[0]?.graph.nodes.map((node) => node.op)).toEqual(['input', 'weight', 'fused']);
    expect(value?.artifact.entries[0]?.plans.software.steps.length).toBeGreaterThan(0);
  });

  test('stops after the stage that found a mistake, with what it found', () => {
    const { value, diagnostics } = compile(
      inputOf({ 'main.sora': main.replace('layer(x)', 'layr(x)'), 'layer.sora': layer }),
    );
    expect(value).toBeUndefined();
    expect(diagnostics.map((diagnostic) => diagnostic.code)).toContain('SORA2001');
  });

  test('the fingerprint changes with the file, with an imported file and with the config, and with nothing else', () => {
    const of = (input: CompileInput) => compile(input).value?.artifact.source;
    const files = { 'main.sora': main, 'layer.sora': layer };
    const first = of(inputOf(files));
    expect(first).toMatch(/^[0-9a-f]{16}$/);
    expect(of(inputOf({ ...files, 'other.sora': 'unrelated' }))).toBe(first);
    const others = [
      of(inputOf({ ...files, 'layer.sora': `${layer}// a remark\n` })),
      of(inputOf({ ...files, 'main.sora': `${main}// a remark\n` })),
      of(inputOf(files, { config: { hidden_size: 4 } })),
    ];
    expect(new Set([first, ...others]).size).toBe(4);
    expect(of(inputOf(files, { config: { b: 1, a: [2] } }))).toBe(of(inputOf(files, { config: { a: [2], b: 1 } })));
  });

  test('the version is that of the package', () => {
    expect(JSON.parse(readFileSync('package.json', 'utf8')).version).toBe(version);
  });
});
