/**
 * Rows of f32 as whole numbers of 8 bits with a scale for each `width` neighbours, and back: how a state of `int8` is stored.
 *
 *   scale[h] = greatest[h] / 127, or 1 where that is 0      q[i] = round(x[i] / scale[i / width]), -127 to 127
 *
 * A row [W] becomes W / 4 words of four numbers each, the first one lowest, and behind them the bits of the W / width scales. Rounding is to
 * the nearest, halves to the even one; on devices a quotient within rounding of a half may fall to the other side. Where `greatest` is no
 * finite number neither is what comes back.
 */
import type { OpDefinition } from '../op.ts';
import { constantDim, constantValue } from '../symbolic.ts';
import { elementCount, newTensor, roundHalfEven } from '../tensor.ts';
import { sameShape } from '../types.ts';
import { operand, result } from './axes.ts';
import { fail, lastDim, numberOf, quoteType } from './shared.ts';

const single = new Float32Array(1);
const bits = new Int32Array(single.buffer);

/** Words of a row of so many numbers, and how many of them hold numbers. */
export function storedWords(numbers: number, width: number): { readonly whole: number; readonly numbers: number } {
  return { whole: numbers / 4 + numbers / width, numbers: numbers / 4 };
}

/** Numbers of a row of so many words; undefined where none has so many. */
export function numbersOfWords(words: number, width: number): number | undefined {
  const heads = words / (width / 4 + 1);
  return Number.isInteger(heads) ? heads * width : undefined;
}

const attributes: OpDefinition['attributes'] = {
  width: { kind: 'int', doc: 'neighbours that share a scale, a multiple of 4' },
};

/** Heads of a row of numbers, and where they are in its words: once as numbers, once as scales. */
function headRuns(rank: number, size: number, width: number) {
  const axis = rank - 1;
  const { numbers } = storedWords(size, width);
  const stored = [
    { from: 0, length: numbers, each: width / 4 },
    { from: numbers, length: size / width },
  ];
  return { axis, plain: { each: width }, stored };
}

const otherAxes = (rank: number): readonly number[] => Array.from({ length: rank - 1 }, (_, axis) => axis);

const isWidth = (width: number): boolean => width > 0 && width % 4 === 0;

export const quantizeRows: OpDefinition = {
  name: 'quantize_rows',
  level: 'tensor',
  doc:
    'Rows of f32 [.., W] as words i32 [.., W / 4 + W / width]: numbers of 8 bits, four in a word, then a scale for each `width` ' +
    'neighbours, of which `greatest` [.., W / width] gives the greatest absolute value.',
  operands: ['x', 'greatest'],
  attributes,
  traits: ['flat'],
  skeleton: 'indexed',
  infer([x, greatest], given) {
    if (!x || !greatest) return fail('`quantize_rows` takes rows and their greatest numbers');
    const width = numberOf(given, 'width');
    const size = constantValue(lastDim(x.shape) ?? constantDim(0));
    if (x.dtype !== 'f32' || size === undefined || !isWidth(width) || size % width !== 0)
      return fail(`${quoteType(x)} has no rows of f32 whose widths are multiples of ${width}`, 0);
    const heads = [...x.shape.slice(0, -1), constantDim(size / width)];
    if (greatest.dtype !== 'f32' || !sameShape(greatest.shape, heads))
      return fail(
        `the greatest numbers are ${quoteType(greatest)}, not ${quoteType({ dtype: 'f32', shape: heads })}`,
        1,
      );
    return [{ dtype: 'i32', shape: [...x.shape.slice(0, -1), constantDim(storedWords(size, width).whole)] }];
  },
  axes([x], _outputs, given) {
    const [rank, width] = [x?.shape.length ?? 1, numberOf(given, 'width')];
    const { axis, plain, stored } = headRuns(
      rank,
      constantValue(lastDim(x?.shape ?? []) ?? constantDim(0)) ?? 0,
      width,
    );
    const heads = [operand(0, axis, plain), operand(1, axis), ...stored.map((part) => result(axis, part))];
    return [...otherAxes(rank).map((other) => [operand(0, other), operand(1, other), result(other)]), heads];
  },
  interpret([x, greatest], given, context) {
    if (!x || !greatest) return [];
    const width = numberOf(given, 'width');
    const size = x.shape.at(-1) ?? 0;
    const words = storedWords(size, width);
    const result = newTensor('i32', context.outputShapes[0] ?? [], context.precision);
    const heads = size / width;
    for (let row = 0; row * words.whole < result.data.length; row++) {
      const scales = Array.from({ length: heads }, (_, head) => {
        const most = Number(greatest.data[row * heads + head]);
        const scale = Math.fround(Math.fround(most) / 127);
        return scale === 0 ? 1 : scale;
      });
      for (let word = 0; word < words.numbers; word++) {
        let whole = 0;
        for (let at = 0; at < 4; at++) {
          const i = 4 * word + at;
          const value = Math.fround(Number(x.data[row * size + i])) / (scales[Math.floor(i / width)] ?? 1);
          const number = Math.min(127, Math.max(-127, roundHalfEven(Math.fround(value))));
          whole |= ((Number.isNaN(number) ? 0 : number) & 255) << (8 * at);
        }
        result.data[row * words.whole + word] = whole;
      }
      for (const [head, scale] of scales.entries()) {
        single[0] = scale;
        result.data[row * words.whole + words.numbers + head] = bits[0] ?? 0;
      }
    }
    return [result];
  },
  flops: ([x = []]) => 4 * elementCount(x),
};

export const dequantizeRows: OpDefinition = {
  name: 'dequantize_rows',
  level: 'tensor',
  doc: 'The rows of f32 [.., W] that `quantize_rows` has made words of.',
  operands: ['x'],
  attributes,
  traits: ['flat', 'conversion'],
  skeleton: 'indexed',
  infer([x], given) {
    const width = numberOf(given, 'width');
    const words = constantValue(lastDim(x?.shape ?? []) ?? constantDim(0)) ?? 0;
    const size = isWidth(width) ? numbersOfWords(words, width) : undefined;
    if (x?.dtype !== 'i32' || size === undefined)
      return fail(`${x ? quoteType(x) : 'nothing'} holds no rows with a scale for each ${width} numbers`, 0);
    return [{ dtype: 'f32', shape: [...x.shape.slice(0, -1), constantDim(size)] }];
  },
  axes([x], [out], given) {
    const [rank, width] = [x?.shape.length ?? 1, numberOf(given, 'width')];
    const { axis, plain, stored } = headRuns(
      rank,
      constantValue(lastDim(out?.shape ?? []) ?? constantDim(0)) ?? 0,
      width,
    );
    const heads = [...stored.map((part) => operand(0, axis, part)), result(axis, plain)];
    return [...otherAxes(rank).map((other) => [operand(0, other), result(other)]), heads];
  },
  interpret([x], given, context) {
    if (!x) return [];
    const width = numberOf(given, 'width');
    const result = newTensor('f32', context.outputShapes[0] ?? [], context.precision);
    const size = result.shape.at(-1) ?? 0;
    const words = storedWords(size, width);
    for (let at = 0; at < result.data.length; at++) {
      const [row, i] = [Math.floor(at / size), at % size];
      const word = Number(x.data[row * words.whole + (i >> 2)]);
      bits[0] = Number(x.data[row * words.whole + words.numbers + Math.floor(i / width)]);
      result.data[at] = Math.fround(((word << (24 - 8 * (i % 4))) >> 24) * (single[0] ?? 0));
    }
    return [result];
  },
  flops: (_shapes, [out = []]) => elementCount(out),
};
