/**
 * Products of one row whose left operand is computed on the spot: every workgroup computes the whole row, a norm or an activation, into
 * workgroup memory before it walks the sum. Each does the same work, which takes less than a dispatch of its own where
 * a dispatch waits for threads to wake up.
 *
 * Not here: for which products this is worth it (plan/staged-rows.ts).
 */
import type { Value } from '../../ir/graph.ts';
import { constantDim, constantValue } from '../../ir/symbolic.ts';
import { sameShape } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import { addIndices, constantIndex, type Index, mentions, scaleIndex } from './index-algebra.ts';
import type { Draft } from './kernel.ts';
import { UnsupportedOp } from './regions.ts';
import { rowShape, writeReductions } from './row.ts';
import { foldLanes } from './row-totals.ts';
import { FOURTH, fourth, type IndexVector } from './values.ts';

/**
 * Writes the row `row` of `value`; later reads of it come from there.
 *
 * @param lanes of a workgroup, a power of two
 */
export function writeStagedRow(draft: Draft, value: Value, row: Index, lanes: number): void {
  const { writer, walker, region } = draft;
  const { algebra } = walker;
  const { shape } = value.type;
  const length = constantValue(shape.at(-1) ?? constantDim(1)) ?? unreachable('a staged row of unknown length');
  const outer = algebra.delinearize(row, shape.slice(0, -1));
  const count = constantDim(length / 4);
  const openLoop = (): { readonly at: Index; readonly index: IndexVector } => {
    const name = writer.fresh('k');
    writer.open(`for (var ${name} = lane; ${name} < ${length / 4}u; ${name} += ${lanes}u)`);
    const at = writer.variable(name, count);
    return { at, index: [...outer, addIndices(scaleIndex(at, 4), fourth)] };
  };
  const reductions = rowShape(region);
  if (reductions) {
    if (!sameShape(reductions.shape, shape) || reductions.axes.join() !== String(shape.length - 1))
      throw new UnsupportedOp(value.node, 'a row of another shape');
    writeReductions(draft, reductions, {
      openLoop: () => openLoop().index,
      outer: [...outer, constantIndex(0)],
      width: 4,
      fold: (total) => foldLanes(draft, total, lanes),
    });
  }
  const name = writer.workgroupVariable('row', `array<vec4<f32>, ${length / 4}>`);
  const { at, index } = openLoop();
  writer.line(`${name}[${writer.index(at)}] = ${walker.as(walker.at(value, index), 4).text};`);
  writer.close();
  writer.line('workgroupBarrier();');
  walker.addOverride((asked, place) => {
    if (asked !== value) return undefined;
    const along = place.at(-1) ?? constantIndex(0);
    const four = constantDim(4);
    const aligned = mentions(along, FOURTH) ? walker.alignedFour(along) : undefined;
    if (aligned !== undefined)
      return { expression: { text: `${name}[${writer.index(aligned)}]`, lanes: 4, dtype: 'f32' } };
    if (mentions(along, FOURTH)) throw new UnsupportedOp(value.node, 'neighbours of a staged row that are not aligned');
    const component = writer.index(algebra.remainder(along, four));
    const text = `${name}[${writer.index(algebra.quotient(along, four))}][${component}]`;
    return { expression: { text, lanes: 1, dtype: 'f32' } };
  });
}
