/**
 * Loads of packed weights: whole numbers with scales (PackedLayout in src/runtime/artifact.ts) as f32, one or four neighbours at a time.
 *
 * A buffer is bound as vectors of four words, whatever is read of it: the words of four neighbouring outputs are one vector, and a
 * single word is a component of one.
 *
 * Not here: products, which scale sums instead of numbers (packed-sums.ts).
 */
import { constantDim, constantValue, type Dim } from '../../ir/symbolic.ts';
import type { PackedFormat } from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import { panelWidth } from '../plan/schedules.ts';
import { type PackedPlaces, packedPlaces } from '../plan/weights.ts';
import { addIndices, constantIndex, type Index, mentions, scaleIndex } from './index-algebra.ts';
import type { Lanes } from './scalars.ts';
import { type BufferAccess, type Expression, FOURTH, type IndexVector, type ValueWalker } from './values.ts';
import { readWords } from './writer.ts';

export interface PackedAccess {
  readonly format: PackedFormat;
  readonly places: PackedPlaces;
}

export function packedAccess(shape: readonly Dim[], format: PackedFormat | undefined): PackedAccess | undefined {
  if (format === undefined) return undefined;
  const sizes = shape.map((dim) => constantValue(dim) ?? unreachable('a packed weight of unknown size'));
  return { format, places: packedPlaces(sizes, format) };
}

/** Output and input, counted as rows and columns of the packed matrix, of an element. */
export function packedIndex(
  walker: ValueWalker,
  buffer: BufferAccess,
  { format }: { readonly format: { readonly transposed?: boolean } },
  index: IndexVector,
): { readonly row: Index; readonly column: Index } {
  const [first = constantIndex(0), ...rest] = index;
  const others = walker.algebra.linearize(rest, buffer.shape.slice(1));
  return format.transposed ? { row: others, column: first } : { row: first, column: others };
}

/** `name` of the buffer, bound as vectors of words. */
export function bindPacked(walker: ValueWalker, { key, name }: BufferAccess): string {
  return walker.context.writer.bind({ key, name, element: 'vec4<u32>', access: 'p', vector: true });
}

/** Number subtracted from what lies in a word; undefined where each group has its own. */
export function packedOffset({ kind, asymmetric }: PackedFormat): number | undefined {
  return kind === 'int8' ? 128 : asymmetric ? undefined : 8;
}

/** Outputs that are read: one, or four neighbours from a multiple of four on, of which the number by four is given. */
export type Outputs =
  | { readonly kind: 'one'; readonly row: Index }
  | { readonly kind: 'four'; readonly quarter: Index };

export const lanesOf = ({ kind }: Outputs): Lanes => (kind === 'four' ? 4 : 1);

/** Of [P][count / run][width / 32][run][32] from `start` on, the words of these outputs: one, or a vector. */
export function loadWords(
  walker: ValueWalker,
  buffer: BufferAccess,
  outputs: Outputs,
  at: Index,
  start: number,
  count: number,
  width: number = panelWidth,
  run = 1,
): string {
  const { algebra, context } = walker;
  const { writer } = context;
  const place = (index: Index, by: number): Index => {
    const panel = scaleIndex(algebra.quotient(index, constantDim(by)), count * by);
    const inPanel = algebra.remainder(index, constantDim(by));
    const first = constantIndex((start * by) / width);
    if (run === 1) return addIndices(panel, scaleIndex(at, by), inPanel, first);
    const beside = (by * panelWidth) / width;
    return addIndices(
      panel,
      scaleIndex(algebra.quotient(at, constantDim(run)), by * run),
      scaleIndex(algebra.quotient(inPanel, constantDim(beside)), beside * run),
      scaleIndex(algebra.remainder(at, constantDim(run)), beside),
      algebra.remainder(inPanel, constantDim(beside)),
      first,
    );
  };
  const [word, vector] =
    outputs.kind === 'one' ? [place(outputs.row, width), undefined] : [undefined, place(outputs.quarter, width / 4)];
  const key = `words of ${buffer.key} at ${word?.key ?? `vector ${vector?.key}`}`;
  const known = writer.known(key);
  if (known) return known.text;
  const name = bindPacked(walker, buffer);
  writer.loads += 1;
  const four = constantDim(4);
  const text = word
    ? `${readWords(name, writer.index(algebra.quotient(word, four)))}[${writer.index(algebra.remainder(word, four))}]`
    : readWords(name, writer.index(vector ?? constantIndex(0)));
  const words = writer.let('words', text);
  writer.remember(key, { text: words, lanes: lanesOf(outputs) });
  return words;
}

export const vectorOf = (text: string, lanes: Lanes, type: string): string =>
  lanes === 4 ? `vec4<${type}>(${text})` : `${type}(${text})`;

/** Whole numbers of words, not yet less their offset, as f32. */
function numbersOf(walker: ValueWalker, access: PackedAccess, words: string, lanes: Lanes, column: Index): string {
  const { writer } = walker.context;
  const { perWord } = access.places;
  const bits = 32 / perWord;
  const place = walker.algebra.remainder(column, constantDim(perWord));
  const shift = writer.index(scaleIndex(place, bits));
  const shifted = `(${words} >> ${vectorOf(shift, lanes, 'u32')})`;
  const masked = `${shifted} & ${vectorOf(`${2 ** bits - 1}u`, lanes, 'u32')}`;
  // Below 2^31: conversions of i32 are cheaper than those of u32.
  return vectorOf(vectorOf(masked, lanes, 'i32'), lanes, 'f32');
}

/** Four neighbours along the inputs, from a multiple of four on: they share a word. */
function neighboursOf(
  walker: ValueWalker,
  access: PackedAccess,
  buffer: BufferAccess,
  outputs: Outputs,
  quarter: Index,
): string {
  const { writer } = walker.context;
  const { places } = access;
  const perFour = constantDim(places.perWord / 4);
  const at = walker.algebra.quotient(quarter, perFour);
  const text = loadWords(walker, buffer, outputs, at, 0, places.words, places.width, places.run);
  const half = walker.algebra.remainder(quarter, perFour);
  const word = places.perWord === 4 ? text : `(${text} >> ${writer.operand(scaleIndex(half, 16))})`;
  const bits = 32 / places.perWord;
  const shifts = [0, 1, 2, 3].map((place) => `${place * bits}u`).join(', ');
  return `vec4<f32>(vec4<i32>((vec4<u32>(${word}) >> vec4<u32>(${shifts})) & vec4<u32>(${2 ** bits - 1}u)))`;
}

/** Scales, and zero points, of the group that a column belongs to. */
function ofGroup(
  walker: ValueWalker,
  buffer: BufferAccess,
  { format, places }: PackedAccess,
  outputs: Outputs,
  column: Index,
): { readonly scale: string; readonly zero: string } {
  const { algebra, context } = walker;
  const { groups } = places;
  const group = format.group === undefined ? constantIndex(0) : algebra.quotient(column, constantDim(format.group));
  const scales = loadWords(walker, buffer, outputs, group, places.scales, groups, places.width);
  const scale = `bitcast<${lanesOf(outputs) === 4 ? 'vec4<f32>' : 'f32'}>(${scales})`;
  const offset = packedOffset(format);
  if (offset !== undefined) return { scale, zero: `${offset}.0f` };
  // Zero points of four outputs are one word.
  const zeroWord = (row: Index) =>
    loadWords(walker, buffer, { kind: 'one', row }, group, places.zeros, groups, places.width / 4);
  if (outputs.kind === 'four') return { scale, zero: zeroPoints(zeroWord(outputs.quarter)) };
  const four = constantDim(4);
  const word = zeroWord(algebra.quotient(outputs.row, four));
  const shift = context.writer.operand(scaleIndex(algebra.remainder(outputs.row, four), 8));
  return { scale, zero: `f32((${word} >> ${shift}) & 255u)` };
}

/** Those of four outputs. */
export function zeroPoints(word: string): string {
  return `vec4<f32>(vec4<i32>((vec4<u32>(${word}) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)))`;
}

/** The element at an index of the weight, or four neighbours. */
export function loadPacked(
  walker: ValueWalker,
  buffer: BufferAccess,
  access: PackedAccess,
  index: IndexVector,
): Expression {
  const { algebra } = walker;
  const { row, column } = packedIndex(walker, buffer, access, index);
  const { places, format } = access;
  const apart = (): Expression => {
    const parts = [0, 1, 2, 3].map((lane) => loadPacked(walker, buffer, access, walker.lane(index, lane)).text);
    return { text: `vec4<f32>(${parts.join(', ')})`, lanes: 4, dtype: 'f32' };
  };
  const [alongRows, alongColumns] = [mentions(row, FOURTH), mentions(column, FOURTH)];
  if (alongColumns) {
    const quarter = walker.alignedFour(column);
    if (alongRows || quarter === undefined || (format.group ?? 4) % 4 !== 0) return apart();
    const one: Outputs = { kind: 'one', row };
    const numbers = neighboursOf(walker, access, buffer, one, quarter);
    const { scale, zero } = ofGroup(walker, buffer, access, one, scaleIndex(quarter, 4));
    return { text: `(${numbers} - ${zero}) * ${scale}`, lanes: 4, dtype: 'f32' };
  }
  const quarter = alongRows ? walker.alignedFour(row) : undefined;
  if (alongRows && quarter === undefined) return apart();
  const outputs: Outputs = quarter ? { kind: 'four', quarter } : { kind: 'one', row };
  const lanes = lanesOf(outputs);
  const at = algebra.quotient(column, constantDim(places.perWord));
  const numbers = numbersOf(
    walker,
    access,
    loadWords(walker, buffer, outputs, at, 0, places.words, places.width, places.run),
    lanes,
    column,
  );
  const { scale, zero } = ofGroup(walker, buffer, access, outputs, column);
  return { text: `(${numbers} - ${zero}) * ${scale}`, lanes, dtype: 'f32' };
}
