/**
 * Contraction tiles staged in workgroup memory: the classic GPU schedule. A workgroup of `lanes` x `lanes` invocations
 * computes `rows * lanes` rows x `4 * lanes` columns; every `depth` steps of the sum it copies both operands' tiles
 * together, then each invocation multiplies `rows` rows by one vector of columns from the copies.
 *
 * Source of the scheme: Volkov & Demmel 2008, "Benchmarking GPUs to tune dense linear algebra".
 */
import { constantValue } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import type { SharedTile } from '../plan/schedules.ts';
import {
  accumulate,
  ceiling,
  chooseReading,
  components,
  finishColumns,
  isMultiple,
  lastOf,
  nameColumns,
  quarter,
  range,
  rightAt,
} from './columns.ts';
import type { Product } from './contraction.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import type { Written } from './kernel.ts';
import { fourth } from './values.ts';

/** `lanes` x `lanes` copies `depth` x `rows * lanes` in one go when these agree; schedules are made so. */
function check(tile: SharedTile): void {
  const copies = (tile.rows * tile.lanes * tile.depth) / 4;
  const invocations = tile.lanes * tile.lanes;
  if (copies !== invocations || tile.depth !== tile.lanes) unreachable('a shared tile that one copy does not fill');
}

export function writeSharedTile(product: Product, tile: SharedTile): Written {
  check(tile);
  const { draft, batch, rows, columns, depth } = product;
  const { writer } = draft;
  const { lanes } = tile;
  const height = tile.rows * lanes;
  const width = 4 * lanes;
  const steps4 = tile.depth / 4;
  const rowTiles = ceiling(product, rows, height);
  const columnTiles = ceiling(product, columns, width);
  writer.line(`let column_tile = group % ${columnTiles};`);
  writer.line(`let row_tile = (group / ${columnTiles}) % ${rowTiles};`);
  const z = writer.variable('batch', batch, `group / (${rowTiles} * ${columnTiles})`);
  writer.open(`if (group < ${rowTiles} * ${columnTiles} * ${writer.dim(batch)})`);
  writer.line(`let lane_row = lane / ${lanes}u;`);
  writer.line(`let lane_column = lane % ${lanes}u;`);

  const reading = chooseReading(product);
  const left = writer.workgroupVariable('left_tile', `array<${product.vector}, ${height * steps4}>`);
  const scalar = product.dtype;
  const right =
    reading === 'sum'
      ? writer.workgroupVariable('right_tile', `array<${scalar}, ${tile.depth * width}>`)
      : writer.workgroupVariable('right_tile', `array<${product.vector}, ${tile.depth * lanes}>`);

  // Places that this invocation copies from.
  const copyRow = writer.variable(
    'copy_row',
    rows,
    `min(row_tile * ${height}u + lane / ${steps4}u, ${lastOf(product, rows)})`,
  );
  const copyColumns =
    reading === 'sum'
      ? writer.variable(
          'copy_column',
          columns,
          `min(column_tile * ${width}u + lane / ${steps4}u, ${lastOf(product, columns)})`,
        )
      : nameColumns(product, 'copy_column4', `column_tile * ${lanes}u + lane_column`, width);

  for (const r of range(tile.rows)) writer.line(`var sum_${r} = ${product.vector}(0);`);
  writer.open(`for (var tile = 0u; tile < ${ceiling(product, depth, tile.depth)}; tile++)`);
  writer.line(`${left}[lane] = ${leftCopy(product, z, copyRow, steps4, tile.depth)};`);
  if ('kind' in copyColumns) {
    const step = boundedStep(product, 'copy_step', `tile * ${tile.depth}u + lane_row`, tile.depth);
    writer.line(`${right}[lane] = ${rightAt(product, copyColumns, z, step)};`);
  } else {
    const place = `tile * ${steps4}u + lane % ${steps4}u`;
    const whole = isMultiple(depth, tile.depth);
    const last = lastOf(product, quarter(depth));
    const step4 = writer.variable('copy_step4', quarter(depth), whole ? place : `min(${place}, ${last})`);
    const along = addIndices(scaleIndex(step4, 4), fourth);
    const { walker } = draft;
    const four = writer.let('copied', walker.as(product.right(z, copyColumns, along), 4).text);
    for (const [at, part] of components.entries()) {
      writer.line(`${right}[(lane % ${steps4}u * 4u + ${at}u) * ${width}u + lane / ${steps4}u] = ${four}.${part};`);
    }
  }
  writer.line('workgroupBarrier();');
  writer.open(`for (var step4 = 0u; step4 < ${steps4}u; step4++)`);
  for (const r of range(tile.rows)) {
    writer.line(`let a_${r} = ${left}[(lane_row * ${tile.rows}u + ${r}u) * ${steps4}u + step4];`);
  }
  for (const [at, part] of components.entries()) {
    if (reading === 'sum') {
      writer.line(`let at_${at} = (step4 * 4u + ${at}u) * ${width}u + lane_column * 4u;`);
      const four = range(4).map((lane) => `${right}[at_${at} + ${lane}u]`);
      writer.line(`let b_${at} = ${product.vector}(${four.join(', ')});`);
    } else writer.line(`let b_${at} = ${right}[(step4 * 4u + ${at}u) * ${lanes}u + lane_column];`);
    for (const r of range(tile.rows)) writer.line(accumulate(product, `sum_${r}`, `a_${r}.${part}`, `b_${at}`));
  }
  writer.close();
  writer.line('workgroupBarrier();');
  writer.close();

  const own = nameColumns(product, 'column4', `column_tile * ${lanes}u + lane_column`, width);
  for (const r of range(tile.rows)) {
    const text = `row_tile * ${height}u + lane_row * ${tile.rows}u + ${r}u`;
    const row = writer.variable(`row_${r}`, rows, `min(${text}, ${lastOf(product, rows)})`);
    // Matrices of one row have one index for all rows of the tile: only the real one may store.
    writer.open(`if (${text} < ${writer.dim(rows)})`);
    finishColumns(product, own, z, [{ row, sum: `sum_${r}` }]);
    writer.close();
  }
  writer.close();
  return {
    workgroup: lanes * lanes,
    groups: {
      factors: [
        { size: rows, divisor: height },
        { size: columns, divisor: width },
        { size: batch, divisor: 1 },
      ],
    },
    note: `contraction: ${height} x ${width} results per workgroup, operands staged ${tile.depth} steps at a time`,
  };
}

/** A step of the sum kept inside of it; what lies past its end is multiplied by the zeros of the left tile. */
function boundedStep(product: Product, name: string, place: string, tileDepth: number): Index {
  const { depth, draft } = product;
  const whole = isMultiple(depth, tileDepth);
  return draft.writer.variable(name, depth, whole ? place : `min(${place}, ${lastOf(product, depth)})`);
}

/** Four steps of a row for the left tile; zero past the end of the sum. */
function leftCopy(product: Product, batch: Index, row: Index, steps4: number, tileDepth: number): string {
  const { depth, draft, vector } = product;
  const { writer, walker } = draft;
  const place = `tile * ${steps4}u + lane % ${steps4}u`;
  const zero = `${vector}(0)`;
  if (isMultiple(depth, 4)) {
    const count = quarter(depth);
    const whole = isMultiple(depth, tileDepth);
    const wanted = writer.let('left_step4', place);
    const step4 = writer.variable('left_at4', count, whole ? wanted : `min(${wanted}, ${lastOf(product, count)})`);
    const four = walker.as(product.left(batch, row, addIndices(scaleIndex(step4, 4), fourth)), 4).text;
    return whole ? four : `select(${zero}, ${four}, ${wanted} < ${writer.dim(count)})`;
  }
  const first = writer.let('left_step', `(${place}) * 4u`);
  const singles = range(4).map((lane) => {
    const text = `min(${first} + ${lane}u, ${lastOf(product, depth)})`;
    const step = constantValue(depth) === 1 ? constantIndex(0) : writer.variable(`left_at_${lane}`, depth, text);
    const value = product.left(batch, row, step).text;
    return `select(${product.dtype}(0), ${value}, ${first} + ${lane}u < ${writer.dim(depth)})`;
  });
  return `${vector}(${singles.join(', ')})`;
}
