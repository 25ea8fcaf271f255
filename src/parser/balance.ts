/**
 * Mends brackets: a missing closer is added where it must have stood, a closer of another kind is taken for the one that was meant,
 * a closer without opener is dropped, each with one diagnostic.
 */
import { type IToken, type TokenType, tokenMatcher } from 'chevrotain';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import type { SourceFile } from '../support/source.ts';
import {
  closerOf,
  closers,
  endsItem,
  isWord,
  onSameLine,
  startsLine,
  virtualCloser,
  virtualOpener,
} from './brackets.ts';
import { tokenSpan } from './lex.ts';
import {
  Attend,
  BinaryOperator,
  Colon,
  Comma,
  Dot,
  declarationWords,
  Equals,
  Fn,
  Identifier,
  If,
  LBrace,
  Let,
  LParen,
  PrefixOperator,
  RBrace,
  UnterminatedString,
  useWords,
} from './tokens.ts';

export interface Balanced {
  readonly tokens: readonly IToken[];
  readonly diagnostics: readonly Diagnostic[];
}

export function nestingDiagnostic(file: SourceFile, token: IToken): Diagnostic {
  return diagnose('SORA1008', `brackets nest deeper than ${limits.nesting} levels`, tokenSpan(file, token));
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

/** By kind of opener: how many more openers than closers a file has. Below 0: closers are too many. */
function missingClosers(tokens: readonly IToken[]): Map<TokenType, number> {
  const missing = new Map<TokenType, number>([...closerOf.keys()].map((opener) => [opener, 0]));
  for (const { tokenType } of tokens) {
    for (const [opener, closer] of closerOf) {
      const step = tokenType === opener ? 1 : tokenType === closer ? -1 : 0;
      missing.set(opener, (missing.get(opener) ?? 0) + step);
    }
  }
  return missing;
}

/**
 * Whether the grammar refuses the `(` in any case, with a word about what belongs there: after the head of a use block, and where
 * `attend` has its modifiers in it. Then its closer is no second mistake.
 */
function isRefusedLater(out: readonly IToken[], { token, index }: Open): boolean {
  if (token.tokenType !== LParen) return false;
  if (out[index - 1]?.tokenType === Attend) {
    return out.some((each, at) => at > index && each.tokenType === Colon && out[at - 1]?.tokenType === Identifier);
  }
  let first = index;
  while (first > 0 && !startsLine(out, first)) first--;
  // Inside of the block, on the line of its head, it is one like any.
  if (out.slice(first, index).some(({ tokenType }) => tokenType === LBrace)) return false;
  return first < index && out[first]?.startColumn === 1 && useWords.includes(out[first]?.image ?? '');
}

/** Whether a closer that does not fit may have been meant for the opener: a brace on another line closes a block of its own. */
function mayBeMeantFor(opener: IToken, tokens: readonly IToken[], at: number): boolean {
  const hasBrace = opener.tokenType === LBrace || tokens[at]?.tokenType === RBrace;
  return !hasBrace || (!startsLine(tokens, at) && onSameLine(opener, tokens[at]));
}

export function balance(file: SourceFile, tokens: readonly IToken[]): Balanced {
  const diagnostics: Diagnostic[] = [];
  const missing = missingClosers(tokens);
  const out: IToken[] = [];
  const stack: Open[] = [];
  // The first closer on a line of its own that stands at another indentation than its opener's line: when brackets run
  // out later, that opener is the one whose closer was forgotten.
  let suspect: { readonly token: IToken; readonly closeAt: number } | undefined;

  // A string without end has taken in what stands behind it on its line, and at the end of a file nobody has finished yet.
  const cutShort = tokens.filter((token) => token.tokenType === UnterminatedString);
  const isUnfinished = tokens.at(-1)?.tokenType === UnterminatedString;
  const isEaten = (opener: IToken): boolean =>
    cutShort.some((text) => onSameLine(opener, text) && text.startOffset > opener.startOffset);

  const reportUnclosed = (opener: IToken, seen: IToken | undefined): void => {
    const open = stack.find(({ token }) => token === opener);
    if (isEaten(opener) || (isUnfinished && seen === undefined) || (open && isRefusedLater(out, open))) return;
    const labels = seen === undefined ? [] : [{ span: tokenSpan(file, seen), text: 'noticed here' }];
    const help = `add ${closerOf.get(opener.tokenType)?.LABEL ?? 'its closer'}`;
    diagnostics.push(
      diagnose('SORA1007', `\`${opener.image}\` is never closed`, tokenSpan(file, opener), { labels, help }),
    );
  };
  const reportStray = (token: IToken): void => {
    const span = tokenSpan(file, token);
    const fixes = [{ title: `remove \`${token.image}\``, edits: [{ span, text: '' }] }];
    diagnostics.push(diagnose('SORA1007', `\`${token.image}\` closes nothing`, span, { help: 'remove it', fixes }));
  };
  /** A closer of a kind that is too many, where another is missing: it stands in the other's place, or in nobody's. */
  const takeUnlike = (open: Open, token: IToken): boolean => {
    const opener = open.token;
    const kind = [...closerOf].find(([, closer]) => closer === token.tokenType)?.[0];
    if (kind === undefined || kind === opener.tokenType || (missing.get(kind) ?? 0) >= 0) return false;
    const wanted = missing.get(opener.tokenType) ?? 0;
    missing.set(kind, (missing.get(kind) ?? 0) + 1);
    const isSaid = isRefusedLater(out, open);
    if (wanted <= 0) {
      if (!isSaid) reportStray(token);
      return true;
    }
    missing.set(opener.tokenType, wanted - 1);
    const right = closerOf.get(opener.tokenType)?.LABEL ?? 'its closer';
    const span = tokenSpan(file, token);
    const unlike = diagnose('SORA1007', `\`${opener.image}\` is closed by \`${token.image}\``, span, {
      labels: [{ span: tokenSpan(file, opener), text: 'opened here' }],
      help: `write ${right}`,
      fixes: [{ title: `write ${right}`, edits: [{ span, text: right.replaceAll('`', '') }] }],
    });
    if (!isSaid) diagnostics.push(unlike);
    stack.pop();
    out.push(virtualCloser(opener, token));
    return true;
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
      const isMeant =
        innermost !== undefined &&
        (mayBeMeantFor(innermost.token, tokens, at) || isRefusedLater(out, innermost)) &&
        takeUnlike(innermost, token);
      if (isMeant) continue;
      if (height < 0 || innermost === undefined) {
        const lost = token.tokenType === RBrace ? lostOpener(out) : undefined;
        if (lost !== undefined) {
          diagnostics.push(openerDiagnostic(file, lost, token));
          out.splice(lost.at, 0, virtualOpener(lost.before));
          out.push(token);
          continue;
        }
        reportStray(token);
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
