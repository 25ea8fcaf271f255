/**
 * Loads of n:m weights (NmLayout in src/runtime/artifact.ts): of each group of neighbours along the inputs some numbers and their
 * places. An element is the number whose place it is, or 0.
 *
 * Not here: products, which read a group at once (sparse-sums.ts).
 */
import { constantDim, constantValue, type Dim } from '../../ir/symbolic.ts';
import type { NmFormat } from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import { type NmPlaces, nmPlaces } from '../plan/weights.ts';
import { addIndices, constantIndex, mentions, scaleIndex } from './index-algebra.ts';
import { lanesOf, loadWords, type Outputs, packedIndex, vectorOf } from './packed.ts';
import { type BufferAccess, type Expression, FOURTH, type IndexVector, type ValueWalker } from './values.ts';

export interface SparseAccess {
  readonly format: NmFormat;
  readonly places: NmPlaces;
}

export function sparseAccess(shape: readonly Dim[], format: NmFormat | undefined): SparseAccess | undefined {
  if (format === undefined) return undefined;
  const sizes = shape.map((dim) => constantValue(dim) ?? unreachable('a sparse weight of unknown size'));
  return { format, places: nmPlaces(sizes, format) };
}

/** The element at an index of the weight, or four neighbours. */
export function loadSparse(
  walker: ValueWalker,
  buffer: BufferAccess,
  access: SparseAccess,
  index: IndexVector,
): Expression {
  const { algebra, context } = walker;
  const { row, column } = packedIndex(walker, buffer, access, index);
  const { places, format } = access;
  const alongRows = mentions(row, FOURTH);
  const quarter = alongRows ? walker.alignedFour(row) : undefined;
  if (mentions(column, FOURTH) || (alongRows && quarter === undefined)) {
    const parts = [0, 1, 2, 3].map((lane) => loadSparse(walker, buffer, access, walker.lane(index, lane)).text);
    return { text: `vec4<f32>(${parts.join(', ')})`, lanes: 4, dtype: 'f32' };
  }
  const outputs: Outputs = quarter ? { kind: 'four', quarter } : { kind: 'one', row };
  const lanes = lanesOf(outputs);
  const { writer } = context;
  const of = constantDim(format.of);
  const group = algebra.quotient(column, of);
  const wanted = vectorOf(writer.operand(algebra.remainder(column, of)), lanes, 'u32');
  const perWord = constantDim(places.perWord);
  const word = loadWords(walker, buffer, outputs, algebra.quotient(group, perWord), places.places, places.words);
  const first = writer.operand(scaleIndex(algebra.remainder(group, perWord), places.bits));
  const bits = Math.log2(format.of);
  let text = vectorOf('0', lanes, 'f32');
  for (let at = 0; at < format.keep; at++) {
    const place = addIndices(scaleIndex(group, format.keep), constantIndex(at));
    const value = loadWords(walker, buffer, outputs, place, 0, places.groups * format.keep);
    const shift = vectorOf(`${first} + ${at * bits}u`, lanes, 'u32');
    const own = `((${word} >> ${shift}) & ${vectorOf(`${format.of - 1}u`, lanes, 'u32')})`;
    text = `select(${text}, bitcast<${lanes === 4 ? 'vec4<f32>' : 'f32'}>(${value}), ${own} == ${wanted})`;
  }
  return { text, lanes, dtype: 'f32' };
}
