/** A model of repeated layers that trains: for tests of what its backward part keeps. */
export function layeredSource(block = '', layers = 6): string {
  return `import { LayerNorm, Linear, Embedding, gelu } from "sora:nn"

dim B in 1..8, T in 1..64

module Layer {
  norm1 = LayerNorm(32)
  qkv = Linear(32, 96)
  mix = Linear(32, 32)
  norm2 = LayerNorm(32)
  up = Linear(32, 128)
  down = Linear(128, 32)

  fn (x: f32[B, T, 32], mask: i32[B, T]) -> f32[B, T, 32] {
    let [q, k, v] = split(qkv(norm1(x)), 3)
    let y = x + dropout(mix(attend(q, k, v) { heads: 2, mask: padding(mask), dropout: 0.1 }), 0.1)
    y + dropout(down(gelu(up(norm2(y)))), 0.1)
  }
}

module Encoder {
  word = Embedding(50, 32)
  repeat layer[${layers}] = Layer()

  fn (ids: i32[B, T], mask: i32[B, T]) -> f32[B, T, 32] = layer(word(ids), mask)
}

model Layered {
  encoder = Encoder()
  head = Linear(32, 5)

  entry tag(ids: i32[B, T], mask: i32[B, T] = 1) -> logits: f32[B, T, 5] = head(encoder(ids, mask))
}

train Layered.tag {
  target label: i32[B, T]
  loss: cross_entropy(logits, label)
  optimizer: adamw(lr: 0.01)
  ${block}
}
`;
}
