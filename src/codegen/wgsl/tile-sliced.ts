/**
 * Contractions with few rows (gemv): the work is to read the right operand once. A workgroup has `lanes` lanes side by
 * side along the columns and `slices` of them beside each other along the sum; the slices meet in workgroup memory.
 */
import { constantValue } from '../../ir/symbolic.ts';
import type { SlicedTile } from '../plan/schedules.ts';
import {
  accumulate,
  ceiling,
  chooseReading,
  components,
  type FourColumns,
  finishColumns,
  isMultiple,
  lastOf,
  nameColumns,
  quarter,
  range,
  rightAt,
  rightBlock,
} from './columns.ts';
import type { Product } from './contraction.ts';
import { addIndices, type Index, scaleIndex } from './index-algebra.ts';
import type { Written } from './kernel.ts';
import type { PackedSums } from './packed-sums.ts';
import { writeFormedSums } from './sparse-sums.ts';
import { fourth } from './values.ts';

export function writeSlicedTile(product: Product, tile: SlicedTile): Written {
  const { draft, batch, rows, columns } = product;
  const { writer } = draft;
  const { lanes, slices } = tile;
  const width = 4 * lanes;
  const height = Math.min(tile.rows, constantValue(rows) ?? tile.rows);
  const rowTiles = ceiling(product, rows, height);
  const columnTiles = ceiling(product, columns, width);
  writer.line(`let row_tile = group % ${rowTiles};`);
  writer.line(`let column_tile = (group / ${rowTiles}) % ${columnTiles};`);
  const z = writer.variable('batch', batch, `group / (${rowTiles} * ${columnTiles})`);
  writer.open(`if (group < ${rowTiles} * ${columnTiles} * ${writer.dim(batch)})`);
  writer.line(`let slice = lane / ${lanes}u;`);
  const partial = writer.workgroupVariable('partial', `array<${product.vector}, ${slices * height * lanes}>`);
  const rowIndices = range(height).map((r) =>
    writer.variable(`row_${r}`, rows, `min(row_tile * ${height}u + ${r}u, ${lastOf(product, rows)})`),
  );
  const four = nameColumns(product, 'column4', `column_tile * ${lanes}u + lane % ${lanes}u`, width);
  for (const r of range(height)) writer.line(`var sum_${r} = ${product.vector}(0);`);

  const sums: PackedSums = {
    rows: rowIndices,
    columns: [four],
    places: [`column_tile * ${lanes}u + lane % ${lanes}u`],
    batch: z,
    sum: (r) => `sum_${r}`,
    slices: { count: slices, first: 'slice' },
  };
  if (!writeFormedSums(product, sums)) writeSums(product, slices, rowIndices, four, z);
  for (const r of range(height)) {
    writer.line(`${partial}[(slice * ${height}u + ${r}u) * ${lanes}u + lane % ${lanes}u] = sum_${r};`);
  }
  writer.line('workgroupBarrier();');

  // From here on one slice works: a lane per row and vector of columns.
  writer.open(`for (var own_row = slice; own_row < ${height}u; own_row += ${slices}u)`);
  writer.line(`var sum = ${product.vector}(0);`);
  writer.open(`for (var other = 0u; other < ${slices}u; other++)`);
  writer.line(`sum += ${partial}[(other * ${height}u + own_row) * ${lanes}u + lane % ${lanes}u];`);
  writer.close();
  writer.line(`let wanted_row = row_tile * ${height}u + own_row;`);
  writer.open(`if (wanted_row < ${writer.dim(rows)})`);
  const row = writer.variable('row', rows, 'wanted_row');
  finishColumns(product, four, z, [{ row, sum: 'sum' }]);
  writer.close();
  writer.close();
  writer.close();
  return {
    workgroup: lanes * slices,
    groups: {
      factors: [
        { size: rows, divisor: height },
        { size: columns, divisor: width },
        { size: batch, divisor: 1 },
      ],
    },
    note: `contraction of few rows: ${lanes} lanes along the columns, ${slices} slices of the sum`,
  };
}

/** The loop over every so many steps of the sum. */
function writeSums(product: Product, slices: number, rowIndices: readonly Index[], four: FourColumns, z: Index): void {
  const { draft, depth } = product;
  const { writer, walker } = draft;
  const reading = chooseReading(product);
  const byFour = isMultiple(depth, 4);
  const count = byFour ? quarter(depth) : depth;
  const name = writer.fresh('k');
  writer.open(`for (var ${name} = slice; ${name} < ${writer.dim(count)}; ${name} += ${slices}u)`);
  const k = writer.variable(name, count);
  if (byFour) {
    const along = addIndices(scaleIndex(k, 4), fourth);
    const left = rowIndices.map((row) => writer.let('a', walker.as(product.left(z, row, along), 4).text));
    const block = rightBlock(product, four, reading, z, k);
    for (const [at, part] of components.entries()) {
      const b = writer.let('b', block[at]?.() ?? '');
      for (const [r, a] of left.entries()) writer.line(accumulate(product, `sum_${r}`, `${a}.${part}`, b));
    }
  } else {
    const left = rowIndices.map((row) => writer.let('a', product.left(z, row, k).text));
    const b = writer.let('b', rightAt(product, four, z, k));
    for (const [r, a] of left.entries()) writer.line(accumulate(product, `sum_${r}`, a, b));
  }
  writer.close();
}
