/**
 * Numbers as a format of fewer bits would give them back: every group of neighbours in the last axis shares a scale, and a zero
 * point where it is asymmetric. The gradient goes straight through (Bengio et al. 2013), as the range of a group is that of its
 * numbers and nothing is cut off. Formulas: src/runtime/number-formats.ts; on devices a quotient within rounding of a half may
 * fall to the other side.
 */
import type { Value } from '../graph.ts';
import type { Emitter, OpDefinition } from '../op.ts';
import { constantDim, constantValue } from '../symbolic.ts';
import { broadcastTo, reduceKeeping, reshapeTo } from './build.ts';
import { calculus } from './calculus.ts';
import { boolOf, fail, numberOf, quoteType } from './shared.ts';

/** Greatest whole number of the format; asymmetric ones begin with 0, others with its opposite. */
const limits: Readonly<Record<number, number>> = { 4: 7, 8: 127 };

/** Zeros behind the last axis. */
function padded(emitter: Emitter, x: Value, count: number): Value {
  const none = x.type.shape.map(() => 0);
  const high = none.map((_, axis) => (axis === none.length - 1 ? count : 0));
  return emitter.emit('pad', [x], { low: none, high, interior: none, value: 0 });
}

export const fakeQuantize: OpDefinition = {
  name: 'fake_quantize',
  level: 'model',
  doc: '`x` as numbers of few bits would give it back, with a scale for each group along the last axis; gradients go straight through.',
  operands: ['x'],
  attributes: {
    bits: { kind: 'int', doc: '4 or 8' },
    group: { kind: 'int', doc: 'neighbours that share a scale; the last ones of an axis may be fewer' },
    asymmetric: { kind: 'bool', doc: 'with a zero point: 0 to 15 for 4 bits, 0 to 255 for 8' },
  },
  traits: [],
  skeleton: 'row',
  infer([x], attributes) {
    const [bits, group] = [numberOf(attributes, 'bits'), numberOf(attributes, 'group')];
    const width = constantValue(x?.shape.at(-1) ?? constantDim(0));
    if (x?.dtype !== 'f32' || x.shape.length === 0)
      return fail(`\`fake_quantize\` takes f32 with an axis, not ${x ? quoteType(x) : 'nothing'}`, 0);
    if (limits[bits] === undefined) return fail(`there are no numbers of ${bits} bits`);
    if (width === undefined) return fail(`the last axis of ${quoteType(x)} is not known when compiling`, 0);
    if (!(group > 0)) return fail(`there are no groups of ${group}`);
    return [x];
  },
  decompose(emitter, [x], attributes) {
    if (!x) throw new RangeError('`fake_quantize` without an operand');
    const group = numberOf(attributes, 'group');
    const limit = limits[numberOf(attributes, 'bits')] ?? 1;
    const { shape } = x.type;
    const width = constantValue(shape.at(-1) ?? constantDim(group)) ?? group;
    const groups = Math.ceil(width / group);
    const grouped = [...shape.slice(0, -1), constantDim(groups), constantDim(group)];
    const c = calculus(emitter);
    // Zeros change no range.
    const missing = groups * group - width;
    const values = reshapeTo(emitter, missing === 0 ? x : padded(emitter, x, missing), grouped);
    const reduced = (kind: string, of: Value): Value => reduceKeeping(emitter, kind, of, grouped.length - 1);
    const spread = (of: Value): Value => broadcastTo(emitter, of, grouped);
    /** A group of zeros has a scale of 1. */
    const sound = (scale: Value): Value => c.where('greater', scale, c.fill(0, scale), scale, c.fill(1, scale));
    const rounded = (of: Value, least: number, greatest: number): Value =>
      emitter.emit('min', [emitter.emit('max', [of, c.fill(least, of)]), c.fill(greatest, of)]);
    const quotient = (scale: Value): Value => c.apply('round', c.div(values, spread(scale)));
    let result: Value;
    if (boolOf(attributes, 'asymmetric')) {
      const [low, high] = [reduced('min', values), reduced('max', values)];
      const zeros = c.fill(0, low);
      const [least, greatest] = [emitter.emit('min', [low, zeros]), emitter.emit('max', [high, zeros])];
      const most = 2 * limit + 1;
      const range = c.sub(greatest, least);
      const scale = sound(c.div(range, c.fill(most, range)));
      const zero = rounded(c.apply('round', c.div(c.apply('neg', least), scale)), 0, most);
      const whole = rounded(c.add(quotient(scale), spread(zero)), 0, most);
      result = c.mul(c.sub(whole, spread(zero)), spread(scale));
    } else {
      const greatest = reduced('max', c.apply('abs', values));
      const scale = sound(c.div(greatest, c.fill(limit, greatest)));
      result = c.mul(rounded(quotient(scale), -limit, limit), spread(scale));
    }
    if (missing === 0) return reshapeTo(emitter, result, shape);
    const whole = reshapeTo(emitter, result, [...shape.slice(0, -1), constantDim(groups * group)]);
    const [axis, start, size] = [shape.length - 1, constantDim(0), constantDim(width)];
    return emitter.emit('slice', [whole], { axis, start, size });
  },
  gradient: (_emitter, { cotangent }) => [cotangent],
};
