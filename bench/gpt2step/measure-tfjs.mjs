// @tensorflow/tfjs with its webgpu backend, by hand: it reads no ONNX. The past stays on the device. Argument: warm runs.
import { measure } from '../work.mjs';
import { weightList, weightValues } from './gpt2step.mjs';
import { browserGpu, pastFeeds, shape, token } from './peer.mjs';

const start = performance.now();
browserGpu();
const tf = await import('@tensorflow/tfjs');
await import('@tensorflow/tfjs-backend-webgpu');
if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs has no webgpu backend here');
await tf.ready();
const { layers, width, heads, past } = shape;
const weights = new Map(
  weightList().map((weight) => {
    const value = tf.tensor(weightValues(weight), weight.shape);
    const isMatrix = weight.shape.length === 2 && !['e.weight', 'p'].includes(weight.name);
    return [weight.name, isMatrix ? value.transpose() : value];
  }),
);
const cache = new Map(pastFeeds().map(({ name, data, dims }) => [name, tf.tensor(data, dims)]));
const ids = tf.tensor1d([token], 'int32');
const of = (name) => weights.get(name);
const linear = (x, name) => tf.fused.matMul({ a: x, b: of(`${name}.weight`), bias: of(`${name}.bias`) });
const norm = (x, name) => {
  const { mean, variance } = tf.moments(x, -1, true);
  return x
    .sub(mean)
    .mul(variance.add(1e-5).rsqrt())
    .mul(of(`${name}.weight`))
    .add(of(`${name}.bias`));
};
const gelu = (x) => x.mul(0.5).mul(tf.erf(x.mul(Math.SQRT1_2)).add(1));
const byHead = (x) => x.reshape([1, 1, heads, width / heads]).transpose([0, 2, 1, 3]);
const step = () => {
  let x = tf.gather(of('e.weight'), ids).add(of('p').slice([past, 0], [1, width]));
  for (let at = 0; at < layers; at++) {
    const [q, k, v] = tf.split(linear(norm(x, `b.${at}.n1`), `b.${at}.qkv`), 3, -1).map(byHead);
    const keys = tf.concat([cache.get(`k${at}`), k], 2);
    const values = tf.concat([cache.get(`v${at}`), v], 2);
    const mixed = tf.matMul(tf.softmax(tf.matMul(q, keys, false, true).div(Math.sqrt(width / heads))), values);
    x = x.add(linear(mixed.transpose([0, 2, 1, 3]).reshape([1, width]), `b.${at}.o`));
    x = x.add(linear(gelu(linear(norm(x, `b.${at}.n2`), `b.${at}.f1`)), `b.${at}.f2`));
  }
  return tf.matMul(norm(x, 'n'), of('lm.weight'));
};
await measure({
  peer: `tfjs ${tf.version.tfjs} webgpu`,
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  async call() {
    const logits = tf.tidy(step);
    const data = await logits.data();
    logits.dispose();
    return data;
  },
  summarize: (logits) => Array.from(logits),
});
process.exit(0);
