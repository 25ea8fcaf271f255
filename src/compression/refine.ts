/**
 * Codes and scales of a rounded matrix made better by turns, row by row, in the error that the inputs of a sample see,
 * (w - w') H (w - w')ᵀ: every code takes the best step given all others, then the scales of the row are the least squares for its
 * codes. Neither turn makes the error larger.
 */
export interface RefineInput {
  /** [rows, columns] */
  readonly weight: Float32Array;
  readonly columns: number;
  /** H, [columns, columns], symmetric. */
  readonly moments: Float64Array;
  readonly group: number;
  readonly low: number;
  readonly high: number;
  /** How often both turns are taken. */
  readonly rounds: number;
}

/** [rows, columns], and [rows, groups] each; changed in place. */
export interface Rounded {
  readonly codes: Int8Array;
  readonly scales: Float32Array;
  readonly zeros: Uint8Array | undefined;
}

/** Sweeps over the codes of a row in a turn, at most. */
const sweeps = 4;

export function refine(input: RefineInput, rounded: Rounded): void {
  const { weight, columns, moments, rounds } = input;
  const row = new Row(input, rounded);
  const isUsable = moments.every(Number.isFinite);
  for (let at = 0; isUsable && at < weight.length / Math.max(1, columns); at++) {
    row.open(at);
    for (let round = 0; round < rounds; round++) {
      const hasMoved = row.moveCodes();
      if (!row.fitScales() && !hasMoved) break;
    }
  }
}

class Row {
  readonly #input: RefineInput;
  readonly #rounded: Rounded;
  readonly #groups: number;
  /** w - w', and H times it. */
  readonly #error: Float64Array;
  readonly #pull: Float64Array;
  /** H times the steps of one group. */
  readonly #seen: Float64Array;
  #row = 0;

  constructor(input: RefineInput, rounded: Rounded) {
    this.#input = input;
    this.#rounded = rounded;
    this.#groups = Math.max(1, Math.ceil(input.columns / input.group));
    this.#error = new Float64Array(input.columns);
    this.#pull = new Float64Array(input.columns);
    this.#seen = new Float64Array(input.columns);
  }

  open(row: number): void {
    this.#row = row;
    this.#measure();
  }

  #place(column: number): number {
    return this.#row * this.#groups + Math.floor(column / this.#input.group);
  }

  #code(column: number): number {
    return this.#rounded.codes[this.#row * this.#input.columns + column] ?? 0;
  }

  /** The stored integer less the zero point: the value is so many scales. */
  #steps(column: number): number {
    return this.#code(column) - (this.#rounded.zeros?.[this.#place(column)] ?? 0);
  }

  #measure(): void {
    const { columns, weight, moments } = this.#input;
    const first = this.#row * columns;
    for (let at = 0; at < columns; at++) {
      const value = this.#steps(at) * (this.#rounded.scales[this.#place(at)] ?? 0);
      this.#error[at] = (weight[first + at] ?? 0) - Math.fround(value);
    }
    this.#pull.fill(0);
    for (let at = 0; at < columns; at++) this.#push(at, this.#error[at] ?? 0, moments, columns);
  }

  /** The error of a column has grown by so much. */
  #push(column: number, change: number, moments: Float64Array, columns: number): void {
    if (change === 0) return;
    const pull = this.#pull;
    const base = column * columns;
    for (let at = 0; at < columns; at++) pull[at] = (pull[at] as number) + change * (moments[base + at] as number);
  }

  moveCodes(): boolean {
    const { columns, moments, low, high } = this.#input;
    const { codes, scales } = this.#rounded;
    let hasMoved = false;
    for (let sweep = 0; sweep < sweeps; sweep++) {
      let moves = 0;
      for (let at = 0; at < columns; at++) {
        const weightOf = moments[at * columns + at] as number;
        const scale = scales[this.#place(at)] ?? 1;
        if (!(weightOf > 0)) continue;
        const pull = this.#pull[at] as number;
        const code = this.#code(at);
        const best = Math.min(high, Math.max(low, Math.round(code + pull / (weightOf * scale))));
        const step = (best - code) * scale;
        // What is won has to be more than what arithmetic loses.
        if (best === code || 2 * step * pull - step * step * weightOf <= 1e-12 * weightOf * scale * scale) continue;
        codes[this.#row * columns + at] = best;
        this.#error[at] = (this.#error[at] as number) - step;
        this.#push(at, -step, moments, columns);
        moves++;
      }
      if (moves === 0) break;
      hasMoved = true;
    }
    return hasMoved;
  }

  /** The scales of the row for its codes: (BᵀHB) s = BᵀHw with a column of steps for each group. */
  fitScales(): boolean {
    const { columns, moments, group, weight } = this.#input;
    const groups = this.#groups;
    const first = this.#row * groups;
    const before = this.#loss();
    const own = this.#row * columns;
    const steps = Float64Array.from({ length: columns }, (_, at) => this.#steps(at));
    const left = new Float64Array(groups * groups);
    const right = new Float64Array(groups);
    const seen = this.#seen;
    for (let g = 0; g < groups; g++) {
      // H times the steps of the group.
      seen.fill(0);
      for (let at = g * group; at < Math.min((g + 1) * group, columns); at++) {
        const step = steps[at] as number;
        if (step === 0) continue;
        const base = at * columns;
        for (let k = 0; k < columns; k++) seen[k] = (seen[k] as number) + step * (moments[base + k] as number);
      }
      for (let h = 0, k = 0; h < groups; h++) {
        let sum = 0;
        for (; k < Math.min((h + 1) * group, columns); k++) sum += (seen[k] as number) * (steps[k] as number);
        left[g * groups + h] = sum;
      }
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += (seen[k] as number) * (weight[own + k] as number);
      right[g] = sum;
    }
    const found = solve(left, right, groups);
    if (!found?.every((scale) => scale > 0 && Number.isFinite(Math.fround(scale)))) return false;
    const old = this.#rounded.scales.slice(first, first + groups);
    this.#rounded.scales.set(found, first);
    this.#measure();
    if (this.#loss() < before) return true;
    this.#rounded.scales.set(old, first);
    this.#measure();
    return false;
  }

  #loss(): number {
    return this.#error.reduce((sum, error, at) => sum + error * (this.#pull[at] as number), 0);
  }
}

/** Cholesky; groups without any step keep their scale by not being here: undefined when the matrix is singular. */
function solve(matrix: Float64Array, right: Float64Array, size: number): Float64Array | undefined {
  const at = (row: number, column: number): number => matrix[row * size + column] as number;
  for (let column = 0; column < size; column++) {
    let square = at(column, column);
    for (let k = 0; k < column; k++) square -= at(column, k) ** 2;
    if (!(square > 1e-30)) return undefined;
    const pivot = Math.sqrt(square);
    matrix[column * size + column] = pivot;
    for (let row = column + 1; row < size; row++) {
      let sum = at(row, column);
      for (let k = 0; k < column; k++) sum -= at(row, k) * at(column, k);
      matrix[row * size + column] = sum / pivot;
    }
  }
  const result = Float64Array.from(right);
  for (let row = 0; row < size; row++) {
    for (let k = 0; k < row; k++) result[row] = (result[row] as number) - at(row, k) * (result[k] as number);
    result[row] = (result[row] as number) / at(row, row);
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let k = row + 1; k < size; k++) result[row] = (result[row] as number) - at(k, row) * (result[k] as number);
    result[row] = (result[row] as number) / at(row, row);
  }
  return result;
}
