/**
 * Metrics of classifiers and language models, batch by batch, from logits and labels. Everything is summed in f64.
 */
import type { InputTensor } from '../runtime/inputs.ts';
import { SoraError } from '../support/error.ts';
import { ignoredLabel } from './fields.ts';

export interface Metrics {
  /** Labels that counted. */
  readonly count: number;
  /** Mean cross entropy in nats: without smoothing or class weights. */
  readonly loss: number;
  /** Share of labels whose logit is the greatest, in 0..1. */
  readonly accuracy: number;
  /** Mean F1 of the classes that occur as a label or as an answer, in 0..1. */
  readonly macroF1: number;
  /** F1 of class 1; undefined when there are not two classes. */
  readonly binaryF1: number | undefined;
  /** e to the loss. */
  readonly perplexity: number;
}

export interface MetricsCounter {
  /**
   * @param logits f32 [..., C]; with C = 1, a logit above 0 is class 1
   * @param labels class ids, one per row of logits; those equal to `ignored` do not count
   * @errors SORA7043 for a label that is no class, SORA6013 when there are not as many labels as rows
   */
  add(logits: InputTensor, labels: ArrayLike<number>): void;
  /** Of everything added so far; NaN where nothing counted. */
  result(): Metrics;
}

/** @param ignored the label that marks what does not count, -100 unless given */
export function metricsCounter(ignored: number = ignoredLabel): MetricsCounter {
  let tallies: readonly Tally[] = [];
  let [count, correct, loss] = [0, 0, 0];
  return {
    add({ data, shape }, labels) {
      const width = shape.at(-1) ?? 1;
      const rows = shape.slice(0, -1).reduce((product, dim) => product * dim, 1);
      if (rows !== labels.length || rows * width !== data.length) {
        throw new SoraError('SORA6013', `${labels.length} labels for logits of the shape [${shape.join(', ')}]`);
      }
      const classes = Math.max(2, width);
      if (tallies.length === 0) tallies = Array.from({ length: classes }, () => ({ hits: 0, answers: 0, labels: 0 }));
      if (tallies.length !== classes) {
        throw new SoraError('SORA6013', `logits of ${classes} classes after logits of ${tallies.length}`);
      }
      for (let row = 0; row < rows; row++) {
        const label = labels[row] ?? ignored;
        if (label === ignored) continue;
        const labelled = tallies[label];
        if (!labelled) throw new SoraError('SORA7043', `the label ${label} is no class: there are ${classes} logits`);
        const logits = width === 1 ? [0, data[row] ?? 0] : data.subarray(row * width, (row + 1) * width);
        const answer = greatest(logits);
        count += 1;
        loss += crossEntropy(logits, label);
        labelled.labels += 1;
        const answered = tallies[answer];
        if (answered) answered.answers += 1;
        if (answer === label) {
          labelled.hits += 1;
          correct += 1;
        }
      }
    },
    result() {
      const seen = tallies.filter((tally) => tally.labels + tally.answers > 0);
      const [, positive] = tallies;
      const mean = loss / count;
      return {
        count,
        loss: mean,
        accuracy: correct / count,
        macroF1: seen.reduce((sum, tally) => sum + f1(tally), 0) / seen.length,
        binaryF1: tallies.length === 2 && positive ? f1(positive) : undefined,
        perplexity: Math.exp(mean),
      };
    },
  };
}

interface Tally {
  /** Labels that were answered rightly. */
  hits: number;
  answers: number;
  labels: number;
}

function f1({ hits, answers, labels }: Tally): number {
  return answers + labels === 0 ? 0 : (2 * hits) / (answers + labels);
}

/** The first of equals; a row with NaN has no answer. */
function greatest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let at = 0; at < logits.length; at++) {
    const value = logits[at] ?? Number.NaN;
    if (Number.isNaN(value)) return -1;
    if (value > (logits[best] ?? 0)) best = at;
  }
  return best;
}

function crossEntropy(logits: ArrayLike<number>, label: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let at = 0; at < logits.length; at++) most = Math.max(most, logits[at] ?? 0);
  let sum = 0;
  for (let at = 0; at < logits.length; at++) sum += Math.exp((logits[at] ?? 0) - most);
  return Math.log(sum) + most - (logits[label] ?? 0);
}
