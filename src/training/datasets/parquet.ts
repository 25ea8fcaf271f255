/**
 * Parquet, through `hyparquet`. Row groups are decoded when one of their rows is asked for and kept up to a budget: files beyond
 * it are read again and again when rows are asked for in random order, so write them with row groups of some ten thousand rows.
 */
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { SoraError } from '../../support/error.ts';
import {
  type ColumnKind,
  type Dataset,
  dataFault,
  emptyFault,
  faultAt,
  joinKinds,
  place,
  type Row,
  type Value,
} from './dataset.ts';
import { openRandomFile, type RandomFile } from './files.ts';
import { decodeImage, type ImageOptions, isImage } from './images.ts';
import { cellOf, kindOf } from './values.ts';

/** Uncompressed bytes of row groups that are kept. */
const budgetBytes = 512 * 1024 * 1024;
/** One page or row group beyond these is a bomb, or a file that this reader does not suit. */
const maximumPageBytes = 1024 * 1024 * 1024;
const maximumGroupRows = 16 * 1024 * 1024;
/** Rows of the first group that tell what the columns hold. */
const rowsLookedAt = 1000;

type Records = readonly Readonly<Record<string, unknown>>[];

interface Group {
  readonly start: number;
  readonly rows: number;
  readonly bytes: number;
}

/** @errors SORA7033 malformed or beyond a limit, SORA7038 no rows, SORA7001 unreadable */
export async function openParquet(path: string, images: ImageOptions = {}): Promise<Dataset> {
  const file = openRandomFile(path);
  try {
    const { groups, read } = await openGroups(file);
    const length = groups.reduce((sum, group) => sum + group.rows, 0);
    if (length === 0) throw emptyFault(path, 'the file has no rows');
    const columns = columnKinds((await read(0)).slice(0, rowsLookedAt));
    const names = [...columns];
    const whereIs = (index: number): string => `${place(path)} row ${index + 1}`;
    return {
      name: path,
      length,
      columns,
      isStream: false,
      where: whereIs,
      async row(index, only): Promise<Row> {
        const at = groups.findLastIndex((group) => group.start <= index);
        const group = groups[at];
        if (!group || index >= length) throw new RangeError(`row ${index} of ${length}`);
        const record = (await read(at))[index - group.start] ?? {};
        const row = new Map<string, Value>();
        for (const [column, kind] of names) {
          if (only?.has(column) === false) continue;
          const value = Object.hasOwn(record, column) ? record[column] : undefined;
          const where = `${whereIs(index)}, column \`${column}\``;
          row.set(column, kind === 'other' ? undefined : await parquetCell(value, where, images));
        }
        return row;
      },
      async close() {
        file.close();
      },
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

async function parquetCell(value: unknown, where: string, images: ImageOptions): Promise<Value> {
  const bytes = bytesOf(value);
  if (bytes === undefined) return cellOf(value, (what) => faultAt('SORA7039', where, what));
  if (isImage(bytes)) return decodeImage(bytes, where, images);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw faultAt('SORA7039', where, 'bytes that are neither UTF-8 nor an image');
  }
}

/** Binary cells, and the records `{ bytes, path }` in which Hugging Face keeps images. */
function bytesOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (value === null || typeof value !== 'object' || !('bytes' in value)) return undefined;
  return value.bytes instanceof Uint8Array ? value.bytes : undefined;
}

function columnKinds(records: Records): ReadonlyMap<string, ColumnKind> {
  const kinds = new Map<string, ColumnKind | undefined>();
  for (const record of records) {
    for (const [column, value] of Object.entries(record)) {
      const bytes = bytesOf(value);
      const kind = bytes === undefined ? kindOf(value) : isImage(bytes) ? 'tensor' : 'text';
      const before = kinds.get(column);
      kinds.set(column, before !== undefined && kind !== undefined ? joinKinds(before, kind) : (before ?? kind));
    }
  }
  return new Map([...kinds].map(([column, kind]) => [column, kind ?? 'other']));
}

async function openGroups(file: RandomFile): Promise<{
  readonly groups: readonly Group[];
  readonly read: (group: number) => Promise<Records>;
}> {
  const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  const bounded = Object.fromEntries(
    Object.entries(compressors).map(([codec, decompress]) => [
      codec,
      (input: Uint8Array, outputLength: number): Uint8Array => {
        if (outputLength > maximumPageBytes) throw new Error(`a page of ${outputLength} bytes`);
        return decompress(input, outputLength);
      },
    ]),
  );
  const metadata = await guarded(file, (source) => parquetMetadataAsync(source));
  const groups = await guarded(file, async () => groupsOf(metadata));
  /** In the order of their last use. */
  const kept = new Map<number, Promise<Records>>();
  const readGroup = async ({ start, rows }: Group): Promise<Records> => {
    const range = { rowStart: start, rowEnd: start + rows };
    const records = await guarded(file, (source) =>
      parquetReadObjects({ file: source, metadata, compressors: bounded, utf8: false, ...range }),
    );
    if (records.length === rows) return records;
    throw dataFault('SORA7033', file.name, `a row group has ${records.length} rows in place of ${rows}`);
  };
  return {
    groups,
    read(at) {
      const group = groups[at];
      if (!group) throw new RangeError(`row group ${at}`);
      const records = kept.get(at) ?? readGroup(group);
      kept.delete(at);
      kept.set(at, records);
      let bytes = 0;
      for (const other of [...kept.keys()].reverse()) {
        bytes += groups[other]?.bytes ?? 0;
        if (bytes > budgetBytes && other !== at) kept.delete(other);
      }
      return records;
    },
  };
}

function groupsOf(metadata: FileMetaData): readonly Group[] {
  let start = 0;
  return metadata.row_groups.map((group) => {
    const rows = Number(group.num_rows);
    if (!Number.isSafeInteger(rows) || rows < 0) throw new Error(`a row group of ${rows} rows`);
    if (rows > maximumGroupRows) throw new Error(`a row group of ${rows} rows, at most ${maximumGroupRows} allowed`);
    start += rows;
    return { start: start - rows, rows, bytes: Number(group.total_byte_size) };
  });
}

/**
 * Runs a step of the decoder; whatever it throws at a malformed file (also RangeError and TypeError) is about the file.
 *
 * The decoder begins with the columns one by one and forgets those begun when it refuses a later one, whose errors nobody would
 * catch. So reads wait for a turn of the event loop, by which time it has refused, and then never end.
 */
async function guarded<Result>(file: RandomFile, step: (source: AsyncBuffer) => Promise<Result>): Promise<Result> {
  let isRefused = false;
  const source = {
    byteLength: file.size,
    async slice(start: number, end: number = file.size): Promise<ArrayBuffer> {
      await new Promise<void>((done) => {
        setImmediate(() => {
          if (!isRefused) done();
        });
      });
      return file.read(start, end - start).buffer;
    },
  };
  try {
    return await step(source);
  } catch (cause) {
    isRefused = true;
    if (cause instanceof SoraError && cause.code !== 'SORA7007') throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw dataFault('SORA7033', file.name, `no usable Parquet file: ${why}`, { cause });
  }
}
