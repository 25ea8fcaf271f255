/**
 * Ops that move elements and compute nothing. Codegen turns all of them into index arithmetic.
 */
import { InternalError } from '../../support/error.ts';
import type { AxisRun, OpDefinition, Tensor } from '../op.ts';
import {
  addDims,
  constantDim,
  constantValue,
  type Dim,
  dimBounds,
  evaluateDim,
  productOfDims,
  sameDim,
  subtractDims,
} from '../symbolic.ts';
import { copyStrided, elementCount, newTensor, stridesOf } from '../tensor.ts';
import { printShape } from '../types.ts';
import { alongside, operand, regrouped, result, spread } from './axes.ts';
import { broadcastTo, reshapeTo, scalarConstant } from './build.ts';
import { unbroadcast } from './calculus.ts';
import { dimOf, dimsOf, fail, normalAxis, numberOf, numbersOf, quoteType } from './shared.ts';

function only(inputs: readonly Tensor[]): Tensor {
  const [x] = inputs;
  if (!x) throw new InternalError('a movement without an operand');
  return x;
}

export const reshape: OpDefinition = {
  name: 'reshape',
  level: 'tensor',
  doc: 'The same elements in row-major order under another shape.',
  operands: ['x'],
  attributes: { shape: { kind: 'dims', doc: 'the new shape' } },
  traits: ['movement', 'view'],
  skeleton: 'view',
  infer([x], attributes) {
    if (!x) return fail('`reshape` takes one operand');
    const shape = dimsOf(attributes, 'shape');
    const from = productOfDims(x.shape);
    const to = productOfDims(shape);
    if (!sameDim(from, to)) {
      return fail(
        `cannot reshape ${quoteType(x)} to \`${printShape(shape)}\`: it has \`${from.key}\` elements, not \`${to.key}\``,
        0,
      );
    }
    return [{ dtype: x.dtype, shape }];
  },
  interpret(inputs, _attributes, context) {
    return [{ ...only(inputs), shape: context.outputShapes[0] ?? [] }];
  },
  axes: ([x], [out]) => (x && out ? regrouped(x.shape, out.shape) : []),
  resized: (_attributes, { after }) => ({ shape: after.outputs[0]?.shape ?? [] }),
  gradient: (emitter, { inputs: [x], cotangent }) => (x ? [reshapeTo(emitter, cotangent, x.type.shape)] : []),
};

export const transpose: OpDefinition = {
  name: 'transpose',
  level: 'tensor',
  doc: 'Reorders axes: axis `i` of the result is axis `permutation[i]` of the operand.',
  operands: ['x'],
  attributes: { permutation: { kind: 'ints', doc: 'each axis of the operand once' } },
  traits: ['movement', 'view'],
  skeleton: 'view',
  infer([x], attributes) {
    if (!x) return fail('`transpose` takes one operand');
    const permutation = numbersOf(attributes, 'permutation');
    const dims = permutation.flatMap((axis) => x.shape[axis] ?? []);
    const complete = new Set(permutation).size === x.shape.length && dims.length === x.shape.length;
    if (!complete || permutation.length !== x.shape.length) {
      return fail(`\`[${permutation.join(', ')}]\` is no permutation of the axes of ${quoteType(x)}`, 0);
    }
    return [{ dtype: x.dtype, shape: dims }];
  },
  axes: (_inputs, _outputs, attributes) =>
    numbersOf(attributes, 'permutation').map((from, axis) => [operand(0, from), result(axis)]),
  gradient(emitter, { attributes, cotangent }) {
    const permutation = numbersOf(attributes, 'permutation');
    const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
    return [emitter.emit('transpose', [cotangent], { permutation: inverse })];
  },
  interpret(inputs, attributes) {
    const x = only(inputs);
    const strides = stridesOf(x.shape);
    const permutation = numbersOf(attributes, 'permutation');
    const shape = permutation.map((axis) => x.shape[axis] ?? 1);
    return [
      copyStrided(
        x,
        shape,
        permutation.map((axis) => strides[axis] ?? 0),
        0,
      ),
    ];
  },
};

export const broadcast: OpDefinition = {
  name: 'broadcast',
  level: 'tensor',
  doc: 'Repeats along axes of size 1 and along new leading axes; axes are aligned at the end, as in NumPy.',
  operands: ['x'],
  attributes: { shape: { kind: 'dims', doc: 'the new shape' } },
  traits: ['movement', 'view'],
  skeleton: 'view',
  infer([x], attributes) {
    if (!x) return fail('`broadcast` takes one operand');
    const shape = dimsOf(attributes, 'shape');
    const added = shape.length - x.shape.length;
    const fits = x.shape.every((dim, axis) => {
      const target = shape[axis + added];
      return target !== undefined && (constantValue(dim) === 1 || sameDim(dim, target));
    });
    if (!fits) return fail(`cannot broadcast ${quoteType(x)} to \`${printShape(shape)}\``, 0);
    return [{ dtype: x.dtype, shape }];
  },
  axes: ([x], [out]) => (x && out ? spread(x.shape, out.shape) : []),
  resized: (_attributes, { after }) => ({ shape: after.outputs[0]?.shape ?? [] }),
  gradient: (emitter, { inputs: [x], cotangent }) => (x ? [unbroadcast(emitter, cotangent, x)] : []),
  interpret(inputs, _attributes, context) {
    const x = only(inputs);
    const shape = context.outputShapes[0] ?? [];
    if (elementCount(shape) === x.data.length) return [{ ...x, shape }];
    const added = shape.length - x.shape.length;
    const own = stridesOf(x.shape);
    const strides = shape.map((_, axis) => (x.shape[axis - added] === shape[axis] ? (own[axis - added] ?? 0) : 0));
    return [copyStrided(x, shape, strides, 0)];
  },
};

export const slice: OpDefinition = {
  name: 'slice',
  level: 'tensor',
  doc: 'The `size` indices from `start` on of one axis.',
  operands: ['x'],
  attributes: {
    axis: { kind: 'int', doc: 'which axis, counted from the front' },
    start: { kind: 'dim', doc: 'first index' },
    size: { kind: 'dim', doc: 'how many' },
  },
  traits: ['movement', 'view'],
  skeleton: 'view',
  infer([x], attributes, context) {
    if (!x) return fail('`slice` takes one operand');
    const axis = numberOf(attributes, 'axis');
    const dim = x.shape[axis];
    if (dim === undefined) return fail(`${quoteType(x)} has no axis ${axis}`, 0);
    const start = dimOf(attributes, 'start');
    const size = dimOf(attributes, 'size');
    const end = addDims(start, size);
    if (dimBounds(start, context.ranges).minimum < 0) {
      return fail(`the slice starts at \`${start.key}\`, which may be before the first index`, 0);
    }
    if (dimBounds(size, context.ranges).minimum < 0) return fail(`the slice has \`${size.key}\` indices`, 0);
    if (dimBounds(subtractDims(dim, end), context.ranges).minimum < 0) {
      return fail(`the slice ends at \`${end.key}\`, which may lie past the end of axis ${axis} of ${quoteType(x)}`, 0);
    }
    return [{ dtype: x.dtype, shape: x.shape.map((other, at) => (at === axis ? size : other)) }];
  },
  axes(inputs, outputs, attributes) {
    const axis = numberOf(attributes, 'axis');
    const others = alongside(inputs, outputs, [axis]);
    const [from, length] = [dimOf(attributes, 'start'), dimOf(attributes, 'size')].map(constantValue);
    if (from === undefined || length === undefined) return others;
    const before = from === 0 ? [] : [[operand(0, axis, { from: 0, length: from })]];
    return [...others, [operand(0, axis, { from, length }), result(axis)], ...before];
  },
  resized(attributes, { after, remaining }) {
    const axis = numberOf(attributes, 'axis');
    const start = constantValue(dimOf(attributes, 'start'));
    const size = after.outputs[0]?.shape[axis];
    return start === undefined || size === undefined
      ? attributes
      : { ...attributes, start: constantDim(remaining(0, axis, start)), size };
  },
  gradient(emitter, { inputs: [x], attributes, cotangent }) {
    if (!x) return [];
    const axis = numberOf(attributes, 'axis');
    const start = dimOf(attributes, 'start');
    const whole = x.type.shape[axis] ?? start;
    const rest = subtractDims(whole, addDims(start, dimOf(attributes, 'size')));
    const zeros = (size: Dim) =>
      broadcastTo(
        emitter,
        scalarConstant(emitter, 0, x.type.dtype),
        x.type.shape.map((dim, at) => (at === axis ? size : dim)),
      );
    const parts = [
      ...(constantValue(start) === 0 ? [] : [zeros(start)]),
      cotangent,
      ...(constantValue(rest) === 0 ? [] : [zeros(rest)]),
    ];
    return [parts.length === 1 ? cotangent : emitter.emit('concat', parts, { axis })];
  },
  interpret(inputs, attributes, context) {
    const x = only(inputs);
    const strides = stridesOf(x.shape);
    const start = evaluateDim(dimOf(attributes, 'start'), context.dims);
    const shape = context.outputShapes[0] ?? [];
    return [copyStrided(x, shape, strides, start * (strides[numberOf(attributes, 'axis')] ?? 0))];
  },
};

export const concat: OpDefinition = {
  name: 'concat',
  level: 'tensor',
  doc: 'Joins tensors along one axis; all other axes must agree.',
  operands: ['x...'],
  attributes: { axis: { kind: 'int', doc: 'which axis, counted from the front' } },
  traits: ['movement'],
  skeleton: 'map',
  infer(inputs, attributes) {
    const [first, ...rest] = inputs;
    if (!first) return fail('`concat` needs at least one operand');
    const axis = numberOf(attributes, 'axis');
    if (normalAxis(axis, first.shape.length) !== axis) return fail(`${quoteType(first)} has no axis ${axis}`, 0);
    let total = first.shape[axis];
    for (const [at, other] of rest.entries()) {
      const agrees =
        other.dtype === first.dtype &&
        other.shape.length === first.shape.length &&
        other.shape.every((dim, index) => index === axis || sameDim(dim, first.shape[index] ?? dim));
      const added = other.shape[axis];
      if (!agrees || !added || !total) {
        return fail(`cannot join ${quoteType(first)} and ${quoteType(other)} along axis ${axis}`, at + 1);
      }
      total = addDims(total, added);
    }
    return [{ dtype: first.dtype, shape: first.shape.map((dim, index) => (index === axis ? (total ?? dim) : dim)) }];
  },
  axes(inputs, outputs, attributes) {
    const axis = numberOf(attributes, 'axis');
    const others = alongside(inputs, outputs, [axis]);
    let from = 0;
    const parts: AxisRun[][] = [];
    for (const [at, { shape }] of inputs.entries()) {
      const length = shape[axis] && constantValue(shape[axis]);
      if (length === undefined) return others;
      parts.push([operand(at, axis), result(axis, { from, length })]);
      from += length;
    }
    return [...others, ...parts];
  },
  gradient(emitter, { inputs, attributes, cotangent }) {
    const axis = numberOf(attributes, 'axis');
    let start = constantDim(0);
    return inputs.map((part) => {
      const size = part.type.shape[axis] ?? constantDim(0);
      const piece = emitter.emit('slice', [cotangent], { axis, start, size });
      start = addDims(start, size);
      return piece;
    });
  },
  interpret(inputs, attributes, context) {
    const axis = numberOf(attributes, 'axis');
    const shape = context.outputShapes[0] ?? [];
    const result = newTensor(only(inputs).dtype, shape, context.precision);
    const outer = elementCount(shape.slice(0, axis));
    const row = elementCount(shape.slice(axis));
    let offset = 0;
    for (const part of inputs) {
      const width = elementCount(part.shape.slice(axis));
      for (let i = 0; i < outer; i++) {
        result.data.set(part.data.subarray(i * width, (i + 1) * width), i * row + offset);
      }
      offset += width;
    }
    return [result];
  },
};

export const movementOps: readonly OpDefinition[] = [reshape, transpose, broadcast, slice, concat];
