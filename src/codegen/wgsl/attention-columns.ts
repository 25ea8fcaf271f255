/**
 * Columns of one head, by four: how they are read from an operand and stored into a result when the width of the head is
 * no multiple of four.
 */
import type { Value } from '../../ir/graph.ts';
import { constantDim } from '../../ir/symbolic.ts';
import { range } from './columns.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import type { Draft } from './kernel.ts';
import type { Finish } from './results.ts';
import { fourth, type IndexVector } from './values.ts';

export interface FourOfHead {
  /** Where a column of the head lies. */
  readonly index: (column: Index) => IndexVector;
  /** Which four. */
  readonly column4: Index;
  /** Width of the head. */
  readonly width: number;
}

/** Four neighbours of a head as `vec4f`, or of the operand's type; columns past the head's are 0. */
export function readFour({ writer, walker }: Draft, operand: Value, { index, column4, width }: FourOfHead): string {
  const first = scaleIndex(column4, 4);
  if (width % 4 === 0) return walker.as(walker.at(operand, index(addIndices(first, fourth))), 4).text;
  const singles = range(4).map((lane) => {
    const wanted = writer.let('wanted_column', `${writer.index(first)} + ${lane}u`);
    const column = writer.variable(`${wanted}_in`, constantDim(width), `min(${wanted}, ${width - 1}u)`);
    return `select(0.0f, ${walker.at(operand, index(column)).text}, ${wanted} < ${width}u)`;
  });
  return `vec4f(${singles.join(', ')})`;
}

/** Finishes and stores four neighbours, those of them that the head has. */
export function finishFour(
  { writer }: Draft,
  finish: Finish,
  { index, column4, width, text }: FourOfHead & { readonly text: string },
): void {
  const first = scaleIndex(column4, 4);
  const value = writer.let('result_four', text);
  if (width % 4 === 0) {
    finish(index(addIndices(first, fourth)), { text: value, lanes: 4, dtype: 'f32' });
    return;
  }
  for (const lane of range(4)) {
    writer.open(`if (${writer.index(first)} + ${lane}u < ${width}u)`);
    finish(index(addIndices(first, constantIndex(lane))), { text: `${value}[${lane}]`, lanes: 1, dtype: 'f32' });
    writer.close();
  }
}
