// onnxruntime-web (its browser bundle) on Dawn. Argument: warm runs. Run with `node --liftoff-only`.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { measure } from '../work.mjs';
import { browserGpu, pastFeeds, token } from './peer.mjs';

const start = performance.now();
browserGpu();
const dist = dirname(createRequire(import.meta.url).resolve('onnxruntime-web'));
const module = await import(pathToFileURL(join(dist, 'ort.webgpu.bundle.min.mjs')).href);
const ort = module.default ?? module;
ort.env.wasm.wasmBinary = readFileSync(join(dist, 'ort-wasm-simd-threaded.asyncify.wasm'));
ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';
const file = new Uint8Array(readFileSync(new URL('../.cache/gpt2step.onnx', import.meta.url)));
const session = await ort.InferenceSession.create(file, { executionProviders: ['webgpu'] });
const feeds = { ids: new ort.Tensor('int64', BigInt64Array.of(BigInt(token)), [1, 1]) };
for (const { name, data, dims } of pastFeeds()) feeds[name] = new ort.Tensor('float32', data, dims);
await measure({
  peer: `onnxruntime-web ${ort.env.versions?.web ?? ''} webgpu`,
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  call: async () => (await session.run(feeds, ['logits'])).logits.data,
  summarize: (logits) => Array.from(logits),
});
process.exit(0);
