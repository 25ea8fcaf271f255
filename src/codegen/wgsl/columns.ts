/**
 * Columns of a contraction tile: how a lane names them, reads the right operand at them, and stores them.
 */
import { constantDim, constantValue, type Dim, divideDim } from '../../ir/symbolic.ts';
import type { Product } from './contraction.ts';
import { addIndices, constantIndex, type Index, scaleIndex, variableIndex } from './index-algebra.ts';
import { probe } from './kernel.ts';
import { type Expression, fourth } from './values.ts';

export const components = ['x', 'y', 'z', 'w'] as const;

export function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, at) => at);
}

export function quarter(dim: Dim): Dim {
  return divideDim(dim, constantDim(4)) ?? dim;
}

export function isMultiple(dim: Dim, of: number): boolean {
  const value = constantValue(dim);
  return value !== undefined && value % of === 0;
}

/** Four columns of a lane: as one vector when the columns of the matrix come in fours, else one by one. */
export type FourColumns =
  | { readonly kind: 'vector'; readonly column: Index; readonly inside: string | undefined }
  | { readonly kind: 'single'; readonly columns: readonly Index[]; readonly inside: readonly string[] };

/** How the right operand is read: by four along the columns, by four along the sum, or element by element. */
export type Reading = 'columns' | 'sum' | 'single';

/** Counts the loads for four columns by four steps of the sum, each way. */
export function chooseReading(product: Product): Reading {
  const count = (column: Index, at: Index) => {
    const draft = probe(product.draft.request);
    product.inDraft(draft).right(constantIndex(0), column, at);
    return draft.writer.loads;
  };
  const byFour = (name: string, extent: Dim) => addIndices(scaleIndex(variableIndex(name, quarter(extent)), 4), fourth);
  const column = variableIndex('probe_column', product.columns);
  const step = variableIndex('probe_step', product.depth);
  const inFours = isMultiple(product.columns, 4);
  const alongColumns = inFours ? count(byFour('probe_column4', product.columns), step) : 4 * count(column, step);
  const alongSum = isMultiple(product.depth, 4) ? count(column, byFour('probe_step4', product.depth)) : Infinity;
  if (alongSum < alongColumns) return 'sum';
  return inFours ? 'columns' : 'single';
}

/** Whether four rows of the left operand at one step of the sum are one load: it lies with its rows side by side. */
export function readsLeftByRows(product: Product): boolean {
  if (!isMultiple(product.rows, 4)) return false;
  const step = variableIndex('probe_step', product.depth);
  const loads = (row: Index): number => {
    const draft = probe(product.draft.request);
    product.inDraft(draft).left(constantIndex(0), row, step);
    return draft.writer.loads;
  };
  const four = addIndices(scaleIndex(variableIndex('probe_row4', quarter(product.rows)), 4), fourth);
  return loads(four) < 4 * loads(variableIndex('probe_row', product.rows));
}

/** `dim - 1` as WGSL. */
export function lastOf(product: Product, dim: Dim): string {
  const value = constantValue(dim);
  return value === undefined ? `${product.draft.writer.dim(dim)} - 1u` : `${value - 1}u`;
}

/** `ceil(dim / by)` as WGSL. */
export function ceiling(product: Product, dim: Dim, by: number): string {
  const value = constantValue(dim);
  if (value !== undefined) return `${Math.ceil(value / by)}u`;
  const text = product.draft.writer.dim(dim);
  return by === 1 ? text : `((${text} + ${by - 1}u) / ${by}u)`;
}

/**
 * Names the four columns from `4 * place` on, kept inside of the matrix so that every load is in bounds; `inside` tells
 * which of them exist. `width` is how many columns the whole tile has.
 */
export function nameColumns(product: Product, name: string, place: string, width: number): FourColumns {
  const { columns, draft } = product;
  const { writer } = draft;
  if (isMultiple(columns, 4)) {
    const count = quarter(columns);
    const covered = isMultiple(columns, width);
    const wanted = covered ? place : writer.let(`${name}_place`, place);
    const four = writer.variable(name, count, covered ? place : `min(${wanted}, ${lastOf(product, count)})`);
    const inside = covered ? undefined : `${wanted} < ${writer.dim(count)}`;
    return { kind: 'vector', column: addIndices(scaleIndex(four, 4), fourth), inside };
  }
  const first = writer.let(`${name}_first`, `(${place}) * 4u`);
  const singles = range(4).map((lane) => {
    const text = `min(${first}${lane === 0 ? '' : ` + ${lane}u`}, ${lastOf(product, columns)})`;
    return writer.variable(writer.fresh(name), columns, text);
  });
  return {
    kind: 'single',
    columns: singles,
    inside: range(4).map((lane) => `${first} + ${lane}u < ${writer.dim(columns)}`),
  };
}

/** Four columns of the right operand at one step of the sum. */
export function rightAt(product: Product, columns: FourColumns, batch: Index, step: Index): string {
  const { walker } = product.draft;
  if (columns.kind === 'vector') return walker.as(product.right(batch, columns.column, step), 4).text;
  return `${product.vector}(${columns.columns.map((column) => product.right(batch, column, step).text).join(', ')})`;
}

/** One column of the four. */
export function columnOf(product: Product, columns: FourColumns, lane: number): Index {
  if (columns.kind === 'single') return columns.columns[lane] ?? constantIndex(0);
  return product.draft.walker.lane([columns.column], lane)[0] ?? constantIndex(0);
}

/** Four steps of the sum from `4 * step4` on, each a function that writes its loads where it is called. */
export function rightBlock(
  product: Product,
  columns: FourColumns,
  reading: Reading,
  batch: Index,
  step4: Index,
): readonly (() => string)[] {
  const { walker } = product.draft;
  if (reading !== 'sum') {
    return range(4).map((step) => () => {
      return rightAt(product, columns, batch, addIndices(scaleIndex(step4, 4), constantIndex(step)));
    });
  }
  const along = addIndices(scaleIndex(step4, 4), fourth);
  const names = range(4).map((lane) => {
    const value = walker.as(product.right(batch, columnOf(product, columns, lane), along), 4);
    return walker.named(value, 'b_along').text;
  });
  return components.map((part) => () => `${product.vector}(${names.map((name) => `${name}.${part}`).join(', ')})`);
}

/** `sum += scalar * vector`. */
export function accumulate(product: Product, sum: string, scalar: string, vector: string): string {
  const four = `${product.vector}(${scalar})`;
  return product.dtype === 'f32' ? `${sum} = fma(${four}, ${vector}, ${sum});` : `${sum} += ${four} * ${vector};`;
}

/** Finishes the accumulators of some rows at four columns; columns outside of the matrix are left out. */
export function finishColumns(
  product: Product,
  columns: FourColumns,
  batch: Index,
  rows: readonly { readonly row: Index; readonly sum: string }[],
): void {
  const { writer } = product.draft;
  const { dtype } = product;
  if (columns.kind === 'vector') {
    if (columns.inside !== undefined) writer.open(`if (${columns.inside})`);
    for (const { row, sum } of rows) product.finish(batch, row, columns.column, { text: sum, lanes: 4, dtype });
    if (columns.inside !== undefined) writer.close();
    return;
  }
  // A matrix of one column has one index for all four: only the first may store.
  const count = constantValue(product.columns) === 1 ? 1 : 4;
  for (const lane of range(count)) {
    writer.open(`if (${columns.inside[lane]})`);
    for (const { row, sum } of rows) {
      const accumulator: Expression = { text: `${sum}.${components[lane]}`, lanes: 1, dtype };
      product.finish(batch, row, columnOf(product, columns, lane), accumulator);
    }
    writer.close();
  }
}
