/**
 * Contraction tiles in registers: a lane holds `rows` x `4 * vectors` accumulators and walks the sum once. No barriers, no
 * workgroup memory: best on software drivers, where both cost more than they save.
 *
 *   c[m, n] += a[m, k] * b[k, n]      four columns are one vec4; neighbouring lanes have neighbouring vectors
 */
import { constantValue } from '../../ir/symbolic.ts';
import { panelWidth, type RegisterTile } from '../plan/schedules.ts';
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
  type Reading,
  range,
  readsLeftByRows,
  rightAt,
  rightBlock,
} from './columns.ts';
import type { Product } from './contraction.ts';
import { addIndices, type Index, scaleIndex } from './index-algebra.ts';
import type { Written } from './kernel.ts';
import { type PackedSums, packedRight } from './packed-sums.ts';
import { writeFormedSums } from './sparse-sums.ts';
import { writeStagedRow } from './staged-row.ts';
import { fourth } from './values.ts';

export function writeRegisterTile(product: Product, tile: RegisterTile): Written {
  const { draft, batch, rows, columns } = product;
  const { writer } = draft;
  const { lanes } = tile;
  const packed = packedRight(product);
  const vectors = packed && tile.rows === 1 ? packed.access.places.width / panelWidth : tile.vectors;
  const width = 4 * vectors * lanes;
  const height = Math.min(tile.rows, constantValue(rows) ?? tile.rows);
  const covered = isMultiple(rows, height);

  const rowTiles = ceiling(product, rows, height);
  const columnTiles = ceiling(product, columns, width);
  writer.line(`let row_tile = group % ${rowTiles};`);
  writer.line(`let column_tile = (group / ${rowTiles}) % ${columnTiles};`);
  const z = writer.variable('batch', batch, `group / (${rowTiles} * ${columnTiles})`);
  writer.open(`if (group < ${rowTiles} * ${columnTiles} * ${writer.dim(batch)})`);
  const rowTexts = range(height).map((r) => `row_tile * ${height}u + ${r}u`);
  const rowIndices = rowTexts.map((text, r) =>
    writer.variable(`row_${r}`, rows, covered ? text : `min(${text}, ${lastOf(product, rows)})`),
  );
  const { staged: stagedRow } = draft.request;
  const [firstRow] = rowIndices;
  if (stagedRow && firstRow) writeStagedRow(draft, stagedRow, firstRow, lanes);
  const fours = range(vectors).map((c) =>
    nameColumns(product, `column4_${c}`, `column_tile * ${lanes * vectors}u + ${c * lanes}u + lane`, width),
  );
  const reading = chooseReading(product);
  // Rows come in fours, so a tile has whole ones; those past the last row repeat it and are not stored.
  const leftFours =
    height % 4 === 0 && readsLeftByRows(product)
      ? range(height / 4).map((r) => {
          const text = `row_tile * ${height / 4}u + ${r}u`;
          const four = covered ? text : `min(${text}, ${lastOf(product, quarter(rows))})`;
          return addIndices(scaleIndex(writer.variable(`row4_${r}`, quarter(rows), four), 4), fourth);
        })
      : undefined;
  for (const r of range(height)) {
    for (const c of range(vectors)) writer.line(`var sum_${r}_${c} = ${product.vector}(0);`);
  }

  const sums: PackedSums = {
    rows: rowIndices,
    columns: fours,
    places: range(vectors).map((c) => `column_tile * ${lanes * vectors}u + ${c * lanes}u + lane`),
    batch: z,
    sum: (r, c) => `sum_${r}_${c}`,
  };
  if (!writeFormedSums(product, sums)) writeSums(product, tile, { rows: rowIndices, fours, leftFours, reading, z });

  const work: Written = {
    workgroup: lanes,
    groups: {
      factors: [
        { size: rows, divisor: height },
        { size: columns, divisor: width },
        { size: batch, divisor: 1 },
      ],
    },
    note: `contraction: a lane computes ${height} rows x ${4 * vectors} columns, ${lanes} lanes side by side`,
  };
  if (height === 1 && firstRow) {
    for (const [c, four] of fours.entries()) finishColumns(product, four, z, [{ row: firstRow, sum: `sum_0_${c}` }]);
    writer.close();
    return work;
  }
  // The sums go through workgroup memory, each lane to its own places, so that what follows is written once and not once
  // per row: memory accesses are what software drivers take long to compile. A bound that is no constant keeps drivers
  // from unrolling the loop again.
  const staged = writer.workgroupVariable('sums', `array<${product.vector}, ${height * vectors * lanes}>`);
  for (const r of range(height)) {
    for (const c of range(vectors)) writer.line(`${staged}[${(r * vectors + c) * lanes}u + lane] = sum_${r}_${c};`);
  }
  writer.line(`let row_end = min(row_tile * ${height}u + ${height}u, ${writer.dim(rows)});`);
  writer.open(`for (var own_row = row_tile * ${height}u; own_row < row_end; own_row++)`);
  const row = writer.variable('row', rows, 'own_row');
  for (const [c, four] of fours.entries()) {
    const sum = writer.let('sum', `${staged}[(own_row % ${height}u * ${vectors}u + ${c}u) * ${lanes}u + lane]`);
    finishColumns(product, four, z, [{ row, sum }]);
  }
  writer.close();
  writer.close();
  return work;
}

interface Sums {
  readonly rows: readonly Index[];
  readonly fours: readonly FourColumns[];
  /** The rows by four, where four at one step of the sum are one load. */
  readonly leftFours: readonly Index[] | undefined;
  readonly reading: Reading;
  readonly z: Index;
}

/** The loop over the sum. */
function writeSums(product: Product, tile: RegisterTile, sums: Sums): void {
  const { draft, depth } = product;
  const { writer, walker } = draft;
  const { rows, fours, leftFours, reading, z } = sums;
  const byFour = tile.steps === 4 && isMultiple(depth, 4);
  const k = walker.loop('k', byFour ? quarter(depth) : depth, true);
  /** One step of the sum; `left` has the rows' scalars. */
  const step = (left: readonly string[], c: number, vector: string) => {
    const b = writer.let('b', vector);
    for (const r of rows.keys()) writer.line(accumulate(product, `sum_${r}_${c}`, left[r] ?? '', b));
  };
  if (byFour) {
    const along = addIndices(scaleIndex(k, 4), fourth);
    const left = rows.map((row) => writer.let('a', walker.as(product.left(z, row, along), 4).text));
    const blocks = fours.map((four) => rightBlock(product, four, reading, z, k));
    for (const part of range(4)) {
      for (const c of fours.keys()) {
        const scalars = left.map((name) => `${name}.${components[part]}`);
        step(scalars, c, blocks[c]?.[part]?.() ?? '');
      }
    }
  } else {
    const left = leftFours
      ? leftFours.flatMap((four) => {
          const a = writer.let('a', walker.as(product.left(z, four, k), 4).text);
          return components.map((part) => `${a}.${part}`);
        })
      : rows.map((row) => writer.let('a', product.left(z, row, k).text));
    for (const [c, four] of fours.entries()) step(left, c, rightAt(product, four, z, k));
  }
  writer.close();
}
