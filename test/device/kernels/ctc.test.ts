/**
 * The loss of label sequences on every adapter: loss and gradient against the f64 interpreter, over one frame and many, states
 * fewer and more than lanes, rows whose labels do not fit.
 */
import { describe, expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import { GraphBuilder } from '../../../src/ir/graph.ts';
import { interpretGraph } from '../../../src/ir/interpret.ts';
import { ctcLoss } from '../../../src/ir/loss-ctc.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { symbolDim } from '../../../src/ir/symbolic.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { tensorType } from '../../../src/ir/types.ts';
import { differentiate } from '../../../src/passes/autodiff.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { randomNumbers } from '../../support/equivalence.ts';
import { B, programOf, T } from '../../support/graphs.ts';
import { runPlan } from './execute.ts';

const classes = 7;
/** Products and a recurrence are compiled anew; milliseconds. */
const patience = 120_000;

const ranges = new Map([
  ['B', { minimum: 1, maximum: 16, multiple: 1 }],
  ['T', { minimum: 1, maximum: 512, multiple: 1 }],
  ['S', { minimum: 1, maximum: 100, multiple: 1 }],
]);

const emitter = createEmitter(new GraphBuilder(), { ranges });
const logits = emitter.input('logits', tensorType('f32', [B, T, classes]));
const target = emitter.input('target', tensorType('i32', [B, symbolDim('S')]));
const inputLengths = emitter.input('lengths', tensorType('i32', [B]));
const loss = ctcLoss(emitter, { logits, target, inputLengths });

describe.each(gpuDevices)('%s', (kind) => {
  test.each([
    { B: 1, T: 1, S: 1 },
    { B: 3, T: 13, S: 4 },
    { B: 2, T: 129, S: 50 },
    { B: 4, T: 40, S: 33 },
  ])(
    'B $B, T $T, S $S',
    async (dims) => {
      const { device } = await testDevice(kind);
      const graph = emitter.builder.finish('loss', [{ name: 'loss', value: loss }]);
      const leaf = graph.inputs[0] ?? expect.fail('no input');
      const step = differentiate(graph, { ranges }, { loss: 'loss', wrt: new Map([[leaf, 'gradient']]) }).graph;
      const { value: artifact, diagnostics } = compiled({ ...programOf(step), dims: ranges });
      expect(diagnostics).toEqual([]);
      const next = randomNumbers(dims.T);
      const whole = (shape: readonly number[], make: (at: number) => number): Tensor =>
        tensorOf(
          'i32',
          shape,
          Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => make(at)),
          'f64',
        );
      // Some rows are shorter, and some have more labels than frames.
      const counts = Array.from({ length: dims.B }, (_, row) => Math.max(0, dims.S - row));
      const inputs = new Map<string, Tensor>([
        [
          'logits',
          tensorOf(
            'f32',
            [dims.B, dims.T, classes],
            Array.from({ length: dims.B * dims.T * classes }, () => 4 * next() - 2),
            'f64',
          ),
        ],
        [
          'target',
          whole([dims.B, dims.S], (at) =>
            at % dims.S < (counts[Math.floor(at / dims.S)] ?? 0) ? 1 + Math.floor((classes - 1) * next()) : -100,
          ),
        ],
        ['lengths', whole([dims.B], (row) => Math.max(1, dims.T - row))],
      ]);
      const weight = () => expect.fail('no weights');
      const wanted = interpretGraph(step, { inputs, weight, dims: new Map(Object.entries(dims)), precision: 'f64' });
      for (const profile of profileNames) {
        const got = await runPlan(device, artifact, { profile, dims, inputs, weight });
        const { data: own } = wanted.get('loss') ?? expect.fail('no loss');
        // A sum of hundreds of logarithms in f32.
        expect(Math.abs((got.get('loss')?.[0] ?? Number.NaN) - (own[0] ?? 0))).toBeLessThan(2e-5 * (1 + (own[0] ?? 0)));
        const { data } = wanted.get('gradient') ?? expect.fail('no gradient');
        const scale = Math.max(...[...data].map(Math.abs), 1e-6);
        const worst = Math.max(...[...data].map((value, at) => Math.abs(value - (got.get('gradient')?.[at] ?? 1e9))));
        // Shares are exponentials of differences of such sums: their error is that of the sums, some 5e-5.
        expect(worst / scale, profile).toBeLessThan(3e-4);
      }
    },
    patience,
  );
});
