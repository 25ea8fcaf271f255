/**
 * Reading chevrotain's tree: children by name, spans, and what the tree builders share (diagnostics, depth of expressions).
 * Every access may find nothing, since recovery leaves parts out.
 */
import type { CstNode, IToken } from 'chevrotain';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import type { SourceFile, Span } from '../support/source.ts';
import type { Expression, Identifier, StringValue } from './ast.ts';
import { tokenSpan, unescapeString } from './lex.ts';
import { isVirtual } from './structure.ts';
import { Comma } from './tokens.ts';

export interface Builder {
  readonly whole: Span;
  node(parent: CstNode, name: string): CstNode | undefined;
  nodes(parent: CstNode, name: string): CstNode[];
  /** Written tokens only; what recovery invented is left out. */
  token(parent: CstNode, name: string): IToken | undefined;
  tokens(parent: CstNode, name: string): IToken[];
  tokenSpan(token: IToken): Span;
  /** Text from the first to the last token of the node; `near` when it has none. */
  span(node: CstNode, near: Span): Span;
  identifier(parent: CstNode, name: string): Identifier | undefined;
  string(parent: CstNode, name: string): StringValue | undefined;
  missing(near: Span): Expression;
  /** The expression, unless it has grown deeper than later stages may recurse. */
  grown(expression: Expression, children: readonly Expression[]): Expression;
  report(diagnostic: Diagnostic): void;
  /** Whether recovery left nothing out of the node. */
  isWhole(node: CstNode): boolean;
  /** Reports the first two neighbours with neither a comma nor, if `separator` is `lines`, a line end between them. */
  requireCommas(items: readonly CstNode[], what: string, separator?: 'commas' | 'lines'): void;
  requireCommasBetween(spans: readonly Span[], what: string, separator?: 'commas' | 'lines'): void;
  /** Text of the `///` lines directly before the token at this offset. */
  doc(start: number): string | undefined;
}

/** The text of `///` lines without the slashes, by the offset of the token that follows them. */
export function docTexts(tokens: readonly IToken[], comments: readonly IToken[]): ReadonlyMap<number, string> {
  const docs = new Map<number, string>();
  let at = 0;
  let previousLine = 0;
  let lines: string[] = [];
  for (const token of tokens) {
    if (isVirtual(token)) continue;
    for (let comment = comments[at]; comment && comment.startOffset < token.startOffset; comment = comments[++at]) {
      const isDoc = comment.tokenType.name === 'DocComment' && (comment.startLine ?? 0) > previousLine;
      if (isDoc) lines.push(comment.image.slice(3).replace(/^ /, '').trimEnd());
    }
    previousLine = token.endLine ?? 0;
    // A comma may be left out: lines before it belong to what comes after it.
    if (token.tokenType === Comma) continue;
    if (lines.length > 0) docs.set(token.startOffset, lines.join('\n').trim());
    lines = [];
  }
  return docs;
}

function isNode(element: CstNode | IToken): element is CstNode {
  return 'children' in element;
}

export function makeBuilder(file: SourceFile, docs: ReadonlyMap<number, string>, diagnostics: Diagnostic[]): Builder {
  const whole: Span = { file, start: 0, end: 0 };
  const depths = new WeakMap<Expression, number>();
  let reportedDepth = false;

  const builder: Builder = {
    whole,
    node: (parent, name) => builder.nodes(parent, name)[0],
    nodes: (parent, name) => (parent.children[name] ?? []).filter(isNode),
    token: (parent, name) => builder.tokens(parent, name)[0],
    tokens: (parent, name) =>
      (parent.children[name] ?? []).filter((element): element is IToken => !isNode(element) && !isVirtual(element)),
    tokenSpan: (token) => tokenSpan(file, token),
    span(node, near) {
      const start = node.location?.startOffset ?? Number.NaN;
      const end = node.location?.endOffset ?? Number.NaN;
      if (Number.isNaN(start) || Number.isNaN(end)) return near;
      return { file, start, end: Math.max(start, Math.min(end + 1, file.text.length)) };
    },
    identifier(parent, name) {
      const token = builder.token(parent, name);
      return token && { text: token.image, span: tokenSpan(file, token) };
    },
    string(parent, name) {
      const token = builder.token(parent, name);
      return token && { text: unescapeString(token.image).text, span: tokenSpan(file, token) };
    },
    missing: (near) => ({ kind: 'missing', span: near }),
    grown(expression, children) {
      const depth = 1 + children.reduce((deepest, child) => Math.max(deepest, depths.get(child) ?? 1), 0);
      if (depth > limits.expressionDepth) {
        if (!reportedDepth) {
          const message = `this expression is deeper than ${limits.expressionDepth} levels`;
          diagnostics.push(diagnose('SORA1008', message, expression.span, { help: 'name parts of it with `let`' }));
        }
        reportedDepth = true;
        return builder.missing(expression.span);
      }
      depths.set(expression, depth);
      return expression;
    },
    report: (diagnostic) => void diagnostics.push(diagnostic),
    isWhole: (node) => node.recoveredNode !== true,
    requireCommas(items, what, separator = 'commas') {
      if (!items.every((item) => builder.isWhole(item))) return;
      builder.requireCommasBetween(
        items.map((item) => builder.span(item, whole)),
        what,
        separator,
      );
    },
    requireCommasBetween(spans, what, separator = 'commas') {
      for (let index = 1; index < spans.length; index++) {
        const [left, right] = [spans[index - 1], spans[index]];
        if (left === undefined || right === undefined || left.end > right.start) continue;
        const between = file.text.slice(left.end, right.start).replaceAll(/\/\/[^\n\r]*/g, '');
        if (between.includes(',') || (separator === 'lines' && /[\n\r]/.test(between))) continue;
        const place = { file, start: left.end, end: left.end };
        diagnostics.push(
          diagnose('SORA1002', `expected \`,\` between ${what}`, place, {
            fixes: [{ title: 'insert `,`', edits: [{ span: place, text: ',' }] }],
            help: 'add `,`',
          }),
        );
        return;
      }
    },
    doc: (start) => docs.get(start),
  };
  return builder;
}
