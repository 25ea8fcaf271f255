/**
 * Diagnostics for people: `pretty` and `concise`.
 *
 * Pretty frames follow rustc's: the code and message, then the lines of each file with the main place under `^` and the
 * other places under `-`, then notes and help. Columns on screen differ from columns in the text where there are tabs and
 * wide characters; only the underlines care, reported columns stay UTF-16.
 */
import type picocolors from 'picocolors';
import type { Diagnostic } from '../diagnostic.ts';
import { lineStarts, positionAt, type SourceFile, type Span } from '../source.ts';
import { printable } from './printable.ts';

export type Colors = ReturnType<typeof picocolors.createColors>;

const tabWidth = 4;
/** A line of more columns is cut to a window of so many around its marks. */
const widestLine = 160;
const windowWidth = 120;
/** Unmarked lines between two marked ones that are still shown rather than skipped. */
const gapShown = 1;

/**
 * Columns that a character takes in a terminal: 2 for East Asian wide and fullwidth and for emoji, 0 for combining marks and
 * format characters. Ranges after Unicode's EastAsianWidth.txt, W and F, coarsened to blocks.
 */
function characterWidth(character: string): number {
  if (/^[\p{Mn}\p{Me}\p{Cf}]$/u.test(character)) return 0;
  const point = character.codePointAt(0) ?? 0;
  const isWide =
    (point >= 0x1100 && point <= 0x115f) ||
    (point >= 0x2e80 && point <= 0xa4cf && point !== 0x303f) ||
    (point >= 0xac00 && point <= 0xd7a3) ||
    (point >= 0xf900 && point <= 0xfaff) ||
    (point >= 0xfe30 && point <= 0xfe6f) ||
    (point >= 0xff00 && point <= 0xff60) ||
    (point >= 0xffe0 && point <= 0xffe6) ||
    (point >= 0x1f300 && point <= 0x1faff) ||
    (point >= 0x20000 && point <= 0x3fffd);
  return isWide ? 2 : 1;
}

interface ShownLine {
  readonly text: string;
  /** Screen column of each UTF-16 offset of the line; one more for its end. */
  readonly columns: readonly number[];
}

/** A line as it is printed: tabs as blanks, other control and format characters as a visible sign. */
function showLine(line: string): ShownLine {
  let text = '';
  let column = 0;
  const columns: number[] = [];
  for (const character of line) {
    for (let unit = 0; unit < character.length; unit++) columns.push(column);
    let shown = character;
    // Direction controls would rearrange the frame itself.
    if (character === '\t') shown = ' '.repeat(tabWidth - (column % tabWidth));
    else if (/^[\p{Cc}\p{Bidi_Control}]$/u.test(character)) shown = '\ufffd';
    text += shown;
    column += character === '\t' ? shown.length : characterWidth(shown);
  }
  columns.push(column);
  return { text: text.trimEnd(), columns };
}

/** The columns of a line that are shown; an ellipsis of one column stands for what is left out on a side. */
interface Window {
  readonly from: number;
  readonly to: number;
}

/** Around the main mark, or the first one; around all of them where they fit. Undefined for a line that is shown whole. */
function windowOf(width: number, marks: readonly Mark[]): Window | undefined {
  if (width <= widestLine) return undefined;
  const main = marks.find((mark) => mark.isMain) ?? marks[0];
  const [low, high] = [Math.min(...marks.map(({ start }) => start)), Math.max(...marks.map(({ end }) => end))];
  const isTogether = high - low <= windowWidth;
  const [start, end] = main === undefined ? [0, 0] : isTogether ? [low, high] : [main.start, main.end];
  const before = Math.max(0, Math.floor((windowWidth - (end - start)) / 2));
  const from = Math.max(0, Math.min(start - before, width - windowWidth));
  return { from, to: Math.min(width, from + windowWidth) };
}

/** Characters of a line inside of a window. One that is cut in half is left out. */
function cutLine(text: string, { from, to }: Window, width: number): string {
  let column = 0;
  let kept = '';
  for (const character of text) {
    const end = column + characterWidth(character);
    // What a wide character at the edge leaves open is filled, so that the marks stay where they are.
    if (column >= from && end <= to) kept += character;
    else if (end > from && column < to) kept += ' '.repeat(Math.min(end, to) - Math.max(column, from));
    column = end;
  }
  return `${from > 0 ? '…' : ''}${kept}${to < width ? '…' : ''}`;
}

/** A mark as it lies under the cut line; one outside of the window lies under the ellipsis. */
function cutMark(mark: Mark, { from, to }: Window): Mark {
  const lead = from > 0 ? 1 : 0;
  const at = (column: number): number => Math.min(Math.max(column - from + lead, 0), to - from + lead);
  const start = at(mark.start);
  return { ...mark, start, end: Math.max(start + 1, at(mark.end)) };
}

interface Mark {
  readonly line: number;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly isMain: boolean;
}

function lineText(file: SourceFile, line: number): string {
  const starts = lineStarts(file);
  return file.text.slice(starts[line - 1] ?? 0, starts[line] ?? file.text.length).replace(/[\r\n]+$/, '');
}

/** A span that runs over lines is marked on its first line, to that line's end. */
function markOf(span: Span, text: string, isMain: boolean): Mark {
  const start = positionAt(span.file, span.start);
  const end = positionAt(span.file, span.end);
  const shown = showLine(lineText(span.file, start.line));
  const last = shown.columns.length - 1;
  const from = shown.columns[Math.min(start.column - 1, last)] ?? 0;
  const to = shown.columns[end.line === start.line ? Math.min(end.column - 1, last) : last] ?? from;
  return { line: start.line, start: from, end: Math.max(to, from + 1), text, isMain };
}

/** The underline row of one source line and the rows of label texts that hang below it. */
function underline(marks: readonly Mark[], paint: (mark: Mark, text: string) => string): string[] {
  // Left to right; main marks are drawn last so that `^` wins where marks overlap.
  const ordered = [...marks].sort((left, right) => left.start - right.start);
  const rightmost = ordered.at(-1);
  const cells: { character: string; mark: Mark | undefined }[] = [];
  for (const mark of [...ordered].sort((left, right) => Number(left.isMain) - Number(right.isMain))) {
    while (cells.length < mark.end) cells.push({ character: ' ', mark: undefined });
    for (let column = mark.start; column < mark.end; column++) {
      cells[column] = { character: mark.isMain ? '^' : '-', mark };
    }
  }
  const drawn = cells
    .map((cell) => (cell.mark === undefined ? cell.character : paint(cell.mark, cell.character)))
    .join('');
  const tail = rightmost === undefined || rightmost.text === '' ? '' : ` ${paint(rightmost, rightmost.text)}`;
  const rows = [drawn + tail];
  const hanging = ordered.filter((mark) => mark !== rightmost && mark.text !== '');
  for (const mark of hanging.toReversed()) {
    const bars = hanging.filter((other) => other.start < mark.start);
    let row = '';
    let width = 0;
    for (const bar of bars) {
      if (bar.start < width) continue;
      row += ' '.repeat(bar.start - width) + paint(bar, '|');
      width = bar.start + 1;
    }
    rows.push(row + ' '.repeat(Math.max(0, mark.start - width)) + paint(mark, mark.text));
  }
  return rows;
}

function renderFile(
  file: SourceFile,
  marks: readonly Mark[],
  gutter: number,
  colors: Colors,
  severity: Diagnostic['severity'],
): string[] {
  const bar = colors.blue('|');
  const paint = (mark: Mark, text: string): string => {
    if (!mark.isMain) return colors.blue(text);
    return colors.bold(severity === 'error' ? colors.red(text) : colors.yellow(text));
  };
  const lines = [...new Set(marks.map((mark) => mark.line))].sort((left, right) => left - right);
  const rows = [`${' '.repeat(gutter)} ${bar}`];
  let last: number | undefined;
  const source = (line: number, here: readonly Mark[]): readonly Mark[] => {
    const number = colors.blue(String(line).padStart(gutter));
    const { text, columns } = showLine(lineText(file, line));
    const width = columns.at(-1) ?? 0;
    const window = windowOf(width, here);
    rows.push(`${number} ${bar} ${window ? cutLine(text, window, width) : text}`.trimEnd());
    return window ? here.map((mark) => cutMark(mark, window)) : here;
  };
  for (const line of lines) {
    if (last !== undefined && line - last - 1 > gapShown) rows.push(colors.blue('...'));
    else if (last !== undefined) for (let between = last + 1; between < line; between++) source(between, []);
    const here = source(
      line,
      marks.filter((mark) => mark.line === line),
    );
    for (const row of underline(here, paint)) rows.push(`${' '.repeat(gutter)} ${bar} ${row}`);
    last = line;
  }
  return rows;
}

export function renderPretty(diagnostic: Diagnostic, colors: Colors): string {
  const { span, severity } = diagnostic;
  const tint = severity === 'error' ? colors.red : colors.yellow;
  const places = [{ span, text: '', isMain: true }, ...diagnostic.labels.map((label) => ({ ...label, isMain: false }))];
  const files = [...new Set(places.map((place) => place.span.file))];
  const marks = places.map((place) => ({ file: place.span.file, mark: markOf(place.span, place.text, place.isMain) }));
  const gutter = Math.max(...marks.map(({ mark }) => String(mark.line).length));
  const indent = ' '.repeat(gutter);
  const rows = [`${colors.bold(tint(`${severity}[${diagnostic.code}]`))}${colors.bold(`: ${diagnostic.message}`)}`];
  for (const [index, file] of files.entries()) {
    const own = marks.filter((entry) => entry.file === file).map((entry) => entry.mark);
    const first = own.find((mark) => mark.isMain) ?? own[0];
    const place = places.find((candidate) => candidate.span.file === file);
    const column = place === undefined ? 1 : positionAt(file, place.span.start).column;
    rows.push(
      `${indent}${colors.blue(index === 0 ? '-->' : ':::')} ${printable(file.path)}:${first?.line ?? 1}:${column}`,
    );
    rows.push(...renderFile(file, own, gutter, colors, severity));
  }
  const remarks = [
    ...diagnostic.notes.map((note) => ['note', note] as const),
    ...(diagnostic.help === undefined ? [] : [['help', diagnostic.help] as const]),
  ];
  if (remarks.length > 0) rows.push(`${indent} ${colors.blue('|')}`);
  for (const [kind, text] of remarks) {
    const [head = '', ...rest] = text.split('\n');
    rows.push(`${indent} ${colors.blue('=')} ${colors.bold(kind)}: ${head}`);
    for (const line of rest) rows.push(`${indent}   ${' '.repeat(kind.length + 2)}${line}`);
  }
  return rows.join('\n');
}

export function renderConcise(diagnostic: Diagnostic, colors: Colors): string {
  const { line, column } = positionAt(diagnostic.span.file, diagnostic.span.start);
  const tint = diagnostic.severity === 'error' ? colors.red : colors.yellow;
  const help = diagnostic.help === undefined ? '' : ` (${diagnostic.help.replaceAll('\n', ' ')})`;
  const head = tint(`${diagnostic.severity}[${diagnostic.code}]`);
  return `${printable(diagnostic.span.file.path)}:${line}:${column}: ${head}: ${diagnostic.message.replaceAll('\n', ' ')}${help}`;
}
