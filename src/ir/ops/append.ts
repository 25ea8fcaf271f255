/**
 * Writing new rows behind those that a state holds:
 *
 *   y[b, offsets[b] + t, w] = new[b, t, w]      y = state everywhere else
 *
 * Rows past the end of the state vanish. On a device it happens in place, so an append is the last use of the state before
 * it. f16 rows saturate at the greatest finite f16: they are stored packed, where an overflow would be undefined.
 */
import type { OpDefinition } from '../op.ts';
import { sameDim } from '../symbolic.ts';
import { sameShape } from '../types.ts';
import { operand, result } from './axes.ts';
import { fail, quoteType } from './shared.ts';

/** Greatest finite f16. */
const greatestHalf = 65504;

export const append: OpDefinition = {
  name: 'append',
  level: 'tensor',
  doc: 'The state [B…, room, W] with row `t` of `new` [B…, T, W] at `offsets[b] + t`; the session keeps the result.',
  operands: ['state', 'new', 'offsets'],
  attributes: {},
  traits: ['effect'],
  skeleton: 'map',
  updates: 0,
  infer([state, rows, offsets]) {
    if (!state || !rows || !offsets) return fail('`append` takes `state`, `new` and `offsets`');
    const rank = state.shape.length;
    const batch = state.shape.slice(0, -2);
    const [width, wide] = [state.shape[rank - 1], rows.shape[rank - 1]];
    const fits =
      rank >= 2 &&
      rows.shape.length === rank &&
      rows.dtype === state.dtype &&
      sameShape(rows.shape.slice(0, -2), batch) &&
      width !== undefined &&
      wide !== undefined &&
      sameDim(width, wide);
    if (!fits) return fail(`\`new\` is ${quoteType(rows)}, the state is ${quoteType(state)}`, 1);
    if (offsets.dtype !== 'i32' || !sameShape(offsets.shape, batch)) {
      return fail(`\`offsets\` is ${quoteType(offsets)}, expected ${quoteType({ dtype: 'i32', shape: batch })}`, 2);
    }
    return [state];
  },
  axes([state]) {
    const last = (state?.shape.length ?? 1) - 1;
    return [[operand(0, last), operand(1, last), result(last)]];
  },
  interpret([state, rows, offsets], _attributes, context) {
    if (!state || !rows || !offsets) return [];
    const [room = 0, width = 0] = state.shape.slice(-2);
    const steps = rows.shape[rows.shape.length - 2] ?? 0;
    const data = state.data.slice();
    const most = state.dtype === 'f16' ? greatestHalf : Number.POSITIVE_INFINITY;
    for (let b = 0; b < offsets.data.length; b++) {
      for (let t = 0; t < steps; t++) {
        const row = (offsets.data[b] ?? 0) + t;
        if (row < 0 || row >= room) continue;
        const [from, to] = [(b * steps + t) * width, (b * room + row) * width];
        for (let w = 0; w < width; w++) data[to + w] = Math.min(most, Math.max(-most, rows.data[from + w] ?? 0));
      }
    }
    const next = { ...state, data };
    context.keep(state, next);
    return [next];
  },
  flops: () => 0,
  elementsRead: ([_state, rows = [], offsets = []]) => [0, count(rows), count(offsets)],
  elementsWritten: ([_state, rows = []]) => count(rows),
};

function count(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}
