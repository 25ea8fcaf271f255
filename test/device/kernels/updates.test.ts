/**
 * States written in place by kernels, on every adapter, against the interpreter: values and what the states hold afterwards.
 */
import { describe, expect, test } from 'vitest';
import type { Graph } from '../../../src/ir/graph.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomNumbers, randomTensor } from '../../support/equivalence.ts';
import { adam, runUpdates, statefulProgram, stateLeaf, updatesOf } from '../../support/updates.ts';
import { runPlan } from './execute.ts';

const sum = { kind: 'sum', axes: [0], keep: true } as const;

const graphs: Readonly<Record<string, () => Graph>> = {
  ...Object.fromEntries(
    [1, 3, 64, 1027, 4096].map((count) => [`Adam over ${count}`, () => updatesOf((s) => ({ w: adam(s, count).w }))]),
  ),
  'Adam over two groups': () => updatesOf((s) => ({ a: adam(s, 8, '_a').m, b: adam(s, 8, '_b').w, c: adam(s, 5).v })),
  'values beside sums of old and new': () =>
    updatesOf((s) => {
      const a = stateLeaf(s, 'a', [7, 3]);
      const x = s.argument('x', 'f32', [7, 3]);
      const old = s.emit('reduce', [a], { ...sum, axes: [0, 1] });
      const next = s.emit('assign', [a, s.emit('mul', [a, s.emit('add', [a, x])])]);
      const fresh = s.emit('reduce', [next], { ...sum, axes: [0, 1] });
      return {
        next,
        both: s.emit('sub', [fresh, old]),
        turned: s.emit('transpose', [next], { permutation: [1, 0] }),
        a,
      };
    }),
  'a state turned around': () =>
    updatesOf((s) => {
      const a = stateLeaf(s, 'a', [5, 5]);
      const turned = s.emit('transpose', [a], { permutation: [1, 0] });
      s.emit('assign', [a, s.emit('sub', [turned, a])]);
      return {};
    }),
  'states that change places': () =>
    updatesOf((s) => {
      const [a, b] = [stateLeaf(s, 'a', [12]), stateLeaf(s, 'b', [12])];
      s.emit('assign', [a, b]);
      s.emit('assign', [b, a]);
      return {};
    }),
  'integers and booleans': () =>
    updatesOf((s) => {
      const count = stateLeaf(s, 'count', [6], 'i32');
      const seen = stateLeaf(s, 'seen', [6], 'bool');
      const given = s.argument('given', 'bool', [6]);
      s.emit('assign', [seen, s.emit('or', [seen, given])]);
      s.emit('assign', [count, s.emit('add', [count, s.emit('cast', [given], { dtype: 'i32' })])]);
      return {};
    }),
  'a row of a product': () =>
    updatesOf((s) => {
      const a = stateLeaf(s, 'a', [3, 4]);
      const x = s.argument('x', 'f32', [4, 4]);
      const attributes = { lhs_batch: [], rhs_batch: [], lhs_contract: [1], rhs_contract: [0] };
      const y = s.emit('assign', [a, s.emit('dot_general', [a, x], attributes)]);
      return { first: s.emit('slice', [y], { axis: 0, start: constantDim(1), size: constantDim(1) }) };
    }),
};

function given(graph: Graph, ops: readonly string[]): ReadonlyMap<string, Tensor> {
  const next = randomNumbers(5);
  return new Map(
    graph.nodes.flatMap((node): [string, Tensor][] => {
      const type = node.outputs[0]?.type;
      if (!ops.includes(node.op) || !type) return [];
      const tensor = randomTensor(type, new Map(), next);
      const path = String(node.attributes.path ?? node.attributes.name);
      // Second moments are squares, and rates of a first step are not negative.
      const isSquare = path.startsWith('v') || path.startsWith('rates');
      return [[path, isSquare ? { ...tensor, data: tensor.data.map(Math.abs) as Tensor['data'] } : tensor]];
    }),
  );
}

/** Of values of order one, a few units in the last place. */
const tolerance = 4e-6;

function expectNear(actual: ArrayLike<number>, wanted: ArrayLike<number>): void {
  expect(actual).toHaveLength(wanted.length);
  for (let at = 0; at < wanted.length; at++) {
    const value = wanted[at] ?? Number.NaN;
    expect(Math.abs((actual[at] ?? Number.NaN) - value)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(value)));
  }
}

describe.each(gpuDevices)('on %s', (kind) => {
  test.each(Object.keys(graphs))('%s', async (name) => {
    const { device } = await testDevice(kind);
    const graph = graphs[name]?.();
    if (!graph) throw new Error('no graph');
    const program = statefulProgram(graph);
    const [inputs, states] = [given(graph, ['input']), given(graph, ['state'])];
    const wanted = runUpdates(graph, { inputs, states }, new Map());
    const stage = compiled(program);
    expect(stage.diagnostics).toEqual([]);
    for (const profile of profileNames) {
      const weight = () => {
        throw new Error('no weights');
      };
      const results = await runPlan(device, stage.value, { profile, dims: {}, inputs, weight, states });
      for (const [result, tensor] of wanted.results) expectNear(results.get(result) ?? [], tensor.data);
      for (const { path } of program.states) {
        expectNear(results.get(`state:${path}`) ?? [], wanted.states.get(path)?.data ?? []);
      }
    }
  });
});
