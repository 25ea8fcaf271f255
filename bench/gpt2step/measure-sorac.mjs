// The generated module of gpt2step, as an app would use it. Argument: warm runs.
import { fileURLToPath } from 'node:url';
import { load } from '../.cache/gpt2step.js';
import { measure } from '../work.mjs';
import { pastValues, shape, token } from './gpt2step.mjs';

const start = performance.now();
const weights = fileURLToPath(new URL('../.cache/gpt2step.safetensors', import.meta.url));
const model = await load({ weights, adapter: 'lavapipe' });
const dims = [1, shape.past, shape.width];
const input = { ids: { data: Int32Array.of(token), shape: [1, 1] } };
for (let at = 0; at < shape.layers; at++) {
  input[`k${at}`] = { data: pastValues(at, 0), shape: dims };
  input[`v${at}`] = { data: pastValues(at, 1), shape: dims };
}
await measure({
  peer: 'sorac',
  adapter: model.device.name,
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  call: async () => (await model.step(input)).logits.data,
  summarize: (logits) => Array.from(logits),
});
await model.close();
