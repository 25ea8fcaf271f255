// The work `gpt2step`: one decode step of a GPT-2-small-like decoder (12 layers, width 768, 12 heads, feed-forward 3072, 128
// positions in the cache, a head over 4,096 tokens). All sides get the same seeded weights and inputs.
export const shape = { layers: 12, width: 768, heads: 12, inner: 3072, past: 128, vocab: 4096, positions: 512 };

/**
 * The decoder with its states, as an app has it. Keys and values of the past are seeded on all sides, so that logits can be
 * compared: `fill` puts them where a prompt's would be. The measured entry is `step`, which goes on from there.
 */
export function soraText({ layers, width, heads, inner, vocab, positions } = shape) {
  const each = (write, joiner) => Array.from({ length: layers }, (_, at) => write(at)).join(joiner);
  return `import { Embedding, LayerNorm, Linear, gelu } from "sora:nn"

dim B in 1..8, T in 1..${positions}

module Layer {
  n1 = LayerNorm(${width})
  qkv = Linear(${width}, ${3 * width})
  o = Linear(${width}, ${width})
  n2 = LayerNorm(${width})
  f1 = Linear(${width}, ${inner})
  f2 = Linear(${inner}, ${width})
  state kv = KVCache(B, ${heads}, ${positions}, ${width / heads})

  fn fill(key: f32[B, T, ${width}], value: f32[B, T, ${width}]) -> f32[B, T, ${width}] {
    attend(key, key, value) { heads: ${heads}, cache: kv }
  }

  fn (x: f32[B, T, ${width}]) -> f32[B, T, ${width}] {
    let [q, k, v] = split(qkv(n1(x)), 3)
    let y = x + o(attend(q, k, v) { heads: ${heads}, cache: kv })
    y + f2(gelu(f1(n2(y))))
  }
}

model Gpt2Step {
  e = Embedding(${vocab}, ${width})
  p: f32[${positions}, ${width}]
  repeat b[${layers}] = Layer()
  n = LayerNorm(${width})
  lm = Linear(${width}, ${vocab}, bias: false)

  entry fill(
${each((at) => `    k${at}: f32[B, T, ${width}],\n    v${at}: f32[B, T, ${width}],`, '\n')}
  ) -> filled: f32[B, T, ${width}] {
${each((at) => `    let x${at} = b[${at}].fill(k${at}, v${at})`, '\n')}
    ${each((at) => `x${at}`, ' + ')}
  }

  entry prefill(ids: i32[B, T]) -> logits: f32[B, ${vocab}] = lm(n(last(b(e(ids) + gather(p, positions(B, T))))))

  entry step = prefill with T = 1
}
`;
}

/** Seeded numbers in [-1, 1): a 32-bit mix of the index, equal in every process. */
export function fill(array, seed, scale) {
  for (let at = 0; at < array.length; at++) {
    let x = (at + seed * 0x9e3779b1) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
    x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
    array[at] = ((x ^ (x >>> 16)) / 2 ** 31) * scale;
  }
  return array;
}

/** Weights by the names that the checkpoint has, in a fixed order: name, shape, seed and scale of the values, offset. */
export function weightList({ layers, width, inner, vocab, positions } = shape) {
  const list = [];
  const add = (name, dims, scale, offset = 0) => list.push({ name, shape: dims, seed: list.length + 1, scale, offset });
  const norm = (name) => {
    add(`${name}.weight`, [width], 0.1, 1);
    add(`${name}.bias`, [width], 0.1);
  };
  const linear = (name, rows, columns) => {
    add(`${name}.weight`, [rows, columns], 1.7 / Math.sqrt(columns));
    add(`${name}.bias`, [rows], 0.1);
  };
  add('e.weight', [vocab, width], 1);
  add('p', [positions, width], 0.1);
  for (let at = 0; at < layers; at++) {
    norm(`b.${at}.n1`);
    linear(`b.${at}.qkv`, 3 * width, width);
    linear(`b.${at}.o`, width, width);
    norm(`b.${at}.n2`);
    linear(`b.${at}.f1`, inner, width);
    linear(`b.${at}.f2`, width, inner);
  }
  norm('n');
  add('lm.weight', [vocab, width], 1.7 / Math.sqrt(width));
  return list;
}

export function weightValues({ shape: dims, seed, scale, offset }) {
  const values = fill(new Float32Array(dims.reduce((product, dim) => product * dim, 1)), seed, scale);
  if (offset !== 0) for (let at = 0; at < values.length; at++) values[at] += offset;
  return values;
}

/** Bytes of weights that one step reads: all but the rows of the tables that it does not look up. */
export function stepBytes() {
  const matrices = weightList().filter(({ name }) => name !== 'e.weight' && name !== 'p');
  return matrices.reduce((sum, { shape: dims }) => sum + 4 * dims.reduce((product, dim) => product * dim, 1), 0);
}

/** [past, width] keys or values of a layer; `kind` is 0 for keys, 1 for values. */
export function pastValues(layer, kind) {
  return fill(new Float32Array(shape.past * shape.width), 1000 + 2 * layer + kind, 1);
}

export const token = 1234;
