/**
 * Rules of what stands in bodies: types, blocks, expressions.
 *
 * Expressions are parsed flat, operands and operators in one row; build-ast.ts applies precedence. That keeps the parser's
 * recursion at one level per bracket.
 */
import type { CstNode, ParserMethod } from 'chevrotain';
import { RecoveringParser } from './recovering-parser.ts';
import * as t from './tokens.ts';

export type Rule = ParserMethod<[], CstNode>;

export abstract class ExpressionParser extends RecoveringParser {
  protected readonly tensorType: Rule = this.RULE('tensorType', () => {
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

  protected readonly body: Rule = this.RULE('body', () => {
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

  protected readonly callArguments: Rule = this.RULE('callArguments', () => {
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
