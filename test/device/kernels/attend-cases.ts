/**
 * Texts of `attend` with every modifier, their inputs and how results are compared: for tests of kernels.
 */
import type { Tensor } from '../../../src/ir/op.ts';
import { evaluateDim } from '../../../src/ir/symbolic.ts';
import type { TensorType } from '../../../src/ir/types.ts';

export interface Sizes {
  readonly width: number;
  readonly heads: number;
  readonly kv: number;
}

export const shapes: readonly Sizes[] = [
  { width: 20, heads: 3, kv: 1 },
  { width: 40, heads: 3, kv: 3 },
  { width: 64, heads: 12, kv: 3 },
  { width: 80, heads: 3, kv: 1 },
  { width: 128, heads: 3, kv: 3 },
  { width: 256, heads: 3, kv: 1 },
];

/** Bucket of T5 for a distance `d` from query to key: exact up to 4, then in powers up to 32. */
const bucket =
  'fn bucket(d: i32[...]) -> i32[...] { ' +
  'let n = abs(d) ' +
  'let far = min(4 + i32(log(f32(max(n, 1)) / 4) / log(8.0) * 4), 7) ' +
  'where(d > 0, 8, 0) + where(n < 4, n, far) }\n';

/** What a modifier's text may name besides the operands: inputs, and a function in front of the model. */
const inputs: Readonly<Record<string, (sizes: Sizes) => string>> = {
  long: () => 'long: i32[B],',
  slope: ({ heads }) => `slope: f32[${heads}],`,
  tau: ({ heads }) => `tau: f32[B, T, ${heads}],`,
  table: ({ heads }) => `table: f32[${heads}, 2, 2],`,
  learned: ({ heads }) => `learned: f32[${heads}, 1024, 1024],`,
  buckets: ({ heads }) => `buckets: f32[${16 * heads}],`,
  relative: ({ heads }) => `relative: f32[16, ${heads}],`,
};
const functions: Readonly<Record<string, string>> = {
  unit: 'fn unit(x: f32[..., D]) -> f32[..., D] = rms_norm(x)\n',
  bucket,
};

/** What works with and without a cache. */
export const cached: Readonly<Record<string, string>> = {
  causal: 'mask: causal',
  'a window behind': 'mask: causal and window(5)',
  'a window on both sides': 'mask: window(4)',
  'padding and a window': 'mask: padding(long) and window(6)',
  'causal or early': 'mask: (causal or window(3)) and padding(long)',
  'a prefix': 'mask: causal or padding(long)',
  'a score function': 'score: (s, b, h, i, j) => s - gather(slope, h) * f32(abs(i - j)) + 0.01 * f32(b)',
  'a score function that hides': 'mask: causal, score: (s, b, h, i, j) => where((i + j) % 3 == 0, s, -1e30)',
  'blocks of a score function': 'mask: causal, score: (s, b, h, i, j) => where(i / 8 == j / 8, s, -1e30)',
  softcap: 'mask: causal, softcap: 2.5',
  'a bias tensor': 'bias: table[:, 0:1, 0:1]',
  'ALiBi as a function': 'mask: causal, bias: (h, i, j) => gather(slope, h) * f32(j - i)',
  'the relative bias of T5': 'bias: (h, i, j) => gather(buckets, 16 * h + bucket(j - i))',
  'a temperature per query and head': 'mask: causal, temperature: 0.5 + tau * tau',
  'a temperature per head': 'temperature: 1.5 + slope',
  'an adaptive span': 'span: adaptive(3 * slope + 3, ramp: 2.5)',
  'a causal span in padding': 'mask: causal and padding(long), span: adaptive(4 * slope + 4, ramp: 3)',
  sinks: 'mask: causal, sinks: slope',
  'sinks in a window': 'mask: causal and window(3) and padding(long), sinks: slope',
  'entmax 1.5': 'mask: causal, normalize: entmax(1.5)',
  'entmax with a number': 'normalize: entmax(1.3)',
  'entmax per head': 'mask: padding(long), normalize: entmax(1.5 + 0.4 * slope)',
  'a gate per head': 'mask: causal, gate: tau',
  'a gate per element': 'gate: q + 1',
  'rope of halves': 'mask: causal, rope: rotary(theta: 100)',
  'rope of neighbours, in part': 'rope: rotary(theta: 500, pairs: "neighbours", width: 12)',
  'rope of halves, in part': 'rope: rotary(width: 16, scaling: linear(2))',
  'rope as Llama 3': 'rope: rotary(theta: 50, scaling: llama3(factor: 8, low: 1, high: 4, original: 32))',
  'rope scaled by NTK': 'mask: causal, rope: rotary(theta: 200, scaling: ntk(4))',
  'rope scaled for a length': 'rope: rotary(theta: 200, scaling: dynamic(2, 64, 1024))',
  'rope as YaRN': 'mask: causal, rope: rotary(theta: 200, scaling: yarn(factor: 4, original: 64))',
  'norms of heads': 'q_norm: unit, k_norm: unit, rope: rotary()',
  everything:
    'mask: causal and window(9), score: (s, b, h, i, j) => s * 1.1, softcap: 3, bias: table[:, 0:1, 0:1], ' +
    'temperature: 1.5 + slope, span: adaptive(4 * slope + 4, ramp: 3), sinks: slope, gate: tau, rope: rotary(), dropout: 0.1',
};

export const modifiers: Readonly<Record<string, string>> = {
  plain: '',
  ...cached,
  'blocks of a mask': 'mask: causal and (iota(T)[:, new] / 16 == iota(T)[new] / 16)',
  'a learned bias': 'mask: causal, bias: learned[:, 0:T, 0:T]',
  'the relative bias of T5 as a tensor':
    'bias: transpose(gather(relative, bucket(iota(T)[new] - iota(T)[:, new])), [2, 0, 1])',
};

/** An attention with a modifier; with `positions`, one new query per row on a cache of so many. */
export function textOf(modifier: string, { width, heads, kv }: Sizes, positions?: number): string {
  const isUsed = (name: string) => new RegExp(`\\b${name}\\b`).test(modifier);
  const used = <Item>(table: Readonly<Record<string, Item>>) =>
    Object.entries(table).flatMap(([name, item]) => (isUsed(name) ? [item] : []));
  const state = positions === undefined ? '' : `state kv = KVCache(B, ${kv}, ${positions}, ${width})\n  `;
  const settings = [
    `heads: ${heads}, kv_heads: ${kv}`,
    ...(modifier === '' ? [] : [modifier]),
    ...(positions === undefined ? [] : ['cache: kv']),
  ];
  const text = `dim B in 1..4, T in 1..1024

${used(functions).join('')}

model Test {
  ${state}entry run(
    q: f32[B, T, ${heads * width}],
    k: f32[B, T, ${kv * width}],
    v: f32[B, T, ${kv * width}],
    ${used(inputs)
      .map((declaration) => declaration({ width, heads, kv }))
      .join('\n    ')}
  ) -> y: f32[B, T, ${heads * width}] {
    attend(q, k, v) { ${settings.join(', ')} }
  }
}
`;
  return positions === undefined ? text : text.replace(', T in 1..1024', '').replace(/\bT\b/g, '1');
}

/** Numbers in [-1, 1) from a linear congruential generator (Numerical Recipes): the same on every machine. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

export function inputOf(type: TensorType, dims: ReadonlyMap<string, number>, next: () => number): Tensor {
  const shape = type.shape.map((dim) => evaluateDim(dim, dims));
  const length = shape.reduce((all, size) => all * size, 1);
  if (type.dtype === 'f32') return { dtype: 'f32', shape, data: Float32Array.from({ length }, next) };
  const keys = (dims.get('past') ?? 0) + (dims.get('T') ?? 1);
  const longest = Math.ceil((3 * keys) / 4);
  return { dtype: 'i32', shape, data: Int32Array.from({ length }, (_, at) => (at === 0 ? longest : keys >> 1)) };
}

/** Sums of up to 1,000 products of numbers below 1 in f32; the narrow weights of entmax take roots of their errors. */
export const tolerance = 3e-5;

export function worst(got: ArrayLike<number> | undefined, want: Tensor): number {
  if (got?.length !== want.data.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  for (let i = 0; i < want.data.length; i++) {
    const off = Math.abs(Number(got[i]) - Number(want.data[i]));
    difference = Math.max(difference, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
  }
  return difference;
}
