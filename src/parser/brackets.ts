/**
 * Brackets and lines of a token stream: what balance.ts, which mends them, and structure.ts ask.
 */
import { createTokenInstance, type IToken, type TokenType, tokenMatcher } from 'chevrotain';
import {
  Identifier,
  LBrace,
  LBracket,
  LParen,
  NumberLiteral,
  RBrace,
  RBracket,
  RParen,
  StringLiteral,
} from './tokens.ts';

export const closerOf: ReadonlyMap<TokenType, TokenType> = new Map([
  [LBrace, RBrace],
  [LParen, RParen],
  [LBracket, RBracket],
]);
export const closers: ReadonlySet<TokenType> = new Set(closerOf.values());

export function isWord(token: IToken | undefined): boolean {
  return token !== undefined && /^[A-Za-z_]/.test(token.image);
}

export function startsLine(tokens: readonly IToken[], at: number): boolean {
  const previous = tokens[at - 1];
  return previous === undefined || (tokens[at]?.startLine ?? 0) > (previous.endLine ?? 0);
}

export function onSameLine(left: IToken | undefined, right: IToken | undefined): boolean {
  return left !== undefined && right !== undefined && left.endLine === right.startLine;
}

/** Whether a declaration may end with this token: nothing is being waited for. */
export function endsItem(token: IToken | undefined): boolean {
  if (token === undefined || closers.has(token.tokenType) || token.tokenType === Identifier) return true;
  return tokenMatcher(token, NumberLiteral) || tokenMatcher(token, StringLiteral);
}

export function virtualCloser(opener: IToken, after: IToken): IToken {
  const type = closerOf.get(opener.tokenType) ?? RBrace;
  const offset = after.startOffset + after.image.length;
  const line = after.endLine ?? 1;
  const column = (after.endColumn ?? 0) + 1;
  return createTokenInstance(type, '', offset, offset, line, line, column, column);
}

export function virtualOpener(after: IToken): IToken {
  const offset = after.startOffset + after.image.length;
  const line = after.endLine ?? 1;
  const column = (after.endColumn ?? 0) + 1;
  return createTokenInstance(LBrace, '', offset, offset, line, line, column, column);
}
