/**
 * Metrics of an evaluation: what the losses compare, counted batch by batch.
 */
import type { Scored } from '../../ir/graph.ts';
import type { Inputs, InputTensor } from '../../runtime/inputs.ts';
import { ignoredLabel, type Metrics, type MetricsCounter, metricsCounter } from '../../training/index.ts';

/** By name: `accuracy`, `f1`, `perplexity`; with several losses behind the name of the result. */
export type Measures = Readonly<Record<string, number>>;

export interface Judge {
  add(results: Inputs, batch: Inputs): void;
  result(): Measures;
}

interface Comparison {
  readonly pair: Scored;
  readonly counter: MetricsCounter;
  /** Tokens of texts, not one class per row. */
  isText: boolean;
}

/** [B, T] moved by one: at each place the token behind it, nothing at the last. */
function following({ data, shape }: InputTensor, ignored: number): Int32Array {
  const [rows = 0, length = 0] = shape;
  const moved = new Int32Array(rows * length).fill(ignored);
  for (let row = 0; row < rows; row++)
    for (let at = 0; at + 1 < length; at++) moved[row * length + at] = Number(data[row * length + at + 1] ?? ignored);
  return moved;
}

/** @param scored as the train block has it */
export function makeJudge(scored: readonly Scored[]): Judge {
  const comparisons = scored.map((pair): Comparison => {
    return { pair, counter: metricsCounter(pair.ignore ?? ignoredLabel), isText: false };
  });
  return {
    add(results, batch) {
      for (const comparison of comparisons) {
        const { pair, counter } = comparison;
        const [scores, target] = [results[pair.scores], batch[pair.target]];
        if (!scores || !target) continue;
        comparison.isText = target.shape.length > 1 && pair.kind !== 'binary';
        const isBinary = pair.kind === 'binary';
        const shape = isBinary ? [...scores.shape, 1] : scores.shape;
        const labels =
          pair.kind === 'next' ? following(target, pair.ignore ?? ignoredLabel) : Int32Array.from(target.data);
        counter.add({ data: scores.data, shape }, labels);
      }
    },
    result() {
      const prefix = (scores: string): string => (comparisons.length > 1 ? `${scores}.` : '');
      return Object.fromEntries(
        comparisons.flatMap(({ pair, counter, isText }) => {
          const metrics = counter.result();
          const named = metrics.count === 0 ? [] : isText ? ofText(metrics) : ofClasses(metrics);
          return named.map(([name, value]) => [`${prefix(pair.scores)}${name}`, value] as const);
        }),
      );
    },
  };
}

function ofText({ perplexity, accuracy }: Metrics): readonly (readonly [string, number])[] {
  return [
    ['perplexity', perplexity],
    ['accuracy', accuracy],
  ];
}

function ofClasses({ accuracy, binaryF1, macroF1 }: Metrics): readonly (readonly [string, number])[] {
  return [
    ['accuracy', accuracy],
    ['f1', binaryF1 ?? macroF1],
  ];
}

/** "accuracy 97.10 %  F1 96.40 %  perplexity 12.31" */
export function describeMeasures(measures: Measures): string {
  return Object.entries(measures)
    .map(([name, value]) => {
      const last = name.split('.').at(-1) ?? name;
      const shown = last === 'f1' ? `${name.slice(0, -2)}F1` : name;
      return last === 'perplexity' ? `${shown} ${value.toFixed(2)}` : `${shown} ${(value * 100).toFixed(2)} %`;
    })
    .join('  ');
}
