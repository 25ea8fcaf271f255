// The work `train`: one Adam step of a small classifier (two pre-norm layers of width 128, four heads, 1,000 tokens, T 64,
// batch 16, ten classes). All sides begin with the same seeded weights and see the same batch, so their losses agree.
import { fill } from '../gpt2step/gpt2step.mjs';

export const shape = { layers: 2, width: 128, heads: 4, vocab: 1000, tokens: 64, batch: 16, classes: 10, lr: 1e-3 };
/** Losses of so many steps are what sides are compared by. */
export const compared = 8;

export const ids = Int32Array.from({ length: shape.batch * shape.tokens }, (_, at) => (at * 7919) % shape.vocab);
export const labels = Int32Array.from({ length: shape.batch }, (_, at) => at % shape.classes);

/** Name, shape and values of each weight, matrices [outputs, inputs]. */
export function weightList() {
  const { layers, width, vocab, tokens, classes } = shape;
  const list = [];
  const add = (name, dims, scale, offset = 0) => {
    const data = fill(new Float32Array(dims.reduce((product, dim) => product * dim, 1)), list.length + 1, scale);
    for (let at = 0; at < data.length; at++) data[at] += offset;
    list.push({ name, shape: dims, data });
  };
  const norm = (name) => {
    add(`${name}.weight`, [width], 0, 1);
    add(`${name}.bias`, [width], 0);
  };
  const linear = (name, rows, columns) => {
    add(`${name}.weight`, [rows, columns], 1 / Math.sqrt(columns));
    add(`${name}.bias`, [rows], 0);
  };
  add('word.weight', [vocab, width], 0.5);
  add('position.weight', [tokens, width], 0.5);
  for (let at = 0; at < layers; at++) {
    norm(`blocks.${at}.n1`);
    norm(`blocks.${at}.n2`);
    linear(`blocks.${at}.qkv`, 3 * width, width);
    linear(`blocks.${at}.o`, width, width);
    linear(`blocks.${at}.f1`, 4 * width, width);
    linear(`blocks.${at}.f2`, width, 4 * width);
  }
  norm('norm');
  linear('head', classes, width);
  return list;
}

/** [columns, rows] of [rows, columns], for sides that multiply from the right. */
export function transposed({ shape: [rows, columns], data }) {
  const result = new Float32Array(data.length);
  for (let at = 0; at < data.length; at++) result[(at % columns) * rows + Math.floor(at / columns)] = data[at];
  return result;
}

/** What `measure` calls: a step whose losses are kept until there are enough to compare. */
export function recorder(step) {
  const losses = [];
  return {
    async call() {
      losses.push(await step());
    },
    /** Not measured: goes on until there are enough losses. */
    async finish() {
      while (losses.length < compared) losses.push(await step());
    },
    summarize: () => losses.slice(0, compared),
  };
}
