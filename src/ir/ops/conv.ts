/**
 * Convolution over any number of spatial axes, and its transpose.
 *
 *   conv:            y[b, o, p…] = bias[o] + sum over c, k… of x[b, c, p * stride + k * dilation - low…] * weight[o, c, k…]
 *   conv_transpose:  each x[b, c, p…] * weight[c, o, k…] is added to y[b, o, p * stride + k * dilation - low…]
 *
 * torch: nn.functional.conv1d to conv3d (no flip of the weight: a cross-correlation) and conv_transpose1d to 3d; weights as in
 * checkpoints. Both become one product of the weight with windows of the padded operand; the windows are views, so nothing
 * is copied. The transpose reads a reversed weight over an operand with zeros between its elements.
 */
import type { Attributes, Value } from '../graph.ts';
import type { Emitter, InferContext, InferFailure, InferResult, OpDefinition } from '../op.ts';
import { addDims, constantDim, constantValue, type Dim, dimBounds, multiplyDims, sameDim } from '../symbolic.ts';
import { elementCount } from '../tensor.ts';
import { isFloat, type Shape, type TensorType } from '../types.ts';
import { operand, result } from './axes.ts';
import { broadcastTo, reshapeTo } from './build.ts';
import { fail, numberOf, numbersOf, quoteType } from './shared.ts';
import { tiles, windowCount } from './window.ts';

interface Settings {
  readonly strides: readonly number[];
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly dilations: readonly number[];
  readonly groups: number;
}

/** The operands, checked as far as both ops agree. */
interface Geometry extends Settings {
  readonly batch: Dim;
  readonly spatial: Shape;
  readonly sizes: readonly number[];
  /** Channels of one group, of the operand and of the result. */
  readonly inner: number;
  readonly outer: number;
}

function settingsOf(attributes: Attributes): Settings {
  return {
    strides: numbersOf(attributes, 'strides'),
    low: numbersOf(attributes, 'low'),
    high: numbersOf(attributes, 'high'),
    dilations: numbersOf(attributes, 'dilations'),
    groups: numberOf(attributes, 'groups'),
  };
}

const settings = {
  strides: { kind: 'ints', doc: 'steps between windows, per spatial axis' },
  low: { kind: 'ints', doc: 'padding before the first element, per spatial axis' },
  high: { kind: 'ints', doc: 'padding after the last element, per spatial axis' },
  dilations: { kind: 'ints', doc: 'steps between the elements of a window, per spatial axis' },
  groups: { kind: 'int', doc: 'parts of the channels that do not see each other' },
} as const;

/** `isTransposed`: the weight is [inputs, outputs / groups, …] instead of [outputs, inputs / groups, …]. */
function geometryOf(
  name: string,
  [x, weight, bias]: readonly TensorType[],
  attributes: Attributes,
  isTransposed: boolean,
): Geometry | InferFailure {
  if (!x || !weight) return fail(`\`${name}\` takes \`x\`, \`weight\` and an optional \`bias\``);
  if (!isFloat(x.dtype)) return fail(`\`x\` must be a float tensor, not ${quoteType(x)}`, 0);
  const [batch, channels, ...spatial] = x.shape;
  if (!batch || !channels || spatial.length === 0) {
    return fail(`\`x\` must be [batch, channels, and at least one axis more], not ${quoteType(x)}`, 0);
  }
  const numbers = weight.shape.map(constantValue);
  const [first, second, ...sizes] = numbers.flatMap((size) => size ?? []);
  if (numbers.length !== x.shape.length || sizes.length !== spatial.length || !first || !second) {
    return fail(`\`weight\` must have ${x.shape.length} axes of known sizes, not ${quoteType(weight)}`, 1);
  }
  if (weight.dtype !== x.dtype) return fail(`\`weight\` is ${quoteType(weight)}, \`x\` is ${quoteType(x)}`, 1);
  const given = settingsOf(attributes);
  const { groups } = given;
  const lists = [given.strides, given.low, given.high, given.dilations];
  if (lists.some((list) => list.length !== spatial.length)) {
    return fail(`\`${name}\` of ${quoteType(x)} needs ${spatial.length} numbers for stride, padding and dilation`);
  }
  if ([...given.strides, ...given.dilations].some((value) => value < 1)) {
    return fail('strides and dilations are at least 1');
  }
  if (groups < 1 || first % groups !== 0) return fail(`${first} channels do not divide into ${groups} groups`, 1);
  const inner = isTransposed ? first / groups : second;
  const outer = isTransposed ? second : first / groups;
  if (!sameDim(channels, constantDim(inner * groups))) {
    return fail(`\`x\` has \`${channels.key}\` channels, \`weight\` expects \`${inner * groups}\``, 0);
  }
  const outputs = constantDim(outer * groups);
  const biasFits =
    !bias || (bias.dtype === x.dtype && bias.shape.length === 1 && sameDim(bias.shape[0] ?? batch, outputs));
  if (!biasFits) return fail(`\`bias\` must be \`${x.dtype}[${outputs.key}]\`, not ${quoteType(bias)}`, 2);
  return { ...given, batch, spatial, sizes, inner, outer };
}

function isSettings(result: Geometry | InferFailure): result is Geometry {
  return !('failure' in result);
}

/** Of a call that `infer` has accepted. */
function geometryOfValues(name: string, inputs: readonly Value[], attributes: Attributes, isTransposed: boolean) {
  const types = inputs.map((input) => input.type);
  const geometry = geometryOf(name, types, attributes, isTransposed);
  if (!isSettings(geometry)) throw new RangeError(geometry.failure);
  return geometry;
}

function countWindows(spatial: Shape, geometry: Geometry, strides: readonly number[], context: InferContext) {
  const counts: Dim[] = [];
  for (const [at, dim] of spatial.entries()) {
    const slide = { size: geometry.sizes[at] ?? 1, stride: strides[at] ?? 1, dilation: geometry.dilations[at] ?? 1 };
    const count = windowCount(dim, slide, context.ranges);
    if ('failure' in count) return count;
    counts.push(count);
  }
  return counts;
}

function resultType(geometry: Geometry, x: TensorType, counts: readonly Dim[]): InferResult {
  return [{ dtype: x.dtype, shape: [geometry.batch, constantDim(geometry.outer * geometry.groups), ...counts] }];
}

/** Windows of `x` [batch, groups, channels, spatial…], the axes of a window where `kernelAxes` says. */
function windowsOf(emitter: Emitter, x: Value, geometry: Geometry, strides: readonly number[], counts: readonly Dim[]) {
  const slides = geometry.sizes.map((size, at) => ({
    size,
    stride: strides[at] ?? 1,
    dilation: geometry.dilations[at] ?? 1,
  }));
  const outer = x.type.shape.slice(0, 3);
  const spatial = x.type.shape.slice(3);
  if (slides.every((slide, at) => tiles(spatial[at] ?? constantDim(0), slide))) {
    const shape = [...outer, ...counts.flatMap((count, at) => [count, constantDim(slides[at]?.size ?? 1)])];
    return { windows: reshapeTo(emitter, x, shape), kernelAxes: counts.map((_, at) => 4 + 2 * at) };
  }
  const windows = emitter.emit('window', [x], {
    axes: slides.map((_, at) => 3 + at),
    sizes: slides.map((slide) => slide.size),
    strides: slides.map((slide) => slide.stride),
    dilations: slides.map((slide) => slide.dilation),
  });
  return { windows, kernelAxes: slides.map((_, at) => 3 + spatial.length + at) };
}

/**
 * The product of `weight` [groups, …, …, kernel…] with windows of `x` [batch, channels, spatial…], plus bias, as
 * [batch, channels, windows…]. The result's channels are rows and its windows columns, so that results lie as they are
 * computed and whatever follows element by element joins the kernel.
 */
function product(
  emitter: Emitter,
  x: Value,
  weight: Value,
  bias: Value | undefined,
  geometry: Geometry,
  strides: readonly number[],
  channelAxis: number,
): Value {
  const { batch, groups, inner, outer } = geometry;
  const [, , ...spatial] = x.type.shape;
  const counts = countWindows(spatial, geometry, strides, emitter.context);
  if ('failure' in counts) throw new RangeError(counts.failure);
  const grouped = reshapeTo(emitter, x, [batch, constantDim(groups), constantDim(inner), ...spatial]);
  const { windows, kernelAxes } = windowsOf(emitter, grouped, geometry, strides, counts);
  const rows = emitter.emit('broadcast', [weight], { shape: [batch, ...weight.type.shape] });
  const result = emitter.emit('dot_general', [rows, windows], {
    lhs_batch: [0, 1],
    rhs_batch: [0, 1],
    lhs_contract: [channelAxis + 1, ...geometry.sizes.map((_, at) => 4 + at)],
    rhs_contract: [2, ...kernelAxes],
  });
  const ones = counts.map(() => constantDim(1));
  const offset = bias && reshapeTo(emitter, bias, [constantDim(groups), constantDim(outer), ...ones]);
  const sum = offset ? emitter.emit('add', [result, broadcastTo(emitter, offset, result.type.shape)]) : result;
  return reshapeTo(emitter, sum, [batch, constantDim(groups * outer), ...counts]);
}

function padded(
  emitter: Emitter,
  x: Value,
  low: readonly number[],
  high: readonly number[],
  interior: readonly number[],
) {
  if ([...low, ...high, ...interior].every((count) => count === 0)) return x;
  const around = (counts: readonly number[]) => [0, 0, ...counts];
  return emitter.emit('pad', [x], { low: around(low), high: around(high), interior: around(interior), value: 0 });
}

function flops([, weight = []]: readonly (readonly number[])[], positions: readonly number[]): number {
  const [batch = 1, , ...spatial] = positions;
  return 2 * batch * elementCount(spatial) * elementCount(weight);
}

export const conv: OpDefinition = {
  name: 'conv',
  level: 'model',
  doc: 'Convolution: x [B, C, spatial…], weight [O, C / groups, kernel…], bias [O] to [B, O, windows…].',
  operands: ['x', 'weight', 'bias?'],
  attributes: settings,
  traits: ['contraction'],
  skeleton: 'contraction',
  infer(inputs, attributes, context) {
    const geometry = geometryOf('conv', inputs, attributes, false);
    const [x] = inputs;
    if (!isSettings(geometry) || !x) return geometry as InferFailure;
    const { low, high } = geometry;
    if ([...low, ...high].some((count) => count < 0)) return fail('padding is at least 0');
    const spatial = geometry.spatial.map((dim, at) => addDims(dim, constantDim((low[at] ?? 0) + (high[at] ?? 0))));
    const counts = countWindows(spatial, geometry, geometry.strides, context);
    return 'failure' in counts ? counts : resultType(geometry, x, counts);
  },
  axes([, weight, bias], _outputs, attributes) {
    if (!weight || numberOf(attributes, 'groups') !== 1) return [];
    return [
      [operand(0, 1), operand(1, 1)],
      [operand(1, 0), result(1), ...(bias ? [operand(2, 0)] : [])],
    ];
  },
  decompose(emitter, inputs, attributes) {
    const [x, weight, bias] = inputs;
    if (!x || !weight) throw new RangeError('`conv` without operands');
    const geometry = geometryOfValues('conv', inputs, attributes, false);
    const { groups, inner, outer, sizes } = geometry;
    const shape = [groups, outer, inner, ...sizes].map(constantDim);
    const filled = padded(
      emitter,
      x,
      geometry.low,
      geometry.high,
      sizes.map(() => 0),
    );
    return product(emitter, filled, reshapeTo(emitter, weight, shape), bias, geometry, geometry.strides, 2);
  },
  flops: (inputs, [out = []]) => flops(inputs, out),
};

export const convTranspose: OpDefinition = {
  name: 'conv_transpose',
  level: 'model',
  doc: 'Transposed convolution: x [B, C, spatial…], weight [C, O / groups, kernel…], bias [O] to [B, O, larger spatial…].',
  operands: ['x', 'weight', 'bias?'],
  attributes: {
    ...settings,
    low: { kind: 'ints', doc: 'elements cut off before the first, per spatial axis' },
    high: { kind: 'ints', doc: 'elements cut off after the last, per spatial axis; negative ones are added' },
  },
  traits: ['contraction'],
  skeleton: 'contraction',
  infer(inputs, attributes, context) {
    const geometry = geometryOf('conv_transpose', inputs, attributes, true);
    const [x] = inputs;
    if (!isSettings(geometry) || !x) return geometry as InferFailure;
    const shape: Dim[] = [];
    for (const [at, dim] of geometry.spatial.entries()) {
      const stride = geometry.strides[at] ?? 1;
      const span = ((geometry.sizes[at] ?? 1) - 1) * (geometry.dilations[at] ?? 1) + 1;
      const cut = (geometry.low[at] ?? 0) + (geometry.high[at] ?? 0);
      const count = addDims(multiplyDims(dim, constantDim(stride)), constantDim(span - stride - cut));
      if (dimBounds(count, context.ranges).minimum < 1) return fail(`nothing remains of \`${dim.key}\``, 0);
      shape.push(count);
    }
    return resultType(geometry, x, shape);
  },
  decompose(emitter, inputs, attributes) {
    const [x, weight, bias] = inputs;
    if (!x || !weight) throw new RangeError('`conv_transpose` without operands');
    const geometry = geometryOfValues('conv_transpose', inputs, attributes, true);
    const { groups, inner, outer, sizes } = geometry;
    const margin = (cut: readonly number[]) =>
      sizes.map((size, at) => (size - 1) * (geometry.dilations[at] ?? 1) - (cut[at] ?? 0));
    const low = margin(geometry.low);
    const high = margin(geometry.high);
    const grow = (counts: readonly number[]) => counts.map((count) => Math.max(0, count));
    const gaps = geometry.strides.map((stride) => stride - 1);
    // More cut off than a window reaches out: padding cannot say it, a slice does.
    const filled = low.reduce(
      (value, count, at) => {
        const excess = Math.max(0, -count) + Math.max(0, -(high[at] ?? 0));
        const dim = value.type.shape[2 + at];
        if (excess === 0 || !dim) return value;
        const start = constantDim(Math.max(0, -count));
        return emitter.emit('slice', [value], { axis: 2 + at, start, size: addDims(dim, constantDim(-excess)) });
      },
      padded(emitter, x, grow(low), grow(high), gaps),
    );
    const shape = [groups, inner, outer, ...sizes].map(constantDim);
    const spatialAxes = sizes.map((_, at) => 3 + at);
    const turned = emitter.emit('reverse', [reshapeTo(emitter, weight, shape)], { axes: spatialAxes });
    return product(
      emitter,
      filled,
      turned,
      bias,
      geometry,
      sizes.map(() => 1),
      1,
    );
  },
  flops: (inputs) => flops(inputs, inputs[0] ?? []),
};
