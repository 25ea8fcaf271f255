import fc from 'fast-check';
import { expect, test } from 'vitest';
import { metricsCounter } from '../../../src/training/metrics.ts';
import { fails } from './kit.ts';

const logits = (rows: readonly (readonly number[])[]) => ({
  shape: [rows.length, rows[0]?.length ?? 0],
  data: Float32Array.from(rows.flat()),
});

/** Logits whose greatest is `answer`. */
const answering = (answer: number, classes: number): number[] =>
  Array.from({ length: classes }, (_, at) => (at === answer ? 1 : -at));

test('the figures of scikit-learn 1.9.1', () => {
  // f1_score([0,1,2,2,1,0,3], [0,2,2,2,1,1,0], average='macro') = 0.45, accuracy_score = 0.5714285714285714.
  const labels = [0, 1, 2, 2, 1, 0, 3];
  const answers = [0, 2, 2, 2, 1, 1, 0];
  const counter = metricsCounter();
  counter.add(logits(answers.map((answer) => answering(answer, 5))), labels);
  const { accuracy, macroF1, binaryF1, count } = counter.result();
  expect([count, accuracy, macroF1, binaryF1]).toEqual([
    7,
    expect.closeTo(4 / 7, 12),
    expect.closeTo(0.45, 12),
    undefined,
  ]);
});

test('two classes: F1 of class 1, also from one logit', () => {
  // f1_score([1,1,1,0,0,1], [1,0,1,1,0,0]) = 0.5714285714285714, with average='macro' 0.4857142857142857.
  const labels = [1, 1, 1, 0, 0, 1];
  const answers = [1, 0, 1, 1, 0, 0];
  const two = metricsCounter();
  two.add(logits(answers.map((answer) => (answer === 1 ? [0, 0.7] : [0, -0.7]))), labels);
  const one = metricsCounter();
  one.add(logits(answers.map((answer) => [answer === 1 ? 0.7 : -0.7])), labels);
  expect(two.result()).toMatchObject({
    binaryF1: expect.closeTo(4 / 7, 12),
    macroF1: expect.closeTo(0.4857142857142857, 12),
  });
  expect(one.result()).toEqual(two.result());
});

test('perplexity is e to the mean cross entropy of what counts', () => {
  const counter = metricsCounter();
  const uniform = { shape: [1, 3, 4], data: new Float32Array(12).fill(1000) };
  counter.add(uniform, [0, -100, 3]);
  expect(counter.result()).toMatchObject({
    count: 2,
    perplexity: expect.closeTo(4, 9),
    loss: expect.closeTo(Math.log(4), 12),
  });
  expect(metricsCounter().result().accuracy).toBeNaN();
});

test('batches of any size give what one batch gives', () => {
  const rows = fc.array(
    fc.tuple(
      fc.array(fc.float({ noNaN: true, min: -20, max: 20 }), { minLength: 3, maxLength: 3 }),
      fc.integer({ min: 0, max: 2 }),
    ),
    {
      minLength: 1,
      maxLength: 30,
    },
  );
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 7 }), (all, size) => {
      const [whole, parts] = [metricsCounter(), metricsCounter()];
      whole.add(
        logits(all.map(([row]) => row)),
        all.map(([, label]) => label),
      );
      for (let at = 0; at < all.length; at += size) {
        const part = all.slice(at, at + size);
        parts.add(
          logits(part.map(([row]) => row)),
          part.map(([, label]) => label),
        );
      }
      const [a, b] = [whole.result(), parts.result()];
      expect(b).toEqual({ ...a, loss: expect.closeTo(a.loss, 10), perplexity: expect.closeTo(a.perplexity, 6) });
    }),
  );
});

test('a row with NaN is wrong, and the loss says so', () => {
  const counter = metricsCounter();
  counter.add(
    logits([
      [Number.NaN, 1],
      [0, 1],
    ]),
    [1, 1],
  );
  expect(counter.result()).toMatchObject({ accuracy: 0.5, loss: Number.NaN });
});

test('labels that do not fit are refused', async () => {
  const add = (labels: readonly number[]) => () => metricsCounter().add(logits([[1, 2]]), labels);
  await fails(add([2]), 'SORA7043', 'the label 2 is no class: there are 2 logits');
  await fails(add([-1]), 'SORA7043', 'the label -1');
  await fails(add([0, 1]), 'SORA6013', '2 labels for logits of the shape [1, 2]');
});
