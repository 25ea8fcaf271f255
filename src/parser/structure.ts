/**
 * What is decided on the token stream before the grammar sees it: brackets and lines.
 *
 * - Brackets are balanced: a missing closer is added where it must have stood, a closer without opener is dropped, each
 *   with one diagnostic. The grammar then never loses the outline of a file over one bracket.
 * - Nesting beyond the limit is refused here, before anything recurses.
 * - Unknown declarations are reported and cut out whole.
 * - Every token learns its depth and whether it starts a line (`contextOf`), which the grammar's line rule and error
 *   recovery ask for.
 */
import { createTokenInstance, type IToken, type TokenType, tokenMatcher } from 'chevrotain';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import type { SourceFile } from '../support/source.ts';
import { closest } from '../support/suggest.ts';
import { tokenSpan } from './lex.ts';
import {
  Attend,
  BinaryOperator,
  Comma,
  Dot,
  declarationWords,
  Equals,
  Fn,
  Identifier,
  If,
  In,
  LBrace,
  LBracket,
  Let,
  LParen,
  NumberLiteral,
  PrefixOperator,
  RBrace,
  RBracket,
  RParen,
  StringLiteral,
} from './tokens.ts';

export interface TokenContext {
  readonly index: number;
  /** Open brackets around the token; an opener and its closer both have the depth outside. */
  readonly depth: number;
  /** `depth` of what stands directly in the innermost `{ }` around the token. */
  readonly statementDepth: number;
  /** Innermost bracket around is `(` or `[`: line ends mean nothing there. */
  readonly isInParentheses: boolean;
  readonly startsLine: boolean;
}

const outside: TokenContext = { index: 0, depth: 0, statementDepth: 0, isInParentheses: false, startsLine: true };

/** Facts that `structure` noted on a token; tokens that error recovery made have none. */
export function contextOf(token: IToken): TokenContext {
  return (token.payload as TokenContext | undefined) ?? outside;
}

/** True for a token that stands for no text: added by bracket repair or by error recovery. */
export function isVirtual(token: IToken): boolean {
  return token.image === '' || Number.isNaN(token.startOffset) || token.isInsertedInRecovery === true;
}

export interface Structured {
  readonly tokens: readonly IToken[];
  readonly diagnostics: readonly Diagnostic[];
}

const closerOf: ReadonlyMap<TokenType, TokenType> = new Map([
  [LBrace, RBrace],
  [LParen, RParen],
  [LBracket, RBracket],
]);
const closers: ReadonlySet<TokenType> = new Set(closerOf.values());

export function isWord(token: IToken | undefined): boolean {
  return token !== undefined && /^[A-Za-z_]/.test(token.image);
}

function startsLine(tokens: readonly IToken[], at: number): boolean {
  const previous = tokens[at - 1];
  return previous === undefined || (tokens[at]?.startLine ?? 0) > (previous.endLine ?? 0);
}

function onSameLine(left: IToken | undefined, right: IToken | undefined): boolean {
  return left !== undefined && right !== undefined && left.endLine === right.startLine;
}

/** The first place that nests too deep, if any. */
function tooDeep(tokens: readonly IToken[]): IToken | undefined {
  let depth = 0;
  for (const token of tokens) {
    if (closerOf.has(token.tokenType)) depth++;
    if (closers.has(token.tokenType)) depth--;
    if (depth > limits.nesting) return token;
  }
  return undefined;
}

function nestingDiagnostic(file: SourceFile, token: IToken): Diagnostic {
  return diagnose('SORA1008', `brackets nest deeper than ${limits.nesting} levels`, tokenSpan(file, token));
}

function isBalanced(tokens: readonly IToken[]): boolean {
  const stack: (TokenType | undefined)[] = [];
  for (const token of tokens) {
    const closer = closerOf.get(token.tokenType);
    if (closer !== undefined) stack.push(closer);
    else if (closers.has(token.tokenType) && stack.pop() !== token.tokenType) return false;
  }
  return stack.length === 0;
}

function virtualCloser(opener: IToken, after: IToken): IToken {
  const type = closerOf.get(opener.tokenType) ?? RBrace;
  const offset = after.startOffset + after.image.length;
  const line = after.endLine ?? 1;
  const column = (after.endColumn ?? 0) + 1;
  return createTokenInstance(type, '', offset, offset, line, line, column, column);
}

function lineIndent(file: SourceFile, token: IToken): number {
  const lineStart = token.startOffset - ((token.startColumn ?? 1) - 1);
  return /^[ \t]*/.exec(file.text.slice(lineStart, token.startOffset))?.[0].length ?? 0;
}

/** A word at the left margin that can only start a declaration: trusted as such once brackets are known to be wrong. */
function isDeclarationAtMargin(tokens: readonly IToken[], at: number): boolean {
  const token = tokens[at];
  const next = tokens[at + 1];
  if (token?.startColumn !== 1 || !onSameLine(token, next) || next === undefined) return false;
  const isKnown = declarationWords.includes(token.image);
  if (next.tokenType === LBrace) return isKnown;
  return isKnown ? isWord(next) : token.tokenType === Identifier && next.tokenType === Identifier;
}

/** An opener that waits for its closer. */
interface Open {
  readonly token: IToken;
  /** Its index in the output. */
  readonly index: number;
  /** Where in the output its closer must have stood, once a line made that plain. */
  closeAt: number | undefined;
}

/**
 * Whether a line that starts at `at` cannot go on inside `( )` or `[ ]`: the line before it ended with a whole item and no
 * comma. Asked only to place a closer that is missing.
 */
function breaksItem(tokens: readonly IToken[], at: number): boolean {
  const [previous, token] = [tokens[at - 1], tokens[at]];
  if (previous === undefined || token === undefined || !startsLine(tokens, at)) return false;
  if (statementWords.has(token.tokenType)) return true;
  const isOpen = previous.tokenType === Comma || closerOf.has(previous.tokenType) || isOperator(previous);
  return !isOpen && !closers.has(token.tokenType) && !isOperator(token) && token.tokenType !== Comma;
}

/** Tokens looked at for what a `{` inside `( )` or `[ ]` belongs to. */
const reach = 64;

/**
 * Whether the `{` at `at` cannot stand inside the `( )` or `[ ]` that `opener` began: it follows a whole item, and neither `if` nor
 * `attend` asks for it. Asked only to place a closer that is missing.
 */
function opensBlock(tokens: readonly IToken[], at: number, opener: IToken): boolean {
  const previous = tokens[at - 1];
  if (tokens[at]?.tokenType !== LBrace || opener.tokenType === LBrace || previous === undefined) return false;
  if (!endsItem(previous)) return false;
  for (let index = at - 1; index > at - reach; index--) {
    const token = tokens[index];
    if (token === undefined || token === opener) return true;
    if (token.tokenType === If || token.tokenType === Attend) return false;
  }
  return false;
}

function isOperator(token: IToken): boolean {
  return tokenMatcher(token, BinaryOperator) || tokenMatcher(token, PrefixOperator) || token.tokenType === Dot;
}

const statementWords: ReadonlySet<TokenType> = new Set([Let, Fn]);

/** A head that must be followed by `{` and is not. */
interface Lost {
  readonly head: IToken;
  /** The last token of the head. */
  readonly before: IToken;
  /** Index after it. */
  readonly at: number;
}

/** The last head among balanced tokens whose `{` was forgotten: on the lines after it stands what belongs into a block. */
function lostOpener(tokens: readonly IToken[]): Lost | undefined {
  for (let start = tokens.length - 1; start >= 0; start--) {
    const head = tokens[start];
    if (head === undefined || !startsLine(tokens, start) || !headWords.includes(head.image)) continue;
    const isNamed = onSameLine(head, tokens[start + 1]) && (isWord(tokens[start + 1]) || head.tokenType === Fn);
    if (!isNamed) continue;
    let depth = 0;
    for (let at = start; at < tokens.length; at++) {
      const [token, next] = [tokens[at], tokens[at + 1]];
      if (token === undefined) break;
      if (token.tokenType === LBrace || token.tokenType === Equals) if (depth === 0) break;
      if (closerOf.has(token.tokenType)) depth++;
      if (closers.has(token.tokenType) && --depth < 0) break;
      if (depth > 0 || next === undefined || !startsLine(tokens, at + 1)) continue;
      if (next.tokenType === LBrace || next.tokenType === Equals || !endsItem(token)) break;
      return { head, before: token, at: at + 1 };
    }
  }
  return undefined;
}

const headWords: readonly string[] = ['module', 'model', 'config', 'fn', 'entry'];

function openerDiagnostic(file: SourceFile, { before }: Lost, closer: IToken): Diagnostic {
  const end = before.startOffset + before.image.length;
  const span = { file, start: end, end };
  return diagnose('SORA1007', 'expected `{`', span, {
    labels: [{ span: tokenSpan(file, closer), text: 'this `}` has no `{`' }],
    help: 'add `{`',
    fixes: [{ title: 'add `{`', edits: [{ span, text: ' {' }] }],
  });
}

function virtualOpener(after: IToken): IToken {
  const offset = after.startOffset + after.image.length;
  const line = after.endLine ?? 1;
  const column = (after.endColumn ?? 0) + 1;
  return createTokenInstance(LBrace, '', offset, offset, line, line, column, column);
}

function balance(file: SourceFile, tokens: readonly IToken[]): Structured {
  const diagnostics: Diagnostic[] = [];
  const out: IToken[] = [];
  const stack: Open[] = [];
  // The first closer on a line of its own that stands at another indentation than its opener's line: when brackets run
  // out later, that opener is the one whose closer was forgotten.
  let suspect: { readonly token: IToken; readonly closeAt: number } | undefined;

  const reportUnclosed = (opener: IToken, seen: IToken | undefined): void => {
    const labels = seen === undefined ? [] : [{ span: tokenSpan(file, seen), text: 'noticed here' }];
    const help = `add ${closerOf.get(opener.tokenType)?.LABEL ?? 'its closer'}`;
    diagnostics.push(
      diagnose('SORA1007', `\`${opener.image}\` is never closed`, tokenSpan(file, opener), { labels, help }),
    );
  };
  const closeDownTo = (height: number): void => {
    // Those that close at one place close inside out.
    let place = -1;
    let inserted = 0;
    while (stack.length > height) {
      const open = stack.pop();
      if (open === undefined) break;
      const wanted = open.closeAt ?? out.length;
      inserted = open.closeAt === place ? inserted + 1 : 0;
      place = wanted;
      const at = wanted + inserted;
      const before = out[at - 1] ?? open.token;
      out.splice(at, 0, virtualCloser(open.token, before));
    }
  };
  const closeAll = (seen: IToken | undefined): void => {
    const [outermost] = stack;
    if (outermost === undefined) return;
    reportUnclosed(suspect?.token ?? outermost.token, seen);
    // The closer that was taken for the suspect's is that of a brace around it, and so on outwards: one fewer is missing at the end.
    const spared = suspect === undefined ? -1 : stack.findIndex((open) => open.token.tokenType === LBrace);
    if (spared >= 0) stack.splice(spared, 1);
    closeDownTo(0);
    if (spared >= 0 && suspect !== undefined) {
      out.splice(suspect.closeAt, 0, virtualCloser(suspect.token, out[suspect.closeAt - 1] ?? suspect.token));
    }
    suspect = undefined;
  };
  /** Where the closer of an opener must have stood: before the first line that is indented no more than its own. */
  const endOfBlock = ({ token, index }: Open): number => {
    const indent = lineIndent(file, token);
    let depth = 0;
    for (let at = index + 1; at < out.length; at++) {
      const each = out[at];
      if (each === undefined) break;
      if (depth === 0 && startsLine(out, at) && lineIndent(file, each) <= indent) return at;
      if (closerOf.has(each.tokenType)) depth++;
      if (closers.has(each.tokenType)) depth--;
    }
    return out.length;
  };
  const noteBreak = (): void => {
    // What is below a noted one was noted with it.
    for (let index = stack.length - 1; index >= 0; index--) {
      const open = stack[index];
      if (open === undefined || open.token.tokenType === LBrace || open.closeAt !== undefined) break;
      open.closeAt = out.length;
    }
  };

  for (const [at, token] of tokens.entries()) {
    if (diagnostics.length >= limits.syntaxErrors) return { tokens: [], diagnostics };
    const around = stack.at(-1);
    if (around !== undefined && isDeclarationAtMargin(tokens, at)) closeAll(token);
    else if (around !== undefined && (breaksItem(tokens, at) || opensBlock(tokens, at, around.token))) noteBreak();
    if (closers.has(token.tokenType)) {
      const height = stack.findLastIndex((open) => closerOf.get(open.token.tokenType) === token.tokenType);
      const innermost = stack.at(-1);
      if (height < 0 || innermost === undefined) {
        const lost = token.tokenType === RBrace ? lostOpener(out) : undefined;
        if (lost !== undefined) {
          diagnostics.push(openerDiagnostic(file, lost, token));
          out.splice(lost.at, 0, virtualOpener(lost.before));
          out.push(token);
          continue;
        }
        const span = tokenSpan(file, token);
        const fixes = [{ title: `remove \`${token.image}\``, edits: [{ span, text: '' }] }];
        diagnostics.push(diagnose('SORA1007', `\`${token.image}\` closes nothing`, span, { help: 'remove it', fixes }));
        continue;
      }
      if (height < stack.length - 1) {
        reportUnclosed(innermost.token, token);
        closeDownTo(height + 1);
      }
      const open = stack.pop();
      const isOutside = startsLine(tokens, at) && lineIndent(file, token) < lineIndent(file, open?.token ?? token);
      if (open && isOutside) suspect ??= { token: open.token, closeAt: endOfBlock(open) };
    }
    if (closerOf.has(token.tokenType)) stack.push({ token, index: out.length, closeAt: undefined });
    out.push(token);
    if (stack.length > limits.nesting) {
      const lost = stack.find((open) => open.closeAt !== undefined);
      if (lost === undefined) diagnostics.push(nestingDiagnostic(file, token));
      else reportUnclosed(lost.token, token);
      return { tokens: [], diagnostics };
    }
  }
  closeAll(undefined);
  return { tokens: out, diagnostics };
}

/** Index after the first `{ }` of the declaration at `at`; it ends before the next declaration when it has none. */
function declarationEnd(tokens: readonly IToken[], at: number): number {
  let depth = 0;
  for (let end = at + 1; end < tokens.length; end++) {
    const token = tokens[end];
    if (token === undefined) break;
    const type = token.tokenType;
    if (depth === 0 && startsLine(tokens, end) && declarationWords.includes(token.image)) {
      return end;
    }
    if (closerOf.has(type)) depth++;
    if (closers.has(type) && --depth === 0 && type === RBrace) return end + 1;
  }
  return tokens.length;
}

/** Whether a declaration may end with this token: nothing is being waited for. */
function endsItem(token: IToken | undefined): boolean {
  if (token === undefined || closers.has(token.tokenType) || token.tokenType === Identifier) return true;
  return tokenMatcher(token, NumberLiteral) || tokenMatcher(token, StringLiteral);
}

/** Words of other languages that start what is written otherwise here. */
const foreignWords: ReadonlyMap<string, string> = new Map([
  ['class', 'module'],
  ['struct', 'config'],
  ['interface', 'config'],
  ['type', 'config'],
  ['def', 'fn'],
  ['func', 'fn'],
  ['function', 'fn'],
  ['from', 'import'],
]);

interface Cut {
  readonly end: number;
  readonly diagnostic: Diagnostic;
}

function cutOutermost(file: SourceFile, tokens: readonly IToken[], at: number): Cut | undefined {
  const token = tokens[at];
  const next = tokens[at + 1];
  if (token === undefined || next === undefined || !startsLine(tokens, at) || !onSameLine(token, next))
    return undefined;
  const span = tokenSpan(file, token);
  const isUnknown = token.tokenType === Identifier && isWord(next) && next.tokenType !== In && endsItem(tokens[at - 1]);
  if (!isUnknown) return undefined;
  const near = foreignWords.get(token.image) ?? closest(token.image, declarationWords);
  const help =
    token.image === 'export'
      ? 'remove it: every declaration of a file can be imported'
      : near === undefined
        ? `a declaration starts with ${declarationWords.map((word) => `\`${word}\``).join(', ')}`
        : `did you mean \`${near}\`?`;
  const diagnostic = diagnose('SORA1002', `unknown declaration \`${token.image}\``, span, { help });
  return { end: declarationEnd(tokens, at), diagnostic };
}

function cutUnknown(file: SourceFile, tokens: readonly IToken[]): Structured {
  const diagnostics: Diagnostic[] = [];
  const out: IToken[] = [];
  let depth = 0;
  for (let at = 0; at < tokens.length; ) {
    const token = tokens[at];
    if (token === undefined) break;
    const cut = depth === 0 ? cutOutermost(file, tokens, at) : undefined;
    if (cut !== undefined) {
      diagnostics.push(cut.diagnostic);
      at = Math.max(cut.end, at + 1);
      continue;
    }
    if (closerOf.has(token.tokenType)) depth++;
    if (closers.has(token.tokenType)) depth--;
    out.push(token);
    at++;
  }
  return { tokens: out, diagnostics };
}

function noteContexts(tokens: readonly IToken[]): void {
  const stack: TokenType[] = [];
  let statementDepth = 0;
  tokens.forEach((token, index) => {
    if (closers.has(token.tokenType)) {
      stack.pop();
      statementDepth = stack.lastIndexOf(LBrace) + 1;
    }
    const context: TokenContext = {
      index,
      depth: stack.length,
      statementDepth,
      isInParentheses: stack.length > 0 && stack.at(-1) !== LBrace,
      startsLine: startsLine(tokens, index),
    };
    token.payload = context;
    if (closerOf.has(token.tokenType)) {
      stack.push(token.tokenType);
      statementDepth = stack.lastIndexOf(LBrace) + 1;
    }
  });
}

export function structure(file: SourceFile, tokens: readonly IToken[]): Structured {
  const isWhole = isBalanced(tokens);
  const deep = isWhole ? tooDeep(tokens) : undefined;
  if (deep !== undefined) return { tokens: [], diagnostics: [nestingDiagnostic(file, deep)] };
  const balanced = isWhole ? { tokens, diagnostics: [] } : balance(file, tokens);
  const cut = cutUnknown(file, balanced.tokens);
  noteContexts(cut.tokens);
  return { tokens: cut.tokens, diagnostics: [...balanced.diagnostics, ...cut.diagnostics] };
}

/**
 * The first token after `at` where another statement begins: it starts a line, or stands after the bracket around `at`.
 * Errors before that point are taken for consequences of the one at `at`.
 */
export function nextStatement(tokens: readonly IToken[], at: number): number {
  const from = tokens[at];
  const around = from !== undefined && contextOf(from).isInParentheses ? contextOf(from).depth : 0;
  for (let index = at + 1; index < tokens.length; index++) {
    const token = tokens[index];
    if (token === undefined) break;
    const context = contextOf(token);
    const isCloser = closers.has(token.tokenType);
    if (isCloser && context.depth < around) return index + 1;
    if (context.startsLine && !context.isInParentheses && !isCloser) return index;
  }
  return tokens.length;
}
