/**
 * What the character example says it measured is what its runs hold.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface Run {
  readonly validation: readonly { readonly step: number; readonly loss: number }[];
  readonly train: readonly number[];
  readonly whole: number;
}

const folder = new URL('../../../examples/characters/', import.meta.url);
const { curveOf } = (await import(new URL('curve.mjs', folder).href)) as {
  curveOf(runs: readonly { readonly name: string; readonly log: object }[]): string;
};
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
const { sorac, torch }: { readonly sorac: Run; readonly torch: Run } = JSON.parse(read('runs.json'));
const page = read('README.md');

test('the table holds the validation losses of both runs', () => {
  const rows = [...page.matchAll(/^\| (\d+)(, all)? \| ([\d.]+) \| ([\d.]+) \|$/gm)];
  expect(rows.length).toBeGreaterThan(10);
  for (const [, step, all, own, other] of rows) {
    const lossOf = (run: Run) => (all ? run.whole : run.validation.find((one) => one.step === Number(step))?.loss);
    expect([own, other]).toEqual([lossOf(sorac)?.toFixed(5), lossOf(torch)?.toFixed(5)]);
  }
});

test('the greatest differences are those of the runs', () => {
  const most = (left: readonly number[], right: readonly number[]): number =>
    Math.max(...left.map((loss, at) => Math.abs(loss - (right[at] ?? Number.NaN))));
  const losses = ({ validation }: Run) => validation.map(({ loss }) => loss);
  const found = [most(sorac.train, torch.train), most(losses(sorac), losses(torch))].map((one) => one.toExponential(1));
  expect(page).toContain(`differ by at most ${found[0]}, the validation losses by at most ${found[1]}`);
});

test('the picture is drawn from them', () => {
  const logOf = ({ train, validation }: Run) => ({
    validation: [...validation],
    train: train.map((loss, at) => ({ step: at + 1, loss })),
  });
  expect(
    curveOf([
      { name: 'sorac', log: logOf(sorac) },
      { name: 'PyTorch', log: logOf(torch) },
    ]),
  ).toBe(read('curve.svg'));
});
