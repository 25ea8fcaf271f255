// The work `gpt2step`: one decode step of a GPT-2-small-like decoder (12 layers, width 768, 12 heads, feed-forward 3072, 128
// positions in the cache, a head over 4,096 tokens). All sides get the same seeded weights and inputs.
export const shape = { layers: 12, width: 768, heads: 12, inner: 3072, past: 128, vocab: 4096, positions: 512 };

/** The model without a session, as the peers have it: keys and values of the past are parameters. */
export function soraText({ layers, width, heads, inner, past, vocab, positions } = shape) {
  const each = (write, joiner) => Array.from({ length: layers }, (_, at) => write(at)).join(joiner);
  return `import { Embedding, LayerNorm, Linear, gelu } from "sora:nn"

dim B in 1..8

module Layer {
  n1 = LayerNorm(${width})
  qkv = Linear(${width}, ${3 * width})
  o = Linear(${width}, ${width})
  n2 = LayerNorm(${width})
  f1 = Linear(${width}, ${inner})
  f2 = Linear(${inner}, ${width})

  fn (x: f32[B, 1, ${width}], past_key: f32[B, ${past}, ${width}], past_value: f32[B, ${past}, ${width}]) {
    let [q, k, v] = split(qkv(n1(x)), 3)
    let key = concat([past_key, k], axis: 1)
    let value = concat([past_value, v], axis: 1)
    let y = x + o(attend(q, key, value) { heads: ${heads} })
    y + f2(gelu(f1(n2(y))))
  }
}

model Gpt2Step {
  e = Embedding(${vocab}, ${width})
  p: f32[${positions}, ${width}]
  repeat b[${layers}] = Layer()
  n = LayerNorm(${width})
  lm = Linear(${width}, ${vocab}, bias: false)

  entry step(
    ids: i32[B, 1],
${each((at) => `    k${at}: f32[B, ${past}, ${width}],\n    v${at}: f32[B, ${past}, ${width}],`, '\n')}
  ) -> logits: f32[B, 1, ${vocab}] {
    let x0 = e(ids) + p[${past}]
${each((at) => `    let x${at + 1} = b[${at}](x${at}, k${at}, v${at})`, '\n')}
    lm(n(x${layers}))
  }
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
