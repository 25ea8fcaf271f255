/**
 * The grammar: tokens to a concrete syntax tree, with chevrotain's error recovery on.
 *
 * Lines. The grammar does not care about line ends, with one exception: outside `( )` and `[ ]`, a `(`, `[`, `{` or `-`
 * that starts a line begins something new instead of continuing the expression before it. So
 *
 *     let a = f(x)
 *     (b)
 *
 * is a `let` and the block's result, not the call `f(x)(b)`. All other operators and `.name` do continue across lines.
 *
 * Expressions are parsed flat, operands and operators in one row; build-ast.ts applies precedence. That keeps the parser's
 * recursion at one level per bracket.
 *
 * Commas between items are optional to the grammar, and build-ast.ts reports the missing ones: a forgotten comma then
 * gives exactly one message.
 */
import { type CstNode, CstParser, type IToken, type ParserMethod, type TokenType, tokenMatcher } from 'chevrotain';
import { messageProvider } from './messages.ts';
import { contextOf } from './structure.ts';
import * as t from './tokens.ts';

type Rule = ParserMethod<[], CstNode>;

/** The part of chevrotain's recovery engine that is replaced below; its types do not show it. */
interface RecoveryEngine {
  flattenFollowSet(): TokenType[];
  SKIP_TOKEN(): IToken;
}

class SoraParser extends CstParser {
  private resyncTarget: IToken | undefined;

  constructor() {
    super([...t.tokenTypes], {
      recoveryEnabled: true,
      // One token, plus the gates below where words are names too: entering a rule early gives the better message.
      maxLookahead: 1,
      nodeLocationTracking: 'onlyOffset',
      errorMessageProvider: messageProvider,
    });
    this.performSelfAnalysis();
  }

  private is(distance: number, type: TokenType): boolean {
    return tokenMatcher(this.LA(distance), type);
  }

  /** Whether the next token may continue the expression before it: the line rule of the file head. */
  private continues(): boolean {
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
  private startsDeclaration(): boolean {
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

  readonly sourceFile: Rule = this.RULE('sourceFile', () => {
    this.MANY(() => {
      this.OR([
        { ALT: () => this.SUBRULE(this.importDeclaration) },
        { ALT: () => this.SUBRULE(this.dimDeclaration) },
        { ALT: () => this.SUBRULE(this.configDeclaration) },
        { ALT: () => this.SUBRULE(this.moduleDeclaration) },
        { ALT: () => this.SUBRULE(this.functionDeclaration) },
        { ALT: () => this.SUBRULE(this.useBlock) },
      ]);
    });
  });

  private readonly importDeclaration: Rule = this.RULE('importDeclaration', () => {
    this.CONSUME(t.Import);
    this.CONSUME(t.LBrace);
    this.MANY(() => {
      this.SUBRULE(this.importedName);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RBrace);
    this.CONSUME(t.From);
    this.CONSUME(t.StringLiteral);
  });

  private readonly importedName: Rule = this.RULE('importedName', () => {
    this.CONSUME(t.Identifier);
    this.OPTION({
      GATE: () => this.is(2, t.Identifier),
      DEF: () => {
        this.CONSUME(t.As);
        this.CONSUME2(t.Identifier);
      },
    });
  });

  private readonly dimDeclaration: Rule = this.RULE('dimDeclaration', () => {
    this.CONSUME(t.Dim);
    this.SUBRULE(this.dimItem);
    this.MANY({
      GATE: () => !this.startsDeclaration() && (this.is(1, t.Comma) || this.is(2, t.In)),
      DEF: () => {
        this.OPTION(() => this.CONSUME(t.Comma));
        this.SUBRULE2(this.dimItem);
      },
    });
  });

  private readonly dimItem: Rule = this.RULE('dimItem', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.In);
    this.SUBRULE(this.expression, { LABEL: 'minimum' });
    this.CONSUME(t.DotDot);
    this.SUBRULE2(this.expression, { LABEL: 'maximum' });
    this.OPTION({
      GATE: () => this.is(2, t.Of),
      DEF: () => {
        this.CONSUME(t.Multiple);
        this.CONSUME(t.Of);
        this.SUBRULE3(this.expression, { LABEL: 'multiple' });
      },
    });
  });

  private readonly configDeclaration: Rule = this.RULE('configDeclaration', () => {
    this.CONSUME(t.Config);
    this.CONSUME(t.Identifier);
    this.CONSUME(t.LBrace);
    this.MANY(() => {
      this.SUBRULE(this.configField);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RBrace);
  });

  private readonly configField: Rule = this.RULE('configField', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.CONSUME2(t.Identifier, { LABEL: 'type' });
    this.OPTION(() => {
      this.CONSUME(t.Equals);
      this.SUBRULE(this.expression);
    });
    this.OPTION2({
      GATE: () => !this.is(2, t.Colon),
      DEF: () => {
        this.CONSUME(t.From);
        this.SUBRULE(this.configKey);
        this.MANY(() => {
          this.CONSUME(t.Or);
          this.SUBRULE2(this.configKey);
        });
      },
    });
  });

  private readonly configKey: Rule = this.RULE('configKey', () => {
    this.OR([
      { ALT: () => this.CONSUME(t.StringLiteral) },
      {
        ALT: () => {
          this.CONSUME(t.Count);
          this.CONSUME(t.LParen);
          this.CONSUME2(t.StringLiteral);
          this.CONSUME(t.RParen);
        },
      },
    ]);
  });

  private readonly moduleDeclaration: Rule = this.RULE('moduleDeclaration', () => {
    this.OR([{ ALT: () => this.CONSUME(t.Module) }, { ALT: () => this.CONSUME(t.Model) }]);
    this.CONSUME(t.Identifier);
    this.OPTION(() => {
      this.CONSUME(t.LParen);
      this.MANY(() => {
        this.SUBRULE(this.moduleParameter);
        this.OPTION2(() => this.CONSUME(t.Comma));
      });
      this.CONSUME(t.RParen);
    });
    this.CONSUME(t.LBrace);
    this.MANY2(() => this.SUBRULE(this.member));
    this.CONSUME(t.RBrace);
  });

  private readonly moduleParameter: Rule = this.RULE('moduleParameter', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.CONSUME2(t.Identifier, { LABEL: 'type' });
    this.OPTION(() => {
      this.CONSUME(t.Equals);
      this.SUBRULE(this.expression);
    });
  });

  private readonly member: Rule = this.RULE('member', () => {
    this.OR([
      { GATE: () => this.is(2, t.Identifier), ALT: () => this.SUBRULE(this.repeatMember), IGNORE_AMBIGUITIES: true },
      { GATE: () => this.isDefinition(), ALT: () => this.SUBRULE(this.derivedEntry), IGNORE_AMBIGUITIES: true },
      { GATE: () => this.is(2, t.Identifier), ALT: () => this.SUBRULE(this.entryMember), IGNORE_AMBIGUITIES: true },
      { GATE: () => this.isDefinition(), ALT: () => this.SUBRULE(this.stateMember), IGNORE_AMBIGUITIES: true },
      { ALT: () => this.SUBRULE(this.functionDeclaration) },
      { ALT: () => this.SUBRULE(this.field), IGNORE_AMBIGUITIES: true },
    ]);
  });

  /** A word of the language, a name, `=`: not a field that has the word for its name. */
  private isDefinition(): boolean {
    return this.is(2, t.Identifier) && this.is(3, t.Equals);
  }

  private readonly repeatMember: Rule = this.RULE('repeatMember', () => {
    this.CONSUME(t.Repeat);
    this.CONSUME(t.Identifier);
    this.CONSUME(t.LBracket);
    this.OPTION({
      GATE: () => this.is(2, t.In),
      DEF: () => {
        this.CONSUME2(t.Identifier, { LABEL: 'index' });
        this.CONSUME(t.In);
      },
    });
    this.SUBRULE(this.expression);
    this.CONSUME(t.RBracket);
    this.SUBRULE(this.submodule);
  });

  private readonly field: Rule = this.RULE('field', () => {
    this.CONSUME(t.Identifier);
    this.OR([{ ALT: () => this.SUBRULE(this.submodule) }, { ALT: () => this.SUBRULE(this.tensorField) }]);
  });

  private readonly submodule: Rule = this.RULE('submodule', () => {
    this.CONSUME(t.Equals);
    this.CONSUME(t.Identifier);
    this.SUBRULE(this.callArguments);
    this.SUBRULE(this.fieldClauses);
  });

  private readonly tensorField: Rule = this.RULE('tensorField', () => {
    this.CONSUME(t.Colon);
    this.SUBRULE(this.tensorType);
    this.SUBRULE(this.fieldClauses);
  });

  private readonly fieldClauses: Rule = this.RULE('fieldClauses', () => {
    this.OPTION({
      GATE: () => !this.is(2, t.Equals) && !this.is(2, t.Colon),
      DEF: () => {
        this.CONSUME(t.As);
        this.CONSUME(t.StringLiteral);
      },
    });
    this.OPTION3({
      GATE: () => !this.is(2, t.Equals) && !this.is(2, t.Colon),
      DEF: () => this.SUBRULE(this.initClause),
    });
    this.MANY({
      GATE: () => !this.is(2, t.Equals) && !this.is(2, t.Colon),
      DEF: () => this.SUBRULE(this.tiedClause),
    });
    this.OPTION2(() => {
      this.CONSUME(t.If);
      this.SUBRULE(this.expression);
    });
  });

  /** `init normal(std: 0.02)`: how the numbers of the tensor begin where no checkpoint gives them. */
  private readonly initClause: Rule = this.RULE('initClause', () => {
    this.CONSUME(t.Init);
    // Always needed; build-ast.ts says so when the next field comes instead.
    this.OPTION({
      GATE: () => !this.is(2, t.Equals) && !this.is(2, t.Colon),
      DEF: () => this.SUBRULE(this.expression),
    });
  });

  private readonly tiedClause: Rule = this.RULE('tiedClause', () => {
    this.CONSUME(t.Tied);
    this.CONSUME(t.Identifier);
    this.MANY(() => {
      this.CONSUME(t.Dot);
      this.CONSUME2(t.Identifier);
    });
    this.CONSUME(t.If);
    this.CONSUME(t.Missing);
  });

  private readonly stateMember: Rule = this.RULE('stateMember', () => {
    this.CONSUME(t.State);
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    this.CONSUME2(t.Identifier, { LABEL: 'type' });
    this.SUBRULE(this.callArguments);
  });

  private readonly functionDeclaration: Rule = this.RULE('functionDeclaration', () => {
    this.CONSUME(t.Fn);
    this.OPTION(() => this.CONSUME(t.Identifier));
    this.SUBRULE(this.functionParameters);
    this.OPTION2(() => {
      this.CONSUME(t.Arrow);
      this.SUBRULE(this.tensorType);
    });
    this.SUBRULE(this.body);
  });

  private readonly entryMember: Rule = this.RULE('entryMember', () => {
    this.CONSUME(t.Entry);
    this.CONSUME(t.Identifier);
    this.SUBRULE(this.functionParameters);
    // Always needed; build-ast.ts says so when it is absent.
    this.OPTION(() => {
      this.CONSUME(t.Arrow);
      this.SUBRULE(this.entryResults);
    });
    this.SUBRULE(this.body);
  });

  /** `entry decode = prefill with T = 1` */
  private readonly derivedEntry: Rule = this.RULE('derivedEntry', () => {
    this.CONSUME(t.Entry);
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    this.CONSUME2(t.Identifier, { LABEL: 'base' });
    this.CONSUME(t.With);
    this.SUBRULE(this.substitution);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE2(this.substitution);
    });
  });

  private readonly substitution: Rule = this.RULE('substitution', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  /** `train Model.entry { … }`; what may stand in which block is checked when lowering. */
  private readonly useBlock: Rule = this.RULE('useBlock', () => {
    this.CONSUME(t.UseKeyword);
    this.CONSUME(t.Identifier);
    this.OPTION(() => {
      this.CONSUME(t.Dot);
      this.CONSUME2(t.Identifier, { LABEL: 'entry' });
    });
    this.CONSUME(t.LBrace);
    this.MANY(() => {
      this.SUBRULE(this.useItem);
      this.OPTION2(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RBrace);
  });

  private readonly useItem: Rule = this.RULE('useItem', () => {
    this.OR([
      { GATE: () => this.is(2, t.Identifier), ALT: () => this.SUBRULE(this.useTarget), IGNORE_AMBIGUITIES: true },
      { GATE: () => this.is(2, t.Identifier), ALT: () => this.SUBRULE(this.useRead), IGNORE_AMBIGUITIES: true },
      {
        GATE: () => this.is(1, t.StringLiteral) || this.is(2, t.StringLiteral),
        ALT: () => this.SUBRULE(this.useRule),
        IGNORE_AMBIGUITIES: true,
      },
      { ALT: () => this.SUBRULE(this.useSetting), IGNORE_AMBIGUITIES: true },
    ]);
  });

  private readonly useTarget: Rule = this.RULE('useTarget', () => {
    this.CONSUME(t.Target);
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.tensorType);
  });

  /** `read input_ids: tokens("text", max: 128)` */
  private readonly useRead: Rule = this.RULE('useRead', () => {
    this.CONSUME(t.Read);
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.expression);
  });

  private readonly useRule: Rule = this.RULE('useRule', () => {
    this.OPTION(() => this.CONSUME(t.Identifier));
    this.CONSUME(t.StringLiteral);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.CONSUME2(t.StringLiteral);
    });
    this.CONSUME(t.Colon);
    this.SUBRULE(this.useValue);
  });

  private readonly useSetting: Rule = this.RULE('useSetting', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.useValue);
    this.MANY({
      GATE: () => !this.startsUseItem(2),
      DEF: () => {
        this.CONSUME(t.Comma);
        this.SUBRULE2(this.useValue);
      },
    });
  });

  /** Whether what follows a comma in a use block is the next item, or the end, and not one more value. */
  private startsUseItem(at: number): boolean {
    const isNamed = this.is(at, t.Identifier) && (this.is(at + 1, t.Colon) || this.is(at + 1, t.StringLiteral));
    const isTarget = (this.is(at, t.Target) || this.is(at, t.Read)) && this.is(at + 1, t.Identifier);
    const isRule = this.is(at, t.StringLiteral) && this.is(at + 1, t.Colon);
    return isNamed || isTarget || isRule || this.is(at, t.RBrace);
  }

  /** `adamw(lr: 1e-4)`, `keep 0.75 by l2` */
  private readonly useValue: Rule = this.RULE('useValue', () => {
    this.OPTION({
      GATE: () => this.is(2, t.NumberLiteral) || (this.is(2, t.Identifier) && !this.startsUseItem(2)),
      DEF: () => this.CONSUME(t.Keep),
    });
    this.SUBRULE(this.expression);
    this.OPTION2({
      GATE: () => this.is(2, t.Identifier),
      DEF: () => {
        this.CONSUME(t.By);
        this.CONSUME(t.Identifier);
      },
    });
  });

  private readonly entryResults: Rule = this.RULE('entryResults', () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.LBrace);
          this.MANY(() => {
            this.SUBRULE(this.namedResult);
            this.OPTION(() => this.CONSUME(t.Comma));
          });
          this.CONSUME(t.RBrace);
        },
      },
      { GATE: () => this.is(2, t.Colon), ALT: () => this.SUBRULE2(this.namedResult), IGNORE_AMBIGUITIES: true },
      { ALT: () => this.SUBRULE(this.tensorType), IGNORE_AMBIGUITIES: true },
    ]);
  });

  private readonly namedResult: Rule = this.RULE('namedResult', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.tensorType);
  });

  private readonly functionParameters: Rule = this.RULE('functionParameters', () => {
    this.CONSUME(t.LParen);
    this.MANY(() => {
      this.SUBRULE(this.functionParameter);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RParen);
  });

  private readonly functionParameter: Rule = this.RULE('functionParameter', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.tensorType);
    this.OPTION(() => {
      this.CONSUME(t.Equals);
      this.SUBRULE(this.expression);
    });
  });

  private readonly tensorType: Rule = this.RULE('tensorType', () => {
    this.CONSUME(t.Identifier);
    this.OPTION({
      GATE: () => this.continues(),
      DEF: () => {
        this.CONSUME(t.LBracket);
        this.MANY(() => {
          this.OR([{ ALT: () => this.CONSUME(t.Ellipsis) }, { ALT: () => this.SUBRULE(this.expression) }]);
          this.OPTION2(() => this.CONSUME(t.Comma));
        });
        this.CONSUME(t.RBracket);
      },
    });
  });

  private readonly body: Rule = this.RULE('body', () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Equals);
          this.SUBRULE(this.expression);
        },
      },
      { ALT: () => this.SUBRULE(this.block) },
    ]);
  });

  /** Lets and expressions in any order; build-expressions.ts wants exactly one expression, at the end. */
  private readonly block: Rule = this.RULE('block', () => {
    this.CONSUME(t.LBrace);
    this.MANY(() => {
      this.OR([{ ALT: () => this.SUBRULE(this.letStatement) }, { ALT: () => this.SUBRULE(this.expression) }]);
    });
    this.CONSUME(t.RBrace);
  });

  private readonly letStatement: Rule = this.RULE('letStatement', () => {
    this.CONSUME(t.Let);
    this.OR([
      { ALT: () => this.CONSUME(t.Identifier) },
      {
        ALT: () => {
          this.CONSUME(t.LBracket);
          this.MANY(() => {
            this.CONSUME2(t.Identifier);
            this.OPTION(() => this.CONSUME(t.Comma));
          });
          this.CONSUME(t.RBracket);
        },
      },
    ]);
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  /** `operand (operator operand)*`, without precedence. */
  readonly expression: Rule = this.RULE('expression', () => {
    this.SUBRULE(this.operand);
    this.MANY({
      GATE: () => !this.is(1, t.Minus) || this.continues(),
      DEF: () => {
        this.CONSUME(t.BinaryOperator);
        this.SUBRULE2(this.operand);
      },
    });
  });

  private readonly operand: Rule = this.RULE('operand', () => {
    this.MANY(() => this.CONSUME(t.PrefixOperator));
    this.SUBRULE(this.primary);
    this.MANY2({ GATE: () => this.is(1, t.Dot) || this.continues(), DEF: () => this.SUBRULE(this.postfix) });
  });

  private readonly postfix: Rule = this.RULE('postfix', () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Dot);
          this.CONSUME(t.Identifier);
        },
      },
      { ALT: () => this.SUBRULE(this.callArguments) },
      { ALT: () => this.SUBRULE(this.indexItems) },
    ]);
  });

  private readonly callArguments: Rule = this.RULE('callArguments', () => {
    this.CONSUME(t.LParen);
    this.MANY(() => {
      this.SUBRULE(this.argument);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RParen);
  });

  private readonly argument: Rule = this.RULE('argument', () => {
    this.OPTION({
      GATE: () => this.is(2, t.Colon),
      DEF: () => {
        this.CONSUME(t.Identifier);
        this.CONSUME(t.Colon);
      },
    });
    this.SUBRULE(this.expression);
  });

  private readonly indexItems: Rule = this.RULE('indexItems', () => {
    this.CONSUME(t.LBracket);
    this.MANY(() => {
      this.SUBRULE(this.indexItem);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RBracket);
  });

  private readonly indexItem: Rule = this.RULE('indexItem', () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Ellipsis) },
      { ALT: () => this.CONSUME(t.New) },
      {
        ALT: () => {
          this.CONSUME(t.Colon);
          this.OPTION(() => this.SUBRULE(this.expression, { LABEL: 'end' }));
        },
      },
      {
        ALT: () => {
          this.SUBRULE2(this.expression, { LABEL: 'start' });
          this.OPTION2(() => {
            this.CONSUME2(t.Colon);
            this.OPTION3(() => this.SUBRULE3(this.expression, { LABEL: 'end' }));
          });
        },
      },
    ]);
  });

  private readonly primary: Rule = this.RULE('primary', () => {
    this.OR([
      { ALT: () => this.CONSUME(t.NumberLiteral) },
      { ALT: () => this.CONSUME(t.StringLiteral) },
      { ALT: () => this.CONSUME(t.True) },
      { ALT: () => this.CONSUME(t.False) },
      { GATE: () => !this.startsDeclaration(), ALT: () => this.CONSUME(t.Identifier) },
      {
        ALT: () => {
          this.CONSUME(t.LParen);
          this.SUBRULE(this.expression);
          this.CONSUME(t.RParen);
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.LBracket);
          this.MANY(() => {
            this.SUBRULE2(this.expression, { LABEL: 'item' });
            this.OPTION(() => this.CONSUME(t.Comma));
          });
          this.CONSUME(t.RBracket);
        },
      },
      { ALT: () => this.SUBRULE(this.record) },
      { ALT: () => this.SUBRULE(this.ifExpression) },
      { ALT: () => this.SUBRULE(this.attend) },
    ]);
  });

  private readonly record: Rule = this.RULE('record', () => {
    this.CONSUME(t.LBrace);
    this.MANY(() => {
      this.SUBRULE(this.recordField);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RBrace);
  });

  private readonly recordField: Rule = this.RULE('recordField', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.expression);
  });

  private readonly ifExpression: Rule = this.RULE('ifExpression', () => {
    this.SUBRULE(this.ifBranch);
    this.MANY({
      GATE: () => this.is(2, t.If),
      DEF: () => {
        this.CONSUME(t.Else);
        this.SUBRULE2(this.ifBranch);
      },
    });
    this.OPTION(() => {
      this.CONSUME2(t.Else);
      this.SUBRULE(this.block);
    });
  });

  private readonly ifBranch: Rule = this.RULE('ifBranch', () => {
    this.CONSUME(t.If);
    this.SUBRULE(this.expression);
    this.SUBRULE(this.block);
  });

  private readonly attend: Rule = this.RULE('attend', () => {
    this.CONSUME(t.Attend);
    this.SUBRULE(this.callArguments);
    this.OPTION({ GATE: () => this.continues(), DEF: () => this.SUBRULE(this.modifiers) });
  });

  private readonly modifiers: Rule = this.RULE('modifiers', () => {
    this.CONSUME(t.LBrace);
    this.MANY(() => {
      this.SUBRULE(this.modifier);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RBrace);
  });

  /** The one place where a function of its own may stand: `score: (s, b, h, i, j) => s - slope[h] * f32(i - j)`. */
  private readonly modifier: Rule = this.RULE('modifier', () => {
    this.CONSUME(t.Identifier);
    this.CONSUME(t.Colon);
    this.OPTION({ GATE: () => this.startsLambda(), DEF: () => this.SUBRULE(this.lambdaParameters) });
    this.SUBRULE(this.expression);
  });

  private readonly lambdaParameters: Rule = this.RULE('lambdaParameters', () => {
    this.CONSUME(t.LParen);
    this.MANY(() => {
      this.CONSUME(t.Identifier);
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RParen);
    this.CONSUME(t.FatArrow);
  });

  /** Whether `(a, b) =>` comes next; `->` in its place is one mistake. */
  private startsLambda(): boolean {
    if (!this.is(1, t.LParen)) return false;
    let distance = 2;
    while (this.is(distance, t.Identifier) || this.is(distance, t.Comma)) distance++;
    return this.is(distance, t.RParen) && (this.is(distance + 1, t.FatArrow) || this.is(distance + 1, t.Arrow));
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

let parser: SoraParser | undefined;

/** The one parser: made at the first use, since its self-analysis takes some milliseconds. */
export function theParser(): SoraParser {
  parser ??= new SoraParser();
  return parser;
}

export type { SoraParser };
