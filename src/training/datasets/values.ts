/**
 * Values of tables and records as cells: what kind they are, and what they become.
 */
import type { ColumnKind, TensorValue, Value } from './dataset.ts';

const numberText = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
/** What people and other programs write where a number is missing. */
const missingText = /^(?:[+-]?(?:nan|inf|infinity)|n\/a|na|null|none)?$/i;

/** What cells of text have been so far: a column holds numbers while every cell is one or is missing. */
export class TextColumn {
  #isNumeric = true;
  #isWhole = true;
  #hasNumber = false;

  see(cell: string): void {
    if (!this.#isNumeric) return;
    const text = cell.trim();
    if (numberText.test(text)) {
      this.#hasNumber = true;
      this.#isWhole &&= Number.isSafeInteger(Number(text));
    } else if (!missingText.test(text)) this.#isNumeric = false;
  }

  get kind(): ColumnKind {
    if (!this.#isNumeric || !this.#hasNumber) return 'text';
    return this.#isWhole ? 'integer' : 'number';
  }
}

/**
 * A number, also where it stands as text: one word makes a column one of text, and then the cells with numbers are not at fault.
 * Undefined for what is none.
 */
export function numberIn(cell: Value): number | undefined {
  if (typeof cell === 'number') return cell;
  return typeof cell === 'string' && numberText.test(cell.trim()) ? Number(cell) : undefined;
}

/** A cell of text under the kind of its column. */
export function textCell(cell: string, kind: ColumnKind): Value {
  if (kind === 'text') return cell;
  const value = cell.trim() === '' ? Number.NaN : Number(cell);
  return Number.isFinite(value) ? value : undefined;
}

/** The kind of a value of JSON or Parquet; undefined for a missing one. Lists are judged by their first number. */
export function kindOf(value: unknown): ColumnKind | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean' || typeof value === 'bigint') return 'integer';
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return undefined;
    return Number.isSafeInteger(value) ? 'integer' : 'number';
  }
  if (isNumbers(value)) return 'tensor';
  if (!Array.isArray(value)) return 'other';
  let first: unknown = value[0];
  for (let depth = 0; depth < maximumRank && Array.isArray(first); depth++) first = first[0];
  return first === undefined || isNumber(first) || isNumbers(first) ? 'tensor' : 'other';
}

/** Axes of a list in lists. */
const maximumRank = 8;

type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array | Int16Array | Uint16Array | Int8Array;

function isNumbers(value: unknown): value is Numbers {
  return ArrayBuffer.isView(value) && !(value instanceof DataView) && !(value instanceof BigInt64Array);
}

function isNumber(value: unknown): value is number | bigint | boolean {
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';
}

/**
 * The cell that a value of JSON or Parquet becomes; `fault` when it is none.
 *
 * @param fault makes the error of this cell
 */
export function cellOf(value: unknown, fault: (what: string) => Error): Value {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'string') return value;
  if (isNumber(value)) {
    const number = wholeOrFloat(value, fault);
    return Number.isFinite(number) ? number : undefined;
  }
  if (Array.isArray(value) || isNumbers(value)) return tensorOf(value, fault);
  throw fault('neither text, a number nor a list of numbers');
}

function wholeOrFloat(value: number | bigint | boolean, fault: (what: string) => Error): number {
  const number = Number(value);
  if (typeof value === 'bigint' && !Number.isSafeInteger(number)) throw fault(`${value} is beyond 2^53`);
  return number;
}

/** Lists of lists of equal lengths; whole numbers of 32 bits become i32, anything else f32. */
function tensorOf(list: readonly unknown[] | Numbers, fault: (what: string) => Error): TensorValue {
  const shape: number[] = [];
  let level: unknown = list;
  while (Array.isArray(level) || isNumbers(level)) {
    if (shape.length === maximumRank) throw fault(`lists inside each other, more than ${maximumRank} deep`);
    shape.push(level.length);
    level = level[0];
  }
  const numbers: number[] = [];
  const collect = (part: unknown, axis: number): void => {
    if (axis === shape.length) {
      if (!isNumber(part)) throw fault(`a list with ${part === null ? 'null' : typeof part} in it`);
      const number = wholeOrFloat(part, fault);
      if (!Number.isFinite(number)) throw fault('a list with NaN or infinity in it');
      numbers.push(number);
      return;
    }
    if (!(Array.isArray(part) || isNumbers(part)) || part.length !== shape[axis]) {
      throw fault('lists of different lengths inside each other');
    }
    for (const item of part) collect(item, axis + 1);
  };
  collect(list, 0);
  const isWhole = numbers.every((number) => Number.isInteger(number) && number >= -(2 ** 31) && number < 2 ** 31);
  const areFloats = list instanceof Float32Array || list instanceof Float64Array;
  return { shape, data: isWhole && !areFloats ? Int32Array.from(numbers) : Float32Array.from(numbers) };
}
