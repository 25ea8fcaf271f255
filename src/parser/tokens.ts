/**
 * The token table of the language: one line per token. It makes the lexer, gives the words of error messages and carries
 * the highlighting scope that editors need.
 *
 * Only the words of `reserved` can never be names. The other keywords are names too (`categories` of Identifier), so that
 * a config may have a field `dim` or `from`; the grammar tells them apart by what stands next to them.
 * Malformed literals have tokens of their own: the parser takes them as what was meant, lex.ts reports them.
 */
import { createToken, Lexer, type TokenType } from 'chevrotain';

export interface TokenInfo {
  readonly type: TokenType;
  /** What people call it in "expected …": a phrase, or the text in backquotes. */
  readonly label: string;
  /** TextMate scope without the language suffix. */
  readonly scope: string;
}

const infos = new Map<TokenType, TokenInfo>();

function token(name: string, pattern: RegExp | string, label: string, scope: string, options = {}): TokenType {
  const type = createToken({ name, pattern, label, ...options });
  infos.set(type, { type, label, scope });
  return type;
}

function category(name: string, label: string): TokenType {
  return createToken({ name, pattern: Lexer.NA, label });
}

export const Identifier = token('Identifier', /[A-Za-z_][A-Za-z0-9_]*/, 'a name', 'variable.other');

/** A word that is never a name. */
function reserved(word: string, categories: readonly TokenType[] = []): TokenType {
  const name = `${word[0]?.toUpperCase()}${word.slice(1)}Keyword`;
  return token(name, word, `\`${word}\``, 'keyword.control', { longer_alt: Identifier, categories: [...categories] });
}

/** A word with a meaning in one place and a name elsewhere. */
function contextual(word: string, categories: readonly TokenType[] = []): TokenType {
  const name = `${word[0]?.toUpperCase()}${word.slice(1)}Word`;
  const all = [Identifier, ...categories];
  return token(name, word, `\`${word}\``, 'keyword.other', { longer_alt: Identifier, categories: all });
}

function punctuation(name: string, text: string, categories: readonly TokenType[] = []): TokenType {
  const scope = categories.length > 0 ? 'keyword.operator' : 'punctuation';
  return token(name, text, `\`${text}\``, scope, { categories: [...categories] });
}

// The bidirectional controls count as blank here, so that lex.ts reports them once and the parser never sees them.
const WhiteSpace = createToken({
  name: 'WhiteSpace',
  pattern: /[ \t\r\n\f\v\u00a0\ufeff\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]+/,
  group: Lexer.SKIPPED,
  line_breaks: true,
});
export const DocComment = token('DocComment', /\/\/\/(?!\/)[^\n\r]*/, 'a doc comment', 'comment.line.documentation', {
  group: 'comments',
});
export const LineComment = token('LineComment', /\/\/[^\n\r]*/, 'a comment', 'comment.line', { group: 'comments' });
/** Not in the language; known so that a person who writes one gets one clear message. */
export const BlockComment = token('BlockComment', /\/\*[\s\S]*?(?:\*\/|(?![\s\S]))/, 'a comment', 'invalid', {
  group: 'malformed',
  line_breaks: true,
});

export const BinaryOperator = category('BinaryOperator', 'an operator');
export const PrefixOperator = category('PrefixOperator', '`-` or `not`');
/** The words that start a block about the use of a model. */
export const UseKeyword = category('UseKeyword', '`train`, `quantize`, `prune`, `adapter`, `generate` or `golden`');

export const StringLiteral = token('StringLiteral', /"(?:[^"\\\n\r]|\\[^\n\r])*"/, 'a string', 'string.quoted.double');
export const UnterminatedString = token('UnterminatedString', /"(?:[^"\\\n\r]|\\[^\n\r])*\\?/, 'a string', 'invalid', {
  categories: [StringLiteral],
});
export const SingleQuotedString = token('SingleQuotedString', /'[^'\n\r]*'/, 'a string', 'invalid', {
  categories: [StringLiteral],
});

export const NumberLiteral = token(
  'NumberLiteral',
  /[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_]|\.[0-9])/,
  'a number',
  'constant.numeric',
);
export const BadNumber = token(
  'BadNumber',
  /[0-9][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*|\.[0-9][A-Za-z0-9_]*/,
  'a number',
  'invalid',
  { categories: [NumberLiteral] },
);

export const Fn = reserved('fn');
export const Let = reserved('let');
export const If = reserved('if');
export const Else = reserved('else');
export const True = reserved('true');
export const False = reserved('false');
export const New = reserved('new');
export const And = reserved('and', [BinaryOperator]);
export const Or = reserved('or', [BinaryOperator]);
export const Not = reserved('not', [PrefixOperator]);
export const Attend = reserved('attend');

export const Import = contextual('import');
export const Dim = contextual('dim');
export const Config = contextual('config');
export const Module = contextual('module');
export const Model = contextual('model');
export const Entry = contextual('entry');
export const Repeat = contextual('repeat');
export const In = contextual('in');
export const Multiple = contextual('multiple');
export const Of = contextual('of');
export const From = contextual('from');
export const As = contextual('as');
export const Count = contextual('count');
export const Tied = contextual('tied');
export const Missing = contextual('missing');
export const Init = contextual('init');
export const With = contextual('with');
export const State = contextual('state');
export const Target = contextual('target');
export const Read = contextual('read');
export const Keep = contextual('keep');
export const By = contextual('by');
export const Train = contextual('train', [UseKeyword]);
export const Quantize = contextual('quantize', [UseKeyword]);
export const Prune = contextual('prune', [UseKeyword]);
export const Adapter = contextual('adapter', [UseKeyword]);
export const Generate = contextual('generate', [UseKeyword]);
export const Golden = contextual('golden', [UseKeyword]);

export const LBrace = punctuation('LBrace', '{');
export const RBrace = punctuation('RBrace', '}');
export const LParen = punctuation('LParen', '(');
export const RParen = punctuation('RParen', ')');
export const LBracket = punctuation('LBracket', '[');
export const RBracket = punctuation('RBracket', ']');
export const Comma = punctuation('Comma', ',');
export const Ellipsis = punctuation('Ellipsis', '...');
export const DotDot = punctuation('DotDot', '..');
export const Dot = punctuation('Dot', '.');
export const Colon = punctuation('Colon', ':');
export const Arrow = punctuation('Arrow', '->');
/** Of functions in the modifiers of `attend`; elsewhere `(a) => b` gets one clear message. */
export const FatArrow = punctuation('FatArrow', '=>');
export const EqualEqual = punctuation('EqualEqual', '==', [BinaryOperator]);
export const NotEqual = punctuation('NotEqual', '!=', [BinaryOperator]);
export const LessEqual = punctuation('LessEqual', '<=', [BinaryOperator]);
export const GreaterEqual = punctuation('GreaterEqual', '>=', [BinaryOperator]);
export const Less = punctuation('Less', '<', [BinaryOperator]);
export const Greater = punctuation('Greater', '>', [BinaryOperator]);
export const Equals = punctuation('Equals', '=');
export const Plus = punctuation('Plus', '+', [BinaryOperator]);
export const Minus = punctuation('Minus', '-', [BinaryOperator, PrefixOperator]);
export const StarStar = punctuation('StarStar', '**', [BinaryOperator]);
export const Star = punctuation('Star', '*', [BinaryOperator]);
export const Slash = punctuation('Slash', '/', [BinaryOperator]);
export const Percent = punctuation('Percent', '%', [BinaryOperator]);

/** Lexer order: longer and more special patterns first, `Identifier` after every keyword. */
export const tokenTypes: readonly TokenType[] = [
  WhiteSpace,
  DocComment,
  LineComment,
  BlockComment,
  BinaryOperator,
  PrefixOperator,
  UseKeyword,
  StringLiteral,
  UnterminatedString,
  SingleQuotedString,
  NumberLiteral,
  BadNumber,
  ...[Fn, Let, If, Else, True, False, New, And, Or, Not, Attend],
  // `init` before `in`: a word that begins another one would take its place.
  ...[Import, Dim, Config, Module, Model, Entry, Repeat, Init, In, Multiple, Of, From, As, Count],
  ...[Tied, Missing, With, State, Target, Read, Keep, By, Train, Quantize, Prune, Adapter, Generate, Golden],
  Identifier,
  ...[LBrace, RBrace, LParen, RParen, LBracket, RBracket, Comma, Ellipsis, DotDot, Dot, Colon, Arrow],
  ...[
    FatArrow,
    EqualEqual,
    NotEqual,
    LessEqual,
    GreaterEqual,
    Less,
    Greater,
    Equals,
    Plus,
    Minus,
    StarStar,
    Star,
    Slash,
    Percent,
  ],
];

/** The table for highlighting and documentation, in lexer order. */
export const tokenTable: readonly TokenInfo[] = tokenTypes.flatMap((type) => {
  const info = infos.get(type);
  return info === undefined ? [] : [info];
});

/** The words that start a block about the use of a model. */
export const useWords: readonly string[] = ['train', 'quantize', 'prune', 'adapter', 'generate', 'golden'];

/** The words that start a declaration at the outermost level. */
export const declarationWords: readonly string[] = ['import', 'dim', 'config', 'module', 'model', 'fn', ...useWords];

/** Keywords that cannot be names. */
export const reservedTypes: ReadonlySet<TokenType> = new Set([
  Fn,
  Let,
  If,
  Else,
  True,
  False,
  New,
  And,
  Or,
  Not,
  Attend,
]);
