/**
 * Text to tokens and comments, with everything that is wrong with single tokens reported.
 *
 * The stream that comes out holds well-formed tokens only in kind: a malformed literal stays as a literal of its sort, so
 * that one mistake gives one diagnostic. Brackets and structure are structure.ts.
 */
import { type ILexingError, type IToken, Lexer } from 'chevrotain';
import { type Diagnostic, diagnose, type Fix } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import { type SourceFile, type Span, spanText } from '../support/source.ts';
import {
  BadNumber,
  Identifier,
  NumberLiteral,
  SingleQuotedString,
  StringLiteral,
  tokenTypes,
  UnterminatedString,
} from './tokens.ts';

export interface Lexed {
  readonly tokens: readonly IToken[];
  /** `//` and `///` comments in order. */
  readonly comments: readonly IToken[];
  readonly diagnostics: readonly Diagnostic[];
}

let lexer: Lexer | undefined;

function theLexer(): Lexer {
  lexer ??= new Lexer([...tokenTypes], { positionTracking: 'full', ensureOptimizations: true });
  return lexer;
}

export function tokenSpan(file: SourceFile, token: IToken): Span {
  return { file, start: token.startOffset, end: token.startOffset + token.image.length };
}

const characterHelp: ReadonlyMap<string, string> = new Map([
  [';', 'statements end with their line; remove the `;`'],
  ['&', 'write `and`'],
  ['|', 'write `or`'],
  ['!', 'write `not`'],
  ['#', 'comments start with `//`'],
  ["'", 'strings stand in double quotes'],
  ['`', 'strings stand in double quotes'],
  ['?', 'write `if condition { a } else { b }`'],
  ['^', 'a power is written `a ** b`'],
  ['~', 'write `not`'],
  ['@', 'a matrix product is `matmul(a, b)`'],
]);

/** Curly quotes and dashes arrive through word processors. */
const lookalikes: ReadonlyMap<string, string> = new Map([
  ['\u201c', '"'],
  ['\u201d', '"'],
  ['\u2018', "'"],
  ['\u2019', "'"],
  ['\u2212', '-'],
  ['\u2013', '-'],
  ['\u2014', '-'],
  ['\u00d7', '*'],
  ['\u2026', '...'],
  ['\u2192', '->'],
]);

function describeCharacter(text: string): string {
  const point = text.codePointAt(0) ?? 0;
  const printable = point > 0x20 && !(point >= 0x7f && point < 0xa0) && !(point >= 0xd800 && point < 0xe000);
  const hex = `U+${point.toString(16).toUpperCase().padStart(4, '0')}`;
  if (!printable) return hex;
  return point < 0x80 ? `\`${text}\`` : `\`${text}\` (${hex})`;
}

function replacement(span: Span, text: string): Fix {
  return { title: text === '' ? `remove \`${spanText(span)}\`` : `write \`${text}\``, edits: [{ span, text }] };
}

/** A help that says what to write is an edit too. */
function fixesOf(span: Span, help: string | undefined): { readonly fixes?: readonly Fix[] } {
  const text = /^write `([^` ]+)`$/.exec(help ?? '')?.[1];
  if (text === undefined) return {};
  // A word in the place of a sign must not grow into its neighbours: `!a` is `not a`.
  const touches = (neighbour: string | undefined): string =>
    /^\w/.test(text) && /\w/.test(neighbour ?? '') ? ' ' : '';
  const source = span.file.text;
  return { fixes: [replacement(span, touches(source[span.start - 1]) + text + touches(source[span.end]))] };
}

/** Both quotes at once: with one of them the string would have no end. */
function curlyFix({ file, start }: Span): { readonly fixes: readonly Fix[] } | undefined {
  const image = /^[\u201c\u201d][^\u201c\u201d\n\r]*[\u201c\u201d]/.exec(file.text.slice(start, start + 1000))?.[0];
  if (image === undefined) return undefined;
  const span = { file, start, end: start + image.length };
  return { fixes: [replacement(span, `"${image.slice(1, -1).replaceAll('"', '\\"')}"`)] };
}

function unexpectedCharacter(file: SourceFile, error: ILexingError): Diagnostic {
  const start = error.offset;
  const text = file.text.slice(start, start + error.length);
  const first = String.fromCodePoint(text.codePointAt(0) ?? 0);
  const span = { file, start, end: start + error.length };
  const lookalike = lookalikes.get(first);
  const isLetter = /^\p{L}/u.test(first);
  const help =
    lookalike !== undefined
      ? `write \`${lookalike}\``
      : isLetter
        ? 'names are made of ASCII letters, digits and `_`'
        : characterHelp.get(first);
  return diagnose('SORA1001', `unexpected character ${describeCharacter(first)}`, span, {
    ...(help === undefined ? {} : { help }),
    ...(first === ';' ? { fixes: [replacement(span, '')] } : (curlyFix(span) ?? fixesOf(span, help))),
  });
}

/** Trojan Source (Boucher & Anderson 2021): such characters make text look like other text, in comments and strings too. */
const directionControls = /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g;

function directionDiagnostics(file: SourceFile): Diagnostic[] {
  return [...file.text.matchAll(directionControls)].slice(0, limits.syntaxErrors).map((match) => {
    const span = { file, start: match.index, end: match.index + 1 };
    const hex = `U+${match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
    return diagnose('SORA1006', `the invisible character ${hex} changes the direction of text`, span, {
      help: 'remove it; in a string write it as an escape, `\\u{…}`',
    });
  });
}

const simpleEscapes: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['"', '"'],
  ['\\', '\\'],
]);

export interface Unescaped {
  readonly text: string;
  /** Offset in the literal's image and message of each bad escape. */
  readonly mistakes: readonly { readonly start: number; readonly end: number; readonly message: string }[];
}

/** The value of a string literal, quotes included in `image`; the last quote may be missing. */
export function unescapeString(image: string): Unescaped {
  const isClosed = image.length > 1 && image.endsWith(image[0] ?? '"') && !/(?:^|[^\\])(?:\\\\)*\\.$/.test(image);
  const end = isClosed ? image.length - 1 : image.length;
  const mistakes: { start: number; end: number; message: string }[] = [];
  let text = '';
  for (let at = 1; at < end; at++) {
    const unit = image[at] ?? '';
    if (unit !== '\\') {
      text += unit;
      continue;
    }
    const start = at;
    const letter = image[++at] ?? '';
    const simple = simpleEscapes.get(letter);
    if (simple !== undefined) {
      text += simple;
    } else if (letter === 'u') {
      const match = /^\{([0-9A-Fa-f]{1,6})\}/.exec(image.slice(at + 1, end));
      const point = match ? Number.parseInt(match[1] ?? '', 16) : -1;
      at += match ? match[0].length : 0;
      const isScalar = point >= 0 && point <= 0x10ffff && !(point >= 0xd800 && point < 0xe000);
      if (isScalar) text += String.fromCodePoint(point);
      else
        mistakes.push({ start, end: at + 1, message: match ? 'no such character' : '`\\u` needs `{` hex digits `}`' });
    } else if (letter !== '') {
      mistakes.push({ start, end: at + 1, message: `unknown escape \`\\${letter}\`` });
    }
  }
  return { text, mistakes };
}

function stringDiagnostics(file: SourceFile, token: IToken): Diagnostic[] {
  const span = tokenSpan(file, token);
  if (token.tokenType === SingleQuotedString) {
    const inner = token.image.slice(1, -1).replaceAll('"', '\\"');
    const fix: Fix = { title: 'use double quotes', edits: [{ span, text: `"${inner}"` }] };
    return [
      diagnose('SORA1001', 'strings stand in double quotes', span, { help: `write \`"${inner}"\``, fixes: [fix] }),
    ];
  }
  if (token.tokenType === UnterminatedString) {
    const quote = { file, start: span.start, end: span.start + 1 };
    return [diagnose('SORA1003', 'this string has no closing quote on its line', quote, { help: 'close it with `"`' })];
  }
  return unescapeString(token.image).mistakes.map((mistake) =>
    diagnose(
      'SORA1004',
      mistake.message,
      { file, start: span.start + mistake.start, end: span.start + mistake.end },
      { help: 'the escapes are `\\n`, `\\t`, `\\"`, `\\\\` and `\\u{…}`' },
    ),
  );
}

function numberDiagnostics(file: SourceFile, token: IToken): Diagnostic[] {
  const span = tokenSpan(file, token);
  const image = token.image;
  if (token.tokenType === BadNumber) {
    let help = 'numbers look like `12`, `0.5` and `1e-12`';
    if (/^[0-9]+(?:_[0-9]+)+$/.test(image)) help = `write \`${image.replaceAll('_', '')}\``;
    else if (/^\.[0-9]+$/.test(image)) help = `write \`0${image}\``;
    else if (/^0x[0-9a-fA-F]+$/i.test(image)) help = `write \`${Number.parseInt(image, 16)}\``;
    return [diagnose('SORA1005', `\`${image}\` is not a number`, span, { help, ...fixesOf(span, help) })];
  }
  const value = Number(image);
  if (/^[0-9]+$/.test(image) && !Number.isSafeInteger(value)) {
    return [
      diagnose('SORA1005', 'this integer is too large', span, { help: 'integers end at 9007199254740991 (2^53 - 1)' }),
    ];
  }
  return Number.isFinite(value) ? [] : [diagnose('SORA1005', 'this number is too large', span)];
}

function tokenDiagnostics(file: SourceFile, token: IToken): Diagnostic[] {
  const type = token.tokenType;
  if (type === StringLiteral || type === UnterminatedString || type === SingleQuotedString)
    return stringDiagnostics(file, token);
  if (type === NumberLiteral || type === BadNumber) return numberDiagnostics(file, token);
  if (type === Identifier && token.image.length > limits.identifierLength) {
    const message = `this name has ${token.image.length} characters; names may have ${limits.identifierLength}`;
    return [diagnose('SORA1008', message, tokenSpan(file, token))];
  }
  return [];
}

export function lex(file: SourceFile): Lexed {
  if (file.text.length > limits.sourceLength) {
    const span = { file, start: 0, end: 0 };
    const message = `the file has ${file.text.length} characters; a source file may have ${limits.sourceLength}`;
    return { tokens: [], comments: [], diagnostics: [diagnose('SORA1008', message, span)] };
  }
  const result = theLexer().tokenize(file.text);
  // One a line: the second of two curly quotes tells nothing new.
  const firstOnLine = result.errors.filter((error, index) => error.line !== result.errors[index - 1]?.line);
  const diagnostics = [
    ...firstOnLine.slice(0, limits.syntaxErrors).map((error) => unexpectedCharacter(file, error)),
    ...directionDiagnostics(file),
    ...(result.groups.malformed ?? []).map((token) =>
      diagnose('SORA1001', 'there are no block comments', tokenSpan(file, token), {
        help: 'start each line with `//`',
      }),
    ),
  ];
  for (const token of result.tokens) {
    if (diagnostics.length >= limits.syntaxErrors) break;
    diagnostics.push(...tokenDiagnostics(file, token));
  }
  const comments = (result.groups.comments ?? []).toSorted((left, right) => left.startOffset - right.startOffset);
  return { tokens: result.tokens, comments, diagnostics };
}
