/**
 * Syntax errors in plain words: what chevrotain reports as token classes becomes "expected … found …".
 */
import { EOF, type IParserErrorMessageProvider, type IToken, type TokenType } from 'chevrotain';
import { Equals, FatArrow, Identifier, New, NumberLiteral, reservedTypes, StringLiteral } from './tokens.ts';

/** What may stand at the start of each rule that can fail as a whole. */
const ruleWords: Readonly<Record<string, string>> = {
  sourceFile:
    'a declaration (`import`, `dim`, `config`, `module`, `model` or `fn`) or a block (`train`, `quantize`, …)',
  member: 'a field, `repeat`, `state`, `fn` or `entry`',
  useItem: '`name: value` or `"weights": value`',
  useValue: 'a value',
  field: '`=` and a module, or `:` and a tensor type, after the field name',
  configKey: 'a key in quotes, or `count("key")`',
  entryResults: 'a result type, as `f32[B, T]` or `{ name: f32[B, T] }`',
  body: '`{` or `=` and what the function gives',
  block: 'an expression: what the block gives',
  letStatement: 'a name, or `[` names `]`',
  postfix: '`.`, `(` or `[`',
  primary: 'an expression',
  indexItem: 'an index, `:`, `new` or `...`',
  tensorType: 'a dimension',
};

/** Where a plain token is expected, what it is there for. */
const tokenPurpose: Readonly<Record<string, string>> = {
  'moduleDeclaration.RBrace': 'a field, `repeat`, `fn`, `entry` or `}`',
  'moduleDeclaration.Identifier': 'a name for the module',
  'configDeclaration.RBrace': 'a field (`name: type`) or `}`',
  'configDeclaration.Identifier': 'a name for the config',
  'configField.Colon': '`:` and a type after the field name',
  'block.RBrace': '`let`, an expression or `}`',
  'letStatement.Equals': '`=` and a value',
  'dimItem.InWord': '`in` and a range, as `in 1..512`',
  'dimItem.DotDot': '`..` and the largest value',
  'dimItem.Identifier': 'a name for the dim',
  'functionParameter.Colon': '`:` and a type after the parameter name',
  'moduleParameter.Colon': '`:` and a type after the parameter name',
  'entryMember.Identifier': 'a name for the entry',
  'importDeclaration.FromWord': '`from` and a path in quotes',
  'importDeclaration.LBrace': '`{` and the names to import',
  'importDeclaration.StringLiteral': 'a path in quotes',
  'fieldClauses.StringLiteral': 'a name in quotes',
  'functionParameters.RParen': 'a parameter (`name: type`) or `)`',
  'callArguments.RParen': '`,` or `)`',
  'indexItems.RBracket': '`,` or `]`',
  'record.RBrace': 'a field (`name: value`) or `}`',
  'submodule.LParen': '`(` and the arguments of the module',
  'submodule.Identifier': 'the name of a module',
  'submodule.Equals': '`=` and a module',
  'callArguments.LParen': '`(`',
  'tiedClause.IfKeyword': '`if missing`',
  'tiedClause.MissingWord': '`missing`',
  'tiedClause.Identifier': 'the field whose tensor is taken',
  'stateMember.Identifier': 'a kind of state, as `KVCache(…)`',
  'derivedEntry.WithWord': '`with` and sizes, as `with T = 1`',
  'derivedEntry.Identifier': 'the name of an entry',
  'substitution.Identifier': 'the name of a dim',
  'substitution.Equals': '`=` and a size',
  'useBlock.Identifier': 'the name of a model',
  'useBlock.LBrace': '`{` and what the block says',
  'useBlock.RBrace': '`name: value`, `"weights": value` or `}`',
  'useSetting.Colon': '`:` and a value',
  'useRule.Colon': '`:` and what is done with these weights',
  'useTarget.Colon': '`:` and a tensor type',
  'sourceFile.EOF': 'a declaration (`import`, `dim`, `config`, `module`, `model` or `fn`)',
};

export function describeToken(token: IToken): string {
  if (token.tokenType === EOF) return 'the end of the file';
  if (token.image === '') return 'the end of the bracket';
  if (token.tokenType === StringLiteral) return token.image.length > 30 ? 'a string' : `\`${token.image}\``;
  if (reservedTypes.has(token.tokenType)) return `the keyword \`${token.image}\``;
  return token.image.length > 40 ? 'this' : `\`${token.image}\``;
}

function expectedToken(expected: TokenType, ruleName: string): string {
  return tokenPurpose[`${ruleName}.${expected.name}`] ?? expected.LABEL ?? expected.name;
}

/** What stands on a later line has nothing to do with what is missing on this one: it is not named then. */
function expectedFound(expected: string, actual: IToken | undefined, previous?: IToken): string {
  const isLater = previous !== undefined && (actual?.startLine ?? 0) > (previous.endLine ?? 0);
  return actual === undefined || isLater
    ? `expected ${expected}`
    : `expected ${expected}, found ${describeToken(actual)}`;
}

export const messageProvider: IParserErrorMessageProvider = {
  buildMismatchTokenMessage({ expected, actual, previous, ruleName }) {
    return expectedFound(expectedToken(expected, ruleName), actual, previous);
  },
  buildNotAllInputParsedMessage({ firstRedundant }) {
    return expectedFound(ruleWords.sourceFile ?? 'a declaration', firstRedundant);
  },
  buildNoViableAltMessage({ actual, previous, ruleName }) {
    return expectedFound(ruleWords[ruleName] ?? 'something else', actual[0], previous);
  },
  buildEarlyExitMessage({ actual, previous, ruleName }) {
    return expectedFound(ruleWords[ruleName] ?? 'at least one', actual[0], previous);
  },
};

/** Advice for mistakes that people coming from other languages make. */
export function adviceFor(actual: IToken, previous: IToken | undefined, expected: string): string | undefined {
  if (actual.tokenType === FatArrow)
    return 'a function stands only in a modifier of `attend`: `score: (s, b, h, i, j) => …`';
  if (expected.startsWith('expected `..`') && previous?.tokenType === NumberLiteral && previous.image.includes('.')) {
    return `a range is written \`${previous.image.replace('.', '..')}\``;
  }
  if (actual.tokenType === Equals && expected.includes('`{`') === false && !expected.includes('`:`')) {
    return 'a comparison is written `==`; a new name needs `let`';
  }
  if (actual.tokenType === New) return '`new` is an axis of length 1 inside `[ ]`, as in `x[:, new]`';
  if (reservedTypes.has(actual.tokenType) && expected.startsWith('expected a name'))
    return `\`${actual.image}\` cannot be a name`;
  if (previous?.tokenType === Identifier && /^(?:const|var)$/.test(previous.image)) return 'names are made with `let`';
  return undefined;
}
