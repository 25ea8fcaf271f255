/**
 * Schedules as data: how the work of a contraction is cut, per device profile and shape class.
 *
 * Software drivers: registers only, no barriers, one subgroup of 8 lanes per workgroup. Measured on lavapipe (128x384x1536,
 * relative): 8 rows x 2 vectors 1.0, 16x2 0.8, 8x1 0.7, 4x2 0.7, 16x1 0.6; reading four steps of the sum at a time 0.6, and
 * twice the time to compile. Few rows read the weights once, and loads are what counts: four steps at a time are 1.6 times
 * as fast as one (one row of 768x3072: 7.5 GB/s of weights, as many bytes as a copy kernel reads and writes together), two
 * vectors per lane 5 % faster for twice the time to compile; slices of the sum, wider panels, row-major rows with
 * subgroup sums, and loads from textures are slower. A left operand with its rows side by side (weight
 * gradients) is read four rows at a time: 1.3 to 1.6 times as fast. GPUs: tiles in workgroup memory; not measured here.
 * Packed weights: unpacking costs four instructions per eight numbers and loads are saved, so a lane takes more columns, up to 32 (docs/decisions/0009).
 * Ends of short loops are hidden (`unrolledNever`): with them known, Mesa unrolled a training step's row kernels for 31 of 53 s.
 */
import type { ProfileName } from '../../ir/target.ts';

/**
 * A lane computes `rows` x `4 * vectors` results in registers; a workgroup's lanes lie side by side along the columns. The
 * loop takes one step of the sum at a time, or four where operands lie by four along the sum.
 */
export interface RegisterTile {
  readonly kind: 'registers';
  readonly rows: number;
  readonly vectors: number;
  readonly lanes: number;
  readonly steps: 1 | 4;
}

/** A workgroup of `lanes` x `lanes` invocations stages tiles of `depth` in workgroup memory; a lane computes `rows` x 4. */
export interface SharedTile {
  readonly kind: 'shared';
  readonly rows: number;
  readonly lanes: number;
  readonly depth: number;
}

/** Few rows: lanes along the columns, `slices` of the sum beside each other, added in workgroup memory. */
export interface SlicedTile {
  readonly kind: 'sliced';
  readonly rows: number;
  readonly lanes: number;
  readonly slices: number;
}

export type Tile = RegisterTile | SharedTile | SlicedTile;

/** A tile and the numbers of rows it is for; `maximum` undefined: no end. */
export interface Schedule {
  readonly tile: Tile;
  readonly minimum: number;
  readonly maximum: number | undefined;
}

/**
 * The tile for so many columns: three vectors where two would leave the last tile half empty and three leave none (96, 288, …). On
 * lavapipe a transformer whose projections have 96 columns takes 3 % less processor time.
 */
export function tileFor(tile: RegisterTile, columns: number | undefined): RegisterTile {
  const panels = columns === undefined ? 0 : Math.ceil(columns / (4 * tile.lanes));
  return tile.vectors === 2 && tile.steps === 1 && panels % 6 === 3 ? { ...tile, vectors: 3 } : tile;
}

export interface ContractionSchedules {
  /** One matrix product: `linear`. */
  readonly single: readonly Schedule[];
  /** One with a packed weight. */
  readonly packed: readonly Schedule[];
  /** One with an n:m weight. */
  readonly sparse: readonly Schedule[];
  /** Many small ones: scores and mixtures of attention. */
  readonly batched: readonly Schedule[];
}

export const contractionSchedules: Readonly<Record<ProfileName, ContractionSchedules>> = {
  software: {
    single: [
      { tile: { kind: 'registers', rows: 1, vectors: 1, lanes: 8, steps: 4 }, minimum: 0, maximum: 1 },
      { tile: { kind: 'registers', rows: 4, vectors: 1, lanes: 8, steps: 4 }, minimum: 2, maximum: 4 },
      { tile: { kind: 'registers', rows: 8, vectors: 2, lanes: 8, steps: 1 }, minimum: 5, maximum: undefined },
    ],
    packed: [
      { tile: { kind: 'registers', rows: 1, vectors: 4, lanes: 8, steps: 4 }, minimum: 0, maximum: 1 },
      { tile: { kind: 'registers', rows: 4, vectors: 2, lanes: 8, steps: 4 }, minimum: 2, maximum: 4 },
      { tile: { kind: 'registers', rows: 8, vectors: 2, lanes: 8, steps: 4 }, minimum: 5, maximum: undefined },
    ],
    // Spreading a group out takes registers of its own: half of the outputs of packed weights, 1.2 times as fast.
    sparse: [
      { tile: { kind: 'registers', rows: 1, vectors: 2, lanes: 8, steps: 4 }, minimum: 0, maximum: 1 },
      { tile: { kind: 'registers', rows: 4, vectors: 2, lanes: 8, steps: 4 }, minimum: 2, maximum: 4 },
      { tile: { kind: 'registers', rows: 8, vectors: 1, lanes: 8, steps: 4 }, minimum: 5, maximum: undefined },
    ],
    batched: [{ tile: { kind: 'registers', rows: 8, vectors: 1, lanes: 8, steps: 1 }, minimum: 0, maximum: undefined }],
  },
  gpu: {
    single: [
      { tile: { kind: 'sliced', rows: 4, lanes: 8, slices: 8 }, minimum: 0, maximum: 8 },
      { tile: { kind: 'shared', rows: 4, lanes: 16, depth: 16 }, minimum: 9, maximum: undefined },
    ],
    packed: [
      { tile: { kind: 'sliced', rows: 4, lanes: 8, slices: 8 }, minimum: 0, maximum: 8 },
      { tile: { kind: 'shared', rows: 4, lanes: 16, depth: 16 }, minimum: 9, maximum: undefined },
    ],
    sparse: [
      { tile: { kind: 'sliced', rows: 4, lanes: 8, slices: 8 }, minimum: 0, maximum: 8 },
      { tile: { kind: 'shared', rows: 4, lanes: 16, depth: 16 }, minimum: 9, maximum: undefined },
    ],
    batched: [{ tile: { kind: 'shared', rows: 4, lanes: 16, depth: 16 }, minimum: 0, maximum: undefined }],
  },
};

/** Attention of few queries: how their keys are split. */
export interface KeySplits {
  /** More queries than this are work enough without. */
  readonly queries: number;
  /** As many splits as it takes to have so many places to work at, if each has so many keys at least when all are visible. */
  readonly places: number;
  readonly keys: number;
  /** Splits are a multiple of this, and no more than `most`. */
  readonly step: number;
  readonly most: number;
}

/** Software drivers: a lane per split, so that the lanes of a workgroup have something to do. GPUs: a workgroup per split; not measured here. */
export const keySplits: Readonly<Record<ProfileName, KeySplits>> = {
  software: { queries: 7, places: 16, keys: 1, step: 8, most: 64 },
  gpu: { queries: 4, places: 512, keys: 128, step: 1, most: 32 },
};

/** Width of the panels that weights of contractions are laid out in: one vector of each of eight neighbouring lanes. */
export const panelWidth = 32;

/** What a vector of outputs costs where a lane has so many: vectors share the loads of the other factor, and the walk over the sum. */
const costOfVectors: readonly (readonly [vectors: number, cost: number])[] = [
  [1, 1.5],
  [2, 1.2],
  [3, 1.08],
  [4, 1],
  [8, 0.9],
];

/**
 * Vectors of a lane in products of one row with a packed weight of so many outputs. Its panels are as wide, so that what a workgroup reads
 * is one piece of memory.
 */
export function packedVectors(outputs: number): number {
  const panels = Math.max(1, Math.ceil(outputs / panelWidth));
  const costs = costOfVectors.map(
    ([vectors, cost]) => [vectors, Math.ceil(panels / vectors) * vectors * cost] as const,
  );
  return costs.reduce((best, next) => (next[1] < best[1] ? next : best))[0];
}
