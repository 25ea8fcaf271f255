/**
 * Bottleneck adapters: a model with rules for them computes what one computes that writes them out, forward and backward.
 */
import { expect, test } from 'vitest';
import { runProgram } from '../../../src/ir/interpret.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';
import { trainable } from '../../support/training.ts';
import { refused } from './kit.ts';

const bottleneck = (act: string): string => `module Bottleneck() {
  adapter_down = Linear(6, 2)
  adapter_up = Linear(2, 6)
  fn (y: f32[B, 6]) -> f32[B, 6] = y + adapter_up(${act}(adapter_down(y)))
}
`;

const source = (
  act: string,
  behind: string,
  use: string,
): string => `import { Linear${behind === '' || act === 'tanh' ? '' : `, ${act}`} } from "sora:nn"
dim B in 1..8
${behind === '' ? '' : bottleneck(act)}module Layer() {
  dense = Linear(6, 6)
  ${behind === '' ? '' : 'extra = Bottleneck() as "dense"'}
  fn (x: f32[B, 6]) -> f32[B, 6] = x + tanh(${behind === '' ? 'dense(x)' : 'extra(dense(x))'})
}
model Net {
  repeat layer[2] = Layer()
  head = Linear(6, 3)
  entry f(x: f32[B, 6]) -> s: f32[B, 3] = head(layer(x))
}
train Net.f {
  target y: i32[B]
  loss: cross_entropy(s, y)
  optimizer: adam(0.1)
  ${behind === '' ? '' : 'freeze: "**.dense.weight", "**.dense.bias"'}
}
${use}`;

const numbers = (count: number, seed: number) => Array.from({ length: count }, (_, at) => Math.sin((at + 1) * seed));

function trainerOf(text: string) {
  const { program } = trainable(text);
  const weights = new Map(program.weights.map(({ path, type }) => [path, type.shape.map((dim) => Number(dim.key))]));
  const weight = (path: string) => {
    const shape = weights.get(path) ?? [];
    return tensorOf(
      'f32',
      shape,
      numbers(
        shape.reduce((all, one) => all * one, 1),
        path.length * 0.37 + path.charCodeAt(6),
      ),
      'f64',
    );
  };
  return { program, weight, trainer: referenceTrainer(program, weight), paths: [...weights.keys()].sort() };
}

const batch = new Map([
  ['x', tensorOf('f32', [4, 6], numbers(24, 1.7), 'f64')],
  ['y', tensorOf('i32', [4], [0, 2, 1, 2], 'f64')],
]);

test.each(['gelu', 'relu', 'silu', 'tanh'])('a bottleneck with %s is the module that Houlsby draws', (act) => {
  const rules = trainerOf(
    source(act, '', `adapter Net { after "layer.*.dense": bottleneck(2, activation: ${act}), "head.**": full }`),
  );
  const written = trainerOf(source(act, 'dense', ''));
  expect(rules.paths).toEqual(written.paths);
  expect([...rules.trainer.parameters].sort()).toEqual([...written.trainer.parameters].sort());
  for (let step = 0; step < 3; step++) {
    const [one, two] = [rules.trainer.step(batch, 0.1), written.trainer.step(batch, 0.1)];
    expect(Math.abs(one.loss - two.loss)).toBeLessThan(1e-14);
    for (const path of rules.trainer.parameters) {
      const wanted = written.trainer.gradient(path);
      rules.trainer.gradient(path).forEach((value, at) => {
        expect(Math.abs(value - (wanted[at] ?? 0)), `${path}[${at}]`).toBeLessThan(1e-12);
      });
    }
  }
});

test('every entry has them, and fresh ones add nothing', () => {
  const plain = trainerOf(source('gelu', '', ''));
  const { program, weight } = trainerOf(source('gelu', '', 'adapter Net { after "layer.*.dense": bottleneck(2) }'));
  expect(program.weights.find(({ path }) => path === 'layer.0.dense.adapter_up.weight')?.initial).toEqual({
    kind: 'constant',
    value: 0,
  });
  const inputs = new Map([...batch].slice(0, 1));
  const run = (own: typeof program, zeros: boolean) => {
    const given = (path: string) => {
      const tensor = weight(path);
      return zeros && path.includes('adapter_up')
        ? { ...tensor, data: tensor.data.map(() => 0) as Float64Array }
        : tensor;
    };
    return runProgram(own, 'f', { inputs, weight: given, precision: 'f64' }).get('s')?.data;
  };
  const same = (path: string) => plain.weight(path);
  const expected = runProgram(plain.program, 'f', { inputs, weight: same, precision: 'f64' }).get('s')?.data;
  expect(run(program, true)).toEqual(expected);
  expect(run(program, false)).not.toEqual(expected);
});

test('what cannot have one is told', () => {
  const head = 'import { Linear } from "sora:nn"\ndim B in 1..8, T in 1..8\n';
  const odd = `${head}module M() {\n  w: f32[4]\n  fn (x: f32[B, T]) -> f32[B, T] = x * w[0]\n}
model Net {\n  m = M()\n  entry f(x: f32[B, T]) -> f32[B, T] = m(x)\n}\nadapter Net { after "m": bottleneck(2) }`;
  refused(odd, {
    code: 'SORA2304',
    at: 'bottleneck(2)',
    message: 'f32 rows of a known length; `m` gives `f32[B, T]`',
  });
});
