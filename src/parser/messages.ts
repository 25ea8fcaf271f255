/**
 * Syntax errors in plain words: what chevrotain reports as token classes becomes "expected … found …".
 */
import { EOF, type IParserErrorMessageProvider, type IToken, type TokenType, tokenMatcher } from 'chevrotain';
import { closest } from '../support/suggest.ts';
import {
  As,
  Colon,
  Comma,
  Equals,
  FatArrow,
  Identifier,
  LParen,
  Multiple,
  New,
  reservedTypes,
  StringLiteral,
} from './tokens.ts';

const bodyWords = '`{` or `=` and what the function gives';
const importHelp = 'write `import { Linear } from "sora:nn"`';
const word = /^[A-Za-z_]/;

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
  body: bodyWords,
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
  'useRead.Colon': '`:` and how it is read, as `tokens("text")`',
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

/** A way out for a mistake: what was written instead, and what stands before it. */
interface Advice {
  /** Start of what was expected. */
  readonly expected: string;
  readonly actual?: TokenType;
  readonly previous?: RegExp;
  readonly help: string | ((actual: string, previous: string) => string);
}

/** Mistakes that people coming from other languages make; the first that fits is given. */
const advices: readonly Advice[] = [
  { expected: '`{` and the names', help: importHelp },
  { expected: '`from` and a path', help: importHelp },
  {
    expected: '`..`',
    previous: /^[0-9]+\.[0-9]+$/,
    help: (_, previous) => `a range is written \`${previous.replace('.', '..')}\``,
  },
  { expected: '`..`', help: 'a range is written with two dots: `1..512`' },
  {
    expected: '`in` and a range',
    actual: Equals,
    help: 'a dim has a range, since calls choose it; a fixed size is a number or a field of a `config`',
  },
  { expected: 'a field (`name: type`)', actual: Equals, help: 'the default stands before `from`' },
  { expected: '`=` and a value', actual: Comma, help: 'several names stand in brackets: `let [a, b] = …`' },
  { expected: '`=` and a value', actual: Colon, help: 'a `let` has no type: it is that of the value' },
  { expected: '`=` and a module, or', actual: As, help: '`as "…"` stands after the module or the type' },
  {
    expected: '`=` and a module, or',
    previous: /^as$/,
    help: '`as "…"` stands right after the module or the type, before `init` and `tied`',
  },
  { expected: '`=` and a module, or', previous: /^(?:def|func|function)$/, help: 'functions start with `fn`' },
  {
    expected: '`=` and a module, or',
    previous: /^state$/,
    help: 'a state is written `state kv = KVCache(batch, heads, positions, width)`',
  },
  { expected: '`=` and a module, or', previous: /^for$/, help: 'copies are made by `repeat name[count] = Module(…)`' },
  {
    expected: '`=` and a module, or',
    actual: LParen,
    help: 'a function starts with `fn`, what an app calls with `entry`',
  },
  { expected: 'a field, `repeat`', actual: LParen, previous: word, help: 'a submodule is written `name = Module(…)`' },
  { expected: 'the name of a module', actual: New, help: 'modules are made without `new`' },
  { expected: '`[`', actual: LParen, help: 'the count stands in brackets: `repeat name[count] = …`' },
  { expected: 'a name in quotes', actual: Identifier, help: 'write it in quotes: `as "…"`' },
  { expected: 'a key in quotes', actual: Identifier, help: (actual) => `write \`"${actual}"\`` },
  { expected: bodyWords, actual: LParen, previous: word, help: 'dims stand in brackets: `f32[B, T]`' },
  { expected: bodyWords, actual: Colon, previous: word, help: 'only an `entry` names its results' },
  { expected: bodyWords, actual: Colon, help: 'the type of the result stands after `->`' },
  { expected: bodyWords, actual: FatArrow, help: 'the type of the result stands after `->`' },
  {
    expected: '',
    actual: FatArrow,
    help: 'a function stands only in a modifier of `attend`: `score: (s, b, h, i, j) => …`',
  },
  {
    expected: '`,` or `)`',
    actual: Equals,
    previous: word,
    help: (_, previous) => `an argument is named \`${previous}: …\`; a comparison is written \`==\``,
  },
  { expected: '`:`', actual: Equals, previous: word, help: (_, previous) => `write \`${previous}: …\`` },
  { expected: '`)`', actual: Comma, help: 'several values are a list, `[a, b]`; several results `{ a: …, b: … }`' },
  { expected: '`', actual: Equals, previous: /^const$|^var$/, help: 'names are made with `let`' },
  { expected: '`{`', actual: Equals, help: 'a comparison is written `==`' },
  { expected: 'a declaration', actual: Multiple, help: 'write `multiple of 4`' },
  { expected: 'an expression', actual: Equals, help: 'a comparison is written `==`' },
  { expected: '`let`, an expression', actual: Equals, help: 'a comparison is written `==`; a new name needs `let`' },
  { expected: '`,` or', actual: Equals, help: 'a comparison is written `==`' },
  { expected: '', actual: New, help: '`new` is an axis of length 1 inside `[ ]`, as in `x[:, new]`' },
];

/** Words that start what stands in a module. */
const fieldWords: readonly string[] = ['entry', 'repeat', 'state', 'fn'];

/** What to do about a syntax error; `message` starts with `expected`. */
export function adviceFor(actual: IToken, previous: IToken | undefined, message: string): string | undefined {
  const expected = message.replace(/^expected /, '');
  const before = previous?.image ?? '';
  const found = advices.find(
    (advice) =>
      expected.startsWith(advice.expected) &&
      (advice.actual === undefined || tokenMatcher(actual, advice.actual)) &&
      (advice.previous === undefined || advice.previous.test(before)),
  );
  if (found !== undefined) return typeof found.help === 'string' ? found.help : found.help(actual.image, before);
  const meant = closest(before, fieldWords);
  if (expected.startsWith('`=` and a module, or') && meant !== undefined) return `did you mean \`${meant}\`?`;
  if (actual.tokenType === StringLiteral && closest(before, ['from']) !== undefined) return 'did you mean `from`?';
  const isName = expected.startsWith('a name');
  return isName && reservedTypes.has(actual.tokenType) ? `\`${actual.image}\` cannot be a name` : undefined;
}
