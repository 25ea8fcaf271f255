/**
 * One query per row on a cache, with every modifier: kernels of both profiles against the interpreter in f64. Keys of the GPU's
 * profile come in splits; lengths lie around the sizes of blocks and shares.
 */
import { describe, expect, test } from 'vitest';
import { entryNamed, interpretGraph } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { type ProfileName, profileNames } from '../../../src/ir/target.ts';
import { compiled } from '../../null/codegen/compiled.ts';
import { lowered } from '../../null/lower/kit.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { cached, generator, inputOf, type Sizes, shapes, textOf, tolerance, worst } from './attend-cases.ts';
import { runPlan } from './execute.ts';

const positions = 1024;
const noWeights = (): never => {
  throw new Error('no weights here');
};

type Case = ReturnType<typeof caseOf>;

interface Wanted {
  readonly y: Tensor;
  readonly after: ReadonlyMap<string, Tensor>;
}

/** A model on which one step is taken: what rows hold, and what the interpreter says. */
function caseOf(modifier: string, sizes: Sizes, uses = '') {
  const program = lowered(textOf(modifier, sizes, positions) + uses);
  const { value: artifact, diagnostics } = compiled(program);
  expect(describeDiagnostics(diagnostics)).toEqual([]);
  return { program, artifact };
}

/** Keys and values for rows that hold different numbers of positions, `past` at most; numbers behind them are never read. */
function stepOf({ program }: Case, past: number, spoil?: (states: Float32Array, width: number) => void) {
  // Numbers that f16 holds, too: the interpreter rounds nothing in f64.
  const random = generator(past + 5);
  const next = () => Math.round(random() * 256) / 256;
  const session = program.session ?? { past: '', slack: '' };
  const dims = { B: past > 300 ? 1 : 3, [session.past]: past, [session.slack]: 2 };
  const known = new Map<string, number>(Object.entries(dims));
  const [rows] = [dims.B];
  const offsets = Int32Array.from({ length: rows }, (_, row) => Math.floor(past / (row + 1)));
  const sized = new Map([...known, ['past', past]]);
  const inputs = new Map<string, Tensor>(
    (program.entries[0]?.parameters ?? []).map(({ name, type, role }) => [
      name,
      role === 'past' ? { dtype: 'i32', shape: [rows], data: offsets } : inputOf(type, sized, next),
    ]),
  );
  const states = new Map(
    program.states.map(({ path, dtype, width }): [string, Tensor] => {
      const shape = [rows, past + 3, width];
      const data = Float32Array.from({ length: rows * (past + 3) * width }, next);
      spoil?.(data, width);
      return [path, { dtype, shape, data }];
    }),
  );
  return { dims, known, inputs, states };
}

/** The result, and what the states hold afterwards, from the interpreter. */
function wanted({ program }: Case, { known, inputs, states }: ReturnType<typeof stepOf>): Wanted {
  const read = (path: string) => states.get(path) ?? noWeights();
  const after = new Map<string, Tensor>();
  const write = (path: string, tensor: Tensor) => void after.set(path, tensor);
  const holder = { read, write };
  const graph = entryNamed(program, 'run').graph;
  const options = { inputs, weight: noWeights, precision: 'f64', dims: known, states: holder } as const;
  return { y: interpretGraph(graph, options).get('y') ?? noWeights(), after };
}

describe.skipIf(gpuDevices.length > 0)('decoding', () => {
  test.skip('skipped: no adapter here; `npx sorac gpu install` brings one', () => {});
});

const all = Boolean(process.env.SORAC_ALL_SHAPES);
/** None before, one less and one more than a block, more than the splits of few blocks. */
const pasts = [0, 1, 62, 63, 64, 130, 700];
const cases = Object.entries({ plain: '', ...cached }).flatMap(([name, modifier], at) => {
  if (all) return shapes.map((sizes) => ({ name, modifier, sizes, lengths: pasts }));
  const sizes = shapes[at % shapes.length] as Sizes;
  return [{ name, modifier, sizes, lengths: [0, pasts[1 + (at % 5)] ?? 0, 700] }];
});

describe.each(gpuDevices)('one query per row on %s', (kind) => {
  test.each(cases)(
    '$name, $sizes.heads heads of $sizes.width, $sizes.kv of keys',
    async ({ modifier, sizes, lengths }) => {
      const { device } = await testDevice(kind);
      const made = caseOf(modifier, sizes);
      for (const past of lengths) {
        const step = stepOf(made, past);
        const want = wanted(made, step);
        for (const profile of profileNames) {
          const got = await runPlan(device, made.artifact, { profile, weight: noWeights, ...step });
          expect(worst(got.get('y'), want.y), `${profile}, ${past} before`).toBeLessThanOrEqual(tolerance);
          expect(want.after.size).toBe(2);
          for (const [path, state] of want.after)
            expect(worst(got.get(`state:${path}`), state), `${path}, ${profile}, ${past} before`).toBeLessThanOrEqual(
              tolerance,
            );
        }
      }
    },
    240_000,
  );

  test.each([
    ['causal', 'mask: causal', { width: 64, heads: 12, kv: 3 }],
    ['causal, no multiple of four', 'mask: causal', { width: 18, heads: 3, kv: 1 }],
    ['a window', 'mask: causal and window(100)', { width: 128, heads: 3, kv: 1 }],
  ] as const)('%s on a cache in f16', async (_name, modifier, sizes) => {
    const { device } = await testDevice(kind);
    const made = caseOf(modifier, sizes, '\nquantize Test {\n  state "**.kv": f16\n}\n');
    for (const past of [0, 63, 700]) {
      const step = stepOf(made, past);
      const want = wanted(made, step);
      for (const profile of profileNames) {
        const got = await runPlan(device, made.artifact, { profile, weight: noWeights, ...step });
        expect(worst(got.get('y'), want.y), `${profile}, ${past} before`).toBeLessThanOrEqual(tolerance);
      }
    }
  });

  /** Whatever is multiplied with NaN is NaN, weights of 0 too: only keys that nobody looks at may be it. */
  test.each([
    ['a window', 'mask: causal and window(100)', 100, ['gpu', 'software']],
    ['a span', 'mask: causal, span: adaptive(slope * 0 + 30, ramp: 10)', 40, ['gpu', 'software']],
  ] as const)('%s bounds the loop over keys', async (_name, modifier, seen, profiles: readonly ProfileName[]) => {
    const { device } = await testDevice(kind);
    const made = caseOf(modifier, { width: 40, heads: 2, kv: 1 });
    const past = 700;
    // Blocks of the GPU's kernel begin at the first key that is seen.
    const step = stepOf(made, past, (states, width) => states.fill(Number.NaN, 0, (past - seen) * width));
    const clean = stepOf(made, past, (states, width) => states.fill(0, 0, (past - seen) * width));
    const want = wanted(made, clean);
    for (const profile of profiles) {
      const steps = made.artifact.entries[0]?.plans[profile].steps.map(({ kernel }) => kernel) ?? [];
      expect(steps.some((name) => name.includes('split'))).toBe(true);
      const got = await runPlan(device, made.artifact, { profile, weight: noWeights, ...step });
      expect(worst(got.get('y'), want.y), profile).toBeLessThanOrEqual(tolerance);
    }
  });

  test('gives the same bits every time', async () => {
    const { device } = await testDevice(kind);
    const made = caseOf('mask: causal', { width: 64, heads: 12, kv: 3 });
    const step = stepOf(made, 700);
    const run = async () =>
      (await runPlan(device, made.artifact, { profile: 'gpu', weight: noWeights, ...step })).get('y');
    expect(await run()).toEqual(await run());
  });
});
