/**
 * How far results of a compressed model are from those of the dense one, summed up batch by batch.
 */
import type { Scored } from '../../ir/graph.ts';
import { goneScore } from '../../ir/pruning.ts';
import type { Inputs } from '../../runtime/inputs.ts';
import type { HostTensor } from '../tensor-file.ts';
import { type Measures, makeJudge } from '../train/judge.ts';

/** Of one result, over the whole sample. */
export interface ResultQuality {
  readonly name: string;
  /** max |got - dense|, mean |got - dense|, and the former by max |dense|. */
  readonly maxError: number;
  readonly meanError: number;
  readonly relativeError: number;
  /** Mean over rows (all axes but the last) of the cosine between the rows of both. */
  readonly cosine: number;
  readonly leastCosine: number;
  /** Share of rows whose greatest element is at the same place; undefined where elements are no scores. */
  readonly top1: number | undefined;
  readonly rows: number;
}

export interface Quality {
  readonly results: readonly ResultQuality[];
  /** Perplexity, accuracy and F1 of both, where the sample has something to compare with. */
  readonly dense: Measures;
  readonly compressed: Measures;
}

type Results = ReadonlyMap<string, HostTensor>;

interface Tally {
  maxError: number;
  sumError: number;
  elements: number;
  largest: number;
  cosine: number;
  leastCosine: number;
  agreeing: number;
  rows: number;
}

export interface QualityCounter {
  add(dense: Results, compressed: Results, inputs: Inputs): void;
  result(): Quality;
}

/** @param scored what says that a result has scores of classes; names with `logits` or `scores` say it too */
export function qualityCounter(scored: readonly Scored[]): QualityCounter {
  const tallies = new Map<string, Tally>();
  const [dense, compressed] = [makeJudge(scored), makeJudge(scored)];
  const isScores = (name: string) => /logits|scores/.test(name) || scored.some(({ scores }) => scores === name);
  return {
    add(wanted, got, inputs) {
      for (const [name, tensor] of wanted) {
        const other = got.get(name);
        if (!(tensor.data instanceof Float32Array) || !other) continue;
        const tally = tallies.get(name) ?? newTally();
        tallies.set(name, tally);
        addRows(tally, tensor, other, maskOf(inputs, tensor.shape));
      }
      dense.add(Object.fromEntries(wanted), inputs);
      compressed.add(Object.fromEntries(got), inputs);
    },
    result: () => ({
      results: [...tallies].map(([name, tally]) => qualityOf(name, tally, isScores(name))),
      dense: dense.result(),
      compressed: compressed.result(),
    }),
  };
}

function newTally(): Tally {
  return {
    maxError: 0,
    sumError: 0,
    elements: 0,
    largest: 0,
    cosine: 0,
    leastCosine: Number.POSITIVE_INFINITY,
    agreeing: 0,
    rows: 0,
  };
}

/** Padding does not count: results may hold anything there. */
function maskOf(inputs: Inputs, shape: readonly number[]): ArrayLike<number | bigint> | undefined {
  const mask = inputs.attention_mask;
  const isPerToken =
    mask && shape.length > 2 && mask.shape.length === 2 && mask.shape.every((size, at) => size === shape[at]);
  return isPerToken ? mask.data : undefined;
}

function addRows(tally: Tally, want: HostTensor, got: HostTensor, mask: ArrayLike<number | bigint> | undefined): void {
  const size = want.shape.at(-1) ?? 1;
  const rows = size === 0 ? 0 : want.data.length / size;
  const perToken = mask === undefined ? 1 : rows / mask.length;
  for (let row = 0; row < rows; row++) {
    if (mask && Number(mask[Math.floor(row / perToken)]) !== 1) continue;
    addRow(tally, want.data, got.data, row * size, size);
  }
}

function addRow(tally: Tally, want: ArrayLike<number>, got: ArrayLike<number>, from: number, size: number): void {
  let [product, wantSquares, gotSquares] = [0, 0, 0];
  let [wantBest, gotBest, gone] = [from, from, 0];
  for (let at = from; at < from + size; at++) {
    const [wanted = 0, value = 0] = [want[at], got[at]];
    if (wanted > (want[wantBest] ?? 0)) wantBest = at;
    // Classes that are gone have no score to compare.
    if (value <= goneScore) {
      gone++;
      continue;
    }
    if (value > (got[gotBest] ?? 0)) gotBest = at;
    // What is no number is as far away as can be.
    const error = wanted === value ? 0 : Math.abs(wanted - value);
    if (!(error <= tally.maxError)) tally.maxError = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    tally.sumError += error;
    tally.largest = Math.max(tally.largest, Math.abs(wanted));
    product += wanted * value;
    wantSquares += wanted * wanted;
    gotSquares += value * value;
  }
  const length = Math.sqrt(wantSquares * gotSquares);
  const cosine = length > 0 ? product / length : wantSquares === gotSquares ? 1 : 0;
  tally.cosine += cosine;
  tally.leastCosine = Math.min(tally.leastCosine, cosine);
  tally.agreeing += wantBest === gotBest ? 1 : 0;
  tally.elements += size - gone;
  tally.rows++;
}

function qualityOf(name: string, tally: Tally, isScores: boolean): ResultQuality {
  const { maxError, sumError, elements, largest, cosine, leastCosine, agreeing, rows } = tally;
  return {
    name,
    maxError,
    meanError: sumError / Math.max(1, elements),
    relativeError: largest > 0 ? maxError / largest : maxError,
    cosine: rows === 0 ? 1 : cosine / rows,
    leastCosine: rows === 0 ? 1 : leastCosine,
    top1: isScores && rows > 0 ? agreeing / rows : undefined,
    rows,
  };
}
