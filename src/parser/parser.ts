/**
 * The grammar: tokens to a concrete syntax tree, with chevrotain's error recovery on. Here are the declarations; bodies are
 * in expression-parser.ts.
 *
 * Lines. The grammar does not care about line ends, with one exception: outside `( )` and `[ ]`, a `(`, `[`, `{` or `-`
 * that starts a line begins something new instead of continuing the expression before it. So
 *
 *     let a = f(x)
 *     (b)
 *
 * is a `let` and the block's result, not the call `f(x)(b)`. All other operators and `.name` do continue across lines.
 *
 * Commas between items are optional to the grammar, and build-ast.ts reports the missing ones: a forgotten comma then
 * gives exactly one message.
 */
import { ExpressionParser, type Rule } from './expression-parser.ts';
import * as t from './tokens.ts';

class SoraParser extends ExpressionParser {
  constructor() {
    super();
    this.performSelfAnalysis();
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
}

let parser: SoraParser | undefined;

/** The one parser: made at the first use, since its self-analysis takes some milliseconds. */
export function theParser(): SoraParser {
  parser ??= new SoraParser();
  return parser;
}

export type { SoraParser };
