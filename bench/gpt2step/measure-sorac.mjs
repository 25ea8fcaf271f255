// The generated module of gpt2step, as an app would use it: a session that goes on. Argument: warm runs.
import { fileURLToPath } from 'node:url';
import { load } from '../.cache/gpt2step.js';
import { measure } from '../work.mjs';
import { pastValues, shape, token } from './gpt2step.mjs';

const start = performance.now();
const weights = fileURLToPath(new URL('../.cache/gpt2step.safetensors', import.meta.url));
const model = await load({ weights, adapter: 'lavapipe' });
const dims = [1, shape.past, shape.width];
const past = {};
for (let at = 0; at < shape.layers; at++) {
  past[`k${at}`] = { data: pastValues(at, 0), shape: dims };
  past[`v${at}`] = { data: pastValues(at, 1), shape: dims };
}
const ids = { data: Int32Array.of(token), shape: [1, 1] };
// One session for all calls: each step is one position longer than the last, so the first one is what the peers compute.
const session = model.session();
let first;
await measure({
  peer: 'sorac',
  adapter: model.device.name,
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  async call() {
    if (session.lengths.length === 0) await session.fill(past);
    const { logits } = await session.step({ ids });
    first ??= Array.from(logits.data);
  },
  summarize: () => first,
});
await model.close();
