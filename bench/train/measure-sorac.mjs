// The generated module of the classifier, as an app would train it. Argument: warm runs.
import { fileURLToPath } from 'node:url';
import { load } from '../.cache/classifier.js';
import { measure } from '../work.mjs';
import { ids, labels, recorder, shape } from './train.mjs';

const start = performance.now();
const weights = fileURLToPath(new URL('../.cache/classifier.safetensors', import.meta.url));
const model = await load({ weights, adapter: 'lavapipe' });
const trainer = await model.trainer();
const batch = {
  ids: { data: ids, shape: [shape.batch, shape.tokens] },
  labels: { data: labels, shape: [shape.batch] },
};
await measure({
  peer: 'sorac',
  adapter: model.device.name,
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  ...recorder(async () => (await trainer.step(batch)).loss),
});
await model.close();
