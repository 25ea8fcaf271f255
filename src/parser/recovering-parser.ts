/**
 * What the grammar's rules rest on: questions about the next tokens, and where parsing goes on behind a mistake.
 */
import { CstParser, type IToken, type TokenType, tokenMatcher } from 'chevrotain';
import { messageProvider } from './messages.ts';
import { contextOf } from './structure.ts';
import * as t from './tokens.ts';

/** The part of chevrotain's recovery engine that is replaced below; its types do not show it. */
interface RecoveryEngine {
  flattenFollowSet(): TokenType[];
  SKIP_TOKEN(): IToken;
}

export abstract class RecoveringParser extends CstParser {
  private resyncTarget: IToken | undefined;

  constructor() {
    super([...t.tokenTypes], {
      recoveryEnabled: true,
      // One token, plus the gates below where words are names too: entering a rule early gives the better message.
      maxLookahead: 1,
      nodeLocationTracking: 'onlyOffset',
      errorMessageProvider: messageProvider,
    });
  }

  protected is(distance: number, type: TokenType): boolean {
    return tokenMatcher(this.LA(distance), type);
  }

  /** Whether the next token may continue the expression before it: the line rule of the file head. */
  protected continues(): boolean {
    const context = contextOf(this.LA(1));
    return context.isInParentheses || !context.startsLine;
  }

  /**
   * Recovery continues at a token that fits and that closes or follows what the mistake stands in, not at the first name
   * that happens to fit. Replaces the method of chevrotain's engine.
   */
  findReSyncTokenType(): TokenType {
    const engine = this as unknown as RecoveryEngine;
    const wanted = engine.flattenFollowSet();
    const start = contextOf(this.LA(1));
    for (let distance = 1; ; distance++) {
      const token = this.LA(distance);
      const fitting = wanted.find((type) => tokenMatcher(token, type));
      const context = contextOf(token);
      const isEnd = token.tokenType.name === 'EOF';
      const isClosing = context.depth < start.depth || (distance === 1 && isCloser(token));
      const isSeparator = token.tokenType === t.Comma && context.depth === start.depth;
      // A closer at this depth ends a bracket that was skipped whole.
      const isNextStatement = context.startsLine && context.depth <= start.statementDepth && !isCloser(token);
      if (isEnd || (fitting !== undefined && (isClosing || isSeparator || isNextStatement))) {
        this.resyncTarget = token;
        return fitting ?? token.tokenType;
      }
    }
  }

  reSyncTo(_type: TokenType): IToken[] {
    const engine = this as unknown as RecoveryEngine;
    const skipped: IToken[] = [];
    let next = this.LA(1);
    while (next !== this.resyncTarget && next.tokenType.name !== 'EOF') {
      skipped.push(next);
      next = engine.SKIP_TOKEN();
    }
    return skipped;
  }

  /** Whether the next token starts a declaration: such a word is no operand, so that an unfinished line ends there. */
  protected startsDeclaration(): boolean {
    const context = contextOf(this.LA(1));
    if (context.depth > 0 || !context.startsLine || !declarationTypes.has(this.LA(1).tokenType)) return false;
    return this.is(2, t.Identifier) || this.is(2, t.LBrace);
  }

  /** A token is skipped only inside its line, and never a bracket: those carry the outline. */
  override canTokenTypeBeDeletedInRecovery(_expected: TokenType): boolean {
    return !isBracket(this.LA(1)) && !contextOf(this.LA(1)).startsLine && !contextOf(this.LA(2)).startsLine;
  }

  /** Literals and names are never invented: the tree says `missing` instead. */
  override canTokenTypeBeInsertedInRecovery(type: TokenType): boolean {
    // What follows on a new line is not what stands after the `=`.
    if (type === t.Equals && contextOf(this.LA(1)).startsLine) return false;
    return type !== t.Identifier && type !== t.StringLiteral && type !== t.LBrace && type !== t.LParen;
  }
}

const declarationTypes: ReadonlySet<TokenType> = new Set([
  ...[t.Import, t.Dim, t.Config, t.Module, t.Model],
  ...[t.Train, t.Quantize, t.Prune, t.Adapter, t.Generate, t.Golden],
]);

function isBracket(token: IToken): boolean {
  return (
    isCloser(token) || token.tokenType === t.LBrace || token.tokenType === t.LParen || token.tokenType === t.LBracket
  );
}

function isCloser(token: IToken): boolean {
  return token.tokenType === t.RBrace || token.tokenType === t.RParen || token.tokenType === t.RBracket;
}
