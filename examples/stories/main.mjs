// Little stories by a Llama of 15 million parameters:
//
//   npm run demo:stories -- "Once upon a time" [--temperature 0.8 --top-p 0.9 --seed 1] [--tokens 256]
//     [--device gpu|lavapipe|swiftshader|cpu]
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadTokenizer } from 'sorac/text';
import { describeSpeed, generationOptions, numbersOf, streamText, untilInterrupted } from '../stream-text.mjs';
import { load } from './generated/llama.js';

const generated = (name) => fileURLToPath(new URL(`generated/${name}`, import.meta.url));

const { values, positionals } = parseArgs({ allowPositionals: true, options: generationOptions });
const options = numbersOf(values);
const prompt = positionals.join(' ') || 'Once upon a time';

const start = performance.now();
const tokenizer = await loadTokenizer(generated('tokenizer.bin'));
const model = await load({ weights: generated('model.safetensors'), adapter: values.device });
const loadMilliseconds = performance.now() - start;

const ids = tokenizer.encode(prompt);
const write = (text) => process.stdout.write(text);
write(prompt);
const session = model.session();
// A story ends where the next one would begin.
const stop = [tokenizer.bos, tokenizer.eos];
const story = await untilInterrupted((signal) =>
  streamText({ session, tokenizer, ids, options: { ...options, stop, signal }, write }),
);
write('\n');
console.error(`\n${describeSpeed(story, ids.length)}`);
console.error(`${model.device.name} (${model.device.kind}), loaded in ${loadMilliseconds.toFixed(0)} ms`);
await model.close();
