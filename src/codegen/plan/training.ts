/**
 * What the artifact says of training: where arenas and their pieces lie, and what the host does between steps.
 */
import type { Entry, Optimizer, Program, Training } from '../../ir/graph.ts';
import { constantValue } from '../../ir/symbolic.ts';
import type { TensorType } from '../../ir/types.ts';
import type { PieceSpec, TrainingSpec } from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import type { ArenaPlace } from './entry.ts';

function shapeOf(type: TensorType): readonly number[] {
  return type.shape.map((dim) => constantValue(dim) ?? unreachable('a parameter without a size'));
}

function elementsOf(type: TensorType): number {
  return shapeOf(type).reduce((product, size) => product * size, 1);
}

/** Whole arenas and pieces by state path; f32 throughout. */
export function arenaPlaces(program: Program): ReadonlyMap<string, ArenaPlace> {
  const { arenas = [], pieces = [] } = program.training ?? {};
  return new Map([
    ...arenas.map(({ path, elements }, arena) => [path, { arena, offset: 0, bytes: elements * 4 }] as const),
    ...pieces.map(
      ({ path, arena, offset, type }) => [path, { arena, offset: offset * 4, bytes: elementsOf(type) * 4 }] as const,
    ),
  ]);
}

export function piecesOf(entry: Entry, training: Training): readonly PieceSpec[] {
  const places = new Map(training.pieces.map((piece) => [piece.path, piece]));
  return entry.results.flatMap(({ name, piece }): PieceSpec[] => {
    const place = piece === undefined ? undefined : places.get(piece);
    return place ? [{ name, arena: place.arena, offset: place.offset, shape: shapeOf(place.type) }] : [];
  });
}

function optimizerSpec(optimizer: Optimizer): TrainingSpec['optimizer'] {
  // What is corrected on the host depends on these alone.
  if (optimizer.name === 'sgd' || optimizer.name === 'lion') return { name: optimizer.name };
  return { name: optimizer.name, beta1: optimizer.beta1, beta2: optimizer.beta2 };
}

export function trainingSpec(training: Training): TrainingSpec {
  const { block, groups, gradients, evaluate, accumulate, update, adapters } = training;
  return {
    entry: block.entry,
    gradients,
    evaluate,
    accumulate,
    update,
    targets: block.targets.map(({ name }) => name),
    groups: groups.map(({ parameters, weights, gradients: piecesOfGradients, sums, slots, movement, average }) => ({
      weights,
      gradients: piecesOfGradients,
      sums,
      slots,
      ...(movement === undefined ? {} : { movement }),
      ...(average === undefined ? {} : { average }),
      parameters: parameters.map(({ weight, offset, pruning }) => ({
        path: weight.path,
        shape: shapeOf(weight.type),
        offset,
        ...(weight.initial ? { initial: weight.initial } : {}),
        ...(weight.tied === undefined ? {} : { tied: weight.tied }),
        ...(pruning ? { pruning: { ...pruning.sparsity, ...(pruning.transposed ? { transposed: true } : {}) } } : {}),
      })),
    })),
    ...(adapters.length === 0
      ? {}
      : {
          adapters: adapters.map(({ path, down, up, factor, isTransposed }) => ({
            path,
            down,
            up,
            factor,
            ...(isTransposed ? { transposed: true } : {}),
          })),
        }),
    optimizer: optimizerSpec(block.optimizer),
    schedule: block.optimizer.schedule,
    ...(block.ema === undefined ? {} : { ema: block.ema }),
    ...(block.precision === 'f16' ? { precision: block.precision } : {}),
    microBatches: block.microBatches,
    seed: block.seed,
  };
}
