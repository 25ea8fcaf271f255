/**
 * What is decided on the token stream before the grammar sees it: brackets and lines.
 *
 * - Brackets are balanced (balance.ts), so that the grammar never loses the outline of a file over one of them.
 * - Nesting beyond the limit is refused here, before anything recurses.
 * - Unknown declarations are reported and cut out whole.
 * - Every token learns its depth and whether it starts a line (`contextOf`), which the grammar's line rule and error
 *   recovery ask for.
 */
import type { IToken, TokenType } from 'chevrotain';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import type { SourceFile } from '../support/source.ts';
import { closest } from '../support/suggest.ts';
import { balance, nestingDiagnostic } from './balance.ts';
import { closerOf, closers, endsItem, isWord, onSameLine, startsLine } from './brackets.ts';
import { tokenSpan } from './lex.ts';
import { declarationWords, Identifier, In, LBrace, RBrace } from './tokens.ts';

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

function isBalanced(tokens: readonly IToken[]): boolean {
  const stack: (TokenType | undefined)[] = [];
  for (const token of tokens) {
    const closer = closerOf.get(token.tokenType);
    if (closer !== undefined) stack.push(closer);
    else if (closers.has(token.tokenType) && stack.pop() !== token.tokenType) return false;
  }
  return stack.length === 0;
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
