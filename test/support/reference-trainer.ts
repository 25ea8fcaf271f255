/**
 * A trainer on the interpreter in f64: the oracle for trainers on devices, and the simplest form of what a trainer does.
 */
import type { Program, Training } from '../../src/ir/graph.ts';
import { runProgram, type StateHolder } from '../../src/ir/interpret.ts';
import type { Tensor } from '../../src/ir/op.ts';
import { constantValue } from '../../src/ir/symbolic.ts';
import { tensorOf } from '../../src/ir/tensor.ts';

export interface ReferenceTrainer {
  /** Loss and norm of the gradients before the update; `lr` is that of this step. */
  step(inputs: ReadonlyMap<string, Tensor>, lr: number): { readonly loss: number; readonly norm: number };
  evaluate(inputs: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor>;
  weight(path: string): Float64Array;
  gradient(path: string): Float64Array;
  /** The moving average of a weight. */
  average(path: string): Float64Array;
  readonly parameters: readonly string[];
}

export function referenceTrainer(program: Program, weight: (path: string) => Tensor): ReferenceTrainer {
  const training = program.training as Training;
  const arenas = training.arenas.map(({ elements }) => new Float64Array(elements));
  const views = new Map<string, { readonly data: Float64Array; readonly shape: readonly number[] }>();
  training.arenas.forEach(({ path, elements }, at) => {
    views.set(path, { data: arenas[at] as Float64Array, shape: [elements] });
  });
  for (const { path, arena, offset, type } of training.pieces) {
    const shape = type.shape.map((dim) => constantValue(dim) as number);
    const size = shape.reduce((product, dim) => product * dim, 1);
    views.set(path, { data: (arenas[arena] as Float64Array).subarray(offset, offset + size), shape });
  }
  const view = (path: string) => {
    const found = views.get(path);
    if (!found) throw new Error(`no piece \`${path}\``);
    return found;
  };
  const parameters = training.groups.flatMap((group) => group.parameters.map((parameter) => parameter.weight.path));
  for (const path of parameters) view(`weight:${path}`).data.set(weight(path).data as Float64Array);
  const states: StateHolder = {
    read: (path) => ({ dtype: 'f32', shape: view(path).shape, data: view(path).data.slice() }),
    write: (path, tensor) => view(path).data.set(tensor.data as Float64Array),
  };
  const run = (entry: string, inputs: ReadonlyMap<string, Tensor>) =>
    runProgram(program, entry, { inputs, weight, precision: 'f64', states });
  const { block } = training;
  const seeded = program.entries
    .find(({ name }) => name === training.gradients)
    ?.parameters.find(({ role }) => role === 'seed');
  let steps = 0;
  return {
    parameters,
    step(inputs, lr) {
      const seeds = tensorOf('u32', [2], [block.seed, steps], 'f64');
      const hidden = [
        ...(seeded ? [[seeded.name, seeds] as const] : []),
        [':scale', tensorOf('f32', [], [1], 'f64')] as const,
      ];
      const results = run(training.gradients, new Map([...inputs, ...hidden]));
      steps++;
      for (const [path, { data }] of results)
        if (path.startsWith('gradient:')) states.write(path, { dtype: 'f32', shape: [], data });
      const { optimizer } = block;
      const corrections =
        optimizer.name === 'sgd' ? [1, 1] : [optimizer.beta1, optimizer.beta2].map((beta) => 1 / (1 - beta ** steps));
      const share = block.ema === undefined ? [] : [steps === 1 ? 1 : 1 - block.ema];
      const numbers = [lr, ...corrections, 1, ...share];
      const rates = tensorOf('f32', [numbers.length], numbers, 'f64');
      const update = run(training.update, new Map([['rates', rates]]));
      return { loss: results.get(':loss')?.data[0] ?? Number.NaN, norm: update.get('norm')?.data[0] ?? Number.NaN };
    },
    evaluate: (inputs) => run(training.evaluate, inputs),
    weight: (path) => view(`weight:${path}`).data,
    gradient: (path) => view(`gradient:${path}`).data,
    average(path) {
      for (const { average, parameters: members } of training.groups) {
        const member = members.find(({ weight: own }) => own.path === path);
        if (!member || average === undefined) continue;
        return (arenas[average] as Float64Array).subarray(
          member.offset,
          member.offset + view(`weight:${path}`).data.length,
        );
      }
      throw new Error(`no average of \`${path}\``);
    },
  };
}
