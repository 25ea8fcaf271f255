/**
 * Rows of whole numbers of 8 bits with scales (src/ir/ops/quantize-rows.ts): a word of four numbers as it is stored, and numbers as they are
 * read. Four neighbours of a row are one word.
 */
import type { Value } from '../../ir/graph.ts';
import { storedWords } from '../../ir/ops/quantize-rows.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim, constantValue } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { addIndices, constantIndex, type Index, mentions, scaleIndex } from './index-algebra.ts';
import { type Expression, FOURTH, fourth, type IndexVector, type ValueWalker } from './values.ts';

const four = constantDim(4);

function rowSize(value: Value): number {
  return constantValue(value.type.shape.at(-1) ?? constantDim(0)) ?? unreachable('rows of unknown size');
}

const inRow = (index: IndexVector, column: Index): IndexVector => [...index.slice(0, -1), column];

/** A word of `quantize_rows`: numbers, or the bits of a scale. */
export function quantizedWord(walker: ValueWalker, value: Value, index: IndexVector): Expression {
  const [x, greatest] = value.node.inputs;
  if (!x || !greatest) return unreachable('`quantize_rows` without operands');
  if (index.some((part) => mentions(part, FOURTH)))
    return walker.perLane(value, index, (at) => quantizedWord(walker, value, at));
  const { writer } = walker.context;
  const width = numberOf(value.node.attributes, 'width');
  const size = rowSize(x);
  const words = storedWords(size, width);
  const column = writer.operand(index.at(-1) ?? constantIndex(0));
  // Words of scales look at the last numbers, and words of numbers at the scale of theirs.
  const isScale = writer.let('is_scale', `${column} >= ${words.numbers}u`);
  const wordText = `min(${column}, ${words.numbers - 1}u)`;
  const word = writer.variable(writer.fresh('word'), constantDim(words.numbers), wordText);
  const headText = `select(${writer.index(word)} / ${width / 4}u, ${column} - ${words.numbers}u, ${isScale})`;
  const head = writer.variable(writer.fresh('head'), constantDim(size / width), headText);
  const most = walker.at(greatest, inRow(index, head));
  const divided = writer.let('divided', `${most.text} / 127.0f`);
  const scale = writer.let('scale', `select(${divided}, 1.0f, ${divided} == 0.0f)`);
  const numbers = walker.as(walker.at(x, inRow(index, addIndices(scaleIndex(word, 4), fourth))), 4);
  const quotients = `clamp(round((${numbers.text}) / ${scale}), vec4f(-127.0f), vec4f(127.0f))`;
  const bytes = writer.let('bytes', `(vec4<i32>(${quotients}) & vec4<i32>(255)) << vec4<u32>(0u, 8u, 16u, 24u)`);
  const together = `(${bytes}.x | ${bytes}.y) | (${bytes}.z | ${bytes}.w)`;
  return { text: `select(${together}, bitcast<i32>(${scale}), ${isScale})`, lanes: 1, dtype: 'i32' };
}

/** A number of `dequantize_rows`, or four neighbours of one word. */
export function dequantized(walker: ValueWalker, value: Value, index: IndexVector): Expression {
  const [x] = value.node.inputs;
  if (!x) return unreachable('`dequantize_rows` without an operand');
  const { writer, algebra } = { writer: walker.context.writer, algebra: walker.algebra };
  const column = index.at(-1) ?? constantIndex(0);
  const isWord = walker.alignedFour(column) !== undefined;
  const isElsewhere = index.slice(0, -1).some((part) => mentions(part, FOURTH));
  if (isElsewhere || (mentions(column, FOURTH) && !isWord))
    return walker.perLane(value, index, (at) => dequantized(walker, value, at));
  const width = numberOf(value.node.attributes, 'width');
  const words = storedWords(rowSize(value), width);
  const lanes = mentions(column, FOURTH) ? 4 : 1;
  const first = lanes === 4 ? algebra.substitute(column, FOURTH, constantIndex(0)) : column;
  const word = walker.named(walker.at(x, inRow(index, algebra.quotient(first, four))), 'numbers').text;
  const head = algebra.quotient(first, constantDim(width));
  const scale = walker.named(walker.at(x, inRow(index, addIndices(head, constantIndex(words.numbers)))), 'scale').text;
  const number =
    lanes === 4
      ? `vec4f((vec4<i32>(${word}) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u))`
      : `f32((${word} << (24u - 8u * ${writer.operand(algebra.remainder(first, four))})) >> 24u)`;
  return { text: `(${number} * bitcast<f32>(${scale}))`, lanes, dtype: 'f32' };
}
