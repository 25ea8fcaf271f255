/**
 * Small sources that mutations start from: every construct of the language in a few lines each, and what grammar-made programs
 * are made of. Small, because an edit of a short program reaches more of its meanings.
 */
export const corpus: readonly string[] = [
  `import { Linear, gelu } from "sora:nn"
dim B in 1..4, T in 2..8 multiple of 2
model M {
  up = Linear(8, 16) as "mlp.up"
  entry f(x: f32[B, T, 8]) -> y: f32[B, T, 16] { gelu(up(x)) }
}
`,
  `dim T in 1..9
config C {
  /// Width.
  width: int = 4 from "hidden_size" or count("labels")
  act: string = "relu"
  eps: float = 1e-5
  half: int = width / 2
}
model M(c: C) {
  gain: f32[c.width] as "weight" if c.width > 2
  entry f(x: f32[T, c.width]) -> f32[T, c.width] = if c.act == "relu" { max(x, 0) * gain } else { fail("no " + c.act) }
}
`,
  `dim B in 1..2
module Block(n: int, bias: bool = true) {
  w: f32[n, n]
  b: f32[n] init if bias { uniform(bound: 1 / sqrt(n)) } else { zeros } if bias
  fn (x: f32[..., n]) -> f32[..., n] { if bias { linear(x, w, b) } else { linear(x, w) } }
  fn twice(x: f32[..., n]) = x + x
}
model M {
  repeat layer[3] = Block(4, bias: false) as "encoder.layer"
  last = Block(4)
  entry f(x: f32[B, 4]) -> y: f32[B, 4] { last(layer(x)) + layer[-1](x) }
}
`,
  `dim B in 1..4, T in 1..8
model M {
  entry f(q: f32[B, T, 8], m: i32[B, T] = 1) -> { a: f32[B, T, 8], s: f32[B] } {
    let a = attend(q, q, q) { heads: 4, mask: causal and padding(m), scale: 0.5, dropout: 0.1 }
    { a: a, s: sum(a, axis: [1, 2]) }
  }
}
`,
  `dim T in 3..9
fn shift(x: f32[T, D], by: float = 0.5) -> f32[T, D] = x * by - -x ** 2 % 3
model M {
  entry f(x: f32[T, 4]) -> f32[2 * T, 2] {
    let [a, b] = split(shift(x, by: 2), 2, axis: -1)
    let c = concat([a, b], axis: 0)
    c[:, 0:2][..., :] + c[0, new]
  }
}
`,
  `dim B in 1..4, T in 1..8
model M {
  table: f32[10, 4] as "emb.weight" init normal(std: 0.02, mean: 1)
  entry f(ids: i32[B, T]) -> y: f32[B, T] {
    let h = dropout(gather(table, ids), 0.1, seed: 3) + f32(iota(T))[:, new]
    where(ids != 0 and not (ids > 5), mean(softmax(h), axis: -1), 0)
  }
}
`,
  `dim B in 1..4
model M {
  entry f(x: f32[B, 6]) -> y: f32[B, 3, 2] { transpose(reshape(x, [B, 2, 3]), [0, 2, 1]) }
  entry g(x: f32[B, 6]) -> f32[B, 6] = layer_norm(x, eps: 0.1)
}
`,
  `import { Embedding, Linear } from "sora:nn"
dim B in 1..2, T in 1..4
module Mix(n: int, depth: int) {
  lin = Linear(n, n)
  fn (x: f32[B, T, n]) -> f32[B, T, n] = x + lin(x) / (depth + 1)
}
model Words {
  embed = Embedding(10, 4) as "wte"
  repeat mix[i in 2] = Mix(4, i) as "h"
  head = Linear(4, 10, bias: false) tied embed.weight if missing
  entry score(ids: i32[B, T]) -> logits: f32[B, 10] = head(mix(embed(ids))[:, -1])
  entry step = score with T = 1
}
`,
  `dim B in 1..2, T in 1..4
model M {
  entry f(q: f32[B, T, 8]) -> { y: f32[B, T, 8], m: f32[B, 8] } {
    let h = rearrange(q, "b t (h d) -> b h t d", h: 2)
    let w = softmax(einsum("bhid,bhjd->bhij", h, h) / 4)
    { y: rearrange(einsum("bhij,bhjd->bhid", w, h), "b h t d -> b t (h d)"), m: mean(q, axis: T) }
  }
}
`,
  `import { Linear } from "sora:nn"
dim B in 1..2
model Tagger {
  tags = Linear(4, 2)
  entry tag(x: f32[B, 4]) -> f32[B, 2] = tags(x)
}
train Tagger.tag {
  target y: i32[B]
  read x: vector("a", "b", "c", "d")
  read y: label("class")
  loss: cross_entropy(tag, y, smoothing: 0.1)
  optimizer: adamw(lr: linear(peak: 1e-3, warmup: 0.1), weight_decay: 0.01)
  no_decay: "**.bias"
}
quantize Tagger { "tags.*": int4(group: 2) }
prune Tagger { "tags.weight": nm(2, 4) by magnitude }
adapter Tagger { "tags.weight": lora(rank: 4, alpha: 8) }
golden Tagger.tag { inputs: "a.safetensors" outputs: "b.safetensors" tolerance: 1e-4 }
`,
  `import { Embedding, Linear } from "sora:nn"

dim B in 1..4, T in 1..16

module Layer {
  qkv = Linear(8, 24, bias: false)
  state kv = KVCache(B, 2, 64, 4)

  fn (x: f32[B, T, 8]) -> f32[B, T, 8] {
    let [q, k, v] = split(qkv(x), 3)
    attend(q, k, v) { heads: 2, mask: causal and window(16), rope: rotary(theta: 10000), cache: kv }
  }
}

model Decoder {
  embed = Embedding(40, 8)
  place = Embedding(64, 8)
  repeat layer[2] = Layer()
  head = Linear(8, 40)

  entry forward(ids: i32[B, T]) -> logits: f32[B, 40] {
    head(last(layer(embed(ids) + place(positions(B, T)))))
  }

  entry decode = forward with T = 1
}

generate Decoder.forward {
  stop: [1, 2]
  top: 16
}

quantize Decoder {
  state "layer.0.kv": f16
  state "layer.1.kv": int8
}

prune Decoder {
  rows "embed", "head": keep 0.5 by activation
}
`,
];

/** Names, numbers and strings for grammar-made programs: few, so that they meet. */
export const identifiers: readonly string[] = [
  ...[
    'B',
    'T',
    'D',
    'x',
    'y',
    'c',
    'M',
    'f',
    'w',
    'C',
    'f32',
    'i32',
    'int',
    'string',
    'Linear',
    'relu',
    'sum',
    'split',
  ],
  ...['dim', 'from', 'count', 'heads', 'mask', 'axis', 'causal', 'iota'],
];
export const numbers: readonly string[] = [
  '0',
  '1',
  '2',
  '4',
  '0.5',
  '1e-3',
  '2147483647',
  '999999999999',
  '2147483648',
  '65536',
  '1e39',
  '1e99',
  '1e400',
];
/** Where i32, u32, what JavaScript counts exactly, and WebGPU's and our own limits end. */
export const edges: readonly string[] = [
  '2147483646',
  '2147483647',
  '2147483648',
  '2147483649',
  '4294967295',
  '4294967296',
  '4503599627370496',
  '9007199254740990',
  '9007199254740991',
  '9007199254740992',
  '134217728',
  '65535',
  '65536',
  '0',
  '1',
];
export const strings: readonly string[] = [
  '""',
  '"sora:nn"',
  '"a.b"',
  '"\\n"',
  '"\\u{1F600}"',
  '"../x.sora"',
  '"__proto__"',
];
