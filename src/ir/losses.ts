/**
 * Losses as graphs: from scores and targets to the scalar f32[] that training differentiates.
 *
 * Everything is computed in f32, whatever the element type of the scores, and is the mean that PyTorch's functions of the same
 * name give. Nothing here knows of gradients: autodiff takes the ops as they are, and what is subtracted only for the sake of
 * exactness goes through `stop_gradient`. Label sequences are in loss-ctc.ts, pairs in loss-contrastive.ts.
 *
 * Source: torch.nn.functional (cross_entropy, binary_cross_entropy_with_logits, mse_loss, l1_loss).
 */
import type { Value } from './graph.ts';
import type { Emitter } from './op.ts';
import { broadcastTo, combine, dimScalar, fillLike, meanOf, reduceKeeping, reshapeTo, widened } from './ops/build.ts';
import { calculus } from './ops/calculus.ts';
import { constantDim, subtractDims } from './symbolic.ts';

const everyAxis = (value: Value): readonly number[] => value.type.shape.map((_, axis) => axis);

/** The sum of all elements, f32[]. */
function total(emitter: Emitter, value: Value): Value {
  const axes = everyAxis(value);
  return axes.length === 0 ? value : emitter.emit('reduce', [value], { kind: 'sum', axes, keep: false });
}

/** The mean of all elements, f32[]. */
function average(emitter: Emitter, value: Value): Value {
  const axes = everyAxis(value);
  return axes.length === 0 ? value : meanOf(emitter, value, axes, false);
}

/** `x - max(x)` along one axis, and the logarithm of the sum of its exponentials, without that axis. */
export function shiftedLogSum(
  emitter: Emitter,
  x: Value,
  axis: number,
): { readonly shifted: Value; readonly log: Value } {
  // The maximum cancels in every result, so no gradient passes it.
  const top = emitter.emit('stop_gradient', [reduceKeeping(emitter, 'max', x, axis)]);
  const shifted = combine(emitter, 'sub', x, top);
  const powers = emitter.emit('exp', [shifted]);
  const log = emitter.emit('log', [emitter.emit('reduce', [powers], { kind: 'sum', axes: [axis], keep: false })]);
  return { shifted, log };
}

/** `rows` [...] as [..., 1] spread to [..., C], the shape of `like`. */
function spread(emitter: Emitter, rows: Value, like: Value): Value {
  const apart = reshapeTo(emitter, rows, [...rows.type.shape, constantDim(1)]);
  return broadcastTo(emitter, apart, like.type.shape);
}

export interface CrossEntropy {
  /** [..., C] scores before a softmax over the last axis, any float. */
  readonly logits: Value;
  /** [...] i32, classes 0 to C - 1. */
  readonly target: Value;
  /** A target that does not count; every target counts when left out. torch's default is -100. */
  readonly ignore?: number;
  /** Share of the target that is spread over all classes, 0 (default) to below 1. */
  readonly smoothing?: number;
  /** [C] f32, not negative: how much each class counts. The mean is weighted by them, as in torch. */
  readonly weights?: Value;
}

/**
 * The mean of `-log softmax(logits)[target]`, f32[].
 *
 *   loss = sum_i w[y_i] ((1 - s) nll_i + s / C sum_c (w[c] / w[y_i]) (-log p_ic)) / sum_i w[y_i]    over i with y_i != ignore
 *
 * A batch in which nothing counts has the loss 0 (torch: NaN), so that it moves no weight.
 */
export function crossEntropy(emitter: Emitter, options: CrossEntropy): Value {
  const { target, ignore, smoothing = 0, weights } = options;
  const c = calculus(emitter);
  const logits = widened(emitter, options.logits);
  const axis = logits.type.shape.length - 1;
  const classes = logits.type.shape[axis] ?? constantDim(1);
  const { shifted, log } = shiftedLogSum(emitter, logits, axis);
  const sumRow = (value: Value) => emitter.emit('reduce', [value], { kind: 'sum', axes: [axis], keep: false });

  const places = emitter.emit('iota', [], { length: classes, dtype: target.type.dtype });
  const isTarget = emitter.emit('equal', [
    spread(emitter, target, logits),
    broadcastTo(emitter, places, logits.type.shape),
  ]);
  /** The value of each row at its target; 0 where the target is no class. */
  const pick = (value: Value) => sumRow(emitter.emit('select', [isTarget, value, fillLike(emitter, 0, value)]));

  const perClass = weights && broadcastTo(emitter, widened(emitter, weights), logits.type.shape);
  const weightOfTarget = perClass && pick(perClass);
  let rows = c.sub(log, pick(shifted));
  if (weightOfTarget) rows = c.mul(rows, weightOfTarget);
  if (smoothing > 0) {
    // -sum_c w_c log p_c, divided by the number of classes.
    const all = perClass
      ? c.sub(c.mul(log, sumRow(perClass)), sumRow(c.mul(perClass, shifted)))
      : c.sub(combine(emitter, 'mul', log, dimScalar(emitter, classes, 'f32')), sumRow(shifted));
    const uniform = combine(emitter, 'div', all, dimScalar(emitter, classes, 'f32'));
    rows = c.add(c.scale(rows, 1 - smoothing), c.scale(uniform, smoothing));
  }
  if (ignore === undefined && !weightOfTarget) return average(emitter, rows);

  const nothing = fillLike(emitter, 0, rows);
  let counts = weightOfTarget ?? fillLike(emitter, 1, rows);
  if (ignore !== undefined) {
    const isCounted = emitter.emit('not_equal', [target, fillLike(emitter, ignore, target)]);
    rows = emitter.emit('select', [isCounted, rows, nothing]);
    counts = emitter.emit('select', [isCounted, counts, nothing]);
  }
  const count = total(emitter, counts);
  const divisor = c.where('greater', count, c.fill(0, count), count, c.fill(1, count));
  return c.div(total(emitter, rows), divisor);
}

export interface NextToken {
  /** [B, T, V] scores of what follows each position, any float. */
  readonly logits: Value;
  /** [B, T] i32, the text itself. */
  readonly tokens: Value;
  /** A token that nobody has to predict, such as padding; -100 when left out. */
  readonly ignore?: number;
  readonly smoothing?: number;
}

/**
 * Cross entropy of each position's scores with the token behind it, f32[]: the mean over all positions but the last of each
 * row. What `cross_entropy(logits[:, :-1], tokens[:, 1:])` gives, and 0 where a text has one token.
 */
export function nextToken(emitter: Emitter, { logits, tokens, ignore = -100, smoothing = 0 }: NextToken): Value {
  const one = constantDim(1);
  const length = tokens.type.shape[1] ?? one;
  const behind = emitter.emit('slice', [tokens], { axis: 1, start: one, size: subtractDims(length, one) });
  const target = emitter.emit('pad', [behind], { low: [0, 0], high: [0, 1], interior: [0, 0], value: ignore });
  return crossEntropy(emitter, { logits, target, ignore, smoothing });
}

export interface BinaryCrossEntropy {
  /** [...] scores before a sigmoid, any float. */
  readonly logits: Value;
  /** Like `logits`: probabilities, 0 to 1. */
  readonly target: Value;
  /** How much a positive target counts; 1 when left out. torch: `pos_weight`. */
  readonly positive?: number;
}

/**
 * The mean of `-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x))`, f32[], in the form that neither overflows nor loses digits:
 * `max(x, 0) - x y + log(1 + exp(-|x|))`.
 */
export function binaryCrossEntropy(emitter: Emitter, options: BinaryCrossEntropy): Value {
  const { positive = 1 } = options;
  const c = calculus(emitter);
  const x = widened(emitter, options.logits);
  const y = widened(emitter, options.target);
  const one = c.fill(1, x);
  const tail = c.apply('log', c.add(one, c.apply('exp', c.apply('neg', c.apply('abs', x)))));
  const over = emitter.emit('max', [x, c.fill(0, x)]);
  if (positive === 1) return average(emitter, c.add(c.sub(over, c.mul(x, y)), tail));
  // -log sigmoid(x) = max(-x, 0) + tail; times 1 + (positive - 1) y.
  const factor = c.add(one, c.scale(y, positive - 1));
  const minusLog = c.add(c.sub(over, x), tail);
  return average(emitter, c.add(c.mul(c.sub(one, y), x), c.mul(factor, minusLog)));
}

export interface Regression {
  /** [...] any float. */
  readonly prediction: Value;
  /** Like `prediction`. */
  readonly target: Value;
}

/** The mean of the squared differences, f32[]. */
export function meanSquaredError(emitter: Emitter, { prediction, target }: Regression): Value {
  const c = calculus(emitter);
  const gap = c.sub(widened(emitter, prediction), widened(emitter, target));
  return average(emitter, c.mul(gap, gap));
}

/** The mean of the absolute differences, f32[]. Equal numbers have the gradient 0. */
export function meanAbsoluteError(emitter: Emitter, { prediction, target }: Regression): Value {
  const c = calculus(emitter);
  return average(emitter, c.apply('abs', c.sub(widened(emitter, prediction), widened(emitter, target))));
}
