/**
 * The loss of pairs: of all pairs in a batch, those that belong together shall be most alike, seen from both sides.
 *
 *   loss = (cross_entropy(S, i) + cross_entropy(S^T, i)) / 2        S[i, j] = cos(left_i, right_j) / temperature
 *
 * Source: van den Oord et al. 2018 (InfoNCE); Radford et al. 2021, figure 3 (CLIP). Hugging Face: `clip_loss`.
 */
import type { Value } from './graph.ts';
import { crossEntropy } from './losses.ts';
import type { Emitter } from './op.ts';
import { broadcastTo, combine, fillLike, reduceKeeping, scalarConstant, widened } from './ops/build.ts';
import { calculus } from './ops/calculus.ts';
import { constantDim } from './symbolic.ts';

export interface Contrastive {
  /** [N, D] any float. */
  readonly left: Value;
  /** [N, D]: row i belongs to row i of `left`, and to no other. */
  readonly right: Value;
  /** Above 0: a number, or a scalar f32[] that may be learned (CLIP learns `-log(temperature)`); 1 when left out. */
  readonly temperature?: number | Value;
}

/** Rows shorter than this have no direction: functional.normalize of PyTorch. */
const leastLength = 1e-12;

/** Rows [N, D] of length 1; the gradient of a row of zeros is 0. */
function normalized(emitter: Emitter, value: Value): Value {
  const c = calculus(emitter);
  const squares = reduceKeeping(emitter, 'sum', c.mul(value, value), 1);
  // The bound lies under the root, where the root's slope is finite.
  const bounded = emitter.emit('max', [squares, fillLike(emitter, leastLength ** 2, squares)]);
  return combine(emitter, 'mul', value, c.apply('rsqrt', bounded));
}

/** The symmetric loss of the pairs of a batch, f32[]. */
export function contrastiveLoss(emitter: Emitter, options: Contrastive): Value {
  const { temperature = 1 } = options;
  const c = calculus(emitter);
  const [left, right] = [options.left, options.right].map((side) => normalized(emitter, widened(emitter, side)));
  if (!left || !right) throw new RangeError('pairs have two sides');
  const rows = left.type.shape[0] ?? constantDim(1);
  const sides = { lhs_batch: [], rhs_batch: [], lhs_contract: [1], rhs_contract: [1] };
  const cosines = emitter.emit('dot_general', [left, right], sides);
  const divisor =
    typeof temperature === 'number' ? scalarConstant(emitter, temperature, 'f32') : widened(emitter, temperature);
  const scores = c.div(cosines, broadcastTo(emitter, divisor, cosines.type.shape));
  const own = emitter.emit('iota', [], { length: rows, dtype: 'i32' });
  const flipped = emitter.emit('transpose', [scores], { permutation: [1, 0] });
  const both = [scores, flipped].map((logits) => crossEntropy(emitter, { logits, target: own }));
  const [there, back] = both;
  if (!there || !back) throw new RangeError('pairs have two sides');
  return c.scale(c.add(there, back), 0.5);
}
