/**
 * Dispatches of a training step: how many there are, which kernels share one, and that a device can take what is put together.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { launchesOf } from '../../../src/codegen/plan/launches.ts';
import { evaluateSize } from '../../../src/codegen/plan/sizes.ts';
import { joinKernels } from '../../../src/codegen/wgsl/join.ts';
import type { Kernel } from '../../../src/codegen/wgsl/kernel.ts';
import { KernelWriter } from '../../../src/codegen/wgsl/writer.ts';
import { compile } from '../../../src/compile.ts';
import { GraphBuilder, type Node, onlyOutput, type Value } from '../../../src/ir/graph.ts';
import { constantDim, multiplyDims } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import type { EntryPlan, Step } from '../../../src/runtime/artifact.ts';
import { decoderText } from '../../support/decoder.ts';
import { programOf, sketch, T } from '../../support/graphs.ts';
import { sourceFile } from '../../support/language.ts';
import { compiled as compiledText } from '../../support/packed.ts';
import { compiled } from './compiled.ts';

const text = readFileSync(new URL('../../../bench/train/classifier.sora', import.meta.url), 'utf8');
const { value, diagnostics } = compile({ file: sourceFile(text, 'classifier.sora') });
if (!value) throw new Error(`${diagnostics[0]?.message}`);
const { artifact } = value;
const sizes = { B: 16, T: 64 };

function plansOf(name: string): Readonly<Record<(typeof profileNames)[number], EntryPlan>> {
  const entry = artifact.entries.find((each) => each.name === `classify:${name}`);
  if (!entry) throw new Error(`no entry ${name}`);
  return entry.plans;
}

/** Steps that run for the sizes of the benchmark. */
function stepsOf(plan: EntryPlan): readonly Step[] {
  return plan.steps.filter(({ when }) => {
    const size = when ? evaluateSize(when.value, sizes) : 0;
    return !when || (size >= when.minimum && size <= when.maximum);
  });
}

describe('a training step of the small classifier', () => {
  test.each(profileNames)('takes at most 60 dispatches, or a few more on GPUs (%s)', (profile) => {
    const counts = ['gradients', 'update'].map((name) => stepsOf(plansOf(name)[profile]).length);
    expect(counts[0] ?? 0).toBeGreaterThan(40);
    expect(counts.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(profile === 'software' ? 60 : 64);
  });

  test('updates weights and both moments in one dispatch, behind two for the norm', () => {
    expect(plansOf('update').software.steps).toHaveLength(3);
  });

  test.each(profileNames)('computes gradients of weights, inputs and biases side by side (%s)', (profile) => {
    const joined = stepsOf(plansOf('gradients')[profile]).filter(({ kernel }) => /_and_\d/.test(kernel));
    expect(joined.length).toBeGreaterThanOrEqual(10);
    // Layers are alike, so they share these kernels too.
    expect(new Set(joined.map(({ kernel }) => kernel)).size).toBeLessThan(joined.length);
  });

  test('binds what every device binds, and uses no more workgroup memory than every device has', () => {
    for (const [name, { code, bindings, params }] of Object.entries(artifact.kernels)) {
      expect(bindings.length, name).toBeLessThanOrEqual(8);
      expect(params, name).toBeLessThanOrEqual(16);
      const bytes = [...code.matchAll(/var<workgroup> \w+: array<(vec4<)?\w+>?, (\d+)>/g)].map(
        ([, vector, count]) => Number(count) * (vector ? 16 : 4),
      );
      expect(bytes.length, name).toBe([...code.matchAll(/var<workgroup>/g)].length);
      expect(
        bytes.reduce((sum, size) => sum + size, 0),
        name,
        // The tiles of a product on a GPU, the right one by fours or by elements; parts of a kernel use the same ones.
      ).toBeLessThanOrEqual(12_288);
    }
  });
});

describe('small kernels of other entries', () => {
  const x = sketch();
  const [given, state] = [x.argument('x', 'f32', [T]), x.argument('state', 'f32', [T])];
  const kernel: Kernel = {
    name: 'k',
    text: {
      code: '',
      bindings: [],
      params: [],
      source: { header: [], fields: [], variables: [], helpers: new Set(), body: [], workgroup: 32 },
    },
    groups: { factors: [{ size: constantDim(1), divisor: 1 }] },
  };
  const builder = new GraphBuilder();
  const fused = (skeleton: string, input: Value): Node =>
    builder.add('fused', [input], [input.type], { attributes: { skeleton } });
  /** Names of the nodes of each launch, when `written` nodes write in place of what they read. */
  const launched = (nodes: Readonly<Record<string, Node>>, written: readonly Node[] = []): readonly string[] => {
    const names = new Map(Object.entries(nodes).map(([name, node]) => [node, name]));
    const bufferOf = (value: Value): Value => {
      const [source] = written.includes(value.node) ? value.node.inputs : [];
      return source ? bufferOf(source) : value;
    };
    const launches = launchesOf(Object.values(nodes), () => [kernel], bufferOf, 'small');
    return launches.map(({ nodes: own }) => own.map((node) => names.get(node)).join('+'));
  };

  test('share a dispatch, contractions do not', () => {
    const nodes = {
      a: fused('map', given),
      b: fused('contraction', given),
      c: fused('row', given),
      d: fused('map', state),
    };
    expect(launched(nodes)).toEqual(['a+c+d', 'b']);
  });

  test('a selection shares one too', () => {
    expect(launched({ a: fused('row', given), b: fused('selection', given) })).toEqual(['a+b']);
  });

  test('what waits for another kernel comes behind it', () => {
    const a = fused('map', given);
    const b = fused('row', onlyOutput(a));
    expect(launched({ a, b, c: fused('map', onlyOutput(a)) })).toEqual(['a', 'b+c']);
  });

  test('what is written in place comes behind everything that touches it before', () => {
    const reader = fused('map', state);
    const update = fused('append', state);
    const again = fused('append', onlyOutput(update));
    const nodes = { first: fused('map', given), reader, update, last: fused('map', given), again };
    expect(launched(nodes, [update, again])).toEqual(['first+reader', 'update+last', 'again']);
  });
});

test('the next token takes two dispatches behind its scores', () => {
  const { artifact } = compiledText(
    `${decoderText.replace('vocab: int = 61', 'vocab: int = 610')}generate Decoder.prefill {}\n`,
  );
  const step = artifact.entries.find(({ name }) => name === artifact.generation?.step);
  const names = step?.plans.software.steps.map(({ kernel }) => kernel) ?? [];
  expect(names.slice(-2)).toEqual([expect.stringMatching(/^next_.*_and_1/), expect.stringMatching(/^next_.*_and_1/)]);
  expect(names.filter((name) => name.startsWith('next'))).toHaveLength(2);
});

describe('kernels with workgroups of their own size', () => {
  const kernelOf = (workgroup: number, body: readonly string[]): Kernel => ({
    name: `of_${workgroup}`,
    text: {
      code: '',
      bindings: [],
      params: [],
      source: { header: [], fields: [], variables: [], helpers: new Set(), body, workgroup },
    },
    groups: { factors: [{ size: constantDim(3), divisor: 1 }] },
  });
  const parts = (...kernels: Kernel[]) => kernels.map((one) => ({ kernel: one, buffers: [] }));
  const wide = kernelOf(64, ['workgroupBarrier();']);

  test('share a dispatch: lanes stand aside where a part has no work for them', () => {
    const joined = joinKernels(parts(kernelOf(8, ['let x = lane;']), wide));
    expect(joined?.kernel.text.source.workgroup).toBe(64);
    expect(joined?.kernel.text.code).toMatch(
      /if \(group < end_0\) \{\s+if \(lane < 8u\) \{\s+let x = lane;\s+\}\s+return;/,
    );
  });

  test('but not where lanes wait for each other', () => {
    expect(joinKernels(parts(kernelOf(8, ['workgroupBarrier();']), wide))).toBeUndefined();
    expect(joinKernels(parts(wide, kernelOf(64, ['workgroupBarrier();'])))).toBeDefined();
  });
});

test('loops that a software driver would unroll have ends that it does not know', () => {
  const names = new Set(
    ['gradients', 'update'].flatMap((name) => plansOf(name).software.steps.map((step) => step.kernel)),
  );
  const ends = [...names].flatMap((name) => {
    const code = artifact.kernels[name]?.code ?? '';
    return [...code.matchAll(/for \(var (\w+) = 0u; \1 < (\d+)u; \1\+\+\)/g)].map(([, , end]) => Number(end));
  });
  expect(ends.length).toBeGreaterThan(5);
  expect(ends.filter((end) => end > 4 && end <= 32)).toEqual([]);
});

test('weight gradients read both factors by four neighbours', () => {
  const s = sketch();
  const g = s.argument('g', 'f32', [T, 12]);
  const attributes = { lhs_batch: [], rhs_batch: [], lhs_contract: [0], rhs_contract: [0] };
  const dw = s.emit('dot_general', [g, s.argument('x', 'f32', [T, 8])], attributes);
  const code = Object.values(compiled(programOf(s.finish({ dw }))).value.kernels).map((kernel) => kernel.code);
  expect(code.some((text) => text.includes('g: array<vec4<f32>>') && text.includes('x: array<vec4<f32>>'))).toBe(true);
});

test('names of a kernel are its own, whatever they look like', () => {
  const writer = new KernelWriter();
  const names = ['x', 'x', 'x_2', 'x', 'x_2'].map((name) => writer.fresh(name));
  expect(new Set(names).size).toBe(5);
  const dims = [3, 1, -1, -3].map((factor) => multiplyDims(T, constantDim(factor)));
  expect(new Set(dims.map((size) => writer.dim(size))).size).toBe(dims.length);
  // One polynomial is passed once, however it was come by.
  expect(writer.dim({ terms: T.terms, key: '1*T' })).toBe(writer.dim(T));
});

test.each(['attend(a(x), b(x), c(x)) { heads: 8 }', 'a(x)'])(
  'what a value beside %s needs is a kernel of its own',
  (product) => {
    // `other` is read by a product, so it is stored, and by what follows the first one: but it does not follow from that.
    const source = `import { Linear } from "sora:nn"
dim B in 1..3, T in 2..9
model Net {
  a = Linear(16, 16)
  b = Linear(16, 16)
  c = Linear(16, 16)
  d = Linear(16, 2)
  e = Linear(16, 2)
  entry run(x: f32[B, T, 16]) -> y: f32[B, T, 2] {
    let other = log(abs(x) + 1)
    d(other) + e(${product} * other)
  }
}
`;
    const { value: own, diagnostics: found } = compile({ file: sourceFile(source) });
    expect(found.filter(({ severity }) => severity === 'error')).toEqual([]);
    const { steps = [] } = own?.artifact.entries[0]?.plans.software ?? {};
    const notes = steps
      .map(({ kernel }) => own?.artifact.kernels[kernel]?.code ?? '')
      .filter((code) => code.includes('log'));
    expect(notes.length).toBeGreaterThan(0);
    for (const code of notes) expect(code).toContain('// map: ');
  },
);
