/**
 * Rounding a matrix with regard to what it is multiplied with: Frantar et al. 2023 (GPTQ). Columns are rounded one after the
 * other; what each loses is made up for by the columns that are still to come, as far as the inputs of the sample hang together.
 * Grids (scales and zero points) are chosen before, per group; columns go by how much they matter. All in f64.
 */

/** What a number is rounded to: the stored integer and the value that it stands for. */
export interface Grid {
  round(value: number): { readonly code: number; readonly value: number };
}

export interface GptqInput {
  /** [rows, columns], columns being the axis that is summed over. */
  readonly weight: Float32Array;
  readonly rows: number;
  readonly columns: number;
  /** Xᵀ X of the inputs, [columns, columns]. */
  readonly moments: Float64Array;
  /** The grid of an element. */
  grid(row: number, column: number): Grid;
}

/** Added to the diagonal, as a share of its mean. */
export const damping = 0.01;

/** Rows that share a pass over the factor: it is larger than any cache. */
const blockRows = 16;

/**
 * Codes of every element, [rows, columns].
 *
 * @returns undefined when the moments are not positive definite however much is added
 */
export function gptq(input: GptqInput): Int32Array | undefined {
  const { rows, columns, weight, moments } = input;
  const order = byWeight(moments, columns);
  const factor = dampedFactor(moments, columns, order, damping);
  if (!factor) return undefined;
  const codes = new Int32Array(rows * columns);
  const block = new Float64Array(blockRows * columns);
  for (let first = 0; first < rows; first += blockRows) {
    const count = Math.min(blockRows, rows - first);
    for (let row = 0; row < count; row++)
      for (let at = 0; at < columns; at++)
        block[row * columns + at] = weight[(first + row) * columns + (order[at] ?? 0)] ?? 0;
    for (let at = 0; at < columns; at++) {
      const column = order[at] ?? 0;
      const start = at * columns;
      const pivot = factor[start + at] ?? 1;
      for (let row = 0; row < count; row++) {
        const base = row * columns;
        const value = block[base + at] ?? 0;
        const rounded = input.grid(first + row, column).round(value);
        codes[(first + row) * columns + column] = rounded.code;
        const lost = (value - rounded.value) / pivot;
        if (lost === 0) continue;
        for (let next = at + 1; next < columns; next++)
          block[base + next] = (block[base + next] as number) - lost * (factor[start + next] as number);
      }
    }
  }
  return codes;
}

/** Columns from the largest moment to the smallest. */
function byWeight(moments: Float64Array, columns: number): Int32Array {
  const diagonal = Array.from({ length: columns }, (_, at) => moments[at * columns + at] ?? 0);
  return Int32Array.from(diagonal.keys()).sort((a, b) => (diagonal[b] ?? 0) - (diagonal[a] ?? 0) || a - b);
}

/** More is added each time that the factor does not exist: a sample of few rows gives moments of a low rank. */
function dampedFactor(
  moments: Float64Array,
  columns: number,
  order: Int32Array,
  least: number,
): Float64Array | undefined {
  let mean = 0;
  for (let at = 0; at < columns; at++) mean += (moments[at * columns + at] ?? 0) / columns;
  // Inputs that are all zero: any rounding is as good as another.
  if (mean === 0) mean = 1;
  for (let share = least; share <= 1; share *= 10) {
    const ordered = new Float64Array(columns * columns);
    for (let row = 0; row < columns; row++) {
      const from = (order[row] ?? 0) * columns;
      for (let at = 0; at < columns; at++) ordered[row * columns + at] = moments[from + (order[at] ?? 0)] ?? 0;
      ordered[row * columns + row] = (ordered[row * columns + row] ?? 0) + share * mean;
    }
    if (inverseFactor(ordered, columns)) return ordered;
  }
  return undefined;
}

/**
 * The upper U with Uᵀ U = H⁻¹, in place of H: H = R Rᵀ with an upper R, and U = R⁻¹.
 *
 * @returns false when H is not positive definite
 */
export function inverseFactor(matrix: Float64Array, size: number): boolean {
  const at = (row: number, column: number): number => matrix[row * size + column] as number;
  // R, from the last column to the first: R[i, j] = (H[i, j] - sum over k > j of R[i, k] R[j, k]) / R[j, j].
  for (let column = size - 1; column >= 0; column--) {
    const own = column * size;
    let square = at(column, column);
    for (let k = column + 1; k < size; k++) square -= (matrix[own + k] as number) ** 2;
    if (!(square > 0) || !Number.isFinite(square)) return false;
    const pivot = Math.sqrt(square);
    matrix[own + column] = pivot;
    for (let row = 0; row < column; row++) {
      const base = row * size;
      let sum = matrix[base + column] as number;
      for (let k = column + 1; k < size; k++) sum -= (matrix[base + k] as number) * (matrix[own + k] as number);
      matrix[base + column] = sum / pivot;
    }
  }
  // U = R⁻¹, row by row from below: U[i, :] = (e_i - sum over k > i of R[i, k] U[k, :]) / R[i, i].
  const sums = new Float64Array(size);
  for (let row = size - 1; row >= 0; row--) {
    const base = row * size;
    sums.fill(0);
    for (let k = row + 1; k < size; k++) {
      const factor = matrix[base + k] as number;
      const below = k * size;
      for (let column = k; column < size; column++)
        sums[column] = (sums[column] as number) - factor * (matrix[below + column] as number);
    }
    const pivot = matrix[base + row] as number;
    matrix[base + row] = 1 / pivot;
    for (let column = row + 1; column < size; column++) matrix[base + column] = (sums[column] as number) / pivot;
    for (let column = 0; column < row; column++) matrix[base + column] = 0;
  }
  return true;
}
