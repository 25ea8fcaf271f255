// onnxruntime-node with its WebGPU provider. Argument: warm runs.
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { measure } from '../work.mjs';
import { pastFeeds, token } from './peer.mjs';

const start = performance.now();
const file = fileURLToPath(new URL('../.cache/gpt2step.onnx', import.meta.url));
const session = await ort.InferenceSession.create(file, {
  executionProviders: [{ name: 'webgpu' }],
  logSeverityLevel: 3,
});
const feeds = { ids: new ort.Tensor('int64', BigInt64Array.of(BigInt(token)), [1, 1]) };
for (const { name, data, dims } of pastFeeds()) feeds[name] = new ort.Tensor('float32', data, dims);
await measure({
  peer: `onnxruntime-node ${ort.env.versions.node ?? ''} webgpu`,
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  call: async () => (await session.run(feeds, ['logits'])).logits.data,
  summarize: (logits) => Array.from(logits),
});
await session.release();
