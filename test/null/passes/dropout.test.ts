/**
 * Dropout of a training step: what the pass writes, which elements go, what becomes of gradients and of attention, and that
 * nobody who is not trained sees any of it.
 */
import { describe, expect, test } from 'vitest';
import type { Graph, Program } from '../../../src/ir/graph.ts';
import { interpretGraph } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { canonicalize } from '../../../src/passes/canonicalize.ts';
import { addTraining } from '../../../src/passes/index.ts';
import { freshStreams, mixedStream, realizeDropout, seedInput } from '../../../src/passes/training/dropout.ts';
import { randomNumbers, randomTensor } from '../../support/equivalence.ts';
import { B, programOf, T, testDims } from '../../support/graphs.ts';
import { randomGraph } from '../../support/random-graph.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';
import { factorsOf, isKept, withDropout, withMasks } from '../../support/with-dropout.ts';
import { compiled } from '../codegen/compiled.ts';
import { floats, noRanges, randomTensor as numbers, runGraph } from '../ir/support.ts';
import { lowered } from '../lower/kit.ts';
import { gradientsOf, worstGap } from './gradients.ts';
import { bodyOf, graphOf } from './support.ts';

const context = { ranges: testDims };
const seeds = (seed: number, step: number): Tensor => tensorOf('u32', [2], [seed, step], 'f64');

/** dropout(x) of `count` ones. */
function ones(p: number, stream: number, count: number): Graph {
  return graphOf((s) => ({ y: s.emit('dropout', [s.argument('x', 'f32', [constantDim(count)])], { p, stream }) }));
}

/** What a step keeps of ones. */
function kept(p: number, stream: number, count: number, seed = 1, step = 0): Float64Array {
  const { graph } = realizeDropout(ones(p, stream, count), context);
  const x = floats([count], new Array<number>(count).fill(1));
  return runGraph(graph, { x, [seedInput]: seeds(seed, step) }, 'f64').get('y')?.data as Float64Array;
}

describe('the pass', () => {
  test('writes a mask of random numbers by place, and asks for seed and step', () => {
    const before = graphOf((s) => ({
      y: s.emit('dropout', [s.argument('x', 'f32', [B, T, 4])], { p: 0.25, stream: 6 }),
    }));
    const { graph, fired } = realizeDropout(before, context);
    expect(fired).toBe(1);
    expect(verifyGraph(graph, context, { stage: 'model' })).toEqual([]);
    expect(bodyOf(graph)).toMatchInlineSnapshot(`
      "%0 = input {name = "x"} : f32[B, T, 4] "x"
      %1 = input {name = ":seed"} : u32[2] ":seed"
      %2 = constant {values = [415870660], dtype = "u32", shape = []} : u32
      %3 = slice(%1) {axis = 0, start = 0, size = 1} : u32[1]
      %4 = reshape(%3) {shape = []} : u32
      %5 = add(%4, %2) : u32
      %6 = broadcast(%5) {shape = [B, T, 4]} : u32[B, T, 4]
      %7 = slice(%1) {axis = 0, start = 1, size = 1} : u32[1]
      %8 = reshape(%7) {shape = []} : u32
      %9 = broadcast(%8) {shape = [B, T, 4]} : u32[B, T, 4]
      %10 = iota {length = 4*B*T, dtype = "u32"} : u32[4*B*T]
      %11 = reshape(%10) {shape = [B, T, 4]} : u32[B, T, 4]
      %12 = random(%11, %6, %9) : f32[B, T, 4]
      %13 = constant {values = [0.25], dtype = "f32", shape = []} : f32
      %14 = broadcast(%13) {shape = [B, T, 4]} : f32[B, T, 4]
      %15 = greater_equal(%12, %14) : bool[B, T, 4]
      %16 = constant {values = [1.3333333333333333], dtype = "f32", shape = []} : f32
      %17 = broadcast(%16) {shape = [B, T, 4]} : f32[B, T, 4]
      %18 = mul(%0, %17) : f32[B, T, 4]
      %19 = constant {values = [0], dtype = "f32", shape = []} : f32
      %20 = broadcast(%19) {shape = [B, T, 4]} : f32[B, T, 4]
      %21 = select(%15, %18, %20) : f32[B, T, 4]
      return "y" = %21"
    `);
  });

  test('leaves a graph without places as it is', () => {
    const before = randomGraph(3);
    expect(realizeDropout(before, context)).toEqual({ graph: before, fired: 0 });
    expect(realizeDropout(before, context).graph).toBe(before);
  });

  test('a probability of 0 is nothing', () => {
    const { graph } = realizeDropout(ones(0, 0, 5), context);
    expect(graph.nodes.map(({ op }) => op)).toEqual(['input', 'input']);
  });

  test('seed and step stand behind the other inputs', () => {
    const before = graphOf((s) => {
      const x = s.emit('dropout', [s.argument('x', 'f32', [B])], { p: 0.5, stream: 0 });
      return { y: s.emit('add', [x, s.argument('late', 'f32', [B])]) };
    });
    const { graph } = realizeDropout(before, context);
    expect(graph.inputs.map(({ attributes }) => attributes.name)).toEqual(['x', 'late', seedInput]);
  });

  test('new places get streams that no place has', () => {
    const before = graphOf((s) => {
      const x = s.argument('x', 'f32', [B]);
      const drop = (stream: number) => s.emit('dropout', [x], { p: 0.5, stream });
      return { a: drop(4), b: drop(0), c: drop(4294967295) };
    });
    const next = freshStreams(before);
    expect([next(), next()]).toEqual([6, 8]);
    expect(freshStreams(randomGraph(1))()).toBe(0);
  });
});

describe('what goes', () => {
  const count = 40_000;

  test.each([0.05, 0.1, 0.5, 0.9])('a share of %s, the others scaled so that the mean stays', (p) => {
    const values = kept(p, 2, count);
    const zeros = values.filter((value) => value === 0).length;
    // Five standard deviations of a binomial count.
    expect(Math.abs(zeros - p * count)).toBeLessThan(5 * Math.sqrt(count * p * (1 - p)));
    expect(new Set(values)).toEqual(new Set([0, 1 / (1 - p)]));
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    expect(Math.abs(mean - 1)).toBeLessThan((5 * Math.sqrt(p / (1 - p))) / Math.sqrt(count));
  });

  test('is the number of the place under the key of seed and stream, in the block of the step', () => {
    for (const [p, stream, seed, step] of [
      [0.1, 0, 0, 0],
      [0.3, 17, 4294967295, 3],
      [0.999, 4294967295, 5, 4294967295],
    ] as const) {
      const values = kept(p, stream, 500, seed, step);
      values.forEach((value, at) => {
        expect(value > 0, `${at}`).toBe(isKept(at, p, stream, seed, step));
      });
    }
  });

  test('streams, steps, seeds and neighbours have nothing to do with each other', () => {
    const signs = (...given: readonly [number, number?, number?]) =>
      kept(0.5, given[0], count, given[1] ?? 1, given[2] ?? 0).map((value) => value - 1);
    const base = signs(0);
    const others = [
      signs(1),
      signs(2),
      signs(0, 2),
      signs(0, 1, 1),
      signs(2, 1, 1),
      base.map((_, at) => base[at - 1] ?? 0),
    ];
    for (const [at, other] of others.entries()) {
      const product = base.reduce((sum, value, place) => sum + value * (other[place] ?? 0), 0);
      expect(Math.abs(product), `${at}`).toBeLessThan(5 * Math.sqrt(count));
    }
    expect(signs(0)).toEqual(base);
  });

  test('streams have keys of their own', () => {
    const streams = [...Array.from({ length: 5000 }, (_, at) => at), 4294967295, 2147483647];
    expect(new Set(streams.map(mixedStream)).size).toBe(streams.length);
  });
});

describe('gradients', () => {
  const graph = graphOf((s) => {
    const x = s.argument('x', 'f32', [constantDim(5), constantDim(7)]);
    const dropped = s.emit('dropout', [s.emit('tanh', [x])], { p: 0.4, stream: 3 });
    const squares = s.emit('mul', [dropped, s.emit('dropout', [dropped], { p: 0.2, stream: 5 })]);
    return { loss: s.emit('reduce', [squares], { kind: 'sum', axes: [0, 1], keep: false }) };
  });

  test('follow the mask of the step', () => {
    const { graph: step } = realizeDropout(graph, context);
    const inputs = { x: numbers('f32', [5, 7], 4), [seedInput]: seeds(9, 2) };
    expect(worstGap(step, inputs)).toBeLessThan(1e-8);
    const gradient = gradientsOf(step, inputs).get('gradient:x');
    const dropped = [...(gradient?.data ?? [])].map((value, at) => [value === 0, isKept(at, 0.4, 3, 9, 2)]);
    // Where the first place drops, nothing flows; where both keep, something does.
    for (const [isZero, isFirst] of dropped) if (!isFirst) expect(isZero).toBe(true);
    expect(dropped.filter(([isZero]) => !isZero).length).toBeGreaterThan(5);
    expect(dropped.filter(([, isFirst]) => !isFirst).length).toBeGreaterThan(5);
  });

  test('of a place that is not realized are those of the identity', () => {
    const inputs = { x: numbers('f32', [5, 7], 4) };
    const bare = canonicalize.run(graph, noRanges).graph;
    expect([...(gradientsOf(graph, inputs).get('gradient:x')?.data ?? [1])]).toEqual([
      ...(gradientsOf(bare, inputs).get('gradient:x')?.data ?? []),
    ]);
  });
});

describe('attention', () => {
  const sizes = { batch: 2, heads: 4, groups: 2, queries: 3, keys: 5, width: 2 };
  const { batch, heads, groups, queries, keys, width } = sizes;
  const graph = graphOf((s) => {
    const of = (name: string, rows: number, columns: number) =>
      s.argument(name, 'f32', [batch, rows, columns].map(constantDim));
    const operands = [of('q', queries, heads * width), of('k', keys, groups * width), of('v', keys, groups * width)];
    const mask = s.argument('mask', 'bool', [batch, 1, 1, keys].map(constantDim));
    const attributes = { heads, kv_heads: groups, scale: 0.7, extras: ['mask'], dropout: 0.3, stream: 8 };
    return { y: s.emit('attention', [...operands, mask], attributes) };
  });
  const inputs = {
    q: numbers('f32', [batch, queries, heads * width], 1),
    k: numbers('f32', [batch, keys, groups * width], 2),
    v: numbers('f32', [batch, keys, groups * width], 3),
    mask: tensorOf('bool', [batch, 1, 1, keys], [1, 1, 0, 1, 1, 1, 0, 1, 1, 0], 'f64'),
  };

  /** As Hugging Face's eager attention: softmax, then the mask on the weights [batch, heads, queries, keys]. */
  function eager(isRealized: boolean): number[] {
    const at = (name: 'q' | 'k' | 'v', b: number, row: number, head: number, d: number) => {
      const rows = name === 'q' ? queries : keys;
      const columns = name === 'q' ? heads : groups;
      return inputs[name].data[((b * rows + row) * columns + head) * width + d] ?? 0;
    };
    const result: number[] = [];
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < queries; t++) {
        for (let h = 0; h < heads; h++) {
          const group = Math.floor(h / (heads / groups));
          const powers = Array.from({ length: keys }, (_, j) => {
            let score = 0;
            for (let d = 0; d < width; d++) score += at('q', b, t, h, d) * at('k', b, j, group, d);
            return inputs.mask.data[b * keys + j] === 0 ? 0 : Math.exp(0.7 * score);
          });
          const sum = powers.reduce((total, power) => total + power, 0);
          for (let d = 0; d < width; d++) {
            let mixed = 0;
            for (let j = 0; j < keys; j++) {
              const place = ((b * heads + h) * queries + t) * keys + j;
              const factor = !isRealized ? 1 : isKept(place, 0.3, 8, 6, 1) ? 1 / 0.7 : 0;
              mixed += ((powers[j] ?? 0) / sum) * factor * at('v', b, j, group, d);
            }
            result.push(mixed);
          }
        }
      }
    }
    return result;
  }

  test('drops weights after the softmax', () => {
    const { graph: step, fired } = realizeDropout(graph, context);
    expect(fired).toBe(1);
    expect(verifyGraph(step, context, { stage: 'model' })).toEqual([]);
    const got = runGraph(step, { ...inputs, [seedInput]: seeds(6, 1) }, 'f64').get('y')?.data ?? [];
    const wanted = eager(true);
    expect(got.length).toBe(wanted.length);
    got.forEach((value, place) => {
      expect(value).toBeCloseTo(wanted[place] ?? Number.NaN, 12);
    });
    // Not a test of nothing: the step differs from what everybody else gets.
    const plain = runGraph(graph, inputs, 'f64').get('y')?.data ?? [];
    eager(false).forEach((value, place) => {
      expect(plain[place]).toBeCloseTo(value, 12);
    });
    expect(Math.max(...wanted.map((value, place) => Math.abs(value - (plain[place] ?? 0))))).toBeGreaterThan(0.1);
  });

  test('its gradient follows', () => {
    const loss = graphOf((s) => {
      const operands = graph.inputs.map(({ attributes, outputs: [output] }) =>
        s.input(String(attributes.name), output?.type ?? expect.fail('no type')),
      );
      const node = graph.nodes.find(({ op }) => op === 'attention');
      const y = s.emit('attention', operands, node?.attributes);
      return { loss: s.emit('reduce', [s.emit('mul', [y, y])], { kind: 'sum', axes: [0, 1, 2], keep: false }) };
    });
    const { graph: step } = realizeDropout(loss, context);
    expect(worstGap(step, { ...inputs, [seedInput]: seeds(6, 1) })).toBeLessThan(1e-7);
  });
});

test.each(Array.from({ length: 24 }, (_, seed) => [seed]))('a random graph that drops, seed %i', (seed) => {
  const dropping = withDropout(randomGraph(seed, 16), seed + 50);
  const { graph, fired } = realizeDropout(dropping, context);
  expect(verifyGraph(graph, context, { stage: 'model' })).toEqual([]);
  const explicit = withMasks(dropping);
  expect(fired).toBe(explicit.masks.length);
  const dims = new Map(Object.entries({ B: 2, T: 5, S: 3, N: 2 }));
  const program = programOf(dropping);
  const next = randomNumbers(seed);
  const weights = new Map(program.weights.map(({ path, type }) => [path, randomTensor(type, dims, next)]));
  const inputs = new Map(
    program.entries[0]?.parameters.map(({ name, type }) => [name, randomTensor(type, dims, next)]),
  );
  const weight = (path: string): Tensor => weights.get(path) ?? expect.fail(path);
  const masks = explicit.masks.map((mask) => [mask.name, factorsOf(mask, dims, 7, seed)] as const);
  const run = (which: Graph, more: Iterable<readonly [string, Tensor]>) =>
    interpretGraph(which, { inputs: new Map([...inputs, ...more]), weight, dims, precision: 'f64' });
  const wanted = run(explicit.graph, masks);
  for (const [name, { data }] of run(graph, fired > 0 ? [[seedInput, seeds(7, seed)]] : [])) {
    data.forEach((value, at) => {
      const other = wanted.get(name)?.data[at] ?? 1e9;
      if (Object.is(value, other)) return;
      expect(Math.abs(value - other) / (1 + Math.abs(other)), `${name}[${at}]`).toBeLessThan(1e-12);
    });
  }
});

describe('whoever is not trained', () => {
  test.each(Array.from({ length: 6 }, (_, seed) => [seed]))(
    'gets the kernels of a graph without dropout, seed %i',
    (seed) => {
      const bare = randomGraph(seed, 16);
      const parts = (graph: Graph) => {
        const artifact = compiled(programOf(graph)).value;
        return { kernels: artifact.kernels, entries: artifact.entries, weights: artifact.weights };
      };
      expect(parts(withDropout(bare, seed))).toEqual(parts(bare));
    },
  );
});

describe('a train block', () => {
  const text = `import { Linear } from "sora:nn"
dim B in 1..4, T in 1..6
module Layer(width: int) {
  up = Linear(width, 3 * width)
  out = Linear(width, width)
  fn (x: f32[B, T, width]) -> f32[B, T, width] {
    let [q, k, v] = split(up(x), 3)
    x + dropout(out(attend(q, k, v) { heads: 2, dropout: 0.2 }), 0.1)
  }
}
model Tagger {
  repeat layer[2] = Layer(4)
  head = Linear(4, 3)
  entry tag(x: f32[B, T, 4]) -> logits: f32[B, T, 3] = head(layer(x))
}
train Tagger.tag {
  target y: i32[B, T]
  loss: cross_entropy(logits, y)
  optimizer: sgd(0.1)
  seed: 11
}
`;

  function trained(source: string): Program {
    const { value, diagnostics } = addTraining(lowered(source));
    expect(diagnostics).toEqual([]);
    return value;
  }

  const entryOf = (program: Program, name: string) =>
    program.entries.find((entry) => entry.name === name) ?? expect.fail(`no ${name}`);

  test('drops in its steps, with other numbers in every layer, and nowhere else', () => {
    const program = lowered(text);
    const places = program.entries[0]?.graph.nodes.flatMap(({ attributes }) => attributes.stream ?? []);
    expect(places).toEqual([0, 2, 4, 6]);
    const whole = trained(text);
    const gradients = entryOf(whole, 'tag:gradients');
    expect(gradients.parameters.map(({ name, role }) => [name, role])).toEqual([
      ['x', undefined],
      ['y', undefined],
      [seedInput, 'seed'],
    ]);
    expect(gradients.graph.nodes.some(({ op }) => op === 'random')).toBe(true);
    const evaluate = entryOf(whole, 'tag:evaluate');
    expect(evaluate.parameters.map(({ name }) => name)).toEqual(['x', 'y']);
    expect(evaluate.graph.nodes.some(({ op }) => op === 'random')).toBe(false);
  });

  test('takes the same steps for the same seed', () => {
    const batch = new Map([
      ['x', numbers('f32', [3, 5, 4], 5)],
      [
        'y',
        tensorOf(
          'i32',
          [3, 5],
          Array.from({ length: 15 }, (_, at) => at % 3),
          'f64',
        ),
      ],
    ]);
    const losses = (source: string) => {
      const program = trained(source);
      const trainer = referenceTrainer(program, (path) => {
        const type = program.weights.find((weight) => weight.path === path)?.type;
        return numbers('f32', type?.shape.map((dim) => Number(dim.key)) ?? [], path.length);
      });
      return [0, 0, 0, 0].map((lr) => trainer.step(batch, lr).loss);
    };
    const first = losses(text);
    // At a learning rate of 0 only the masks differ from step to step.
    expect(new Set(first).size).toBe(4);
    expect(losses(text)).toEqual(first);
    expect(losses(text.replace('seed: 11', 'seed: 12'))).not.toEqual(first);
    const calm = losses(text.replace(', dropout: 0.2', '').replace('dropout(out(', '(out(').replace('), 0.1)', '))'));
    expect(new Set(calm).size).toBe(1);
  });
});
