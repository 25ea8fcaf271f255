/**
 * Source text and positions in it.
 *
 * A span is a half-open range of UTF-16 code units, `[start, end)`, in one file. Lines and columns are
 * computed only when a diagnostic is rendered; both are 1-based, columns count UTF-16 code units.
 */

export interface SourceFile {
  /** Path shown to people and written to generated files: relative, forward slashes; `sora:nn` for the library. */
  readonly path: string;
  readonly text: string;
}

export interface Span {
  readonly file: SourceFile;
  readonly start: number;
  readonly end: number;
}

export interface Position {
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 code units. */
  readonly column: number;
  readonly offset: number;
}

const lineStartCache = new WeakMap<SourceFile, readonly number[]>();

/** Offsets at which each line starts; `\n`, `\r\n` and a lone `\r` end a line. */
export function lineStarts(file: SourceFile): readonly number[] {
  const cached = lineStartCache.get(file);
  if (cached) return cached;
  const starts = [0];
  for (let offset = 0; offset < file.text.length; offset++) {
    const unit = file.text.charCodeAt(offset);
    if (unit === 0x0d && file.text.charCodeAt(offset + 1) === 0x0a) continue;
    if (unit === 0x0a || unit === 0x0d) starts.push(offset + 1);
  }
  lineStartCache.set(file, starts);
  return starts;
}

export function positionAt(file: SourceFile, offset: number): Position {
  const starts = lineStarts(file);
  const clamped = Math.max(0, Math.min(offset, file.text.length));
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= clamped) low = middle;
    else high = middle - 1;
  }
  return { line: low + 1, column: clamped - (starts[low] ?? 0) + 1, offset: clamped };
}

/** The smallest span that covers both; spans of different files give the first. */
export function joinSpans(first: Span, second: Span): Span {
  if (first.file !== second.file) return first;
  return { file: first.file, start: Math.min(first.start, second.start), end: Math.max(first.end, second.end) };
}

export function spanText(span: Span): string {
  return span.file.text.slice(span.start, span.end);
}
