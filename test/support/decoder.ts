/**
 * A small decoder with grouped heads, rotary and learned positions, its weights, and texts: what tests of states and sessions share.
 */
import { type Compilation, compile } from '../../src/compile.ts';
import type { Tensor } from '../../src/ir/op.ts';
import { constantValue } from '../../src/ir/symbolic.ts';
import { encodeSafetensors } from '../../src/runtime/index.ts';
import { randomTensor } from '../null/ir/support.ts';

export const vocabulary = 61;
/** Positions that the states hold. */
export const positions = 96;

export const decoderText = `import { Embedding, Linear, RMSNorm, silu } from "sora:nn"

dim B in 1..4, T in 1..32

config Tiny {
  vocab: int = ${vocabulary}
  hidden: int = 24
  heads: int = 6
  kv_heads: int = 2
  ctx: int = ${positions}
}

module Block(c: Tiny) {
  norm1 = RMSNorm(c.hidden)
  q = Linear(c.hidden, c.hidden, bias: false)
  k = Linear(c.hidden, c.kv_heads * c.hidden / c.heads, bias: false)
  v = Linear(c.hidden, c.kv_heads * c.hidden / c.heads, bias: false)
  o = Linear(c.hidden, c.hidden, bias: false)
  norm2 = RMSNorm(c.hidden)
  up = Linear(c.hidden, 2 * c.hidden)
  down = Linear(2 * c.hidden, c.hidden)
  state kv = KVCache(B, c.kv_heads, c.ctx, c.hidden / c.heads)

  fn (x: f32[B, T, c.hidden]) -> f32[B, T, c.hidden] {
    let h = norm1(x)
    let a = attend(q(h), k(h), v(h)) {
      heads: c.heads,
      kv_heads: c.kv_heads,
      rope: rotary(theta: 10000.0),
      mask: causal,
      cache: kv,
    }
    let y = x + o(a)
    y + down(silu(up(norm2(y))))
  }
}

model Decoder(c: Tiny) {
  embed = Embedding(c.vocab, c.hidden)
  place = Embedding(c.ctx, c.hidden)
  repeat layers[2] = Block(c)
  norm = RMSNorm(c.hidden)
  head = Linear(c.hidden, c.vocab, bias: false)

  /// Logits behind the last position of every row.
  entry prefill(ids: i32[B, T]) -> logits: f32[B, c.vocab] {
    head(norm(last(layers(embed(ids) + place(positions(B, T))))))
  }
  entry decode = prefill with T = 1
  /// Needs no session.
  entry words(ids: i32[B, T]) -> x: f32[B, c.hidden] {
    last(norm(embed(ids)) * f32(positions(B, T) + 1)[:, :, new])
  }
}
`;

const compiled = new Map<string, Compilation>();

/** The program under its options, compiled once per process. */
export function decoder(more = ''): Compilation {
  const text = `${decoderText}${more}`;
  const known = compiled.get(text);
  if (known) return known;
  const { value, diagnostics } = compile({ file: { path: 'decoder.sora', text } });
  if (!value || diagnostics.length > 0) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  compiled.set(text, value);
  return value;
}

export const halfStates = '\nquantize Decoder {\n  state "**.kv": f16\n}\n';
export const wholeStates = '\nquantize Decoder {\n  state "**.kv": int8\n}\n';

function seedOf(path: string): number {
  return [...path].reduce((seed, letter) => (seed * 31 + letter.charCodeAt(0)) % 100_003, 7);
}

/** Weights of a size that keeps activations near 1. */
export function decoderWeights({ program }: Compilation): ReadonlyMap<string, Tensor> {
  return new Map(
    program.weights.map(({ path, type }) => {
      const shape = type.shape.map((dim) => constantValue(dim) ?? 0);
      const plain = randomTensor('f32', shape, seedOf(path));
      const scale = shape.length > 1 ? 1 / Math.sqrt(shape.at(-1) ?? 1) : 1;
      return [path, { ...plain, data: Float32Array.from(plain.data, (value) => Math.fround(value * scale)) }];
    }),
  );
}

export function decoderCheckpoint(compilation: Compilation): Uint8Array {
  return encodeSafetensors(
    [...decoderWeights(compilation)].map(([name, { shape, data }]) => ({
      name,
      shape,
      data: Float32Array.from(data),
    })),
  );
}

/** A text of so many tokens. */
export function tokens(count: number, seed = 1): readonly number[] {
  return Array.from({ length: count }, (_, at) => (at * 17 + seed * 29 + ((at * at) % 7)) % vocabulary);
}

/** Rows padded on the right with 0. */
export function idsOf(rows: readonly (readonly number[])[]) {
  const length = Math.max(...rows.map((row) => row.length));
  const data = Int32Array.from(rows.flatMap((row) => Array.from({ length }, (_, at) => row[at] ?? 0)));
  return { ids: { data, shape: [rows.length, length] } };
}

export function greatestDifference(left: ArrayLike<number>, right: ArrayLike<number>): number {
  return Array.from(left).reduce((most, value, at) => Math.max(most, Math.abs(value - (right[at] ?? Number.NaN))), 0);
}

export function argmax(logits: ArrayLike<number>): number {
  const values = Array.from(logits);
  return values.indexOf(Math.max(...values));
}
