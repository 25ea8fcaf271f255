/**
 * Choosing tokens: the generator's known answers, the sampler against a plain one over all logits, and what is drawn against
 * the probabilities that it should be drawn with.
 */
import { describe, expect, test } from 'vitest';
import { philox, uniform } from '../../../src/runtime/philox.ts';
import { allCandidates, type Candidates, choose, heatOf, type Sampling } from '../../../src/runtime/sampler.ts';

const plain: Sampling = { temperature: 1, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 };

/** Logits of a vocabulary, steep enough that the first of them hold most of the probability. */
function logitsOf(seed: number, vocabulary: number, scale = 4): Float32Array {
  return Float32Array.from({ length: vocabulary }, (_, id) => scale * (2 * uniform(seed, id, 7) - 1));
}

function told(row: Float32Array, count: number, temperature: number): Candidates {
  const all = allCandidates(row);
  const heat = heatOf(temperature);
  const best = Number(all.logits[0]);
  const sum = row.reduce((total, logit) => total + Math.exp((logit - best) * heat), 0);
  return {
    ids: Array.from(all.ids).slice(0, count),
    logits: Array.from(all.logits).slice(0, count),
    isAll: count === row.length,
    logTotal: best * heat + Math.log(sum),
  };
}

/** The definition, step by step, on all logits: probabilities of every token, in descending order. */
function reference(row: Float32Array, sampling: Sampling, history: ReadonlySet<number>) {
  const { temperature, topK, topP, minP, repetitionPenalty: penalty } = sampling;
  const scores = Array.from(row, (logit, id) => {
    const adjusted = !history.has(id) ? logit : logit > 0 ? logit / penalty : logit * penalty;
    return { id, score: adjusted * heatOf(temperature) };
  }).sort((a, b) => b.score - a.score || a.id - b.id);
  let kept = scores.slice(0, topK ?? scores.length);
  const normal = () => {
    const best = kept[0]?.score ?? 0;
    const sum = kept.reduce((total, { score }) => total + Math.exp(score - best), 0);
    return kept.map(({ score }) => Math.exp(score - best) / sum);
  };
  let before = 0;
  const cumulative = normal();
  kept = kept.filter((_, at) => {
    const isKept = at === 0 || topP >= 1 || before < topP;
    before += cumulative[at] ?? 0;
    return isKept;
  });
  const best = kept[0]?.score ?? 0;
  kept = kept.filter(({ score }) => Math.exp(score - best) >= minP);
  return kept.map(({ id }, at) => ({ id, share: normal()[at] ?? 0 }));
}

function drawn(distribution: readonly { readonly id: number; readonly share: number }[], draw: number): number {
  let left = draw;
  for (const { id, share } of distribution) {
    left -= share;
    if (left < 0) return id;
  }
  return distribution.at(-1)?.id ?? 0;
}

test('the generator gives the known answers of its authors', () => {
  const words = (...text: readonly string[]) => text.map((word) => Number.parseInt(word, 16));
  expect(philox([0, 0, 0, 0], [0, 0])).toEqual(words('6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8'));
  const ones = 0xffffffff;
  expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual(words('408f276d', '41c83b0e', 'a20bc7c6', '6d5451fd'));
  const pi = words('243f6a88', '85a308d3', '13198a2e', '03707344', 'a4093822', '299f31d0');
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = pi;
  expect(philox([a, b, c, d], [e, f])).toEqual(words('d16cfe09', '94fdcceb', '5001e420', '24126ea1'));
});

const options: readonly (readonly [string, Partial<Sampling>])[] = [
  ['nothing', {}],
  ['cold', { temperature: 0.3 }],
  ['hot', { temperature: 4 }],
  ['the best few', { topK: 5 }],
  ['one', { topK: 1 }],
  ['more than are told', { topK: 40, temperature: 3 }],
  ['a nucleus', { topP: 0.9 }],
  ['a small nucleus', { topP: 0.05 }],
  ['a nucleus beyond what is told', { topP: 0.99, temperature: 5 }],
  ['a least share', { minP: 0.2 }],
  ['a least share beyond what is told', { minP: 0.001, temperature: 5 }],
  ['all filters', { topK: 12, topP: 0.8, minP: 0.05, temperature: 1.5 }],
  ['a penalty', { repetitionPenalty: 1.5 }],
  ['a penalty and the best few', { repetitionPenalty: 1.8, topK: 4 }],
  ['a penalty and a nucleus', { repetitionPenalty: 1.8, topP: 0.7, temperature: 0.5 }],
  ['a reward', { repetitionPenalty: 0.5, topK: 4 }],
];

describe.each(options)('with %s', (_name, some) => {
  const sampling = { ...plain, ...some };
  const history = new Set([3, 5, 8, 13, 21, 34, 55, 89]);

  test('16 of 120 tokens decide or say that they do not; then all decide, as the definition does', () => {
    for (let trial = 0; trial < 300; trial++) {
      const row = logitsOf(trial, 120, trial % 3 === 0 ? 1 : 5);
      const draw = uniform(99, trial, 0);
      const want = drawn(reference(row, sampling, history), draw);
      const few = choose(told(row, 16, sampling.temperature), sampling, history, draw);
      if (few !== undefined) expect(few).toBe(want);
      expect(choose(allCandidates(row), sampling, history, draw)).toBe(want);
    }
  });

  test('most probable token at temperature 0', () => {
    for (let trial = 0; trial < 100; trial++) {
      const row = logitsOf(trial, 120);
      const greedy = { ...sampling, temperature: 0 };
      const want = reference(row, { ...greedy, temperature: 1, topK: 1 }, history)[0]?.id;
      const few = choose(told(row, 16, 0), greedy, history, 0.5);
      if (few !== undefined) expect(few).toBe(want);
      expect(choose(allCandidates(row), greedy, history, 0.5)).toBe(want);
    }
  });
});

test('what is told is enough in the usual cases', () => {
  const sampling = { ...plain, topK: 10, topP: 0.9, temperature: 0.8, repetitionPenalty: 1.1 };
  const decided = Array.from({ length: 100 }, (_, trial) => {
    const row = logitsOf(trial, 2000, 8);
    return choose(told(row, 64, 0.8), sampling, new Set([1, 2, 3]), uniform(1, trial, 0)) !== undefined;
  });
  expect(decided.filter(Boolean).length).toBe(100);
});

test('draws follow the probabilities: chi-square over 20,000 draws of one seed', () => {
  const row = logitsOf(4, 30, 2);
  const sampling = { ...plain, temperature: 1.3, topP: 0.95 };
  const distribution = reference(row, sampling, new Set());
  const counts = new Map<number, number>();
  const draws = 20_000;
  for (let step = 0; step < draws; step++) {
    const token = choose(told(row, 30, 1.3), sampling, new Set(), uniform(42, step, 0)) ?? -1;
    counts.set(token, (counts.get(token) ?? 0) + 1);
  }
  expect([...counts.keys()].every((id) => distribution.some((part) => part.id === id))).toBe(true);
  const chiSquare = distribution.reduce((sum, { id, share }) => {
    const expected = share * draws;
    return sum + ((counts.get(id) ?? 0) - expected) ** 2 / expected;
  }, 0);
  const degrees = distribution.length - 1;
  // The mean of the distribution plus four of its standard deviations.
  expect(chiSquare).toBeLessThan(degrees + 4 * Math.sqrt(2 * degrees));
});

test('-inf is never drawn', () => {
  const row = Float32Array.from([Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY, 0]);
  for (const draw of [0, 0.25, 0.5, 0.999999999999]) {
    expect([1, 3]).toContain(choose(allCandidates(row), plain, new Set(), draw));
  }
});
