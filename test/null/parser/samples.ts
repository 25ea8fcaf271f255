/**
 * Sources that together use every construct: for tests that hold for all of them.
 */
export const encoder = `import { Linear, LayerNorm as Norm, gelu } from "sora:nn"

/// Sentences in a batch, tokens in a sentence.
dim B in 1..32, T in 1..512 multiple of 4
dim N in 1..c.max

/// Sizes as Hugging Face names them.
config Bert {
  /// Width of the model.
  hidden: int = 768 from "hidden_size"
  labels: int = 2 from "num_labels" or count("id2label")
  theta: float from "rope_theta" or "rope_parameters.rope_theta"
  act: string = "gelu" from "hidden_act"
  pooled: bool = true
  dim: int = -1
  from: int = 3
}

module Linear(inputs: int, outputs: int, bias: bool = true) {
  weight: f32[outputs, inputs]
  offset: f32[outputs] as "bias" if bias

  fn (x: f32[..., inputs]) -> f32[..., outputs] {
    if bias { linear(x, weight, offset) } else { linear(x, weight) }
  }
}

fn modulate(x: f32[B, N, D], shift: f32[B, D]) = x * (1 + shift[:, new])

/// One block.
module Layer(c: Bert) {
  // Projections.
  q = Linear(c.hidden, c.hidden) as "attention.self.query"
  k = Linear(c.hidden, c.hidden, bias: false) as "attention.self.key"
  gain: f32

  fn (x: f32[B, T, c.hidden], mask: i32[B, T], kind: string) -> f32[B, T, c.hidden] {
    let [a, b] = split(x, 2)
    let y = attend(q(a), k(b), q(a)) { heads: c.heads, mask: padding(mask), scale: -1.5e-3 }
    if c.act == "gelu" {
      let z = gelu(y)
      z * gain
    } else if not c.pooled and 1 < 2 or c.labels >= 3 {
      relu(y)
    } else {
      y ** 2 % 3 - -x / 4
    }
  }
}
`;

export const heads = `model QA(c: Bert) {
  repeat layer[c.layers] = Layer(c) as "bert.encoder.layer"
  pooler = Linear(c.hidden, c.hidden) as "pooler\\n\\u{e9}\\"" if c.pooled

  /// Where the answer starts and ends.
  entry forward(
    /// Token ids.
    input_ids: i32[B, T],
    attention_mask: i32[B, T] = 1,
  ) -> { start_logits: f32[B, T], end_logits: f32[B, T] } {
    let s = layer(input_ids, attention_mask)
    { start_logits: s[:, :, 0], end_logits: s[1:3, ..., -1, new, :2, 3:][0].x }
  }

  entry one(x: i32[B]) -> logits: f32[B, c.labels] = x
  entry two(x: f32[B]) -> f32[B, D] {
    let table = [a_rather_long_name_of_a_value, another_rather_long_name(x), [1, 2.5, true], "a string", x != 0, x <= 1]
    (table + x)
  }
}

module Empty {}
`;

export const uses = `model Words(c: Words) {
  repeat layer[i in c.layers] = Layer(c, i) as "h"
  scale: f32[c.width] as "gain" init if c.std > 0 { normal(std: c.std) } else { uniform(bound: 1 / sqrt(c.width)) } if c.scaled
  shift: f32[c.width] init zeros
  head = Linear(c.width, 7, bias: false) as "lm_head" tied embed.weight if missing tied bias if missing if c.head
  state kv = KVCache(B, c.heads, c.context, c.width / c.heads)

  entry score(ids: i32[B, T]) -> f32[B, 7] = head(layer(embed(ids))[:, -1])
  /// One token.
  entry step = score with T = 1, B = c.batch
}

/// How it learns.
train Words.score {
  target y: i32[B],
  read ids: tokens("subject", "text", max: 16), read y: label("label"),
  loss: cross_entropy(score, y) + 0.5 * mse(score, score),
  optimizer: adamw(lr: linear(peak: 2e-5, warmup: 0.1), weight_decay: 0.01),
  no_decay: "**.bias", "**.LayerNorm.*", "a.rather.long.name.of.a.weight", "another.rather.long.name.of.a.weight",
  freeze: "embed.**",
}

prune Words {
  heads "attn": keep 0.75 by l2,
  "mlp.fc*.weight", "x": nm(2, 4) by magnitude,
  neurons "mlp": keep c.share,
}

generate Words.step {
  stop: [0, c.end], top: 8
}

golden Words.step {}
`;

export const samples: readonly string[] = [encoder, heads, uses];
