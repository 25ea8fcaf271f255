// @jax-js/jax with @jax-js/onnx, jitted. The past stays on the device between calls. Argument: warm runs.
import { readFileSync } from 'node:fs';
import { measure } from '../work.mjs';
import { browserGpu, pastFeeds, token } from './peer.mjs';

const start = performance.now();
browserGpu();
const { numpy, jit, init, defaultDevice } = await import('@jax-js/jax');
const { ONNXModel } = await import('@jax-js/onnx');
if (!(await init('webgpu')).includes('webgpu')) throw new Error('jax-js has no webgpu device here');
defaultDevice('webgpu');
const model = new ONNXModel(new Uint8Array(readFileSync(new URL('../.cache/gpt2step.onnx', import.meta.url))));
const feeds = { ids: numpy.array(Int32Array.of(token), { dtype: numpy.int32 }).reshape([1, 1]) };
for (const { name, data, dims } of pastFeeds()) feeds[name] = numpy.array(data).reshape(dims);
const run = jit(model.run);
await measure({
  peer: 'jax-js 0.1.25 webgpu',
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  async call() {
    const results = run(Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, value.ref])));
    for (const name of Object.keys(results)) if (name !== 'logits') results[name].dispose();
    return await results.logits.data();
  },
  summarize: (logits) => Array.from(logits),
});
process.exit(0);
