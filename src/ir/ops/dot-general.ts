/**
 * The general contraction: batch axes run along, contracted axes are summed over, free axes of both sides remain.
 *
 *   out[batch…, lhs free…, rhs free…] = sum over contracted axes of lhs * rhs
 *
 * Source: XLA's DotGeneral. The interpreter brings both sides to [batch, M, K] and [batch, N, K] (free of charge for
 * `x [.., K]` times `weight [N, K]`) and sums in f64, rounded once.
 */
import type { Attributes, Value } from '../graph.ts';
import type { Emitter, InferFailure, OpDefinition, Tensor } from '../op.ts';
import { constantDim, sameDim } from '../symbolic.ts';
import { copyStrided, elementCount, newTensor, stridesOf, type TensorData } from '../tensor.ts';
import { isFloat, type TensorType } from '../types.ts';
import { operand, result } from './axes.ts';
import { firstRows, sumOf } from './build.ts';
import { fail, normalAxis, numbersOf, quoteType } from './shared.ts';

interface Side {
  readonly batch: readonly number[];
  readonly contract: readonly number[];
  readonly free: readonly number[];
}

function sideOf(attributes: Attributes, side: 'lhs' | 'rhs', rank: number): Side {
  const batch = numbersOf(attributes, `${side}_batch`);
  const contract = numbersOf(attributes, `${side}_contract`);
  const free = Array.from({ length: rank }, (_, axis) => axis).filter(
    (axis) => !batch.includes(axis) && !contract.includes(axis),
  );
  return { batch, contract, free };
}

function checkSide(type: TensorType, side: Side, operand: number): InferFailure | undefined {
  const named = [...side.batch, ...side.contract];
  const rank = type.shape.length;
  const wrong = named.find((axis) => normalAxis(axis, rank) !== axis);
  if (wrong !== undefined) return fail(`${quoteType(type)} has no axis ${wrong}`, operand);
  if (new Set(named).size !== named.length) return fail(`an axis of ${quoteType(type)} is named twice`, operand);
  return undefined;
}

/** `x` as [batch, free, contract], copied only when it does not lie so already. */
function arranged(x: Tensor, side: Side): TensorData {
  const order = [...side.batch, ...side.free, ...side.contract];
  if (order.every((axis, at) => axis === at)) return x.data;
  const strides = stridesOf(x.shape);
  return copyStrided(
    x,
    order.map((axis) => x.shape[axis] ?? 1),
    order.map((axis) => strides[axis] ?? 0),
    0,
  ).data;
}

function sizeOf(shape: readonly number[], axes: readonly number[]): number {
  return elementCount(axes.map((axis) => shape[axis] ?? 1));
}

type FloatData = Float32Array | Float64Array;

/** One output element per pass over k. */
function dotRows(a: FloatData, b: FloatData, aAt: number, bAt: number, k: number): number {
  let sum = 0;
  for (let i = 0; i < k; i++) sum += (a[aAt + i] as number) * (b[bAt + i] as number);
  return sum;
}

/** out[m, n] = sum_k a[m, k] * b[n, k], in tiles of 4 by 4 outputs so that each loaded number serves four products. */
function multiplyFloats(
  a: FloatData,
  b: FloatData,
  out: FloatData,
  aBase: number,
  bBase: number,
  outBase: number,
  m: number,
  n: number,
  k: number,
): void {
  const mTiles = m - (m % 4);
  const nTiles = n - (n % 4);
  for (let col = 0; col < nTiles; col += 4) {
    const b0 = bBase + col * k;
    const b1 = b0 + k;
    const b2 = b1 + k;
    const b3 = b2 + k;
    for (let row = 0; row < mTiles; row += 4) {
      const a0 = aBase + row * k;
      const a1 = a0 + k;
      const a2 = a1 + k;
      const a3 = a2 + k;
      let s00 = 0;
      let s01 = 0;
      let s02 = 0;
      let s03 = 0;
      let s10 = 0;
      let s11 = 0;
      let s12 = 0;
      let s13 = 0;
      let s20 = 0;
      let s21 = 0;
      let s22 = 0;
      let s23 = 0;
      let s30 = 0;
      let s31 = 0;
      let s32 = 0;
      let s33 = 0;
      for (let i = 0; i < k; i++) {
        const x0 = a[a0 + i] as number;
        const x1 = a[a1 + i] as number;
        const x2 = a[a2 + i] as number;
        const x3 = a[a3 + i] as number;
        const y0 = b[b0 + i] as number;
        const y1 = b[b1 + i] as number;
        const y2 = b[b2 + i] as number;
        const y3 = b[b3 + i] as number;
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
        s20 += x2 * y0;
        s21 += x2 * y1;
        s22 += x2 * y2;
        s23 += x2 * y3;
        s30 += x3 * y0;
        s31 += x3 * y1;
        s32 += x3 * y2;
        s33 += x3 * y3;
      }
      const o0 = outBase + row * n + col;
      const o1 = o0 + n;
      const o2 = o1 + n;
      const o3 = o2 + n;
      out[o0] = s00;
      out[o0 + 1] = s01;
      out[o0 + 2] = s02;
      out[o0 + 3] = s03;
      out[o1] = s10;
      out[o1 + 1] = s11;
      out[o1 + 2] = s12;
      out[o1 + 3] = s13;
      out[o2] = s20;
      out[o2 + 1] = s21;
      out[o2 + 2] = s22;
      out[o2 + 3] = s23;
      out[o3] = s30;
      out[o3 + 1] = s31;
      out[o3 + 2] = s32;
      out[o3 + 3] = s33;
    }
  }
  for (let row = 0; row < m; row++) {
    for (let col = row < mTiles ? nTiles : 0; col < n; col++) {
      out[outBase + row * n + col] = dotRows(a, b, aBase + row * k, bBase + col * k, k);
    }
  }
}

/** Wraps around, as WGSL integers do. */
function multiplyIntegers(
  a: TensorData,
  b: TensorData,
  out: TensorData,
  batch: number,
  m: number,
  n: number,
  k: number,
) {
  for (let at = 0; at < batch * m * n; at++) {
    const row = Math.floor(at / n);
    const aAt = row * k;
    const bAt = (Math.floor(row / m) * n + (at % n)) * k;
    let sum = 0;
    for (let i = 0; i < k; i++) sum = (sum + Math.imul(a[aAt + i] as number, b[bAt + i] as number)) | 0;
    out[at] = sum;
  }
}

/**
 * The gradient of one side: the cotangent contracted with the other side over that side's free axes.
 *
 * @param own    the side that the gradient is of; its free axes are axes `first…` of the cotangent
 * @param other  the other side
 */
function sideGradient(emitter: Emitter, cotangent: Value, own: Side, other: Side, at: Value, isLeft: boolean): Value {
  const batch = own.batch.length;
  const free = (start: number, count: number) => Array.from({ length: count }, (_, axis) => start + axis);
  const product = emitter.emit('dot_general', [cotangent, at], {
    lhs_batch: free(0, batch),
    rhs_batch: other.batch,
    lhs_contract: free(isLeft ? batch + own.free.length : batch, other.free.length),
    rhs_contract: other.free,
  });
  // Now [batch…, own free…, the other's contracted axes in its order…]: back to the order of the own side.
  const contracted = [...other.contract].sort((a, b) => a - b);
  const rank = batch + own.free.length + own.contract.length;
  const permutation = free(0, rank).map((axis) => {
    const inBatch = own.batch.indexOf(axis);
    if (inBatch >= 0) return inBatch;
    const inFree = own.free.indexOf(axis);
    if (inFree >= 0) return batch + inFree;
    return batch + own.free.length + contracted.indexOf(other.contract[own.contract.indexOf(axis)] ?? 0);
  });
  if (permutation.every((axis, place) => axis === place)) return product;
  return emitter.emit('transpose', [product], { permutation });
}

export const dotGeneral: OpDefinition = {
  name: 'dot_general',
  level: 'tensor',
  doc: 'Contraction of two tensors: [batch…, free axes of `lhs`…, free axes of `rhs`…].',
  operands: ['lhs', 'rhs'],
  attributes: {
    lhs_batch: { kind: 'ints', doc: 'batch axes of `lhs`' },
    rhs_batch: { kind: 'ints', doc: 'batch axes of `rhs`, in the same order' },
    lhs_contract: { kind: 'ints', doc: 'axes of `lhs` that are summed over' },
    rhs_contract: { kind: 'ints', doc: 'axes of `rhs` that are summed over, in the same order' },
  },
  traits: ['contraction'],
  skeleton: 'contraction',
  mapsLastAxis([x, matrix], attributes, at) {
    if (!x || matrix?.type.shape.length !== 2 || at !== 1) return undefined;
    const axes = (name: string) => numbersOf(attributes, name);
    const isPlain = axes('lhs_batch').length === 0 && axes('lhs_contract').join() === String(x.type.shape.length - 1);
    const [contracted, another] = axes('rhs_contract');
    return isPlain && another === undefined ? { x, isTransposed: contracted === 0 } : undefined;
  },
  infer([lhs, rhs], attributes) {
    if (!lhs || !rhs) return fail('`dot_general` takes two operands');
    if (lhs.dtype !== rhs.dtype) {
      return fail(`cannot contract ${quoteType(lhs)} with ${quoteType(rhs)}: the element types differ`, 1);
    }
    if (lhs.dtype === 'bool') return fail(`cannot contract ${quoteType(lhs)}`, 0);
    const left = sideOf(attributes, 'lhs', lhs.shape.length);
    const right = sideOf(attributes, 'rhs', rhs.shape.length);
    const wrong = checkSide(lhs, left, 0) ?? checkSide(rhs, right, 1);
    if (wrong) return wrong;
    if (left.batch.length !== right.batch.length || left.contract.length !== right.contract.length) {
      return fail('`dot_general` needs as many batch and contracted axes on both sides', 1);
    }
    const pairs = [...left.batch, ...left.contract].map((axis, at) => [axis, [...right.batch, ...right.contract][at]]);
    for (const [a = 0, b = 0] of pairs) {
      const own = lhs.shape[a];
      const other = rhs.shape[b];
      if (own && other && !sameDim(own, other)) {
        return fail(
          `axis ${a} of ${quoteType(lhs)} is \`${own.key}\`, but axis ${b} of ${quoteType(rhs)} is \`${other.key}\``,
          1,
        );
      }
    }
    const pick = (type: TensorType, axes: readonly number[]) => axes.flatMap((axis) => type.shape[axis] ?? []);
    return [{ dtype: lhs.dtype, shape: [...pick(lhs, left.batch), ...pick(lhs, left.free), ...pick(rhs, right.free)] }];
  },
  axes([lhs, rhs], _outputs, attributes) {
    if (!lhs || !rhs) return [];
    const left = sideOf(attributes, 'lhs', lhs.shape.length);
    const right = sideOf(attributes, 'rhs', rhs.shape.length);
    const batch = left.batch.map((axis, at) => [operand(0, axis), operand(1, right.batch[at] ?? 0), result(at)]);
    const contracted = left.contract.map((axis, at) => [operand(0, axis), operand(1, right.contract[at] ?? 0)]);
    const first = left.batch.length;
    const ofLeft = left.free.map((axis, at) => [operand(0, axis), result(first + at)]);
    const ofRight = right.free.map((axis, at) => [operand(1, axis), result(first + left.free.length + at)]);
    return [...batch, ...contracted, ...ofLeft, ...ofRight];
  },
  gradient(emitter, { inputs: [lhs, rhs], attributes, cotangent }) {
    if (!lhs || !rhs) return [];
    const left = sideOf(attributes, 'lhs', lhs.type.shape.length);
    const right = sideOf(attributes, 'rhs', rhs.type.shape.length);
    return [
      sideGradient(emitter, cotangent, left, right, rhs, true),
      sideGradient(emitter, cotangent, right, left, lhs, false),
    ];
  },
  interpret([lhs, rhs], attributes, context) {
    if (!lhs || !rhs) return [];
    const left = sideOf(attributes, 'lhs', lhs.shape.length);
    const right = sideOf(attributes, 'rhs', rhs.shape.length);
    const batch = sizeOf(lhs.shape, left.batch);
    const m = sizeOf(lhs.shape, left.free);
    const n = sizeOf(rhs.shape, right.free);
    const k = sizeOf(lhs.shape, left.contract);
    const a = arranged(lhs, left);
    const b = arranged(rhs, right);
    const result = newTensor(lhs.dtype, context.outputShapes[0] ?? [], context.precision);
    if (!isFloat(lhs.dtype)) {
      multiplyIntegers(a, b, result.data, batch, m, n, k);
      return [result];
    }
    for (let i = 0; i < batch; i++) {
      multiplyFloats(
        a as FloatData,
        b as FloatData,
        result.data as FloatData,
        i * m * k,
        i * n * k,
        i * m * n,
        m,
        n,
        k,
      );
    }
    return [result];
  },
  /** Parts across the columns (or rows) of the result stand side by side; parts along the sum are added. */
  byParts(emitter, inputs, attributes, at, parts) {
    const [lhs, rhs] = inputs;
    const other = inputs[1 - at];
    if (!lhs || !rhs || !other) return undefined;
    const left = sideOf(attributes, 'lhs', lhs.type.shape.length);
    const right = sideOf(attributes, 'rhs', rhs.type.shape.length);
    const [own, across] = at === 0 ? [left, right] : [right, left];
    const product = (part: Value, side: Value) =>
      emitter.emit('dot_general', at === 0 ? [part, side] : [side, part], attributes);
    const free = own.free.indexOf(0);
    if (free >= 0) {
      const axis = own.batch.length + (at === 1 ? left.free.length : 0) + free;
      const products = parts.map((part) => product(part, other));
      return emitter.emit('concat', products, { axis });
    }
    const axis = across.contract[own.contract.indexOf(0)];
    if (axis === undefined) return undefined;
    const firsts = firstRows(parts);
    const slices = parts.map((part, place) => {
      const start = firsts[place] ?? constantDim(0);
      return emitter.emit('slice', [other], { axis, start, size: part.type.shape[0] ?? constantDim(1) });
    });
    return sumOf(
      emitter,
      parts.map((part, place) => product(part, slices[place] ?? other)),
    );
  },
  flops([lhs = []], [out = []], attributes) {
    return 2 * elementCount(out) * sizeOf(lhs, numbersOf(attributes, 'lhs_contract'));
  },
};
