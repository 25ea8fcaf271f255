/**
 * The patterns of `rearrange` ("b t (h d) -> b h t d") and `einsum` ("bqd,bkd->bqk"): text to axes, each with its place, so
 * that a mistake is shown inside the string.
 */
import { type Span, spanText } from '../../support/source.ts';
import { type Context, report } from './context.ts';

/** The pattern and the string literal that it stands in. */
export interface Pattern {
  readonly text: string;
  readonly span: Span;
}

/** The part of the literal from `start` to `end` of the text; the whole literal when escapes keep them apart. */
export function placeIn(pattern: Pattern, start: number, end: number): Span {
  const { text, span } = pattern;
  if (spanText(span) !== `"${text}"`) return span;
  return { file: span.file, start: span.start + 1 + start, end: span.start + 1 + end };
}

export function patternError(context: Context, pattern: Pattern, message: string, at: Span, help?: string): void {
  report(context, 'SORA2113', message, at, {
    labels: at === pattern.span ? [] : [{ span: pattern.span, text: 'the pattern' }],
    ...(help === undefined ? {} : { help }),
  });
}

/** One axis by name; `1` is an axis of length 1, `...` any number of axes. */
export interface PatternAxis {
  readonly name: string;
  readonly span: Span;
}

/** What one axis of the tensor is made of: one name, or several in parentheses. */
export interface PatternGroup {
  readonly axes: readonly PatternAxis[];
  readonly span: Span;
}

export interface PatternSide {
  readonly groups: readonly PatternGroup[];
  readonly span: Span;
}

/** One side of a `rearrange` pattern; undefined when it cannot be read (reported). */
function readSide(context: Context, pattern: Pattern, start: number, end: number): PatternSide | undefined {
  const groups: PatternGroup[] = [];
  const names = new Map<string, Span>();
  const token = /\s+|\.\.\.|[A-Za-z_][A-Za-z0-9_]*|1(?![0-9])|[()]|[\s\S]/gy;
  token.lastIndex = start;
  let open: { readonly at: number; readonly axes: PatternAxis[] } | undefined;
  const fail = (message: string, at: Span, help?: string): undefined => {
    patternError(context, pattern, message, at, help);
    return undefined;
  };
  while (token.lastIndex < end) {
    const at = token.lastIndex;
    const text = token.exec(pattern.text)?.[0] ?? '';
    const span = placeIn(pattern, at, at + text.length);
    if (text.trim() === '') continue;
    if (text === '(') {
      if (open) return fail('parentheses do not nest in a pattern', span);
      open = { at, axes: [] };
    } else if (text === ')') {
      if (!open) return fail('`)` closes nothing', span);
      if (open.axes.length === 0) return fail('these parentheses hold no axis', placeIn(pattern, open.at, at + 1));
      groups.push({ axes: open.axes, span: placeIn(pattern, open.at, at + 1) });
      open = undefined;
    } else if (/^(?:\.\.\.|1|[A-Za-z_].*)$/.test(text)) {
      if (text !== '1' && names.has(text)) return fail(`\`${text}\` stands twice on one side`, span);
      names.set(text, span);
      if (open && text === '...') return fail('`...` cannot stand in parentheses', span);
      if (open) open.axes.push({ name: text, span });
      else groups.push({ axes: [{ name: text, span }], span });
    } else
      return fail(
        `\`${text}\` means nothing in a pattern`,
        span,
        'axes are names apart by blanks: "b t (h d) -> b h t d"',
      );
  }
  if (open) return fail('`(` is never closed', placeIn(pattern, open.at, open.at + 1));
  return { groups, span: placeIn(pattern, start, end) };
}

/** Both sides of the arrow; undefined when there is not exactly one (reported). */
function arrowOf(context: Context, pattern: Pattern, help: string): number | undefined {
  const at = pattern.text.indexOf('->');
  const second = at < 0 ? -1 : pattern.text.indexOf('->', at + 2);
  if (at >= 0 && second < 0) return at;
  const place = second < 0 ? pattern.span : placeIn(pattern, second, second + 2);
  patternError(context, pattern, second < 0 ? 'a pattern needs `->`' : 'a pattern has one `->`', place, help);
  return undefined;
}

export function readRearrange(
  context: Context,
  pattern: Pattern,
): { readonly from: PatternSide; readonly to: PatternSide } | undefined {
  const arrow = arrowOf(context, pattern, 'write what is and what shall be: "b t (h d) -> b h t d"');
  if (arrow === undefined) return undefined;
  const from = readSide(context, pattern, 0, arrow);
  const to = from && readSide(context, pattern, arrow + 2, pattern.text.length);
  return from && to && { from, to };
}

/** The letters of one operand, or of the result. */
export interface EinsumTerm {
  readonly letters: readonly PatternAxis[];
  readonly span: Span;
}

export function readEinsum(
  context: Context,
  pattern: Pattern,
): { readonly operands: readonly EinsumTerm[]; readonly result: EinsumTerm } | undefined {
  const arrow = arrowOf(context, pattern, 'write one letter per axis: "bqd,bkd->bqk"');
  if (arrow === undefined) return undefined;
  const terms: EinsumTerm[] = [];
  const readTerm = (start: number, end: number): EinsumTerm | undefined => {
    const letters: PatternAxis[] = [];
    for (let at = start; at < end; at++) {
      const letter = pattern.text[at] ?? '';
      const span = placeIn(pattern, at, at + 1);
      if (letter.trim() === '') continue;
      if (!/[A-Za-z]/.test(letter)) {
        const help = letter === '.' ? '`...` is not part of `einsum`; name every axis' : 'an axis is one letter';
        patternError(context, pattern, `\`${letter}\` means nothing in a pattern of \`einsum\``, span, help);
        return undefined;
      }
      if (letters.some((other) => other.name === letter)) {
        patternError(context, pattern, `\`${letter}\` stands twice in one term`, span, 'diagonals are not built');
        return undefined;
      }
      letters.push({ name: letter, span });
    }
    return { letters, span: placeIn(pattern, start, end) };
  };
  let start = 0;
  for (const part of pattern.text.slice(0, arrow).split(',')) {
    const term = readTerm(start, start + part.length);
    if (term === undefined) return undefined;
    terms.push(term);
    start += part.length + 1;
  }
  const result = readTerm(arrow + 2, pattern.text.length);
  if (result === undefined) return undefined;
  const unknown = result.letters.find(
    ({ name }) => !terms.some((term) => term.letters.some((one) => one.name === name)),
  );
  if (unknown) {
    patternError(context, pattern, `no operand has the axis \`${unknown.name}\``, unknown.span);
    return undefined;
  }
  return { operands: terms, result };
}
