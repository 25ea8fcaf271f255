/**
 * What a dataset is, whichever file it comes from: rows by number, so that an epoch can read them in any order. Nothing here
 * knows a format.
 */
import { SoraError } from '../../support/error.ts';

/** An image is [channels, height, width], a sound [samples], a list of numbers its nested lengths. */
export interface TensorValue {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** One cell; undefined where the file has none (an empty cell of a column of numbers, `null`, NaN). */
export type Value = string | number | TensorValue | undefined;

/** Cells by column. */
export type Row = ReadonlyMap<string, Value>;

/** `integer`: whole numbers. `other`: what no field can read, such as nested records. */
export type ColumnKind = 'text' | 'integer' | 'number' | 'tensor' | 'other';

export interface Dataset {
  /** Path, for messages. */
  readonly name: string;
  readonly length: number;
  readonly columns: ReadonlyMap<string, ColumnKind>;
  /** The rows are pieces of one text that goes on, not examples. */
  readonly isStream: boolean;
  /**
   * @param index whole, in 0..length
   * @param only columns that are asked for, all unless given: an image whose label alone is asked for is not decoded
   * @errors SORA7031 to SORA7041 for a row that cannot be read, SORA7001 and SORA7007 for the file
   */
  row(index: number, only?: ReadonlySet<string>): Promise<Row>;
  /** Where a row stands, for messages: "`train.csv` line 14". */
  where(index: number): string;
  close(): Promise<void>;
}

/** An error of a dataset's file; `line` counts from 1. */
export function dataFault(
  code: string,
  file: string,
  what: string,
  options: { readonly line?: number | undefined; readonly help?: string; readonly cause?: unknown } = {},
): SoraError {
  return faultAt(code, place(file, options.line), what, options);
}

/** @param where as `Dataset.where` gives it */
export function faultAt(
  code: string,
  where: string,
  what: string,
  { help, cause }: { readonly help?: string; readonly cause?: unknown } = {},
): SoraError {
  return new SoraError(code, `${where}: ${what}`, { ...(help === undefined ? {} : { help }), cause });
}

export function place(file: string, line?: number): string {
  return line === undefined ? `\`${file}\`` : `\`${file}\` line ${line}`;
}

export function emptyFault(file: string, what: string): SoraError {
  return dataFault('SORA7038', file, what);
}

/** Some rows of a dataset, in the order given; closing it leaves the dataset open. */
export function selectRows(dataset: Dataset, indexes: ArrayLike<number>): Dataset {
  const source = (index: number): number => {
    const at = indexes[index];
    if (at === undefined) throw new RangeError(`row ${index} of ${indexes.length}`);
    return at;
  };
  return {
    name: dataset.name,
    length: indexes.length,
    columns: dataset.columns,
    isStream: dataset.isStream,
    row: (index, only) => dataset.row(source(index), only),
    where: (index) => dataset.where(source(index)),
    async close() {},
  };
}

/**
 * Datasets with equal columns one after the other, such as the shards of one table.
 *
 * @errors SORA7040 when their columns differ
 */
export function concatenate(name: string, parts: readonly Dataset[]): Dataset {
  const [first] = parts;
  if (!first) throw new RangeError('no datasets');
  const columns = new Map(first.columns);
  for (const part of parts) {
    const odd = [...part.columns.keys()].find((column) => !columns.has(column));
    const missing = [...columns.keys()].find((column) => !part.columns.has(column));
    if (odd !== undefined || missing !== undefined) {
      const what = odd === undefined ? `no column \`${missing}\`` : `a column \`${odd}\``;
      throw dataFault('SORA7040', part.name, `has ${what}, unlike \`${first.name}\``);
    }
    for (const [column, kind] of part.columns) columns.set(column, joinKinds(columns.get(column) ?? kind, kind));
  }
  const starts = [0];
  for (const part of parts) starts.push((starts.at(-1) ?? 0) + part.length);
  const find = (index: number): readonly [Dataset, number] => {
    const at = starts.findLastIndex((start) => start <= index);
    const part = parts[at];
    if (!part || index < 0) throw new RangeError(`row ${index} of ${starts.at(-1)}`);
    return [part, index - (starts[at] ?? 0)];
  };
  return {
    name,
    length: starts.at(-1) ?? 0,
    columns,
    isStream: first.isStream,
    row(index, only) {
      const [part, at] = find(index);
      return part.row(at, only);
    },
    where(index) {
      const [part, at] = find(index);
      return part.where(at);
    },
    async close() {
      for (const part of parts) await part.close();
    },
  };
}

/** What a column is that holds values of both kinds. */
export function joinKinds(a: ColumnKind, b: ColumnKind): ColumnKind {
  if (a === b) return a;
  const areNumbers = [a, b].every((kind) => kind === 'integer' || kind === 'number');
  return areNumbers ? 'number' : 'other';
}
