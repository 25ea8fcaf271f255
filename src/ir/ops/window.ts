/**
 * Sliding windows as a view: what convolutions and pooling reduce over (im2col without the copy).
 *
 *   y[…, o, …, k] = x[…, o * stride + k * dilation, …]
 *
 * Each windowed axis keeps its place and counts windows; the axes inside of a window stand at the end, in the order of
 * `axes`. torch: `Tensor.unfold`, with dilation.
 */
import { InternalError } from '../../support/error.ts';
import type { Attributes, Value } from '../graph.ts';
import type { Emitter, InferFailure, OpDefinition } from '../op.ts';
import {
  addDims,
  constantDim,
  constantValue,
  type Dim,
  type DimRange,
  dimBounds,
  divideDim,
  multiplyDims,
  subtractDims,
} from '../symbolic.ts';
import { copyStrided, stridesOf } from '../tensor.ts';
import { fail, normalAxis, numbersOf, quoteType } from './shared.ts';

/** One windowed axis. */
export interface Slide {
  readonly axis: number;
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
}

export function slidesOf(attributes: Attributes): readonly Slide[] {
  const sizes = numbersOf(attributes, 'sizes');
  const strides = numbersOf(attributes, 'strides');
  const dilations = numbersOf(attributes, 'dilations');
  return numbersOf(attributes, 'axes').map((axis, at) => ({
    axis,
    size: sizes[at] ?? 1,
    stride: strides[at] ?? 1,
    dilation: dilations[at] ?? 1,
  }));
}

/** How many windows fit into an axis: floor((dim - dilation * (size - 1) - 1) / stride) + 1, when that is a polynomial. */
export function windowCount(
  dim: Dim,
  { size, stride, dilation }: Omit<Slide, 'axis'>,
  ranges: ReadonlyMap<string, DimRange>,
): Dim | InferFailure {
  const span = dilation * (size - 1) + 1;
  const rest = subtractDims(dim, constantDim(span));
  if (dimBounds(rest, ranges).minimum < 0) {
    return fail(`a window of ${span} elements does not fit into \`${dim.key}\` for every size`, 0);
  }
  const fixed = rest.terms.find((term) => term.factors.length === 0)?.coefficient ?? 0;
  const moving = divideDim(subtractDims(rest, constantDim(fixed)), constantDim(stride));
  if (!moving) {
    return fail(
      `how many windows with stride ${stride} fit into \`${dim.key}\` is no polynomial of its dims`,
      0,
      `declare the runtime dim as the number of steps, and the axis as ${stride} times as long: \`${stride} * N\``,
    );
  }
  return addDims(moving, constantDim(Math.floor(fixed / stride) + 1));
}

/** Adds up what lies at the same place of the axis that one slide walked: [.., count, .., size] to [.., dim, ..]. */
function overlapAdd(emitter: Emitter, windows: Value, dim: Dim, { axis, size, stride, dilation }: Slide): Value {
  const shape = windows.type.shape.slice(0, -1);
  const count = shape[axis] ?? constantDim(1);
  const zeros = shape.map(() => 0);
  const on = (value: number) => zeros.map((zero, other) => (other === axis ? value : zero));
  const spread = (piece: Value, first: number, step: number): Value => {
    const covered = addDims(multiplyDims(count, constantDim(step)), constantDim(first + 1 - step));
    const high = constantValue(subtractDims(dim, covered));
    if (high === undefined) throw new InternalError('a window count that is no polynomial of its axis');
    if (first === 0 && step === 1 && high === 0) return piece;
    return emitter.emit('pad', [piece], { low: on(first), high: on(high), interior: on(step - 1), value: 0 });
  };
  if (stride === size && dilation === 1) {
    // Windows side by side: no two of them share an element.
    const last = shape.length;
    const order = shape.flatMap((_, other) => (other === axis ? [other, last] : [other]));
    const beside = emitter.emit('transpose', [windows], { permutation: order });
    const joined = shape.map((other, at) => (at === axis ? multiplyDims(other, constantDim(size)) : other));
    const whole = emitter.emit('reshape', [beside], { shape: joined });
    const rest = constantValue(subtractDims(dim, joined[axis] ?? dim)) ?? 0;
    if (rest === 0) return whole;
    return emitter.emit('pad', [whole], { low: zeros, high: on(rest), interior: zeros, value: 0 });
  }
  let sum: Value | undefined;
  for (let at = 0; at < size; at++) {
    const slice = emitter.emit('slice', [windows], {
      axis: shape.length,
      start: constantDim(at),
      size: constantDim(1),
    });
    const piece = spread(emitter.emit('reshape', [slice], { shape }), at * dilation, stride);
    sum = sum === undefined ? piece : emitter.emit('add', [sum, piece]);
  }
  return sum ?? windows;
}

export const window: OpDefinition = {
  name: 'window',
  level: 'tensor',
  doc: 'Sliding windows of some axes: each counts windows in place, and the axes inside of a window follow at the end.',
  operands: ['x'],
  attributes: {
    axes: { kind: 'ints', doc: 'which axes, each once' },
    sizes: { kind: 'ints', doc: 'elements of a window along each of them' },
    strides: { kind: 'ints', doc: 'steps from window to window' },
    dilations: { kind: 'ints', doc: 'steps from element to element of a window' },
  },
  traits: ['movement', 'view', 'overlapping'],
  skeleton: 'view',
  infer([x], attributes, context) {
    if (!x) return fail('`window` takes one operand');
    const slides = slidesOf(attributes);
    const lists = ['sizes', 'strides', 'dilations'].map((name) => numbersOf(attributes, name));
    if (slides.length === 0) return fail('`window` needs at least one axis', 0);
    if (lists.some((list) => list.length !== slides.length || list.some((value) => value < 1))) {
      return fail('`window` needs a size, a stride and a dilation of at least 1 for each axis', 0);
    }
    const shape = [...x.shape];
    const seen = new Set<number>();
    for (const slide of slides) {
      const dim = x.shape[slide.axis];
      if (!dim || normalAxis(slide.axis, x.shape.length) !== slide.axis) {
        return fail(`${quoteType(x)} has no axis ${slide.axis}`, 0);
      }
      if (seen.has(slide.axis)) return fail(`axis ${slide.axis} stands twice`, 0);
      seen.add(slide.axis);
      const count = windowCount(dim, slide, context.ranges);
      if ('failure' in count) return count;
      shape[slide.axis] = count;
    }
    return [{ dtype: x.dtype, shape: [...shape, ...slides.map((slide) => constantDim(slide.size))] }];
  },
  gradient(emitter, { inputs: [x], attributes, cotangent }) {
    if (!x) return [];
    const undo = (g: Value, slide: Slide) => overlapAdd(emitter, g, x.type.shape[slide.axis] ?? constantDim(1), slide);
    return [slidesOf(attributes).reduceRight(undo, cotangent)];
  },
  interpret([x], attributes, context) {
    if (!x) return [];
    const own = stridesOf(x.shape);
    const slides = slidesOf(attributes);
    const outer = own.map((stride, axis) => stride * (slides.find((slide) => slide.axis === axis)?.stride ?? 1));
    const inner = slides.map((slide) => (own[slide.axis] ?? 0) * slide.dilation);
    return [copyStrided(x, context.outputShapes[0] ?? [], [...outer, ...inner], 0)];
  },
};

/** Whether windows lie side by side and cover the axis, so that they are a reshape. */
export function tiles(dim: Dim, { size, stride, dilation }: Omit<Slide, 'axis'>): boolean {
  if (size !== stride || (dilation !== 1 && size !== 1)) return false;
  const length = constantValue(dim);
  return length === undefined ? divideDim(dim, constantDim(size)) !== undefined : length % size === 0;
}
