/**
 * What `prune` blocks ask for, and what a structured rule comes to: sets of units that are kept or dropped whole, with the
 * places of the checkpoint that belong to each. Plain data: scoring and slicing work on it without a graph.
 */
import type { Span } from '../support/source.ts';

/** How units or weights are compared. `magnitude` of a unit is its `l2`. */
export const criteria = ['magnitude', 'l1', 'l2', 'activation', 'taylor'] as const;
export type Criterion = (typeof criteria)[number];

/** How single weights are: they have no columns, so the first three are one. */
export const weightCriteria = ['magnitude', 'l1', 'l2', 'movement'] as const;
export type WeightCriterion = (typeof weightCriteria)[number];

/** How rows of a table are compared: `activation` is how often a sample looks them up. */
export const rowCriteria = ['magnitude', 'l1', 'l2', 'activation'] as const;
export type RowCriterion = (typeof rowCriteria)[number];

/** Units that are kept or dropped whole. */
export type UnitKind = 'heads' | 'neurons';

/** `heads "encoder.layer.*": keep 0.75 by l2` */
export interface UnitRule {
  readonly kind: UnitKind;
  /** Prefixes of names of weights. */
  readonly parts: readonly string[];
  /** Share of the units that stay. */
  readonly keep: number;
  /** Whether the share is that of all sets of the rule together: each keeps what scores best among all. */
  readonly isBudget: boolean;
  readonly by: Criterion;
  readonly span: Span;
}

/** What stays of single weights. */
export type Sparsity =
  /** Of each `of` consecutive inputs the `keep` largest. */
  | { readonly kind: 'nm'; readonly keep: number; readonly of: number }
  /** The share `keep` of every matrix. */
  | { readonly kind: 'share'; readonly keep: number }
  /**
   * The same, reached between two shares of all steps of a training run. Without `by` the smallest go, by `movement` those that steps have
   * moved towards 0 most, or away from it least (Sanh et al. 2020).
   */
  | {
      readonly kind: 'gradual';
      readonly keep: number;
      readonly from: number;
      readonly to: number;
      readonly by?: 'movement';
    };

/** `"**.dense.weight": nm(2, 4) by magnitude` */
export interface WeightRule {
  readonly paths: readonly string[];
  readonly sparsity: Sparsity;
  readonly span: Span;
}

/** `layers "encoder.layer": keep 0.5`: whole layers of a stack, which are numbered under the part. */
export interface LayerRule {
  readonly parts: readonly string[];
  readonly keep: number;
  readonly span: Span;
}

/** `rows "model.embed_tokens": keep 0.25 by activation`: rows of tables of embeddings, and of what scores them. */
export interface RowRule {
  readonly parts: readonly string[];
  readonly keep: number;
  readonly by: RowCriterion;
  readonly span: Span;
}

/** The score of a class whose row is gone: no sum of exponentials and no choice sees it. */
export const goneScore = Math.fround(-1e30);

export interface PruneBlock {
  readonly layers: readonly LayerRule[];
  readonly units: readonly UnitRule[];
  readonly rows: readonly RowRule[];
  /** A weight belongs to the last rule that names it. */
  readonly weights: readonly WeightRule[];
}

/** A place where units of a set lie: an axis of a tensor of the checkpoint. */
export interface UnitMember {
  readonly path: string;
  readonly axis: number;
  /** The unit of each index along the axis; -1 where indices belong to none and stay. */
  readonly units: readonly number[];
}

/** Numbers that the model computes per head or neuron without any weight: they go to the compressed file, sliced like weights. */
export interface UnitConstant {
  readonly path: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly axis: number;
  readonly units: readonly number[];
}

/** A parameter of an entry whose numbers are looked up. */
export interface RowLookup {
  readonly entry: string;
  readonly input: string;
}

export interface RowPlaces {
  /** Name of a tensor of the compressed file, f32 [count]: 0 where a row is gone, else its number there and 1. */
  readonly places: string;
  readonly lookups: readonly RowLookup[];
  /** Rows that stay whatever their score: tokens that end a text. */
  readonly always: readonly number[];
}

/** Units that hang together: the attention heads of a layer, the hidden neurons of a feed-forward. */
export interface UnitSet {
  /** `heads encoder.layer.0.attention.output.dense.weight`: kind and first scored weight. */
  readonly id: string;
  readonly kind: UnitKind | 'rows';
  readonly part: string;
  /** The place of its rule in the block, those about rows behind those about heads and neurons. */
  readonly rule: number;
  /** How many units there are, and how many stay. */
  readonly count: number;
  readonly keep: number;
  readonly by: Criterion;
  readonly members: readonly UnitMember[];
  /** Members whose columns say how much a unit matters: the inputs of the matrices that read the units. */
  readonly scored: readonly UnitMember[];
  readonly constants: readonly UnitConstant[];
  /** States (key and value caches) that shrink with it. */
  readonly states: readonly string[];
  /** Of rows of tables only. */
  readonly rows?: RowPlaces;
}

export interface PrunePlan {
  readonly sets: readonly UnitSet[];
}

/** Bits of the places of a group of which `keep` of `of` numbers are there: a power of two, so that those of a group lie in one word. */
export function placeBits({ keep, of }: { readonly keep: number; readonly of: number }): number {
  return 2 ** Math.ceil(Math.log2(keep * Math.log2(of)));
}

/** Words of a group, where the dense matrix has `of`. */
export function nmWords(pattern: { readonly keep: number; readonly of: number }): number {
  return pattern.keep + placeBits(pattern) / 32;
}

/** Weights that are cut smaller: those of all units. */
export function slicedPaths(plan: PrunePlan | undefined): ReadonlySet<string> {
  return new Set(plan?.sets.flatMap(({ members }) => members.map(({ path }) => path)));
}
