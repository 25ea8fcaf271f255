/** The text of kernels: golden files to read, and what every kernel of a model must keep to. */
import { describe, expect, test } from 'vitest';
import { identifier, kernelName } from '../../../src/codegen/wgsl/names.ts';
import { floatLiteral, literal } from '../../../src/codegen/wgsl/scalars.ts';
import type { Program, Value } from '../../../src/ir/graph.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { IMMEDIATE_DECLARATION, type ProfileName } from '../../../src/runtime/artifact.ts';
import { B, bertGraph, programOf, type Sketch, sketch, smallBert, T } from '../../support/graphs.ts';
import { compiled } from './compiled.ts';

function program(write: (s: Sketch) => Value): Program {
  const s = sketch();
  const y = write(s);
  return programOf(s.finish({ y }));
}

function gelu(s: Sketch, x: Value): Value {
  const bent = s.emit('erf', [s.emit('div', [x, s.fill(Math.SQRT2, x)])]);
  return s.emit('mul', [s.emit('mul', [x, s.fill(0.5, x)]), s.emit('add', [bent, s.fill(1, x)])]);
}

const one = constantDim(1);

const golden: Readonly<Record<string, readonly [ProfileName, (s: Sketch) => Value]>> = {
  'map-scale-and-shift': [
    'gpu',
    (s) => {
      const x = s.argument('x', 'f32', [B, T, 12]);
      return s.emit('add', [s.emit('mul', [x, x]), s.like(s.parameter('shift', [12]), x)]);
    },
  ],
  'map-lookup': ['gpu', (s) => s.emit('gather', [s.parameter('table', [100, 12]), s.argument('ids', 'i32', [B, T])])],
  'row-softmax-software': ['software', (s) => s.emit('softmax', [s.argument('x', 'f32', [B, T, T])], { axis: -1 })],
  'row-layer-norm-gpu': [
    'gpu',
    (s) => {
      const x = s.argument('x', 'f32', [B, T, 384]);
      return s.emit('layer_norm', [x, s.parameter('gain', [384]), s.parameter('shift', [384])], { eps: 1e-12 });
    },
  ],
  'contraction-linear-gelu-software': [
    'software',
    (s) => {
      const x = s.argument('x', 'f32', [B, T, 384]);
      return gelu(s, s.emit('linear', [x, s.parameter('weight', [1536, 384]), s.parameter('bias', [1536])]));
    },
  ],
  'contraction-linear-gpu': [
    'gpu',
    (s) => {
      const x = s.argument('x', 'f32', [B, T, 384]);
      return s.emit('linear', [x, s.parameter('weight', [384, 384]), s.parameter('bias', [384])]);
    },
  ],
  'attention-padding-gpu': [
    'gpu',
    (s) => {
      const q = s.argument('q', 'f32', [B, T, 64]);
      const k = s.argument('k', 'f32', [B, T, 64]);
      const v = s.argument('v', 'f32', [B, T, 64]);
      const mask = s.argument('mask', 'i32', [B, T]);
      const visible = s.emit('reshape', [s.emit('not_equal', [mask, s.fill(0, mask)])], { shape: [B, one, one, T] });
      return s.emit('attention', [q, k, v, visible], { heads: 2, kv_heads: 2, scale: 0.25, extras: ['mask'] });
    },
  ],
};

test.each(Object.entries(golden))('golden kernel %s', async (name, [profile, write]) => {
  const { value, diagnostics } = compiled(program(write));
  expect(diagnostics).toEqual([]);
  const steps = value.entries[0]?.plans[profile].steps ?? [];
  const text = steps.map((step) => value.kernels[step.kernel]?.code).join('\n');
  await expect(text).toMatchFileSnapshot(`../../golden/wgsl/${name}.wgsl`);
});

describe('kernels of an encoder', () => {
  const { value: artifact, diagnostics } = compiled(programOf(bertGraph(smallBert)));
  const kernels = Object.entries(artifact.kernels);

  test('there are no diagnostics', () => {
    expect(diagnostics).toEqual([]);
  });

  test('more layers need no more kernels', () => {
    const deeper = compiled(programOf(bertGraph({ ...smallBert, layers: 5 }))).value;
    expect(Object.keys(deeper.kernels)).toEqual(Object.keys(artifact.kernels));
  });

  test.each(kernels)('%s keeps to what every device has', (name, kernel) => {
    expect(kernel.bindings.length).toBeLessThanOrEqual(8);
    expect(kernel.params).toBeLessThanOrEqual(16);
    expect(kernel.code).not.toMatch(/\b(nan|inf|infinity|undefined|NaN)\b/i);
    expect(kernel.code.split(IMMEDIATE_DECLARATION).length - 1).toBe(kernel.params > 0 ? 1 : 0);
    expect(kernel.code.match(/@group\(0\) @binding\(\d+\)/g)?.length).toBe(kernel.bindings.length);
    expect(name).not.toMatch(/layer_\d/);
    // Private arrays with computed indices take software drivers tens of seconds to compile.
    expect(kernel.code).not.toMatch(/^\s*var \w+: array/m);
    const size = Number(/@workgroup_size\((\d+)\)/.exec(kernel.code)?.[1]);
    expect(size).toBeLessThanOrEqual(256);
  });

  test('the same program gives the same artifact', () => {
    const again = compiled(programOf(bertGraph(smallBert))).value;
    expect(JSON.stringify(again)).toBe(JSON.stringify(artifact));
  });

  test('weights of products lie in panels, tables and vectors as they are', () => {
    const layouts = new Map(artifact.weights.map((weight) => [weight.sources[0]?.path ?? '', weight.layout.kind]));
    expect(layouts.get('embeddings.word_embeddings.weight')).toBe('row-major');
    const products = [...layouts].filter(([path]) => /(dense|query)\.weight$/.test(path));
    expect(products.length).toBeGreaterThan(3);
    expect(products.every(([, layout]) => layout === 'panels')).toBe(true);
  });

  test('inputs that index a table have its range', () => {
    const inputs = artifact.entries[0]?.inputs ?? [];
    expect(inputs.find((input) => input.name === 'input_ids')?.range).toEqual([0, smallBert.vocabulary - 1]);
    expect(inputs.find((input) => input.name === 'attention_mask')?.range).toBeUndefined();
  });
});

test('a weight beyond 128 MiB that cannot be split is named', () => {
  const { diagnostics } = compiled(
    program((s) => {
      const table = s.parameter('vocabulary', [150000, 1024]);
      return s.emit('reduce', [s.emit('exp', [table])], { kind: 'sum', axes: [0], keep: false });
    }),
  );
  expect(diagnostics.map((diagnostic) => diagnostic.code)).toEqual(['SORA5002']);
  expect(diagnostics[0]?.message).toContain('`vocabulary`');
});

test('a table beyond 128 MiB is several buffers', () => {
  const { diagnostics, value } = compiled(
    program((s) => s.emit('gather', [s.parameter('vocabulary', [150000, 1024]), s.argument('ids', 'i32', [B])])),
  );
  expect(diagnostics).toEqual([]);
  expect(value.weights.map(({ first = 0, shape }) => [first, ...shape])).toEqual([
    [0, 30016, 1024],
    [30016, 30016, 1024],
    [60032, 30016, 1024],
    [90048, 30016, 1024],
    [120064, 29936, 1024],
  ]);
});

test('heads too wide for workgroup memory are written as products', () => {
  const { value, diagnostics } = compiled(
    program((s) => {
      const x = s.argument('x', 'f32', [B, T, 2048]);
      return s.emit('attention', [x, x, x], { heads: 1, kv_heads: 1, scale: 1 });
    }),
  );
  expect(diagnostics).toEqual([]);
  expect(value.entries[0]?.plans.gpu.steps.length).toBeGreaterThan(1);
});

describe('names and literals', () => {
  test.each([
    ['encoder.layer.0.attention.query', 'layer_attention_query'],
    ['layers.11', 'layers'],
    ['7', 'map'],
    ['my var', 'my_var'],
    ['fn', 'fn_'],
  ])('kernel of %s is %s', (label, name) => {
    expect(kernelName(label, 'map')).toBe(name);
  });

  test('identifiers hold no other characters than letters, digits and underscores', () => {
    for (const text of ['a*/ b', '"; evil()', 'größe', '', '__x', '9lives', 'while']) {
      expect(identifier(text)).toMatch(/^[A-Za-z][A-Za-z0-9_]*$/);
    }
  });

  test.each([
    [1, '1.0f'],
    [-0.5, '(-0.5f)'],
    [1e-12, '1e-12f'],
    [1e-40, '0.0f'],
    [Number.POSITIVE_INFINITY, '3.4028234e+38f'],
    [Number.NEGATIVE_INFINITY, '(-3.4028234e+38f)'],
  ])('float %d is written %s', (value, text) => {
    expect(floatLiteral(value)).toBe(text);
  });

  test('the least i32 is written without overflow', () => {
    expect(literal('i32', -(2 ** 31))).toBe('(-2147483647i - 1i)');
  });
});
