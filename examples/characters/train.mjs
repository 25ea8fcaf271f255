// Trains the character model on a text and writes what it measured:
//
//   npm run train:characters -- --text input.txt [--steps 1000 --batch 16 --seed 1337] [--out FOLDER] [--resume]
//     [--device gpu|lavapipe|swiftshader|cpu] [--export]
//
// FOLDER (examples/characters/generated unless given) gets `log.json`, `curve.svg`, `characters.json`, the trained
// `model.safetensors` and `run.safetensors` to go on with. `--export` also writes the fresh weights and all batches, for
// torch_reference.py.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compileModule } from 'sorac';
import { encodeSafetensors, saveFile } from 'sorac/runtime';
import { characterTokenizer, splitTokens, windowBatches } from 'sorac/training';
import { writeCurve } from './curve.mjs';

const { values } = parseArgs({
  options: {
    text: { type: 'string' },
    steps: { type: 'string', default: '1000' },
    batch: { type: 'string', default: '16' },
    seed: { type: 'string', default: '1337' },
    out: { type: 'string', default: fileURLToPath(new URL('generated', import.meta.url)) },
    device: { type: 'string', default: 'auto' },
    export: { type: 'boolean', default: false },
    resume: { type: 'boolean', default: false },
  },
});
if (values.text === undefined || !existsSync(values.text)) {
  console.error('give the text to learn from: npm run train:characters -- --text input.txt');
  process.exit(2);
}
const [totalSteps, batchSize, seed] = [Number(values.steps), Number(values.batch), Number(values.seed)];
/** Steps between two looks at the validation loss, and characters of each look. */
const every = 50;
const looked = 20_480;
const out = (name) => join(values.out, name);
mkdirSync(values.out, { recursive: true });

const text = readFileSync(values.text, 'utf8');
const tokenizer = characterTokenizer(text);
const config = { vocab_size: tokenizer.vocabularySize };
const { load, artifact } = await compileModule(new URL('../../models/characters/characters.sora', import.meta.url), {
  config,
});
const length = artifact.dims.T.maximum;
const { train, validation } = splitTokens(Int32Array.from(tokenizer.encode(text)), { validation: 0.1 });
const drawn = windowBatches(train, { length, batchSize, seed, windows: 'random', dropLast: true, ids: 'ids' });
const held = windowBatches(validation, { length, batchSize, ids: 'ids' });

/** Batch of a step, counted from 0: what it holds depends on the seed and the step alone. */
async function batchOf(step) {
  const { inputs } = await drawn.batch(Math.floor(step / drawn.perEpoch), step % drawn.perEpoch);
  return { ids: inputs.ids };
}

async function* heldBatches(characters = Number.POSITIVE_INFINITY) {
  let seen = 0;
  for await (const { inputs } of held.epoch(0)) {
    if (seen >= characters) return;
    seen += inputs.ids.data.length;
    yield { ids: inputs.ids };
  }
}

const model = await load({ adapter: values.device });
const trainer = await model.trainer({ totalSteps, seed });
const device = `${model.device.name} (${model.device.kind})`;
const parameters = artifact.weights.reduce(
  (sum, { sources }) => sum + sources.reduce((part, { shape }) => part + shape.reduce((a, b) => a * b, 1), 0),
  0,
);
console.error(`${device}; ${parameters} parameters, ${train.length} characters to learn from`);

async function exportRun() {
  const batches = await Promise.all(Array.from({ length: totalSteps }, (_, step) => batchOf(step)));
  const rows = [];
  for await (const { ids } of heldBatches()) rows.push(...ids.data);
  const tensors = [
    {
      name: 'train',
      shape: [totalSteps, batchSize, length],
      data: Int32Array.from(batches.flatMap(({ ids }) => [...ids.data])),
    },
    { name: 'validation', shape: [rows.length / length, length], data: Int32Array.from(rows) },
  ];
  await saveFile(out('batches.safetensors'), encodeSafetensors(tensors));
  await saveFile(out('fresh.safetensors'), await trainer.weights());
  const { schedule, optimizer } = artifact.training;
  const settings = { totalSteps, every, batchSize, looked, schedule, optimizer, config: artifact.config };
  writeFileSync(out('settings.json'), `${JSON.stringify(settings, undefined, 2)}\n`);
}
if (values.export) await exportRun();

const log = { device, parameters, batchSize, length, seed, totalSteps, seconds: 0, train: [], validation: [] };
if (values.resume && existsSync(out('run.safetensors'))) {
  const { metadata } = await trainer.load(out('run.safetensors'));
  Object.assign(log, JSON.parse(metadata.log));
  console.error(`goes on after step ${trainer.steps}`);
}

/** Lost runs cost at most `every` steps. */
async function keep() {
  await trainer.save(out('run.safetensors'), { metadata: { log: JSON.stringify(log) } });
  writeFileSync(out('log.json'), `${JSON.stringify(log)}\n`);
}

let start = performance.now();
const look = async (characters) => (await trainer.evaluate(heldBatches(characters))).loss;
if (trainer.steps === 0) log.validation.push({ step: 0, loss: await look(looked) });
while (trainer.steps < totalSteps) {
  const { step, loss, gradNorm, lr } = await trainer.step(await batchOf(trainer.steps));
  log.train.push({ step, loss, gradNorm, lr });
  if (step % every !== 0 && step !== totalSteps) continue;
  const found = await look(looked);
  log.validation.push({ step, loss: found });
  log.seconds += (performance.now() - start) / 1000;
  start = performance.now();
  console.error(
    `step ${step}/${totalSteps}  loss ${loss.toFixed(4)}  validation ${found.toFixed(4)}  ${log.seconds.toFixed(0)} s`,
  );
  await keep();
}
log.whole = await look();
await keep();
console.error(`validation loss over all ${validation.length} characters held back: ${log.whole.toFixed(4)}`);

await saveFile(out('model.safetensors'), await trainer.weights());
writeFileSync(out('characters.json'), `${JSON.stringify({ characters: tokenizer.characters, config })}\n`);
const reference = out('torch.json');
writeCurve(out('curve.svg'), [
  { name: 'sorac', log },
  ...(existsSync(reference) ? [{ name: 'PyTorch', log: JSON.parse(readFileSync(reference, 'utf8')) }] : []),
]);
await model.close();
