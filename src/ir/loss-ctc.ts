/**
 * The loss of connectionist temporal classification: labels of a recording without the times at which they are said.
 *
 * Source: Graves et al. 2006; torch.nn.functional.ctc_loss with `reduction='mean'` and `zero_infinity=True`.
 */
import type { Value } from './graph.ts';
import { shiftedLogSum } from './losses.ts';
import type { Emitter } from './op.ts';
import { broadcastTo, castTo, dimScalar, meanOf, reshapeTo, widened } from './ops/build.ts';
import { calculus } from './ops/calculus.ts';
import { constantDim } from './symbolic.ts';

export interface Ctc {
  /** [B, T, V] scores before a softmax over the last axis, any float. */
  readonly logits: Value;
  /** [B, S] i32, classes other than `blank`; what is behind the labels of a row is not read. */
  readonly target: Value;
  /** [B] i32: frames of each row that count, at least 1; all of them when left out. */
  readonly inputLengths?: Value;
  /** [B] i32: labels of each row; those that are not negative when left out, as Hugging Face fills rows up with -100. */
  readonly targetLengths?: Value;
  /** The class that stands for no label; 0 when left out. */
  readonly blank?: number;
}

/**
 * The mean over the batch of `-log P(target) / labels`, f32[]; a row without labels is divided by 1. Rows whose frames are too
 * few for their labels give 0 and move nothing.
 */
export function ctcLoss(emitter: Emitter, options: Ctc): Value {
  const { target, blank = 0 } = options;
  const c = calculus(emitter);
  const logits = widened(emitter, options.logits);
  const one = constantDim(1);
  const [batch = one, frames = one] = logits.type.shape;
  const { shifted, log } = shiftedLogSum(emitter, logits, 2);
  const logs = c.sub(shifted, broadcastTo(emitter, reshapeTo(emitter, log, [batch, frames, one]), logits.type.shape));
  const isLabel = (): Value => castTo(emitter, emitter.emit('greater_equal', [target, c.fill(0, target)]), 'i32');
  const labels = options.targetLengths ?? emitter.emit('reduce', [isLabel()], { kind: 'sum', axes: [1], keep: false });
  const lengths = options.inputLengths ?? broadcastTo(emitter, dimScalar(emitter, frames, 'i32'), [batch]);
  const losses = emitter.emit('ctc', [logs, target, lengths, labels], { blank });
  const counts = castTo(emitter, emitter.emit('max', [labels, c.fill(1, labels)]), 'f32');
  return meanOf(emitter, c.div(losses, counts), [0], false);
}
