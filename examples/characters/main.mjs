// Text by the character model that train.mjs has trained:
//
//   npm run demo:characters -- "ROMEO:" [--temperature 0.8 --top-k 20 --seed 1] [--tokens 500]
//     [--from FOLDER] [--device gpu|lavapipe|swiftshader|cpu]
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compileModule } from 'sorac';
import { characterTokenizer } from 'sorac/training';
import { describeSpeed, generationOptions, numbersOf, streamText, untilInterrupted } from '../stream-text.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...generationOptions,
    tokens: { type: 'string', default: '500' },
    temperature: { type: 'string', default: '0.8' },
    from: { type: 'string', default: fileURLToPath(new URL('generated', import.meta.url)) },
  },
});
const weights = join(values.from, 'model.safetensors');
if (!existsSync(weights)) {
  console.error('there is no trained model yet. Train one, which takes some minutes, then start the demo again:\n');
  console.error('  npm run train:characters -- --text input.txt');
  process.exit(3);
}
const options = numbersOf(values);
// The first line of a text begins behind the end of another.
const prompt = positionals.join(' ') || '\n';

const start = performance.now();
const { characters, config } = JSON.parse(readFileSync(join(values.from, 'characters.json'), 'utf8'));
const tokenizer = characterTokenizer(characters);
const file = new URL('../../models/characters/characters.sora', import.meta.url);
const { load } = await compileModule(file, { config });
const model = await load({ weights, adapter: values.device });
const loadMilliseconds = performance.now() - start;

const ids = tokenizer.encode(prompt);
const write = (text) => process.stdout.write(text);
write(prompt);
const session = model.session();
const told = await untilInterrupted((signal) =>
  streamText({ session, tokenizer, ids, options: { ...options, signal }, write }),
);
write('\n');
console.error(`\n${describeSpeed(told, ids.length)}`);
console.error(`${model.device.name} (${model.device.kind}), compiled and loaded in ${loadMilliseconds.toFixed(0)} ms`);
await model.close();
