// Stories that the model makes up, one JSON line each: a text in its style to measure compressed models on (docs/compression.md).
//
//   node examples/stories/sample.mjs 64 > stories.jsonl
import { fileURLToPath } from 'node:url';
import { loadTokenizer } from 'sorac/text';
import { load } from './generated/llama.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const beginnings = ['Once upon a time', 'One day', 'Lily', 'Tom', 'There was a', 'In the', 'A little', 'The sun'];

const count = Number(process.argv[2] ?? 64);
const tokenizer = await loadTokenizer(at('generated/tokenizer.bin'));
const model = await load({ weights: at('generated/model.safetensors') });
for (let first = 0; first < count; first += beginnings.length) {
  const own = beginnings.slice(0, count - first);
  const prompts = own.map((text) => tokenizer.encode(text));
  const session = model.session();
  const texts = prompts.map((prompt) => [...prompt]);
  const options = { maxTokens: 240, temperature: 0.9, topP: 0.95, seed: 1000 + first };
  for await (const { tokens } of session.generate(prompts, options))
    for (const [row, token] of tokens.entries()) if (token !== null) texts[row].push(token);
  await session.close();
  for (const ids of texts) process.stdout.write(`${JSON.stringify({ text: tokenizer.decode(ids).trim() })}\n`);
  console.error(`${Math.min(count, first + own.length)} of ${count}`);
}
await model.close();
