/**
 * Modifiers of `attend`: rotary positions against plain loops and against the frequencies of transformers, what is shared
 * between layers, what regions look like, what `if` turns off.
 */
import { describe, expect, test } from 'vitest';
import { runProgram } from '../../../src/ir/interpret.ts';
import { scalings } from '../../../src/ir/lower/attend/rope-frequencies.ts';
import { printGraph, printProgram } from '../../../src/ir/print.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { optimize } from '../../../src/passes/index.ts';
import { lowered } from './kit.ts';

const noWeights = (path: string): never => {
  throw new Error(`no weight ${path}`);
};

/** Numbers of the formulas of transformers' modeling_rope_utils.py, computed apart in f64. */
test.each([
  [
    'llama3',
    500000,
    16,
    { factor: 8, low: 1, high: 4, original: 8192 },
    [1.0, 0.193922744749, 0.0376060309309, 0.00729266473722, 5.24846160993e-4, 3.42810219595e-5, 6.64786987118e-6],
    1,
  ],
  [
    'yarn',
    10000,
    16,
    { factor: 4, original: 4096 },
    [1.0, 0.316227766017, 0.1, 0.0256935059889, 0.00625, 0.00138349647632, 0.00025, 7.90569415042e-5],
    1.138629436111989,
  ],
  ['dynamic', 10000, 8, { factor: 2, original: 2048, positions: 8192 }, [1, 0.0522757958575, 0.00273275883253], 1],
  ['linear', 10000, 8, { factor: 4 }, [0.25, 0.025, 0.0025], 1],
  ['ntk', 10000, 8, { factor: 4 }, [1, 0.1 / 4 ** (1 / 3), 0.01 / 4 ** (2 / 3), 0.00025], 1],
])('frequencies of %s', (name, theta, width, given, frequencies, amplitude) => {
  const rotation = scalings[name]?.rotation(theta, width, (key) => (given as Record<string, number>)[key]);
  expect(rotation?.amplitude).toBeCloseTo(amplitude, 12);
  expect(rotation?.frequencies).toHaveLength(width / 2);
  for (const [at, want] of frequencies.entries()) {
    expect(Math.abs((rotation?.frequencies[at] ?? 0) / want - 1)).toBeLessThan(1e-10);
  }
});

describe.each(['half', 'neighbours'] as const)('rope of %s', (pairs) => {
  const text = `dim B in 1..4, T in 1..64

model Test {
  entry run(q: f32[B, T, 12]) -> y: f32[B, T, 12] {
    attend(q, q, q) { heads: 2, mask: causal, rope: rotary(theta: 7, pairs: "${pairs}", width: 4) }
  }
}
`;

  test('is what loops compute', () => {
    const [rows, heads, width, turned] = [5, 2, 6, 4];
    const q = Float64Array.from({ length: rows * 12 }, (_, at) => Math.sin(at * 0.7 + 1));
    const run = runProgram(lowered(text), 'run', {
      inputs: new Map([['q', tensorOf('f32', [1, rows, 12], q, 'f64')]]),
      weight: noWeights,
      precision: 'f64',
    });
    const turn = (t: number, h: number): number[] => {
      const head = Array.from({ length: width }, (_, d) => q[t * 12 + h * width + d] ?? 0);
      for (let pair = 0; pair < turned / 2; pair++) {
        const [a, b] = pairs === 'half' ? [pair, pair + turned / 2] : [2 * pair, 2 * pair + 1];
        const angle = t * 7 ** ((-2 * pair) / turned);
        const [x, y] = [head[a] ?? 0, head[b] ?? 0];
        head[a] = x * Math.cos(angle) - y * Math.sin(angle);
        head[b] = y * Math.cos(angle) + x * Math.sin(angle);
      }
      return head;
    };
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < rows; t++) {
        const query = turn(t, h);
        const weights = Array.from({ length: t + 1 }, (_, j) => {
          const key = turn(j, h);
          return Math.exp(query.reduce((sum, value, d) => sum + value * (key[d] ?? 0), 0) / Math.sqrt(width));
        });
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let d = 0; d < width; d++) {
          const mixed = weights.reduce((sum, weight, j) => sum + weight * (q[j * 12 + h * width + d] ?? 0), 0) / total;
          expect(Math.abs(Number(run.get('y')?.data[t * 12 + h * width + d]) - mixed)).toBeLessThan(1e-12);
        }
      }
    }
  });
});

test('layers share one table of sines and one of cosines', () => {
  const program = lowered(`dim B in 1..4, T in 1..64

model Test {
  fn layer(x: f32[B, T, 12]) {
    x + attend(x, 2 * x, x) { heads: 3, rope: rotary() }
  }
  entry run(x: f32[B, T, 12]) -> y: f32[B, T, 12] = layer(layer(layer(x)))
}
`);
  const nodes = optimize(program).value.entries[0]?.graph.nodes ?? [];
  expect(nodes.filter((node) => node.op === 'attention')).toHaveLength(3);
  expect(nodes.filter((node) => node.op === 'sin')).toHaveLength(1);
  expect(nodes.filter((node) => node.op === 'cos')).toHaveLength(1);
});

const mapped = `dim B in 1..4, T in 1..64

model Test {
  slopes: f32[2]
  entry run(x: f32[B, T, 8]) -> y: f32[B, T, 8] {
    attend(x, x, x) { heads: 2, score: (s, b, h, i, j) => s - gather(slopes, h) * f32(abs(i - j)), softcap: 5 }
  }
  entry one = run with T = 1
}
`;

test('work over pairs goes into the region, everything else is captured', () => {
  const program = lowered(mapped);
  const graph = program.entries[0]?.graph;
  const node = graph?.nodes.find((other) => other.op === 'attention');
  expect(node?.region?.nodes.map(({ op }) => op).sort()).toEqual(
    expect.arrayContaining(['abs', 'cast', 'input', 'mul', 'sub', 'tanh']),
  );
  expect(node?.region?.nodes.some(({ op }) => op === 'gather' || op === 'iota')).toBe(false);
  expect(graph?.nodes.some(({ op }) => op === 'tanh' || op === 'abs')).toBe(false);
});

test('regions survive printing and reading, passes, and entries of other sizes', () => {
  const program = lowered(mapped);
  const text = printProgram(program);
  expect(printProgram(readProgram(text))).toBe(text);
  const better = optimize(program).value;
  expect(verifyProgram(better, { stage: 'model' })).toEqual([]);
  const one = better.entries.find(({ name }) => name === 'one');
  const regions = one?.graph.nodes.flatMap(({ region }) => (region ? [printGraph(region)] : [])) ?? [];
  expect(regions).toHaveLength(1);
  expect(regions[0]).toContain('f32[B, 2, 1, 1]');
});

test('`if` and `none` turn modifiers off', () => {
  const plain = (modifiers: string) =>
    printProgram(
      lowered(`dim B in 1..4, T in 1..64

config C {
  on: bool = false
}

model Test(c: C) {
  entry run(x: f32[B, T, 8]) -> y: f32[B, T, 8] {
    attend(x, x, x) { heads: 2${modifiers} }
  }
}
`),
    );
  const off =
    ', softcap: if c.on { 5 }, rope: if c.on { rotary() } else { none }, mask: if c.on { causal }, bias: none';
  expect(plain(off)).toBe(plain(', scale: if c.on { 1.0 } else { 0.5 }'));
});

test('dropout of weights is an attribute for training alone, with random numbers of its own in every layer', () => {
  const program = (more: string) =>
    lowered(`dim B in 1..4, T in 1..8
module Layer() {
  fn (x: f32[B, T, 4]) -> f32[B, T, 4] = attend(x, x, x) { heads: 2, mask: causal${more} }
}
model M {
  repeat layer[2] = Layer()
  entry f(x: f32[B, T, 4]) -> y: f32[B, T, 4] = layer(x)
}
`);
  const nodes = (text: string) => program(text).entries[0]?.graph.nodes.filter(({ op }) => op === 'attention') ?? [];
  expect(nodes(', dropout: 0.1').map(({ attributes }) => [attributes.dropout, attributes.stream])).toEqual([
    [0.1, 0],
    [0.1, 2],
  ]);
  const again = readProgram(printProgram(program(', dropout: 0.1')));
  expect(printProgram(again)).toBe(printProgram(program(', dropout: 0.1')));
  const plain = program('');
  expect(printProgram(program(', dropout: 0'))).toBe(printProgram(plain));
  expect(printProgram(optimize(program(', dropout: 0.1')).value)).toBe(printProgram(optimize(plain).value));
});
