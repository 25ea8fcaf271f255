/**
 * CSV and TSV, through `csv-parse`. One pass finds where each record begins and what its columns hold; rows are then read
 * and parsed one by one, so that the text of a large file is never held.
 */
import type { InfoRecord, Options, Parser } from 'csv-parse';
import { SoraError } from '../../support/error.ts';
import { type ColumnKind, type Dataset, dataFault, emptyFault, place, type Row } from './dataset.ts';
import { chunksOf, NumberList, openRandomFile, type RandomFile, textGuard } from './files.ts';
import { TextColumn, textCell } from './values.ts';

export interface CsvOptions {
  /** One character; a tab for `.tsv` and `.tab`, else a comma. */
  readonly delimiter?: string;
  /** Names of the columns when the file's first line is a row already. */
  readonly header?: readonly string[];
}

/** A single record: more is a quote that was never closed. */
const maximumRecordCharacters = 16 * 1024 * 1024;

interface Index {
  /** Of each row, and the end of the last. */
  readonly offsets: NumberList;
  readonly lines: NumberList;
  readonly columns: ReadonlyMap<string, ColumnKind>;
}

/** @errors SORA7031 malformed, SORA7037 not text, SORA7038 no rows, SORA7001 unreadable */
export async function openCsv(path: string, options: CsvOptions = {}): Promise<Dataset> {
  const { parse } = await import('csv-parse');
  const settings = {
    delimiter: options.delimiter ?? (/\.(?:tsv|tab)$/i.test(path) ? '\t' : ','),
    record_delimiter: ['\r\n', '\n'],
    bom: true,
    skip_empty_lines: true,
    max_record_size: maximumRecordCharacters,
  };
  const file = openRandomFile(path);
  let index: Index;
  try {
    index = await indexRecords(file, (more) => parse({ ...settings, ...more }), options.header);
  } catch (error) {
    file.close();
    throw asFault(error, path);
  }
  const { offsets, lines, columns } = index;
  const names = [...columns];
  return {
    name: path,
    length: lines.length,
    columns,
    isStream: false,
    where: (at) => place(path, lines.at(at)),
    async row(at): Promise<Row> {
      const start = offsets.at(at);
      const text = new TextDecoder().decode(file.read(start, offsets.at(at + 1) - start));
      const record = cellsOf(text, settings.delimiter);
      if (record.length !== names.length) {
        throw dataFault('SORA7031', path, 'the file has changed since it was opened', { line: lines.at(at) });
      }
      return new Map(names.map(([name, kind], column) => [name, textCell(record[column] ?? '', kind)]));
    },
    async close() {
      file.close();
    },
  };
}

/**
 * Cells of one record that the parser has found to be well formed: it is twenty times faster not to ask it again.
 *
 * @param record may begin with empty lines, and ends with its line end
 */
function cellsOf(record: string, delimiter: string): readonly string[] {
  const text = record.replace(/^(?:\r?\n)+/, '').replace(/\r?\n$/, '');
  const cells: string[] = [];
  for (let at = 0; ; ) {
    if (text[at] === '"') {
      let end = at + 1;
      while (end < text.length && (text[end] !== '"' || text[end + 1] === '"')) end += text[end] === '"' ? 2 : 1;
      cells.push(text.slice(at + 1, end).replaceAll('""', '"'));
      at = end + 1;
    } else {
      const end = text.indexOf(delimiter, at);
      cells.push(end < 0 ? text.slice(at) : text.slice(at, end));
      at = end < 0 ? text.length : end;
    }
    if (at >= text.length) return cells;
    at += delimiter.length;
    if (at === text.length) return [...cells, ''];
  }
}

/** The parser counts bytes and lines while it checks quotes and the number of cells. */
async function indexRecords(
  file: RandomFile,
  makeParser: (more: Options<string[], string[]>) => Parser,
  header: readonly string[] | undefined,
): Promise<Index> {
  const offsets = new NumberList();
  const lines = new NumberList();
  let names = header;
  let kinds: readonly TextColumn[] = (header ?? []).map(() => new TextColumn());
  let end = 0;
  let line = 1;
  const see = (record: readonly string[], bytes: number, lineAfter: number): void => {
    if (names === undefined) {
      names = record;
      kinds = record.map(() => new TextColumn());
    } else {
      if (lines.length === 0) checkNames(file.name, names, record.length);
      offsets.push(end);
      lines.push(line);
      kinds.forEach((kind, at) => {
        kind.see(record[at] ?? '');
      });
    }
    end = bytes;
    line = lineAfter + 1;
  };
  const onRecord = (record: string[], info: InfoRecord): null => {
    see(record, info.bytes, info.lines);
    return null;
  };
  await feed(file, makeParser({ on_record: onRecord }));
  if (lines.length === 0) {
    throw emptyFault(file.name, names === undefined ? 'the file is empty' : 'only a line with names of columns');
  }
  offsets.push(end);
  return { offsets, lines, columns: new Map((names ?? []).map((name, at) => [name, kinds[at]?.kind ?? 'text'])) };
}

function checkNames(file: string, names: readonly string[], cells: number): void {
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw dataFault('SORA7031', file, `two columns with the name \`${twice}\``, { line: 1 });
  if (names.length !== cells) {
    throw dataFault('SORA7031', file, `${names.length} names of columns, ${cells} cells`, { line: 1 });
  }
}

async function feed(file: RandomFile, parser: Parser): Promise<void> {
  const guard = textGuard(file.name);
  let failure: unknown;
  const finished = new Promise<void>((done) => {
    parser.once('error', (error) => {
      failure ??= error;
      done();
    });
    parser.once('end', () => done());
  });
  parser.resume();
  try {
    for (const chunk of chunksOf(file)) {
      guard.check(chunk);
      await new Promise<void>((done) => {
        parser.write(Buffer.from(chunk.buffer), () => done());
      });
      if (failure !== undefined) throw failure;
    }
    guard.end();
    parser.end();
    await finished;
    if (failure !== undefined) throw failure;
  } finally {
    parser.destroy();
  }
}

/** What `csv-parse` calls its errors, in our words. */
const reasons: Readonly<Record<string, string>> = {
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: 'another number of cells than the lines before',
  CSV_QUOTE_NOT_CLOSED: 'a quote that is never closed',
  INVALID_OPENING_QUOTE: 'a quote in the middle of a cell: put the cell in quotes and double the inner ones',
  CSV_INVALID_CLOSING_QUOTE: 'text after the closing quote of a cell',
  CSV_MAX_RECORD_SIZE: `a record of more than ${maximumRecordCharacters} characters: is a quote never closed?`,
};

function asFault(error: unknown, path: string): unknown {
  if (error instanceof SoraError || !(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const reason = reasons[code];
  if (reason === undefined && !/^(?:CSV|INVALID)_/.test(code)) return error;
  const found = 'lines' in error && typeof error.lines === 'number' ? error.lines : undefined;
  return dataFault('SORA7031', path, reason ?? error.message, { line: found, cause: error });
}
