/**
 * Pruning in tests: a dense program with random weights, the same with what goes set to zero, and the smaller program.
 */
import { readFileSync } from 'node:fs';
import { type CompileInput, lowerSource } from '../../src/compile.ts';
import { constantTensors, type DenseTensor, type KeptUnits, sliceTensor } from '../../src/compression/units.ts';
import type { Program } from '../../src/ir/graph.ts';
import { runProgram } from '../../src/ir/interpret.ts';
import type { Tensor } from '../../src/ir/op.ts';
import type { PrunePlan } from '../../src/ir/pruning.ts';
import { constantValue } from '../../src/ir/symbolic.ts';
import { tensorOf } from '../../src/ir/tensor.ts';
import { planOf } from '../../src/passes/index.ts';
import { hasErrors } from '../../src/support/diagnostic.ts';
import { randomNumbers } from './equivalence.ts';
import { describeDiagnostics } from './language.ts';

export interface Pruned {
  readonly dense: Program;
  readonly program: Program;
  readonly plan: PrunePlan;
}

/** Input of a compilation from a text, or from a model file under models/. */
export function inputOf(source: { readonly text: string } | { readonly path: string }, uses?: string, config?: object) {
  const path = 'path' in source ? `models/${source.path}` : 'test.sora';
  const text = 'path' in source ? readFileSync(path, 'utf8') : source.text;
  const host = { readFile: (file: string) => readFileSync(file, 'utf8') };
  const input: CompileInput = {
    file: { path, text },
    host,
    ...(uses === undefined ? {} : { uses: { path: '(uses)', text: uses } }),
    ...(config === undefined ? {} : { config: config as Record<string, unknown> }),
  };
  return input;
}

function lowered(input: CompileInput): Program {
  const { value, diagnostics } = lowerSource(input);
  if (!value || hasErrors(diagnostics)) throw new Error(describeDiagnostics(diagnostics).join('\n'));
  return value;
}

export function pruned(input: CompileInput): Pruned {
  const dense = lowered({ ...input, isDense: true });
  return {
    dense,
    program: lowered(input),
    plan: planOf(dense, input.kept === undefined ? {} : { kept: input.kept }).value,
  };
}

const sizesOf = (shape: Program['weights'][number]['type']['shape']) => shape.map((dim) => constantValue(dim) ?? 1);

export function randomWeights(program: Program, seed: number): Map<string, DenseTensor> {
  const next = randomNumbers(seed);
  return new Map(
    program.weights
      .filter(({ tied }) => tied === undefined)
      .map(({ path, type }) => {
        const shape = sizesOf(type.shape);
        const count = shape.reduce((product, size) => product * size, 1);
        return [path, { shape, data: Float32Array.from({ length: count }, () => next() - 0.5) }] as const;
      }),
  );
}

export function slicedWeights(weights: ReadonlyMap<string, DenseTensor>, plan: PrunePlan, kept: KeptUnits) {
  const sliced = [...weights].map(([path, tensor]) => [path, sliceTensor(path, tensor, plan, kept)] as const);
  return new Map<string, DenseTensor>([...sliced, ...constantTensors(plan, kept)]);
}

/** The dense weights with the scored columns of what goes set to zero. */
export function zeroedWeights(weights: ReadonlyMap<string, DenseTensor>, plan: PrunePlan, kept: KeptUnits) {
  const zeroed = new Map(weights);
  for (const set of plan.sets) {
    const stays = new Set(kept.get(set.id));
    for (const { path, axis, units } of set.scored) {
      const tensor = zeroed.get(path);
      if (!tensor) throw new Error(`no weight ${path}`);
      const inner = tensor.shape.slice(axis + 1).reduce((product, size) => product * size, 1);
      const data = tensor.data.map((value, at) => {
        const unit = units[Math.floor(at / inner) % units.length] ?? -1;
        return unit < 0 || stays.has(unit) ? value : 0;
      });
      zeroed.set(path, { ...tensor, data });
    }
  }
  return zeroed;
}

/** Results of an entry in f64. States start empty and are kept in `held` between calls. */
export function run(
  program: Program,
  entry: string,
  inputs: ReadonlyMap<string, Tensor>,
  weights: ReadonlyMap<string, DenseTensor>,
  dims?: ReadonlyMap<string, number>,
  held: Map<string, Tensor> = new Map(),
): Map<string, Tensor> {
  const ties = new Map(program.weights.map(({ path, tied }) => [path, tied]));
  return runProgram(program, entry, {
    inputs,
    precision: 'f64',
    ...(dims === undefined ? {} : { dims }),
    weight(path) {
      const tensor = weights.get(path) ?? weights.get(ties.get(path) ?? '');
      if (!tensor) throw new Error(`no weight ${path}`);
      return tensorOf('f32', tensor.shape, tensor.data, 'f64');
    },
    states: {
      read: (path) => held.get(path) ?? newState(program, path, dims),
      write: (path, tensor) => void held.set(path, tensor),
    },
  });
}

/** Rows of zeros, as many as the call needs. */
function newState(program: Program, path: string, dims?: ReadonlyMap<string, number>): Tensor {
  const state = program.states.find((one) => one.path === path);
  const { past, slack } = program.session ?? { past: '', slack: '' };
  const size = (name: string) => dims?.get(name) ?? 0;
  const room = size(past) + size('T') + size(slack);
  const [batch, width] = [size('B'), state?.width ?? 0];
  return tensorOf(state?.dtype ?? 'f32', [batch, room, width], new Float64Array(batch * room * width), 'f64');
}

/** Greatest difference relative to the greatest value, over all results. */
export function distance(got: ReadonlyMap<string, Tensor>, want: ReadonlyMap<string, Tensor>): number {
  let [gap, size] = [0, 0];
  for (const [name, { data, shape }] of want) {
    const other = got.get(name);
    if (!other || other.shape.join() !== shape.join()) return Number.POSITIVE_INFINITY;
    data.forEach((value, at) => {
      gap = Math.max(gap, Math.abs(value - (other.data[at] ?? Number.NaN)));
      size = Math.max(size, Math.abs(value));
    });
  }
  return gap / size;
}
