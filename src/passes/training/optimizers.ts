/**
 * Optimizers as graphs over flat arenas: what a step makes of weights, gradients and what the optimizer keeps.
 *
 *   sgd     v = momentum v + g;  w -= lr v               (Nesterov: w -= lr (g + momentum v))
 *   adam    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr (m c1) / (sqrt(v c2) + eps)
 *   adamw   the same, and w -= lr decay w before (decoupled)
 *   lion    w -= lr sign(b1 m + (1 - b1) g) and decay as adamw;  m = b2 m + (1 - b2) g
 *
 * c1 = 1 / (1 - b1^t) and c2 = 1 / (1 - b2^t) and lr come from the host at every step. Elsewhere decay is added to the
 * gradient. As in torch.optim. Sources: Sutskever et al. 2013; Kingma and Ba 2015; Loshchilov and Hutter 2019;
 * Chen et al. 2023 (Lion).
 */
import type { Optimizer, Value } from '../../ir/graph.ts';
import type { Emitter } from '../../ir/op.ts';
import { broadcastTo } from '../../ir/ops/build.ts';
import { calculus } from '../../ir/ops/calculus.ts';

/** Scalars f32[] that change by step. */
export interface Rates {
  readonly lr: Value;
  /** 1 / (1 - beta^t) for the first and the second moment. */
  readonly first: Value;
  readonly second: Value;
}

/** Vectors f32[N] of a group. */
export interface Vectors {
  readonly weights: Value;
  /** Averaged over the micro-batches and clipped. */
  readonly gradients: Value;
  /** In the order of `slotsOf`. */
  readonly slots: readonly Value[];
}

/** Writes a slot (by its place) and gives what later reads of it see. */
export type Keep = (slot: number, value: Value) => Value;

/** Names of the vectors that the optimizer keeps. */
export function slotsOf(optimizer: Optimizer): readonly string[] {
  if (optimizer.name === 'lion') return ['momentum'];
  if (optimizer.name === 'sgd') return optimizer.momentum > 0 ? ['momentum'] : [];
  return ['first', 'second'];
}

/** The new weights; slots are written through `keep`. `decay` is 0 for groups that do not decay. */
export function updateOf(
  emitter: Emitter,
  optimizer: Optimizer,
  { weights, gradients, slots }: Vectors,
  rates: Rates,
  decay: number,
  /** Of the learning rate. */
  factor: number,
  keep: Keep,
): Value {
  const c = calculus(emitter);
  const spread = (scalar: Value) => broadcastTo(emitter, scalar, weights.type.shape);
  const lr = factor === 1 ? spread(rates.lr) : c.scale(spread(rates.lr), factor);
  const isDecoupled = optimizer.name === 'adamw' || optimizer.name === 'lion';
  const g = decay > 0 && !isDecoupled ? c.add(gradients, c.scale(weights, decay)) : gradients;
  const decayed = decay > 0 && isDecoupled ? c.sub(weights, c.mul(weights, c.scale(lr, decay))) : weights;
  const [one, two] = slots;
  if (optimizer.name === 'sgd') {
    const { momentum, nesterov } = optimizer;
    if (!one) return c.sub(decayed, c.mul(lr, g));
    const v = keep(0, c.add(c.scale(one, momentum), g));
    const direction = nesterov ? c.add(g, c.scale(v, momentum)) : v;
    return c.sub(decayed, c.mul(lr, direction));
  }
  if (optimizer.name === 'lion') {
    const { beta1, beta2 } = optimizer;
    if (!one) throw new RangeError('a Lion without momentum');
    const direction = c.apply('sign', c.add(c.scale(one, beta1), c.scale(g, 1 - beta1)));
    const next = c.sub(decayed, c.mul(lr, direction));
    keep(0, c.add(c.scale(one, beta2), c.scale(g, 1 - beta2)));
    return next;
  }
  const { beta1, beta2, eps } = optimizer;
  if (!one || !two) throw new RangeError('an Adam without moments');
  const m = keep(0, c.add(c.scale(one, beta1), c.scale(g, 1 - beta1)));
  const v = keep(1, c.add(c.scale(two, beta2), c.scale(c.mul(g, g), 1 - beta2)));
  const spreadSecond = c.apply('sqrt', c.mul(v, spread(rates.second)));
  const direction = c.div(c.mul(m, spread(rates.first)), c.add(spreadSecond, c.fill(eps, v)));
  return c.sub(decayed, c.mul(lr, direction));
}

/**
 * The moving average of weights when it takes in a share of the new ones, as `torch.lerp` computes it: a share of 1 gives these
 * exactly. Source: Polyak and Juditsky 1992; torch.optim.swa_utils.AveragedModel with `get_ema_multi_avg_fn`, whose first step takes
 * the weights as they are.
 */
export function averageOf(emitter: Emitter, average: Value, weights: Value, share: Value): Value {
  const c = calculus(emitter);
  const part = broadcastTo(emitter, share, average.type.shape);
  const way = c.sub(weights, average);
  const near = c.add(average, c.mul(part, way));
  const far = c.sub(weights, c.mul(way, c.sub(c.fill(1, part), part)));
  return c.where('less', part, c.fill(0.5, part), near, far);
}
