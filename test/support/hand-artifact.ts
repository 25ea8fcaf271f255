/**
 * A model written by hand as the plain data that codegen would make: `scale(x) = x * factor + bias[...] + 1` row by row, and
 * its sums. Small enough to check every number, and it uses every kind of buffer, both weight layouts and `when`.
 */
import { type Artifact, type EntryPlan, IMMEDIATE_DECLARATION, type KernelSpec } from '../../src/runtime/artifact.ts';

const main =
  '@compute @workgroup_size(64)\n' +
  'fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u,\n' +
  '        @builtin(local_invocation_index) lane: u32) {\n' +
  '  let group = workgroup.x + workgroup.y * workgroups.x;\n';

/** y[b, d] = x[b, d] * 2 + bias[d] + shift[0]; table is looked up by ids[b]. */
const affine: KernelSpec = {
  code: `struct Dims { n: u32, d: u32 }
${IMMEDIATE_DECLARATION}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> packed: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
${main}  let i = group * 64u + lane;
  if (i >= dims.n) { return; }
  let b = i / dims.d;
  let d = i % dims.d;
  let row = u32(ids[b]);
  // panels of width 4: [row / 4][d][row % 4]
  let at = (row / 4u) * dims.d * 4u + d * 4u + row % 4u;
  y[i] = x[i] * packed[at] + bias[d];
}
`,
  bindings: 'rrrrw',
  params: 2,
};

/** total[b] = offset[0] + sum over d of y[b, d]; the variant for many rows must give the same. */
const rowSum = (comment: string): KernelSpec => ({
  code: `// ${comment}
struct Dims { rows: u32, d: u32 }
${IMMEDIATE_DECLARATION}
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> offset: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;
${main}  let b = group * 64u + lane;
  if (b >= dims.rows) { return; }
  var sum = offset[0];
  for (var d = 0u; d < dims.d; d++) { sum += y[b * dims.d + d]; }
  total[b] = sum;
}
`,
  bindings: 'rrw',
  params: 2,
});

const D = 3;

const plan: EntryPlan = {
  buffers: [
    { kind: 'input', name: 'x' },
    { kind: 'input', name: 'ids' },
    { kind: 'weight', weight: 0 },
    { kind: 'weight', weight: 1 },
    { kind: 'scratch', bytes: ['*', 4 * D, 'B'] },
    { kind: 'constant', dtype: 'f32', values: [0.5] },
    { kind: 'result', name: 'total', bytes: ['*', 4, 'B'] },
    { kind: 'result', name: 'y', bytes: ['*', 4 * D, 'B'] },
  ],
  steps: [
    { kernel: 'affine', buffers: [0, 1, 2, 3, 4], params: [['*', D, 'B'], D], groups: ['ceil', ['*', D, 'B'], 64] },
    {
      kernel: 'row_sum_few',
      buffers: [4, 5, 6],
      params: ['B', D],
      groups: ['ceil', 'B', 64],
      when: { value: 'B', minimum: 0, maximum: 8 },
    },
    {
      kernel: 'row_sum_many',
      buffers: [4, 5, 6],
      params: ['B', D],
      groups: ['ceil', 'B', 64],
      when: { value: 'B', minimum: 9, maximum: 10_000_000 },
    },
    { kernel: 'affine', buffers: [0, 1, 2, 3, 7], params: [['*', D, 'B'], D], groups: ['ceil', ['*', D, 'B'], 64] },
  ],
};

/** Five rows of the table come from two tensors of the checkpoint. */
export const handArtifact: Artifact = {
  format: 1,
  name: 'Hand',
  compiler: 'sorac 0.0.0',
  source: 'sha256 of nothing',
  config: { 'Hand.width': D },
  dims: { B: { minimum: 0, maximum: 3_000_000, multiple: 1 } },
  weights: [
    {
      sources: [
        { path: 'table.first', shape: [2, D] },
        { path: 'table.second', shape: [3, D] },
      ],
      shape: [5, D],
      dtype: 'f32',
      layout: { kind: 'panels', width: 4 },
    },
    { sources: [{ path: 'bias', shape: [D] }], shape: [D], dtype: 'f32', layout: { kind: 'row-major' } },
  ],
  kernels: { affine, row_sum_few: rowSum('few rows'), row_sum_many: rowSum('many rows') },
  entries: [
    {
      name: 'apply',
      doc: 'Scales rows by a looked-up row and sums them.',
      inputs: [
        { name: 'x', dtype: 'f32', shape: ['B', D], doc: 'rows' },
        { name: 'ids', dtype: 'i32', shape: ['B'], initial: 1, range: [0, 4] },
      ],
      results: [
        { name: 'total', dtype: 'f32', shape: ['B'] },
        { name: 'y', dtype: 'f32', shape: ['B', D] },
      ],
      plans: { software: plan, gpu: plan },
    },
  ],
  program: '',
};

export const handTable: readonly (readonly number[])[] = [
  [1, 2, 3],
  [4, 5, 6],
  [7, 8, 9],
  [-1, -2, -3],
  [0.5, 0.25, 0.125],
];
export const handBias: readonly number[] = [10, 20, 30];

/** What the model must give. */
export function handExpected(x: Float32Array, ids: Int32Array | undefined): { total: number[]; y: number[] } {
  const rows = x.length / D;
  const y = Array.from(x, (value, i) => {
    const row = ids?.[Math.floor(i / D)] ?? 1;
    return value * (handTable[row]?.[i % D] ?? 0) + (handBias[i % D] ?? 0);
  });
  const total = Array.from({ length: rows }, (_, b) => 0.5 + y.slice(b * D, b * D + D).reduce((sum, v) => sum + v, 0));
  return { total, y };
}
