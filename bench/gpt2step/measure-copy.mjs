// What the adapter's memory gives a kernel: a copy of 64 MiB in WGSL, read and written bytes counted, the best of three
// shapes. Argument: warm runs. The number that a decode step's bytes of weights per second are compared with.
import { create, globals } from 'webgpu';

const start = performance.now();
Object.assign(globalThis, globals);
const gpu = create([]);
globalThis.keepGpu = gpu;
const adapter = await gpu.requestAdapter();
const device = await adapter.requestDevice();
const bytes = 64 * 1024 * 1024;
const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
const [from, to] = [0, 1].map(() => device.createBuffer({ size: bytes, usage }));
const vectors = bytes / 16;
const shapes = [
  { each: 8, lanes: 64 },
  { each: 32, lanes: 8 },
  { each: 32, lanes: 64 },
];
const copies = shapes.map(({ each, lanes }) => {
  const code = `@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
@compute @workgroup_size(${lanes}) fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) l: u32) {
  let first = w.x * ${each * lanes}u + l;
  for (var k = 0u; k < ${each}u; k++) { b[first + k * ${lanes}u] = a[first + k * ${lanes}u]; }
}`;
  const pipeline = device.createComputePipeline({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
  });
  const entries = [from, to].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  return async () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(vectors / each / lanes);
    pass.end();
    const began = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return (2 * bytes) / (performance.now() - began) / 1e6;
  };
});
for (const copy of copies) await copy();
const coldStart = performance.now();
const warm = [];
for (let run = 0; run < Math.max(1, Number(process.argv[2])); run++) {
  const rates = [];
  for (const copy of copies) rates.push(await copy());
  warm.push(Math.max(...rates));
}
const line = {
  peer: 'copy kernel, GB/s',
  adapter: adapter.info.device,
  load: 0,
  first: coldStart - start,
  coldStart,
  warm,
};
console.log(JSON.stringify({ ...line, embedding: [] }));
process.exit(0);
