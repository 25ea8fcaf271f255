// @tensorflow/tfjs with its webgpu backend and its own Adam. Argument: warm runs.
import { browserGpu } from '../gpt2step/peer.mjs';
import { measure } from '../work.mjs';
import { ids, labels, recorder, shape, transposed, weightList } from './train.mjs';

const start = performance.now();
browserGpu();
const tf = await import('@tensorflow/tfjs');
await import('@tensorflow/tfjs-backend-webgpu');
if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs has no webgpu backend here');
await tf.ready();
const { layers, width, heads, tokens, batch, classes, lr } = shape;
const tables = ['word.weight', 'position.weight'];
const weights = new Map(
  weightList().map((weight) => {
    const isMatrix = weight.shape.length === 2 && !tables.includes(weight.name);
    const value = isMatrix
      ? tf.tensor(transposed(weight), [...weight.shape].reverse())
      : tf.tensor(weight.data, weight.shape);
    return [weight.name, tf.variable(value)];
  }),
);
const of = (name) => weights.get(name);
/** Of [B, T, in] or [B, in]: the gradient of a product with a matrix is only there for equal ranks. */
const linear = (x, name) => {
  const rows = x.reshape([-1, x.shape.at(-1)]);
  const y = tf.matMul(rows, of(`${name}.weight`)).add(of(`${name}.bias`));
  return y.reshape([...x.shape.slice(0, -1), y.shape[1]]);
};
const norm = (x, name) => {
  const { mean, variance } = tf.moments(x, -1, true);
  return x
    .sub(mean)
    .mul(variance.add(1e-5).rsqrt())
    .mul(of(`${name}.weight`))
    .add(of(`${name}.bias`));
};
const gelu = (x) => x.mul(0.5).mul(tf.erf(x.mul(Math.SQRT1_2)).add(1));
const byHead = (x) => x.reshape([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);
const given = tf.tensor2d(ids, [batch, tokens], 'int32');
const target = tf.oneHot(tf.tensor1d(labels, 'int32'), classes).toFloat();
const loss = () => {
  let x = tf.gather(of('word.weight'), given).add(of('position.weight'));
  for (let at = 0; at < layers; at++) {
    const [q, k, v] = tf.split(linear(norm(x, `blocks.${at}.n1`), `blocks.${at}.qkv`), 3, -1).map(byHead);
    const mixed = tf.matMul(tf.softmax(tf.matMul(q, k, false, true).div(Math.sqrt(width / heads))), v);
    x = x.add(linear(mixed.transpose([0, 2, 1, 3]).reshape([batch, tokens, width]), `blocks.${at}.o`));
    x = x.add(linear(gelu(linear(norm(x, `blocks.${at}.n2`), `blocks.${at}.f1`)), `blocks.${at}.f2`));
  }
  return tf.losses.softmaxCrossEntropy(target, linear(norm(x, 'norm').mean(1), 'head'));
};
const optimizer = tf.train.adam(lr);
await measure({
  peer: `tfjs ${tf.version.tfjs} webgpu`,
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  ...recorder(async () => {
    const value = optimizer.minimize(loss, true);
    const [number] = await value.data();
    value.dispose();
    // The update is on the queue; a weight that is read back says that it is done.
    await of('norm.bias').data();
    return number;
  }),
});
process.exit(0);
