/**
 * A large but ordinary source: as many modules as asked for, each with a layer of a transformer written out, and a model
 * that runs them one after the other. Made of nothing but the language and `sora:nn`.
 */

function moduleText(index: number): string {
  return `/// Layer ${index}: attention and a gated feed-forward, each followed by residual and norm.
module Layer${index}(c: Sizes) {
  query = Linear(c.hidden, c.hidden) as "attention.self.query"
  key = Linear(c.hidden, c.hidden) as "attention.self.key"
  value = Linear(c.hidden, c.hidden) as "attention.self.value"
  output = Linear(c.hidden, c.hidden) as "attention.output.dense"
  norm = LayerNorm(c.hidden, c.eps) as "attention.output.LayerNorm"
  up = Linear(c.hidden, c.ffn * 2) // gate and value side by side
  down = Linear(c.ffn, c.hidden)
  last = LayerNorm(c.hidden, c.eps) as "output.LayerNorm"

  fn (x: f32[B, T, c.hidden], mask: i32[B, T]) -> f32[B, T, c.hidden] {
    let attended = attend(query(x), key(x), value(x)) { heads: c.heads, mask: padding(mask) }
    let y = norm(x + output(attended))
    let [gate, carried] = split(up(y), 2)
    last(y + down(gelu(gate) * carried * ${(index % 7) + 1} / (1 + ${index} % 3)))
  }
}

`;
}

/** About `lines` lines. */
export function largeModel(lines: number): string {
  // A module has one more line for its field and one for its call.
  const perModule = moduleText(0).split('\n').length + 1;
  const count = Math.max(1, Math.floor((lines - 24) / perModule));
  const indices = Array.from({ length: count }, (_, index) => index);
  const fields = indices.map((index) => `  layer${index} = Layer${index}(c) as "encoder.layer.${index}"\n`).join('');
  const lets = indices.map((index) => `    let h${index + 1} = layer${index}(h${index}, attention_mask)\n`).join('');
  return `import { Embedding, LayerNorm, Linear, gelu } from "sora:nn"

dim B in 1..32, T in 1..512

config Sizes {
  vocab: int = 30522 from "vocab_size"
  hidden: int = 768 from "hidden_size"
  ffn: int = 3072 from "intermediate_size"
  heads: int = 12 from "num_attention_heads"
  eps: float = 1e-12 from "layer_norm_eps"
}

${indices.map(moduleText).join('')}model Large(c: Sizes) {
  words = Embedding(c.vocab, c.hidden)
${fields}
  /// The last hidden state.
  entry encode(input_ids: i32[B, T], attention_mask: i32[B, T] = 1) -> hidden: f32[B, T, c.hidden] {
    let h0 = words(input_ids)
${lets}    h${count}
  }
}
`;
}
