// Full attention and learned spans side by side, on the same batches:
//
//   node examples/characters/spans.mjs --text input.txt [--steps 1000 --batch 8 --seed 1337] [--out FOLDER] [--device …]
//
// FOLDER (examples/characters/generated unless given) gets `spans.json`: losses and spans while both learn, then the time of a
// text of 256 characters and of one more character behind 2,048.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compileModule } from 'sorac';
import { characterTokenizer, splitTokens, windowBatches } from 'sorac/training';

const { values } = parseArgs({
  options: {
    text: { type: 'string' },
    steps: { type: 'string', default: '1000' },
    batch: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1337' },
    out: { type: 'string', default: fileURLToPath(new URL('generated', import.meta.url)) },
    device: { type: 'string', default: 'auto' },
  },
});
if (values.text === undefined || !existsSync(values.text)) {
  console.error('give the text to learn from: node examples/characters/spans.mjs --text input.txt');
  process.exit(2);
}
const [totalSteps, batchSize, seed] = [Number(values.steps), Number(values.batch), Number(values.seed)];
/** Steps between two looks at the validation loss, and characters of each look. */
const every = 100;
const looked = 20_480;
/** What the train block charges for the mean share of `block` that heads see. */
const price = 0.02;
mkdirSync(values.out, { recursive: true });

const text = readFileSync(values.text, 'utf8');
const tokenizer = characterTokenizer(text);
const { train, validation } = splitTokens(Int32Array.from(tokenizer.encode(text)), { validation: 0.1 });

async function open(adaptive) {
  const { load, artifact } = await compileModule(new URL('../../models/characters/spans.sora', import.meta.url), {
    config: { vocab_size: tokenizer.vocabularySize, adaptive_span: adaptive },
  });
  const model = await load({ adapter: values.device });
  return { name: adaptive ? 'learned spans' : 'full attention', adaptive, model, artifact };
}

const both = [await open(false), await open(true)];
const { length, ramp } = { length: both[0].artifact.dims.T.maximum, ramp: both[0].artifact.config['Spans.ramp'] };
const drawn = windowBatches(train, { length, batchSize, seed, windows: 'random', dropLast: true, ids: 'ids' });
const held = windowBatches(validation, { length, batchSize, ids: 'ids' });

async function* heldBatches(characters) {
  let seen = 0;
  for await (const { inputs } of held.epoch(0)) {
    if (seen >= characters) return;
    seen += inputs.ids.data.length;
    yield { ids: inputs.ids };
  }
}

/** Characters that each head sees in full, and the greatest that it sees at all. */
async function spansOf(trainer) {
  const trained = await trainer.trained();
  const size = Number(new DataView(trained.buffer, trained.byteOffset).getBigUint64(0, true));
  const {
    data_offsets: [from, to],
  } = JSON.parse(new TextDecoder().decode(trained.subarray(8, 8 + size))).spans;
  const shares = new Float32Array(trained.slice(8 + size + from, 8 + size + to).buffer);
  return [...shares].map((share) => length * Math.min(1, Math.max(0, share)));
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

for (const each of both) {
  each.trainer = await each.model.trainer({ totalSteps, seed });
  each.log = { validation: [], milliseconds: [] };
}
for (let step = 0; step < totalSteps; step++) {
  const { inputs } = await drawn.batch(Math.floor(step / drawn.perEpoch), step % drawn.perEpoch);
  for (const each of both) {
    const start = performance.now();
    await each.trainer.step({ ids: inputs.ids });
    each.log.milliseconds.push(performance.now() - start);
  }
  if ((step + 1) % every !== 0 && step + 1 !== totalSteps) continue;
  for (const { name, adaptive, trainer, log } of both) {
    const { loss } = await trainer.evaluate(heldBatches(looked));
    const spans = await spansOf(trainer);
    // Only what the text costs is comparable.
    const own = loss - (price * mean(spans)) / length;
    log.validation.push({ step: step + 1, loss: own, spans: adaptive ? spans : spans.map(() => length) });
    console.error(
      `step ${step + 1}  ${name}: validation ${own.toFixed(4)}, mean span ${mean(log.validation.at(-1).spans).toFixed(1)}`,
    );
  }
}

/** Texts of `length` at once, and one character behind many, in turns. */
const prompt = Int32Array.from(tokenizer.encode(text.slice(0, 2048)));
for (const each of both) {
  await each.trainer.apply();
  each.session = each.model.session({ capacity: 2048 + 64 });
  for (let at = 0; at < prompt.length; at += length)
    await each.session.next({ ids: { data: prompt.slice(at, at + length), shape: [1, length] } });
  Object.assign(each.log, { text: [], character: [] });
}
for (let round = 0; round < 25; round++) {
  for (const { model, session, log } of both) {
    const ids = { data: prompt.slice(0, 8 * length), shape: [8, length] };
    let start = performance.now();
    await model.forward({ ids });
    log.text.push(performance.now() - start);
    start = performance.now();
    await session.next({ ids: { data: prompt.slice(round, round + 1), shape: [1, 1] } });
    log.character.push(performance.now() - start);
  }
}
const results = both.map(({ name, log, model }) => ({
  name,
  device: model.device.name,
  validation: log.validation,
  stepMilliseconds: median(log.milliseconds),
  textMilliseconds: median(log.text),
  characterMilliseconds: median(log.character),
}));
writeFileSync(
  join(values.out, 'spans.json'),
  `${JSON.stringify({ totalSteps, batchSize, length, ramp, seed, results })}\n`,
);
console.table(
  results.map(({ name, validation, stepMilliseconds, textMilliseconds, characterMilliseconds }) => ({
    name,
    loss: validation.at(-1).loss.toFixed(4),
    'mean span': mean(validation.at(-1).spans).toFixed(1),
    'step ms': stepMilliseconds.toFixed(1),
    '8 texts of 256, ms': textMilliseconds.toFixed(1),
    'a character behind 2048, ms': characterMilliseconds.toFixed(2),
  })),
);
for (const { session, model } of both) {
  await session.close();
  await model.close();
}
