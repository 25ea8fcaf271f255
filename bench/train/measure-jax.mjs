// @jax-js/jax, the step jitted. Embeddings are products with one-hot rows: its way of writing them. Argument: warm runs.
import { browserGpu } from '../gpt2step/peer.mjs';
import { measure } from '../work.mjs';
import { ids, labels, recorder, shape, transposed, weightList } from './train.mjs';

const start = performance.now();
browserGpu();
const jax = await import('@jax-js/jax');
const { numpy: np, nn, jit, valueAndGrad, tree, init, defaultDevice, blockUntilReady } = jax;
if (!(await init('webgpu')).includes('webgpu')) throw new Error('jax-js has no webgpu device here');
defaultDevice('webgpu');
const { layers, width, heads, vocab, tokens, batch, classes, lr } = shape;
const weights = new Map(weightList().map((weight) => [weight.name, weight]));
const vector = (name) => np.array(weights.get(name).data).reshape(weights.get(name).shape);
const matrix = (name) => {
  const weight = weights.get(name);
  return np.array(transposed(weight)).reshape([...weight.shape].reverse());
};
const linear = (name) => ({ w: matrix(`${name}.weight`), b: vector(`${name}.bias`) });
const norm = (name) => ({ g: vector(`${name}.weight`), b: vector(`${name}.bias`) });
let p = {
  word: vector('word.weight'),
  position: vector('position.weight'),
  norm: norm('norm'),
  head: linear('head'),
  blocks: Array.from({ length: layers }, (_, at) => ({
    n1: norm(`blocks.${at}.n1`),
    n2: norm(`blocks.${at}.n2`),
    qkv: linear(`blocks.${at}.qkv`),
    o: linear(`blocks.${at}.o`),
    f1: linear(`blocks.${at}.f1`),
    f2: linear(`blocks.${at}.f2`),
  })),
};
const dense = (x, q) => np.matmul(x, q.w).add(q.b);
const normalized = (x, q) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(q.g).add(q.b);
const block = (x, b) => {
  const all = dense(normalized(x.ref, b.n1), b.qkv).reshape([batch, tokens, 3, heads, width / heads]);
  const [q, k, v] = np
    .split(all.transpose([2, 0, 3, 1, 4]), 3, 0)
    .map((part) => part.reshape([batch, heads, tokens, width / heads]));
  const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(width / heads));
  const mixed = np.matmul(nn.softmax(scores, -1), v);
  const y = x.add(dense(mixed.transpose([0, 2, 1, 3]).reshape([batch, tokens, width]), b.o));
  return y.ref.add(dense(nn.gelu(dense(normalized(y, b.n2), b.f1), { approximate: false }), b.f2));
};
const loss = (weightsOf, oneHot, target) => {
  let x = np.matmul(oneHot, weightsOf.word).add(weightsOf.position);
  for (const each of weightsOf.blocks) x = block(x, each);
  const logits = dense(normalized(x, weightsOf.norm).mean(1), weightsOf.head);
  return nn
    .logSoftmax(logits, -1)
    .mul(target)
    .sum()
    .mul(-1 / batch);
};
const step = jit((w, m, v, tokensOf, target, c1, c2) => {
  const [value, g] = valueAndGrad(loss)(tree.ref(w), nn.oneHot(tokensOf, vocab), target);
  const m2 = tree.map((a, b) => a.mul(0.9).add(b.mul(0.1)), m, tree.ref(g));
  const v2 = tree.map((a, b) => a.mul(0.999).add(b.ref.mul(b).mul(0.001)), v, g);
  const move = (a, b, c) =>
    a.sub(
      b
        .mul(c1.ref)
        .div(np.sqrt(c.mul(c2.ref)).add(1e-8))
        .mul(lr),
    );
  const next = tree.map(move, w, tree.ref(m2), tree.ref(v2));
  c1.dispose();
  c2.dispose();
  return [value, next, m2, v2];
});
let m = tree.map((x) => np.zeros(x.shape), tree.ref(p));
let v = tree.map((x) => np.zeros(x.shape), tree.ref(p));
const given = np.array(ids, { dtype: np.int32 }).reshape([batch, tokens]);
const target = nn.oneHot(np.array(labels, { dtype: np.int32 }), classes);
let t = 0;
await measure({
  peer: 'jax-js 0.1.25 webgpu',
  adapter: 'the first Vulkan driver',
  loadMilliseconds: performance.now() - start,
  runs: Number(process.argv[2]),
  ...recorder(async () => {
    t++;
    let value;
    const corrections = [0.9, 0.999].map((beta) => np.array(1 / (1 - beta ** t)));
    [value, p, m, v] = step(p, m, v, given.ref, target.ref, ...corrections);
    await blockUntilReady(p);
    return (await value.data())[0];
  }),
});
process.exit(0);
