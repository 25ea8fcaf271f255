/**
 * Comments by token, for the formatter: a comment on a line of its own leads the next token, one at the end of a line trails
 * the token before it.
 */
import { EOF, type IToken } from 'chevrotain';
import { blank, type Doc, fresh, suffix } from './layout.ts';

export interface Trivia {
  /** The token with its comments. */
  print(token: IToken): Doc;
  /** Only the comments, for a token that is not printed itself. */
  commentsOf(token: IToken): Doc;
  /** What leads the token; printed once, so taking it before the token keeps it out of the groups that begin there. */
  takeLeading(token: IToken): Doc;
  /** The token and what trails it, without what leads it. */
  printTrailing(token: IToken): Doc;
  /** Whether an empty line stands before the token (before its leading comments). */
  hasBlankBefore(token: IToken): boolean;
  /** Whether a comment stands after `opener` and before `closer`. */
  hasCommentBetween(opener: IToken, closer: IToken): boolean;
  /** Comments after the last token. */
  readonly atEnd: Doc;
  readonly hasBlankAtEnd: boolean;
}

interface Attached {
  readonly leading: IToken[];
  readonly trailing: IToken[];
  /** Last line of what stands before the leading comments. */
  lineBefore: number;
}

function lastLine(token: IToken): number {
  return token.endLine ?? 0;
}

export function attachComments(tokens: readonly IToken[], comments: readonly IToken[]): Trivia {
  const attached = new Map<IToken, Attached>();
  const end: IToken = { image: '', startOffset: Number.POSITIVE_INFINITY, tokenType: EOF, tokenTypeIdx: 0 };
  let at = 0;
  let previous: IToken | undefined;
  for (const token of [...tokens, end]) {
    const own: Attached = { leading: [], trailing: [], lineBefore: previous === undefined ? 0 : lastLine(previous) };
    for (let comment = comments[at]; comment && comment.startOffset < token.startOffset; comment = comments[++at]) {
      const trails = previous !== undefined && own.leading.length === 0 && comment.startLine === lastLine(previous);
      if (trails && previous !== undefined) attached.get(previous)?.trailing.push(comment);
      else own.leading.push(comment);
    }
    attached.set(token, own);
    previous = token;
  }

  const textOf = (comment: IToken): string => comment.image.trimEnd();
  const blankBetween = (left: IToken | undefined, right: IToken): boolean =>
    left !== undefined && (right.startLine ?? 0) - lastLine(left) > 1;
  const taken = new Set<IToken>();
  const takeLeading = (token: IToken): Doc => {
    const own = attached.get(token)?.leading ?? [];
    if (own.length === 0 || taken.has(token)) return '';
    taken.add(token);
    const rows = own.map((comment, index) => [blankBetween(own[index - 1], comment) ? blank : fresh, textOf(comment)]);
    const keepsBlank = !/^[)\]},]?$/.test(token.image) && blankBetween(own.at(-1), token);
    return [rows, keepsBlank ? blank : fresh];
  };
  const trailing = (token: IToken): Doc =>
    (attached.get(token)?.trailing ?? []).map((comment) => suffix(` ${textOf(comment)}`));
  const printTrailing = (token: IToken): Doc => [token.image, trailing(token)];

  return {
    takeLeading,
    printTrailing,
    print: (token) => [takeLeading(token), printTrailing(token)],
    commentsOf: (token) => [trailing(token), takeLeading(token)],
    hasBlankBefore(token) {
      const own = attached.get(token);
      const first = own?.leading[0] ?? token;
      return own !== undefined && own.lineBefore > 0 && (first.startLine ?? 0) - own.lineBefore > 1;
    },
    hasCommentBetween(opener, closer) {
      // Asked for every bracket: comments are in the order of the text, so the first one after the opener decides.
      let [from, to] = [0, comments.length];
      while (from < to) {
        const middle = (from + to) >> 1;
        if ((comments[middle]?.startOffset ?? 0) > opener.startOffset) to = middle;
        else from = middle + 1;
      }
      const first = comments[from];
      return first !== undefined && first.startOffset < closer.startOffset;
    },
    atEnd: takeLeading(end),
    hasBlankAtEnd: blankBetween(tokens.at(-1), attached.get(end)?.leading[0] ?? end),
  };
}
