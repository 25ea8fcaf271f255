/**
 * Calls of every op for the generic tests: shapes with 0, 1 and primes, every element type that makes a difference.
 */
import type { Attributes } from '../../../src/ir/graph.ts';
import { isFailure, type OpDefinition } from '../../../src/ir/op.ts';
import { inferOp, ops } from '../../../src/ir/ops/index.ts';
import type { TensorType } from '../../../src/ir/types.ts';
import { bool, dimAttributes, f32, i32, noRanges, typed } from './support.ts';

export interface Sample {
  readonly op: string;
  readonly inputs: readonly TensorType[];
  readonly attributes: Attributes;
}

type Row = readonly [inputs: readonly TensorType[], attributes?: Readonly<Record<string, unknown>>];

const shapes: readonly (readonly number[])[] = [[], [1], [0, 3], [5, 7], [2, 1, 3]];

/** Axes that are contracted in `x [.., K]` times `y [N, K]`, without batch. */
const plainDot = { lhs_batch: [], rhs_batch: [], lhs_contract: [1], rhs_contract: [1] };

/** A convolution of so many spatial axes that does nothing special. */
function plainConv(rank: number): Readonly<Record<string, readonly number[] | number>> {
  const ones = new Array<number>(rank).fill(1);
  const zeros = new Array<number>(rank).fill(0);
  return { strides: ones, low: zeros, high: zeros, dilations: ones, groups: 1 };
}

const rows: Readonly<Record<string, readonly Row[]>> = {
  constant: [
    [[], { values: [1.5], dtype: 'f32', shape: [] }],
    [[], { values: [1, 0, 1], dtype: 'bool', shape: [3, 1] }],
    [[], { values: [], dtype: 'i32', shape: [0] }],
  ],
  iota: [
    [[], { length: 7, dtype: 'i32' }],
    [[], { length: 0, dtype: 'f32' }],
  ],
  dim_value: [[[], { value: 13 }]],
  cast: shapes.flatMap((shape) => [
    [[typed('f32', shape)], { dtype: 'i32' }],
    [[typed('i32', shape)], { dtype: 'f32' }],
    [[typed('bool', shape)], { dtype: 'u32' }],
    [[typed('f32', shape)], { dtype: 'bool' }],
    [[typed('f32', shape)], { dtype: 'f16' }],
  ]),
  dropout: [
    [[f32(5, 7)], { p: 0.25, stream: 3 }],
    [[f32()], { p: 0, stream: 4294967295 }],
    [[typed('f16', [0, 3])], { p: 0.5, stream: 0 }],
  ],
  random: [
    [[typed('u32', [5, 7]), typed('u32', [5, 7])]],
    [[typed('u32', [2, 3]), typed('u32', [2, 3]), typed('u32', [2, 3])]],
    [[typed('u32', []), typed('u32', [])]],
  ],
  reshape: [
    [[f32(2, 3, 5)], { shape: [5, 6] }],
    [[f32(0, 3)], { shape: [3, 0, 7] }],
    [[i32()], { shape: [1, 1] }],
    [[bool(1, 1)], { shape: [] }],
  ],
  transpose: [
    [[f32(2, 3, 5)], { permutation: [2, 0, 1] }],
    [[i32(0, 3)], { permutation: [1, 0] }],
    [[bool(17, 1)], { permutation: [1, 0] }],
    [[f32()], { permutation: [] }],
  ],
  broadcast: [
    [[f32()], { shape: [3, 5] }],
    [[f32(3, 1)], { shape: [2, 3, 5] }],
    [[i32(1)], { shape: [0] }],
    [[bool(7)], { shape: [7] }],
  ],
  slice: [
    [[f32(5, 7)], { axis: 1, start: 2, size: 3 }],
    [[i32(5, 7)], { axis: 0, start: 5, size: 0 }],
    [[f32(2, 3, 1)], { axis: 2, start: 0, size: 1 }],
  ],
  concat: [
    [[f32(2, 3), f32(2, 5), f32(2, 0)], { axis: 1 }],
    [[i32(1)], { axis: 0 }],
    [[bool(2, 3), bool(1, 3)], { axis: 0 }],
  ],
  pad: [
    [[f32(2, 3)], { low: [0, 1], high: [2, 0], interior: [0, 0], value: -1.5 }],
    [[i32(2, 3)], { low: [1, 0], high: [0, 0], interior: [2, 1], value: 7 }],
    [[f32(0, 3)], { low: [2, 0], high: [0, 1], interior: [0, 0], value: 1 }],
    [[bool(3)], { low: [0], high: [0], interior: [0], value: 1 }],
    [[f32()], { low: [], high: [], interior: [], value: 1 }],
  ],
  window: [
    [[f32(2, 7)], { axes: [1], sizes: [3], strides: [2], dilations: [1] }],
    [[f32(5, 7, 3)], { axes: [1, 0], sizes: [2, 3], strides: [1, 2], dilations: [5, 2] }],
    [[i32(1, 1)], { axes: [0], sizes: [1], strides: [4], dilations: [3] }],
    [[bool(0, 6)], { axes: [1], sizes: [3], strides: [2], dilations: [1] }],
  ],
  reverse: [
    [[f32(2, 3, 5)], { axes: [0, 2] }],
    [[i32(0, 3)], { axes: [1] }],
    [[bool(7)], { axes: [] }],
  ],
  conv: [
    [[f32(2, 3, 7), f32(5, 3, 3), f32(5)], { ...plainConv(1), low: [1], high: [1], strides: [2] }],
    [[f32(1, 4, 6, 5), f32(6, 2, 2, 3)], { ...plainConv(2), dilations: [2, 1], groups: 2 }],
    [[f32(0, 1, 4), f32(1, 1, 4)], plainConv(1)],
    [[typed('f16', [1, 2, 4]), typed('f16', [3, 2, 1])], plainConv(1)],
  ],
  conv_transpose: [
    [[f32(2, 4, 5), f32(4, 3, 3), f32(3)], { ...plainConv(1), strides: [2], low: [1], high: [0] }],
    [[f32(1, 4, 3, 2), f32(4, 1, 2, 3)], { ...plainConv(2), strides: [1, 3], dilations: [3, 1], groups: 2 }],
    [[f32(1, 1, 6), f32(1, 1, 2)], { ...plainConv(1), low: [3], high: [-1] }],
    [[typed('f16', [1, 2, 4]), typed('f16', [2, 1, 2])], plainConv(1)],
  ],
  reduce: ['sum', 'max', 'min', 'prod'].flatMap((kind): Row[] => [
    [[f32(3, 5, 7)], { kind, axes: [1], keep: true }],
    [[f32(3, 5, 7)], { kind, axes: [0, 2], keep: false }],
    [[i32(3, 5)], { kind, axes: [1], keep: false }],
    [[f32(3, 0)], { kind, axes: [1], keep: false }],
    [[f32(0, 3)], { kind, axes: [1], keep: false }],
  ]),
  dot_general: [
    [[f32(5, 7), f32(3, 7)], plainDot],
    [[i32(2, 3), i32(9, 3)], plainDot],
    [[f32(2, 0), f32(3, 0)], plainDot],
    [
      [f32(2, 7, 3, 5), f32(11, 2, 5, 3)],
      { lhs_batch: [0, 2], rhs_batch: [1, 3], lhs_contract: [3], rhs_contract: [2] },
    ],
    [[f32(3), f32(5)], { lhs_batch: [], rhs_batch: [], lhs_contract: [], rhs_contract: [] }],
  ],
  scatter_add: [
    [[f32(5, 3), i32(5)], { rows: 4 }],
    [[f32(2, 3), i32(2, 3)], { rows: 7 }],
    [[f32(0, 3), i32(0)], { rows: 2 }],
  ],
  segment_sum: [
    [[i32(5), i32(5), f32(5, 3)], { rows: 4 }],
    [[typed('u32', [3]), i32(3), f32(3, 2, 4)], { rows: 1 }],
    [[i32(0), i32(0), f32(0)], { rows: 2 }],
  ],
  sort_order: [[[i32(7)]], [[typed('u32', [1])]], [[i32(0)]]],
  gather: [[[f32(11, 3), i32(2, 5)]], [[f32(11), i32()]], [[f32(0, 3), i32(2)]], [[i32(3, 2, 2), typed('u32', [0])]]],
  take_along: [
    [[f32(2, 3, 5), i32(2, 7, 5)], { axis: 1 }],
    [[f32(4), typed('u32', [0])], { axis: -1 }],
    [[i32(3, 1), i32(3, 2)], { axis: 1 }],
    [[f32(0, 3), i32(0, 2)], { axis: 1 }],
  ],
  top_k: [
    [[f32(2, 3, 5)], { k: 3 }],
    [[f32(7)], { k: 7 }],
    [[i32(3, 1)], { k: 1 }],
    [[typed('u32', [0, 4])], { k: 2 }],
    [[typed('f16', [2, 5])], { k: 2 }],
  ],
  argmax: [
    [[f32(2, 3, 5)], { axis: 1, keep: false }],
    [[f32(7)], { axis: -1, keep: true }],
    [[i32(3, 1)], { axis: 1, keep: false }],
    [[typed('u32', [4, 0])], { axis: 0, keep: false }],
    [[typed('f16', [3, 5])], { axis: 1, keep: false }],
  ],
  ctc: [
    [[f32(2, 5, 4), i32(2, 2), i32(2), i32(2)], { blank: 0 }],
    [[f32(1, 1, 3), i32(1, 3), i32(1), i32(1)], { blank: 2 }],
    [[f32(0, 3, 2), i32(0, 1), i32(0), i32(0)], { blank: 0 }],
  ],
  ctc_paths: [[[f32(2, 5, 7), bool(2, 7)]], [[f32(1, 1, 1), bool(1, 1)]], [[f32(0, 3, 5), bool(0, 5)]]],
  linear: [
    [[f32(2, 3, 5), f32(7, 5), f32(7)]],
    [[f32(5), f32(1, 5)]],
    [[f32(0, 5), f32(7, 5), f32(7)]],
    [[typed('f16', [2, 5]), typed('f16', [3, 5])]],
  ],
  layer_norm: [
    [[f32(2, 3, 7), f32(7), f32(7)], { eps: 1e-5 }],
    [[f32(2, 7), f32(7)], { eps: 1e-12 }],
    [[f32(1)], { eps: 1e-5 }],
    [[f32(0, 7)], { eps: 1e-5 }],
    [[typed('f16', [3, 5]), typed('f16', [5])], { eps: 1e-5 }],
  ],
  rms_norm: [
    [[f32(2, 3, 7), f32(7)], { eps: 1e-6 }],
    [[f32(5)], { eps: 1e-6 }],
    [[f32(0, 5)], { eps: 1e-6 }],
  ],
  softmax: [
    [[f32(2, 3, 5)], { axis: -1 }],
    [[f32(2, 3, 5)], { axis: 0 }],
    [[f32(1)], { axis: 0 }],
    [[f32(0, 3)], { axis: 1 }],
    [[typed('f16', [3, 5])], { axis: 1 }],
  ],
  masked_softmax: [
    [[f32(2, 3, 5)], { masked: false }],
    [[f32(2, 3, 5), bool(2, 3, 5)], { masked: true }],
    [[f32(2, 3, 5), bool(2, 3, 5), f32(1, 3, 1)], { masked: true }],
    [[f32(2, 3, 5), f32(2, 1, 1)], { masked: false }],
    [[f32(0, 3)], { masked: false }],
  ],
  barrier: [[[f32(2, 3)], {}]],
  entmax: [
    [[f32(2, 3, 5)], {}],
    [[f32(2, 3, 5), f32(2, 3, 1)], {}],
    [[f32(0, 3)], {}],
    [[typed('f16', [3, 5])], {}],
  ],
  entmax_threshold: [
    [[f32(2, 3, 5)], { axes: [2] }],
    [[f32(4), f32(1)], { axes: [0] }],
  ],
  fake_quantize: [
    [[f32(5, 6)], { bits: 8, group: 6, asymmetric: false }],
    [[f32(2, 3, 9)], { bits: 4, group: 4, asymmetric: true }],
    [[f32(0, 4)], { bits: 4, group: 2, asymmetric: false }],
  ],
  mean: [
    [[f32(2, 3, 5)], { axes: [1, -1], keep: false }],
    [[f32(2, 3)], { axes: [0], keep: true }],
    [[typed('f16', [2, 3])], { axes: [0], keep: true }],
  ],
  append: [
    [[f32(2, 9, 3), f32(2, 4, 3), typed('i32', [2])]],
    [[f32(1, 7, 4), f32(1, 1, 4), typed('i32', [1])]],
    [[typed('f16', [2, 8, 2]), typed('f16', [2, 3, 2]), typed('i32', [2])]],
  ],
  quantize_rows: [
    [[f32(2, 3, 8), f32(2, 3, 2)], { width: 4 }],
    [[f32(12), f32(1)], { width: 12 }],
    [[f32(0, 4), f32(0, 1)], { width: 4 }],
  ],
  dequantize_rows: [
    [[i32(2, 3, 4)], { width: 4 }],
    [[i32(6)], { width: 20 }],
    [[i32(0, 2)], { width: 4 }],
  ],
  attention: [
    [[f32(2, 3, 8), f32(2, 5, 8), f32(2, 5, 12)], { heads: 4, kv_heads: 4, scale: 0.5 }],
    [
      [f32(2, 3, 8), f32(2, 5, 4), f32(2, 5, 2), bool(2, 1, 1, 5)],
      { heads: 4, kv_heads: 2, scale: 0.5, extras: ['mask'] },
    ],
    [[f32(3, 6), f32(3, 2), f32(3, 2), bool(3, 3, 3)], { heads: 3, kv_heads: 1, scale: 1, extras: ['mask'] }],
    [[f32(1, 2, 4), f32(1, 0, 4), f32(1, 0, 4)], { heads: 2, kv_heads: 2, scale: 1 }],
    [[typed('f16', [1, 2, 4]), typed('f16', [1, 3, 4]), typed('f16', [1, 3, 4])], { heads: 2, kv_heads: 2, scale: 1 }],
  ],
};

const dtypesTried = ['f32', 'f16', 'i32', 'u32', 'bool'] as const;

/** Elementwise ops without attributes need no rows: whatever `infer` accepts is a sample. */
function elementwiseSamples(definition: OpDefinition): Sample[] {
  return dtypesTried.flatMap((dtype) =>
    shapes.flatMap((shape): Sample[] => {
      const operands = definition.operands.map((name) => typed(name === 'condition' ? 'bool' : dtype, shape));
      const accepted = !isFailure(inferOp(definition, operands, {}, noRanges));
      return accepted ? [{ op: definition.name, inputs: operands, attributes: {} }] : [];
    }),
  );
}

/** Empty for ops that have none, which a test refuses. */
export function samplesOf(definition: OpDefinition): readonly Sample[] {
  const listed = rows[definition.name];
  if (listed) {
    return listed.map(([inputs, attributes = {}]) => ({
      op: definition.name,
      inputs,
      attributes: dimAttributes(definition.name, attributes),
    }));
  }
  return definition.traits.includes('elementwise') ? elementwiseSamples(definition) : [];
}

/** Every op whose types are inferred. */
export const sampledOps: readonly OpDefinition[] = [...ops.values()].filter(
  (definition) => !definition.traits.includes('stated'),
);
