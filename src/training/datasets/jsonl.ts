/**
 * JSON Lines: one object per line. One pass checks every line and finds where it begins; rows are read again when asked for.
 */
import type { SoraError } from '../../support/error.ts';
import { type ColumnKind, type Dataset, dataFault, emptyFault, joinKinds, place, type Row } from './dataset.ts';
import { chunksOf, NumberList, openRandomFile, type RandomFile, textGuard } from './files.ts';
import { cellOf, kindOf } from './values.ts';

const maximumLineBytes = 64 * 1024 * 1024;

/** @errors SORA7032 malformed, SORA7037 not text, SORA7038 no rows, SORA7001 unreadable */
export async function openJsonLines(path: string): Promise<Dataset> {
  const file = openRandomFile(path);
  try {
    return jsonLines(file, indexLines(file));
  } catch (error) {
    file.close();
    throw error;
  }
}

interface Index {
  readonly starts: NumberList;
  readonly lengths: NumberList;
  readonly lines: NumberList;
  readonly columns: ReadonlyMap<string, ColumnKind>;
}

function jsonLines(file: RandomFile, { starts, lengths, lines, columns }: Index): Dataset {
  const { name } = file;
  return {
    name,
    length: lines.length,
    columns,
    isStream: false,
    where: (at) => place(name, lines.at(at)),
    async row(at): Promise<Row> {
      const line = lines.at(at);
      const object = parseLine(file.read(starts.at(at), lengths.at(at)), name, line);
      return new Map(
        [...columns].map(([column, kind]) => {
          const value = Object.hasOwn(object, column) ? object[column] : undefined;
          const fault = (what: string): SoraError => dataFault('SORA7039', name, `\`${column}\` is ${what}`, { line });
          // What nobody can use does not stop those who do not ask for it.
          return [column, kind === 'other' ? undefined : cellOf(value, fault)];
        }),
      );
    },
    async close() {
      file.close();
    },
  };
}

function indexLines(file: RandomFile): Index {
  const { name } = file;
  const index = { starts: new NumberList(), lengths: new NumberList(), lines: new NumberList() };
  const kinds = new Map<string, ColumnKind | undefined>();
  const guard = textGuard(name);
  let pieces: Uint8Array[] = [];
  let pieceBytes = 0;
  let start = 0;
  let line = 1;
  const endLine = (lineEnd: number): void => {
    const bytes = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
    if (bytes && !isBlank(bytes)) {
      for (const [column, value] of Object.entries(parseLine(bytes, name, line))) {
        const kind = kindOf(value);
        const before = kinds.get(column);
        kinds.set(column, before !== undefined && kind !== undefined ? joinKinds(before, kind) : (before ?? kind));
      }
      index.starts.push(start);
      index.lengths.push(lineEnd - start);
      index.lines.push(line);
    }
    pieces = [];
    pieceBytes = 0;
    line += 1;
    start = lineEnd + 1;
  };
  let at = 0;
  for (const chunk of chunksOf(file)) {
    guard.check(chunk);
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      pieces.push(chunk.subarray(from, end));
      endLine(at + end);
      from = end + 1;
    }
    pieces.push(chunk.subarray(from));
    pieceBytes += chunk.length - from;
    if (pieceBytes > maximumLineBytes) {
      throw dataFault('SORA7032', name, `a line of more than ${maximumLineBytes} bytes`, { line });
    }
    at += chunk.length;
  }
  guard.end();
  endLine(at);
  if (index.lines.length === 0) throw emptyFault(name, 'the file has no rows');
  return { ...index, columns: new Map([...kinds].map(([column, kind]) => [column, kind ?? 'other'])) };
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 32 || byte === 13 || byte === 9);
}

function parseLine(bytes: Uint8Array, file: string, line: number): Readonly<Record<string, unknown>> {
  // The decoder drops a byte order mark.
  const text = new TextDecoder().decode(bytes);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof SyntaxError ? 'it is not JSON' : 'it cannot be parsed';
    throw dataFault('SORA7032', file, why, { line, cause });
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw dataFault('SORA7032', file, 'every line must be an object: `{"text": "…", "label": 1}`', { line });
  }
  return parsed as Readonly<Record<string, unknown>>;
}
