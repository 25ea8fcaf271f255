/**
 * Where parameters lie: groups of parameters that are updated alike, flat arenas for each, and the pieces of arenas that
 * stand for single parameters and gradients (decision 0007).
 */
import type { Arena, ParameterGroup, Piece, TrainBlock, Weight, WeightPruning } from '../../ir/graph.ts';
import { constantValue, productOfDims } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { gradientPiece, weightPiece } from './forward.ts';
import { slotsOf } from './optimizers.ts';

/** Pieces are bound as buffers of their own: offsets of bindings are multiples of 256 bytes on every device. */
const alignment = 64;
/** Rows of the first stage of the sum of squares. */
export const rowLength = 1024;

/** What the parameters of a group have in common. */
interface Manner {
  /** Weight decay. */
  readonly decay: number;
  /** Factor of the learning rate. */
  readonly rate: number;
  readonly isPruned: boolean;
  /** Some rule goes by where its weights are heading. */
  readonly isWatched: boolean;
}

export interface Layout {
  readonly arenas: readonly Arena[];
  readonly pieces: readonly Piece[];
  readonly groups: readonly (ParameterGroup & Manner)[];
}

export function elementsOf(weight: Weight): number {
  return constantValue(productOfDims(weight.type.shape)) ?? unreachable(`\`${weight.path}\` without a size`);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

interface Draft extends Manner {
  readonly parameters: { weight: Weight; offset: number; pruning: WeightPruning | undefined }[];
  elements: number;
}

/** Groups in the order of the weights; `bindingBytes` is what a binding holds. */
export function layoutOf(
  parameters: readonly Weight[],
  block: TrainBlock,
  prunings: ReadonlyMap<string, WeightPruning>,
  bindingBytes: number,
): Layout {
  const most = Math.floor(bindingBytes / 4 / rowLength) * rowLength;
  const drafts: Draft[] = [];
  for (const weight of parameters) {
    const { path } = weight;
    const decay = block.noDecay.has(path) ? 0 : (block.decays.get(path) ?? block.optimizer.weightDecay);
    const size = roundUp(elementsOf(weight), alignment);
    const rate = block.rates.get(path) ?? 1;
    const pruning = prunings.get(path);
    const isPruned = pruning !== undefined;
    const isWatched = pruning?.sparsity.kind === 'gradual' && pruning.sparsity.by === 'movement';
    const isAlike = (other: Manner) =>
      other.decay === decay && other.rate === rate && other.isPruned === isPruned && other.isWatched === isWatched;
    let draft = drafts.find((other) => isAlike(other) && other.elements + size <= most);
    if (!draft) {
      draft = { decay, rate, isPruned, isWatched, parameters: [], elements: 0 };
      drafts.push(draft);
    }
    draft.parameters.push({ weight, offset: draft.elements, pruning });
    draft.elements += size;
  }
  const arenas: Arena[] = [];
  const pieces: Piece[] = [];
  const groups = drafts.map(({ parameters: members, elements, ...manner }, at) => {
    const add = (kind: string): number =>
      arenas.push({ path: `${kind}:${at}`, elements: roundUp(elements, rowLength) }) - 1;
    const [weights, gradients, sums] = [add('weights'), add('gradients'), add('sums')];
    const kept = slotsOf(block.optimizer).map(add);
    const movement = manner.isWatched ? add('movement') : undefined;
    const average = block.ema === undefined ? undefined : add('average');
    const slots = [...kept, ...(movement === undefined ? [] : [movement]), ...(average === undefined ? [] : [average])];
    for (const { weight, offset } of members) {
      const { type, path } = weight;
      pieces.push({ path: weightPiece(path), arena: weights, offset, type });
      pieces.push({ path: gradientPiece(path), arena: gradients, offset, type });
    }
    return { ...manner, weights, gradients, sums, slots, movement, average, parameters: members };
  });
  return { arenas, pieces, groups };
}
