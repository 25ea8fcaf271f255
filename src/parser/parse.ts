/**
 * Text to syntax tree: lex, balance brackets, parse with recovery, build. Errors that follow from an earlier one are
 * dropped here, so that one mistake gives one diagnostic.
 */
import { type CstNode, EOF, type IRecognitionException, type IToken } from 'chevrotain';
import { type Diagnostic, diagnose, hasErrors, type Stage } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import { positionAt, type SourceFile, type Span, spanText } from '../support/source.ts';
import type { SourceTree } from './ast.ts';
import { buildTree } from './build-ast.ts';
import { lex, tokenSpan } from './lex.ts';
import { adviceFor } from './messages.ts';
import { theParser } from './parser.ts';
import { contextOf, isVirtual, nextStatement, structure } from './structure.ts';
import { reservedTypes } from './tokens.ts';

export interface Parsed {
  readonly root: CstNode | undefined;
  readonly tokens: readonly IToken[];
  readonly comments: readonly IToken[];
  readonly diagnostics: readonly Diagnostic[];
}

/** Where the mistake is: the unexpected token, or the end of the line before it when something was left out there. */
function errorSpan(file: SourceFile, token: IToken, previous: IToken | undefined): Span {
  const isAtEnd = token.tokenType === EOF || Number.isNaN(token.startOffset) || token.image === '';
  const isOnLaterLine = previous !== undefined && (token.startLine ?? 0) > (previous.endLine ?? 0);
  if (!isAtEnd && !isOnLaterLine) return tokenSpan(file, token);
  if (previous === undefined || Number.isNaN(previous.startOffset)) return { file, start: 0, end: 0 };
  const end = previous.startOffset + previous.image.length;
  return { file, start: end, end };
}

/** Whether a place lies in a parenthesis or list without its closer: what stands there was read as part of it. */
function insideUnclosed(diagnostics: readonly Diagnostic[]): (span: Span) => boolean {
  const unclosed = diagnostics.flatMap(({ code, span, labels }) =>
    code === 'SORA1007' && /^[([]$/.test(spanText(span))
      ? labels
          .filter(({ text }) => text === 'noticed here')
          .map((label) => ({ start: span.start, end: label.span.end }))
      : [],
  );
  return (span) => unclosed.some(({ start, end }) => start <= span.start && span.start <= end);
}

/** Diagnostics of the grammar's errors, without those that an earlier diagnostic explains. */
function grammarDiagnostics(
  file: SourceFile,
  tokens: readonly IToken[],
  errors: readonly IRecognitionException[],
  earlier: readonly Diagnostic[],
): Diagnostic[] {
  const indexOf = (token: IToken): number => (token.tokenType === EOF ? tokens.length : contextOf(token).index);
  const spoiledLines = new Set(earlier.map((one) => positionAt(file, one.span.start).line));
  const isInUnclosed = insideUnclosed(earlier);
  const found: Diagnostic[] = [];
  // Errors come in the order of the parse; those up to this token follow from the last one reported.
  let explainedUpTo = 0;
  // A keyword that someone took for a name is wrong wherever it is used.
  const namesTaken = new Set<string>();
  const sorted = [...errors].sort((left, right) => indexOf(left.token) - indexOf(right.token));
  for (const error of sorted) {
    if (found.length >= limits.syntaxErrors) break;
    const at = indexOf(error.token);
    const previous = tokens[at - 1];
    const isLineStart = error.token.tokenType === EOF || contextOf(error.token).startsLine;
    const culprit = Math.max(isLineStart ? at - 1 : at, 0);
    if (culprit < explainedUpTo) continue;
    explainedUpTo = nextStatement(tokens, culprit);
    const span = errorSpan(file, error.token, previous);
    const isRepaired = isVirtual(error.token) && error.token.tokenType !== EOF;
    if (isRepaired || spoiledLines.has(positionAt(file, span.start).line)) continue;
    if (isInUnclosed(span)) continue;
    if (namesTaken.has(error.token.image)) continue;
    const [message = ''] = error.message.split('\n');
    if (reservedTypes.has(error.token.tokenType) && message.startsWith('expected a name'))
      namesTaken.add(error.token.image);
    const help = adviceFor(error.token, previous, message);
    found.push(diagnose('SORA1002', message, span, help === undefined ? {} : { help }));
  }
  return found;
}

/** Tokens, concrete tree and diagnostics: what the formatter and `parse` share. */
export function parseConcrete(file: SourceFile): Parsed {
  const lexed = lex(file);
  const structured = structure(file, lexed.tokens);
  // A string without end swallows the closers of its line.
  const openStrings = new Set(
    lexed.diagnostics.filter((one) => one.code === 'SORA1003').map((one) => positionAt(file, one.span.start).line),
  );
  const unbalanced = structured.diagnostics.filter(
    (one) => one.code !== 'SORA1007' || !openStrings.has(positionAt(file, one.span.start).line),
  );
  const early = [...lexed.diagnostics, ...unbalanced];
  if (hasErrors(early) && structured.tokens.length === 0) {
    return { root: undefined, tokens: [], comments: lexed.comments, diagnostics: early };
  }
  const parser = theParser();
  parser.input = [...structured.tokens];
  const root = parser.sourceFile();
  const late = grammarDiagnostics(file, structured.tokens, parser.errors, early);
  return { root, tokens: structured.tokens, comments: lexed.comments, diagnostics: [...early, ...late] };
}

function byPosition(left: Diagnostic, right: Diagnostic): number {
  return left.span.start - right.span.start;
}

/** The syntax tree of what `parseConcrete` gave for the file, and all there is to say about it. */
export function buildParsed(file: SourceFile, parsed: Parsed): Stage<SourceTree> {
  if (parsed.root === undefined) {
    const diagnostics = parsed.diagnostics.slice(0, limits.syntaxErrors);
    return { value: { file, imports: [], declarations: [], uses: [] }, diagnostics };
  }
  const built = buildTree(file, parsed.root, parsed.tokens, parsed.comments);
  // Rules beyond the grammar are checked on what recovery left too; on a line that is already wrong they add nothing.
  const wrongLines = new Set(parsed.diagnostics.map((one) => positionAt(file, one.span.start).line));
  const isInUnclosed = insideUnclosed(parsed.diagnostics);
  const extra = hasErrors(parsed.diagnostics)
    ? built.diagnostics.filter((one) => {
        if (isInUnclosed(one.span)) return false;
        const spans = [one.span, ...one.labels.map((label) => label.span)];
        return spans.every((span) => !wrongLines.has(positionAt(file, span.start).line));
      })
    : built.diagnostics;
  return {
    value: built.tree,
    diagnostics: [...parsed.diagnostics, ...extra].sort(byPosition).slice(0, limits.syntaxErrors),
  };
}

export function parse(file: SourceFile): Stage<SourceTree> {
  return buildParsed(file, parseConcrete(file));
}
