import { describe, expect, test } from 'vitest';
import { planProblems } from '../../../src/codegen/plan/check.ts';
import { evaluateSize, groupsOf, sizeOf } from '../../../src/codegen/plan/sizes.ts';
import { SlotAllocator } from '../../../src/codegen/plan/slots.ts';
import type { Program } from '../../../src/ir/graph.ts';
import { addDims, constantDim, multiplyDims, symbolDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import type { Step } from '../../../src/runtime/artifact.ts';
import { decoder } from '../../support/decoder.ts';
import { B, bertGraph, programOf, sketch, smallBert, T, testDims } from '../../support/graphs.ts';
import { planned } from './compiled.ts';

/** Results that are inputs, that stand twice, that are read again. */
function awkward(): Program {
  const s = sketch();
  const x = s.argument('x', 'f32', [B, T, 8]);
  const doubled = s.emit('add', [x, x]);
  const soft = s.emit('softmax', [doubled], { axis: -1 });
  const again = s.emit('mul', [soft, doubled]);
  return programOf(s.finish({ doubled, soft, again, twice: again, same: x }));
}

/** Two attentions of one query each: kernels of both profiles hand partials on. */
function fewQueries(): Program {
  const s = sketch();
  const one = s.argument('x', 'f32', [B, constantDim(1), 16]);
  const keys = s.argument('keys', 'f32', [B, T, 16]);
  const attributes = { heads: 2, kv_heads: 1, scale: 0.5, causal: true, window: 4 };
  const short = s.emit('slice', [keys], { axis: 2, start: constantDim(0), size: constantDim(8) });
  const first = s.emit('attention', [one, short, short], attributes);
  return programOf(s.finish({ y: s.emit('attention', [first, short, short], attributes) }));
}

const programs: Readonly<Record<string, () => Program>> = {
  bert: () => programOf(bertGraph(smallBert)),
  awkward,
  fewQueries,
};

describe.each(Object.keys(programs))('plan of %s', (name) => {
  const stage = planned(programs[name]?.() ?? awkward());

  test.each(profileNames)('holds what every step reads, under profile %s', (profile) => {
    expect(stage.diagnostics).toEqual([]);
    for (const { planned: plans } of stage.value.entries) {
      for (const dims of [
        { B: 1, T: 1 },
        { B: 3, T: 7 },
        { B: 1, T: 129 },
      ]) {
        const { plan, meanings } = plans[profile];
        expect(planProblems(plan, meanings(dims), dims)).toEqual([]);
      }
    }
  });

  test.each(profileNames)('is refused when two scratch buffers are swapped for one, under profile %s', (profile) => {
    const own = stage.value.entries[0]?.planned[profile];
    if (!own) throw new Error('no entry');
    const dims = { B: 2, T: 5 };
    const meanings = own.meanings(dims);
    // Every write goes to the buffer of the step before: something must be lost.
    const target = meanings[0]?.writes[0]?.buffer ?? 0;
    const broken = meanings.map((meaning) => ({
      ...meaning,
      writes: meaning.writes.map((write) => ({ ...write, buffer: target })),
    }));
    expect(planProblems(own.plan, broken, dims)).not.toEqual([]);
  });
});

test.each(profileNames)(
  'one query is the work of two kernels with memory between them, under profile %s',
  (profile) => {
    const own = planned(fewQueries()).value.entries[0]?.planned[profile];
    const steps = own?.plan.steps.map((step) => step.kernel) ?? [];
    expect(steps.map((name) => /split|combine/.exec(name)?.[0])).toEqual(['split', 'combine', 'split', 'combine']);
    const meanings = own?.meanings({ B: 3, T: 2 }) ?? [];
    // 3 rows, 2 heads, a vector of statistics and two of the mixture, per split.
    const perSplit = 3 * 2 * 3 * 16;
    expect(meanings[0]?.writes).toEqual(meanings[1]?.reads);
    expect((meanings[0]?.writes[0]?.bytes ?? 0) % perSplit).toBe(0);
  },
);

test('scratch buffers of a deep encoder do not grow with its layers', () => {
  const scratch = (layers: number) =>
    planned(programOf(bertGraph({ ...smallBert, layers }))).value.entries[0]?.planned.software.plan.buffers.filter(
      (buffer) => buffer.kind === 'scratch',
    ).length;
  expect(scratch(4)).toBe(scratch(2));
});

describe('slots', () => {
  const bytes = (count: number) => multiplyDims(T, constantDim(count));

  test('a freed slot of the same size is taken again', () => {
    const slots = new SlotAllocator(testDims);
    const first = slots.take(bytes(4));
    const second = slots.take(bytes(8));
    slots.release(first);
    slots.release(second);
    expect(slots.take(bytes(8))).toBe(second);
    expect(slots.take(bytes(4))).toBe(first);
  });

  test('a slot that must serve incomparable sizes has the greater of both', () => {
    const slots = new SlotAllocator(testDims);
    slots.release(slots.take(multiplyDims(T, T)));
    expect(slots.take(bytes(100))).toBe(0);
    const [size = 0] = slots.sizes();
    expect([1, 10, 100, 1000].map((t) => evaluateSize(size, { T: t }))).toEqual([100, 1000, 10000, 1000000]);
  });
});

test('numbers of workgroups round up factor by factor', () => {
  const size = groupsOf({
    factors: [
      { size: multiplyDims(symbolDim('B'), T), divisor: 8 },
      { size: constantDim(1152), divisor: 64 },
    ],
  });
  expect(evaluateSize(size, { B: 3, T: 3 })).toBe(2 * 18);
  expect(sizeOf(addDims(T, constantDim(-1)))).toEqual(['+', 'T', -1]);
});

describe('plans with states', () => {
  const { program, artifact } = decoder();
  const dims = { B: 2, T: 5, past: 7, slack: 4 };

  test.each(profileNames)('hold what every step reads, and write each state once, under profile %s', (profile) => {
    const stage = planned(program);
    expect(stage.diagnostics).toEqual([]);
    for (const { entry, planned: plans } of stage.value.entries) {
      const { plan, meanings } = plans[profile];
      expect(planProblems(plan, meanings(dims), dims)).toEqual([]);
      const states = plan.buffers.flatMap((spec, at) => (spec.kind === 'state' ? [at] : []));
      expect(states).toHaveLength(entry.steps === undefined ? 0 : 4);
      const writes = meanings(dims).flatMap((meaning) => meaning.writes.map(({ buffer }) => buffer));
      for (const state of states) expect(writes.filter((buffer) => buffer === state)).toHaveLength(1);
    }
  });

  test('are refused when a state is read before it is written, or written twice', () => {
    const own = planned(program).value.entries[0]?.planned.software;
    if (!own) throw new Error('no entry');
    const { plan, meanings } = own;
    const isState = (buffer: number) => plan.buffers[buffer]?.kind === 'state';
    const later = meanings(dims).map((meaning) => ({
      ...meaning,
      reads: meaning.reads.map((read) => (isState(read.buffer) ? { ...read, value: 'another' } : read)),
    }));
    expect(planProblems(plan, later, dims).join()).toContain('which holds');
    const first = plan.buffers.findIndex((spec) => spec.kind === 'state');
    const twice = meanings(dims).map((meaning) => ({
      ...meaning,
      writes: meaning.writes.map((write) => (isState(write.buffer) ? { ...write, buffer: first } : write)),
    }));
    expect(planProblems(plan, twice, dims).join()).toContain('again');
  });

  test('share their kernels between layers, and keys, values and rotated queries of a layer share a dispatch', () => {
    for (const profile of profileNames) {
      const { steps = [], buffers = [] } =
        artifact.entries.find(({ name }) => name === 'prefill')?.plans[profile] ?? {};
      const writes = ({ kernel, buffers: bound }: Step) =>
        bound.filter((at, place) => buffers[at]?.kind === 'state' && artifact.kernels[kernel]?.bindings[place] === 'w');
      const appends = steps.filter((step) => writes(step).length > 0).map(({ kernel }) => kernel);
      expect(appends).toHaveLength(2);
      for (const kernel of appends) expect(kernel).toMatch(/_and_1(_gpu)?(_\d+)?$/);
      expect(new Set(appends).size).toBe(1);
    }
  });

  test('show callers no hidden input', () => {
    for (const entry of artifact.entries) expect(entry.inputs.map(({ name }) => name)).toEqual(['ids']);
    expect(artifact.states?.map(({ path }) => path)).toEqual([
      ...['layers.0.kv.key', 'layers.0.kv.value', 'layers.1.kv.key', 'layers.1.kv.value'],
    ]);
  });
});
