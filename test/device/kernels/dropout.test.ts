/**
 * Dropout of a training step on every adapter: the masks of the interpreter, bit for bit, by themselves, inside of random graphs
 * and under a gradient.
 */
import { describe, expect, test } from 'vitest';
import type { Graph } from '../../../src/ir/graph.ts';
import { interpretGraph } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { differentiate } from '../../../src/passes/autodiff.ts';
import { realizeDropout, seedInput } from '../../../src/passes/training/dropout.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomNumbers, randomTensor } from '../../support/equivalence.ts';
import { B, programOf, sketch, T, testDims } from '../../support/graphs.ts';
import { randomGraph } from '../../support/random-graph.ts';
import { withDropout } from '../../support/with-dropout.ts';
import { runPlan } from './execute.ts';

const context = { ranges: testDims };
/** Every graph has kernels of its own, and drivers take their time to compile a product; in milliseconds. */
const patience = 120_000;
const seeds = (seed: number, step: number): Tensor => tensorOf('u32', [2], [seed, step], 'f64');

interface Run {
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly dims: Readonly<Record<string, number>>;
}

function interpreted({ graph, inputs, weights, dims }: Run, precision: 'f32' | 'f64'): ReadonlyMap<string, Tensor> {
  const weight = (path: string): Tensor => weights.get(path) ?? expect.fail(path);
  return interpretGraph(graph, { inputs, weight, dims: new Map(Object.entries(dims)), precision });
}

describe.each(gpuDevices)('%s', (kind) => {
  test(
    'masks have the bits of the interpreter, for every seed and step',
    async () => {
      const { device } = await testDevice(kind);
      const s = sketch();
      const x = s.argument('x', 'f32', [B, T, constantDim(3)]);
      // Read together and apart, by a product and by a sum over rows.
      const [a, b] = [0, 6].map((stream) => s.emit('dropout', [x], { p: 0.1 + stream / 20, stream }));
      if (!a || !b) return;
      const rows = s.emit('reduce', [s.emit('dropout', [x], { p: 0.5, stream: 9 })], {
        kind: 'sum',
        axes: [2],
        keep: false,
      });
      const { graph } = realizeDropout(s.finish({ a, b, both: s.emit('mul', [a, b]), rows }), context);
      const { value: artifact } = compiled(programOf(graph));
      for (const [seed, step, dims] of [
        [0, 0, { B: 1, T: 1 }],
        [1, 7, { B: 3, T: 337 }],
        [4294967295, 4294967295, { B: 2, T: 65 }],
        [2654435769, 100_000, { B: 1, T: 1024 }],
      ] as const) {
        const count = dims.B * dims.T * 3;
        const ones = tensorOf('f32', [dims.B, dims.T, 3], new Array<number>(count).fill(1), 'f32');
        const inputs = new Map([
          ['x', ones],
          [seedInput, seeds(seed, step)],
        ]);
        const run: Run = { graph, inputs, weights: new Map(), dims };
        const wanted = interpreted(run, 'f32');
        const exact = interpreted(run, 'f64');
        for (const profile of profileNames) {
          const got = await runPlan(device, artifact, {
            profile,
            dims,
            inputs,
            weight: () => expect.fail('no weights'),
          });
          for (const name of ['a', 'b']) {
            expect([...(got.get(name) ?? [])]).toEqual([...(wanted.get(name)?.data ?? [])]);
            // The oracle in f64 drops the same ones.
            const kept = [...(exact.get(name)?.data ?? [])].map((value) => value > 0);
            expect([...(got.get(name) ?? [])].map((value) => value > 0)).toEqual(kept);
          }
          for (const name of ['both', 'rows']) {
            got.get(name)?.forEach((value, at) => {
              expect(Math.abs(value - (wanted.get(name)?.data[at] ?? Number.NaN))).toBeLessThan(1e-5);
            });
          }
        }
      }
    },
    patience,
  );

  test.each(Array.from({ length: 5 }, (_, seed) => [seed]))(
    'a random graph that drops computes what the interpreter does, seed %i',
    async (seed) => {
      const { device } = await testDevice(kind);
      const { graph, fired } = realizeDropout(withDropout(randomGraph(seed, 10), seed + 100), context);
      const { value: artifact, diagnostics } = compiled(programOf(graph));
      expect(diagnostics).toEqual([]);
      const program = programOf(graph);
      const dims = { B: 2, T: 7, S: 3, N: 2 };
      const sizes = new Map(Object.entries(dims));
      const next = randomNumbers(seed);
      const weights = new Map(program.weights.map(({ path, type }) => [path, randomTensor(type, sizes, next)]));
      const inputs = new Map(
        program.entries[0]?.parameters.map(({ name, type }) => [name, randomTensor(type, sizes, next)]),
      );
      if (fired > 0) inputs.set(seedInput, seeds(3, seed));
      const wanted = interpreted({ graph, inputs, weights, dims }, 'f64');
      const weight = (path: string): Tensor => weights.get(path) ?? expect.fail(path);
      const got = await runPlan(device, artifact, { profile: 'software', dims, inputs, weight });
      for (const [name, { data }] of wanted) {
        data.forEach((value, at) => {
          const own = got.get(name)?.[at] ?? Number.NaN;
          // Dropped divisors give infinities, which devices may give as anything.
          if (!Number.isFinite(value) || Math.abs(value) > 1e6) return;
          // Chains of about ten ops in f32.
          expect(Math.abs(own - value) / (1 + Math.abs(value)), `${name}[${at}]`).toBeLessThan(2e-4);
        });
      }
    },
    patience,
  );

  test(
    'the gradient goes through what the forward part kept',
    async () => {
      const { device } = await testDevice(kind);
      const s = sketch();
      const x = s.argument('x', 'f32', [B, T, constantDim(8)]);
      const half = { axis: 2, start: constantDim(0), size: constantDim(8) };
      const y = s.emit('attention', [x, s.emit('slice', [x], half), x], {
        heads: 2,
        kv_heads: 2,
        scale: 0.5,
        causal: true,
        dropout: 0.25,
        stream: 4,
      });
      const z = s.emit('dropout', [s.emit('add', [x, y])], { p: 0.1, stream: 2 });
      const loss = s.emit('reduce', [s.emit('mul', [z, z])], { kind: 'sum', axes: [0, 1, 2], keep: false });
      const { graph: step } = realizeDropout(s.finish({ loss }), context);
      const leaf = step.inputs.find(({ attributes }) => attributes.name === 'x') ?? expect.fail('no input');
      const { graph } = differentiate(step, context, { loss: 'loss', wrt: new Map([[leaf, 'gradient']]) });
      const { value: artifact } = compiled(programOf(graph));
      const dims = { B: 2, T: 13 };
      const next = randomNumbers(5);
      const inputs = new Map([
        ['x', randomTensor(leaf.outputs[0]?.type ?? expect.fail('no type'), new Map(Object.entries(dims)), next)],
        [seedInput, seeds(17, 4)],
      ]);
      const wanted = interpreted({ graph, inputs, weights: new Map(), dims }, 'f64');
      const weight = () => expect.fail('no weights');
      const got = await runPlan(device, artifact, { profile: 'software', dims, inputs, weight });
      for (const name of ['loss', 'gradient']) {
        const { data } = wanted.get(name) ?? expect.fail(name);
        const scale = Math.max(...[...data].map(Math.abs));
        const worst = Math.max(...[...data].map((value, at) => Math.abs(value - (got.get(name)?.[at] ?? Number.NaN))));
        expect(worst / scale, name).toBeLessThan(1e-5);
      }
    },
    patience,
  );
});
