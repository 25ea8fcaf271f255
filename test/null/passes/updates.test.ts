/**
 * States written in place: which updates share a kernel, in which order kernels stand, and that old and new values are what
 * the graph says.
 */
import { describe, expect, test } from 'vitest';
import { planProblems } from '../../../src/codegen/plan/check.ts';
import { type Graph, GraphBuilder, type Node, type Value } from '../../../src/ir/graph.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { tensorType } from '../../../src/ir/types.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { toKernels } from '../../../src/passes/index.ts';
import { randomNumbers, randomTensor } from '../../support/equivalence.ts';
import { type Sketch, testDims } from '../../support/graphs.ts';
import { adam, runUpdates, statefulProgram, stateLeaf, updatesOf } from '../../support/updates.ts';
import { planned } from '../codegen/compiled.ts';

const context = { ranges: testDims };

function kernelsOf(graph: Graph): readonly Node[] {
  return graph.nodes.filter((node) => node.op === 'fused');
}

/** Per kernel, how many states it writes, and what it reads at all. */
function summary(graph: Graph): readonly string[] {
  return kernelsOf(graph).map((kernel) => {
    const updates = kernel.region?.results.filter(({ value }) => value.node.op === 'assign').length ?? 0;
    return `${String(kernel.attributes.skeleton)}${updates > 0 ? `, ${updates} updated` : ''}`;
  });
}

function random(node: Node, next: () => number): Tensor {
  const type = node.outputs[0]?.type;
  if (!type) throw new Error('no type');
  return randomTensor(type, new Map(), next);
}

/** Kernels of the graph, checked: legal, computing the same, planned without problems under both profiles. */
function kernelGraph(before: Graph): Graph {
  const program = statefulProgram(before);
  const stage = toKernels(program, 'software', { verify: true });
  expect(stage.diagnostics).toEqual([]);
  const graph = stage.value.entries[0]?.graph;
  if (!graph) throw new Error('no entry');
  expect(verifyGraph(graph, context, { stage: 'kernels' })).toEqual([]);

  const next = randomNumbers(11);
  const inputs = new Map(before.inputs.map((node) => [String(node.attributes.name), random(node, next)]));
  const leaves = before.nodes.filter((node) => node.op === 'state');
  const states = new Map(leaves.map((node) => [String(node.attributes.path), random(node, next)]));
  const wanted = runUpdates(before, { inputs, states }, new Map());
  const given = runUpdates(graph, { inputs, states }, new Map());
  expect(given).toEqual(wanted);

  const plans = planned(program);
  expect(plans.diagnostics).toEqual([]);
  for (const profile of profileNames) {
    const own = plans.value.entries[0]?.planned[profile];
    if (!own) throw new Error('no plan');
    expect(planProblems(own.plan, own.meanings({}), {})).toEqual([]);
  }
  return graph;
}

const shapes = (write: (s: Sketch) => Readonly<Record<string, Value>>) => summary(kernelGraph(updatesOf(write)));

function change(s: Sketch, state: Value, by: Value): Value {
  return s.emit('assign', [state, s.emit('sub', [state, by])]);
}

describe('updates share a kernel', () => {
  test('weights and moments of Adam: three states, one dispatch', () => {
    const graph = kernelGraph(updatesOf((s) => ({ w: s.emit('reduce', [adam(s, 12).w], total) })));
    expect(summary(graph)).toEqual(['row', 'map, 3 updated', 'row']);
    const [, update] = kernelsOf(graph);
    expect(new Set(update?.inputs).size).toBeLessThanOrEqual(6);
  });

  test('of one shape, whatever order they stand in', () => {
    const result = shapes((s) => {
      const [a, b, c] = ['a', 'b', 'c'].map((path) => stateLeaf(s, path, [8]));
      if (!a || !b || !c) throw new Error('three leaves');
      const x = s.argument('x', 'f32', [8]);
      const b1 = change(s, b, x);
      change(s, c, s.emit('mul', [b1, a]));
      change(s, a, s.emit('mul', [b1, c]));
      return {};
    });
    expect(result).toEqual(['map, 3 updated']);
  });

  test('but not when there is more than a kernel can bind: the last one is left out', () => {
    const result = shapes((s) => {
      const x = s.argument('x', 'f32', [8]);
      for (let at = 0; at < 8; at++) change(s, stateLeaf(s, `s${at}`, [8]), x);
      return {};
    });
    expect(result).toEqual(['map, 7 updated', 'map, 1 updated']);
  });

  test('but not when they have nothing to do with each other', () => {
    const result = shapes((s) => {
      const rate = s.argument('rate', 'f32', [1]);
      for (let at = 0; at < 2; at++) change(s, stateLeaf(s, `s${at}`, [8]), s.like(rate, stateLeaf(s, `t${at}`, [8])));
      return {};
    });
    expect(result).toEqual(['map, 1 updated', 'map, 1 updated']);
  });

  test('but not of other shapes', () => {
    const result = shapes((s) => {
      const x = s.argument('x', 'f32', [8]);
      change(s, stateLeaf(s, 'a', [8]), x);
      change(s, stateLeaf(s, 'b', [2, 4]), s.emit('reshape', [x], { shape: [2, 4].map(constantDim) }));
      return {};
    });
    expect(result).toEqual(['map, 1 updated', 'map, 1 updated']);
  });

  test('but not across a sum of what one of them wrote', () => {
    const result = shapes((s) => {
      const a1 = change(s, stateLeaf(s, 'a', [8]), s.argument('x', 'f32', [8]));
      const sum = s.emit('reduce', [a1], { ...total, keep: true });
      change(s, stateLeaf(s, 'b', [8]), s.like(sum, a1));
      return {};
    });
    expect(result).toEqual(['map, 1 updated', 'row', 'map, 1 updated']);
  });

  test('but not when somebody must see one of them changed and the other not yet', () => {
    const result = shapes((s) => {
      const [a, b] = [stateLeaf(s, 'a', [8]), stateLeaf(s, 'b', [8])];
      const x = s.argument('x', 'f32', [8]);
      const a1 = change(s, a, x);
      const between = s.emit('reduce', [s.emit('mul', [a1, b])], total);
      change(s, b, x);
      return { between };
    });
    expect(result).toEqual(['map, 1 updated', 'row', 'map, 1 updated']);
  });

  test('but not around a kernel that they share with others', () => {
    const result = shapes((s) => {
      const [a, c] = [stateLeaf(s, 'a', [8]), stateLeaf(s, 'c', [8])];
      const [p, q] = [stateLeaf(s, 'p', [4]), stateLeaf(s, 'q', [4])];
      const turn = (value: Value, size: number) =>
        s.like(s.emit('reduce', [value], { ...total, keep: true }), size === 8 ? a : p);
      const [x, y] = [s.argument('x', 'f32', [8]), s.argument('y', 'f32', [4])];
      const a1 = change(s, a, x);
      change(s, p, s.emit('mul', [turn(a1, 4), y]));
      const q1 = change(s, q, y);
      change(s, c, s.emit('mul', [turn(q1, 8), x]));
      return {};
    });
    // p and q share a kernel behind a; so c, behind q, may not share one with a.
    expect(result).toEqual(['map, 1 updated', 'row', 'map, 2 updated', 'row', 'map, 1 updated']);
  });
});

const total = { kind: 'sum', axes: [0], keep: false } as const;

describe('old values', () => {
  test('are read at the own index only: what turns a state around is stored first', () => {
    const result = shapes((s) => {
      const a = stateLeaf(s, 'a', [4, 4]);
      const turned = s.emit('transpose', [a], { permutation: [1, 0] });
      change(s, a, s.emit('mul', [turned, turned]));
      return {};
    });
    expect(result).toEqual(['map', 'map, 1 updated']);
  });

  test('are read from the state before it is overwritten, though the reader stands behind', () => {
    const result = shapes((s) => {
      const a = stateLeaf(s, 'a', [8]);
      change(s, a, s.argument('x', 'f32', [8]));
      return { old: s.emit('reduce', [a], total), same: a };
    });
    expect(result).toEqual(['map', 'row', 'map, 1 updated']);
  });

  test('are copied for a reader that needs the new values too', () => {
    const result = shapes((s) => {
      const a = stateLeaf(s, 'a', [8]);
      const a1 = change(s, a, s.argument('x', 'f32', [8]));
      const fresh = s.like(s.emit('reduce', [a1], { ...total, keep: true }), a);
      return { both: s.emit('mul', [fresh, a]), next: a1 };
    });
    expect(result).toEqual(['map', 'map, 1 updated', 'row']);
  });

  test('are copied when two states wait for each other', () => {
    const result = shapes((s) => {
      const [a, b] = [stateLeaf(s, 'a', [8]), stateLeaf(s, 'b', [4])];
      const a1 = change(s, a, s.argument('x', 'f32', [8]));
      const b1 = change(s, b, s.argument('y', 'f32', [4]));
      const sum = (value: Value) => s.emit('reduce', [value], total);
      return { left: s.emit('mul', [sum(a1), sum(b)]), right: s.emit('mul', [sum(b1), sum(a)]) };
    });
    expect(result.filter((line) => line === 'map, 1 updated')).toHaveLength(2);
  });
});

describe('the verifier refuses', () => {
  const type = tensorType('f32', [4, 4]);
  const region = (write: (state: Value, builder: GraphBuilder) => Value): Graph => {
    const builder = new GraphBuilder();
    const state = builder.input('i0', type);
    const value = write(state, builder);
    const [output] = builder.add('assign', [state, value], [type]).outputs;
    return builder.finish('region', output ? [{ name: 'o0', value: output }] : []);
  };
  const problems = (body: Graph, isLate = false): string => {
    const builder = new GraphBuilder();
    const [state] = builder.add('state', [], [type], { attributes: { path: 'a' } }).outputs;
    if (!state) throw new Error('no leaf');
    const options = { attributes: { skeleton: 'map' }, region: body };
    builder.add('fused', [state], [type], options);
    if (isLate) builder.add('fused', [state], [type], options);
    return verifyGraph(builder.finish('test', []), context, { stage: 'kernels' }).join('\n');
  };

  test('a kernel that reads what it overwrites at another index', () => {
    const turned = (state: Value, builder: GraphBuilder): Value => {
      const attributes = { permutation: [1, 0] };
      return builder.add('transpose', [state], [type], { attributes }).outputs[0] ?? state;
    };
    expect(problems(region(turned))).toContain('at another index');
    expect(problems(region((state) => state))).toBe('');
  });

  test('a reader of the old value behind the update', () => {
    expect(
      problems(
        region((state) => state),
        true,
      ),
    ).toContain('has overwritten');
  });
});

test('states that are given one value keep one each', () => {
  const graph = updatesOf((s) => {
    const x = s.argument('x', 'f32', [3]);
    s.emit('assign', [stateLeaf(s, 'a', [3]), x]);
    const b = stateLeaf(s, 'b', [3]);
    s.emit('assign', [b, s.emit('assign', [stateLeaf(s, 'c', [3]), x])]);
    return {};
  });
  const vector = (...values: number[]) => tensorOf('f32', [3], values, 'f64');
  const states = new Map(['a', 'b', 'c'].map((path) => [path, vector(0, 0, 0)]));
  const ran = runUpdates(graph, { inputs: new Map([['x', vector(1, 2, 3)]]), states }, new Map());
  for (const path of states.keys()) expect([...(ran.states.get(path)?.data ?? [])]).toEqual([1, 2, 3]);
});
