/**
 * `sorac fmt`: one style for every file. Two blanks of indentation, 110 columns, lists on one line when they fit and else
 * one item a line with a comma after each, bodies of functions always on lines of their own, at most one empty line.
 *
 * Works on the concrete tree, so that every token and with it every comment is printed once. A file with mistakes is given
 * back as it is. Formatting twice gives the same text as formatting once; the tree stays the same (both tested).
 */
import type { CstNode, IToken } from 'chevrotain';
import { hasErrors, type Stage } from '../support/diagnostic.ts';
import type { SourceFile } from '../support/source.ts';
import { blank, type Doc, fresh, group, ifBroken, indent, line, printDoc, softline } from './layout.ts';
import { buildParsed, parseConcrete } from './parse.ts';
import { attachComments, type Trivia } from './trivia.ts';

const width = 110;
const indentWidth = 2;

type Element = CstNode | IToken;

interface Printer {
  readonly trivia: Trivia;
  readonly tokenAt: ReadonlyMap<number, IToken>;
}

function isNode(element: Element): element is CstNode {
  return 'children' in element;
}

function startOf(element: Element): number {
  return isNode(element) ? (element.location?.startOffset ?? 0) : element.startOffset;
}

/** Longer lists are left to the engine: moving one part at a time takes the square of them. */
const fewParts = 24;

/** All children in the order of the text. The tree has them by kind; most nodes have few, and nearly in order. */
function partsOf(node: CstNode): readonly Element[] {
  const parts: Element[] = [];
  for (const kind in node.children) for (const part of node.children[kind] ?? []) parts.push(part);
  if (parts.length > fewParts) return parts.sort((left, right) => startOf(left) - startOf(right));
  for (let from = 1; from < parts.length; from++) {
    const part = parts[from];
    if (part === undefined) continue;
    const start = startOf(part);
    let to = from;
    for (let before = parts[to - 1]; before !== undefined && startOf(before) > start; before = parts[to - 1]) {
      parts[to--] = before;
    }
    parts[to] = part;
  }
  return parts;
}

function firstToken(printer: Printer, element: Element): IToken | undefined {
  return printer.tokenAt.get(startOf(element));
}

/** Items one under the other, keeping single empty lines between them. */
function rows(printer: Printer, items: readonly Element[], print: (item: Element) => Doc, keepBlank = true): Doc {
  return items.map((item, index) => {
    const first = firstToken(printer, item);
    const hasBlank = keepBlank && index > 0 && first !== undefined && printer.trivia.hasBlankBefore(first);
    return [hasBlank ? blank : fresh, print(item)];
  });
}

interface ListOptions {
  /** Blanks inside the brackets when on one line: `{ a }` against `(a)`. */
  readonly padded?: boolean;
}

/** `open items close`, where `parts` begins with the opener and ends with the closer; commas are made anew. */
function bracketed(printer: Printer, parts: readonly Element[], options: ListOptions = {}): Doc {
  const { trivia } = printer;
  const [open] = parts;
  const close = parts.at(-1);
  if (open === undefined || close === undefined || isNode(open) || isNode(close)) return '';
  const inner: Doc[] = [];
  const items = parts.slice(1, -1);
  const lastItem = items.findLastIndex((item) => !isComma(item));
  items.forEach((item, index) => {
    if (isComma(item)) {
      inner.push(trivia.commentsOf(item));
      return;
    }
    const between = index === 0 ? [] : [line];
    inner.push(between, printElement(printer, item), index < lastItem ? ',' : ifBroken(','));
  });
  if (lastItem < 0 && !trivia.hasCommentBetween(open, close)) return [trivia.print(open), trivia.print(close)];
  const edge = options.padded ? line : softline;
  return group(
    [trivia.print(open), indent(edge, inner, trivia.takeLeading(close)), edge, trivia.printTrailing(close)],
    {
      isBroken: trivia.hasCommentBetween(open, close),
    },
  );
}

function isComma(element: Element): element is IToken {
  return !isNode(element) && element.tokenType.name === 'Comma';
}

/** `{ rows }` that always breaks; `{}` when empty. */
function braced(printer: Printer, open: IToken, items: readonly Element[], close: IToken, dropped: Doc = []): Doc {
  const { trivia } = printer;
  if (items.length === 0 && !trivia.hasCommentBetween(open, close)) return [trivia.print(open), trivia.print(close)];
  const content = rows(printer, items, (item) => printElement(printer, item));
  return [trivia.print(open), indent(content, dropped, trivia.takeLeading(close)), fresh, trivia.printTrailing(close)];
}

function printElement(printer: Printer, element: Element): Doc {
  if (!isNode(element)) return printer.trivia.print(element);
  // Comments before the node stand outside its groups, which they would break.
  const first = firstToken(printer, element);
  const leading = first === undefined ? '' : printer.trivia.takeLeading(first);
  const print = printers[element.name] ?? ((_printer, node) => printParts(printer, partsOf(node)));
  return [leading, print(printer, element)];
}

/** Words and punctuation in a row with the blanks that the language's style wants between them. */
function printParts(printer: Printer, parts: readonly Element[]): Doc {
  const docs: Doc[] = [];
  parts.forEach((part, index) => {
    const previous = parts[index - 1];
    if (previous !== undefined && wantsBlank(previous, part)) docs.push(' ');
    docs.push(printElement(printer, part));
  });
  return docs;
}

const tightBefore: ReadonlySet<string> = new Set([
  'Comma',
  'Colon',
  'Dot',
  'DotDot',
  'LParen',
  'LBracket',
  'RParen',
  'RBracket',
]);
const tightAfter: ReadonlySet<string> = new Set(['Dot', 'DotDot', 'LParen', 'LBracket']);
const tightNodes: ReadonlySet<string> = new Set(['callArguments', 'functionParameters', 'indexItems', 'tensorField']);

function nameOf(element: Element): string {
  return isNode(element) ? element.name : element.tokenType.name;
}

function wantsBlank(left: Element, right: Element): boolean {
  if (tightAfter.has(nameOf(left))) return false;
  if (nameOf(left) === 'LetKeyword') return true;
  // `fn (x: …)` without a name keeps its blank; a name takes the parenthesis directly.
  if (nameOf(right) === 'functionParameters') return nameOf(left) === 'FnKeyword';
  return !tightBefore.has(nameOf(right)) && !tightNodes.has(nameOf(right));
}

/** Parts from the opener to the closer are one bracketed list, the rest is a row. */
function withList(printer: Printer, node: CstNode, open: string, close: string, options: ListOptions = {}): Doc {
  const parts = partsOf(node);
  const from = parts.findIndex((part) => nameOf(part) === open);
  const to = parts.findIndex((part) => nameOf(part) === close);
  if (from < 0 || to < 0) return printParts(printer, parts);
  const before = parts.slice(0, from);
  const after = parts.slice(to + 1);
  const last = before.at(-1);
  const first = parts[from];
  return [
    printParts(printer, before),
    last !== undefined && first !== undefined && wantsBlank(last, first) ? ' ' : '',
    bracketed(printer, parts.slice(from, to + 1), options),
    after.length === 0 ? '' : ' ',
    printParts(printer, after),
  ];
}

function printConfig(printer: Printer, node: CstNode): Doc {
  const parts = partsOf(node);
  const from = parts.findIndex((part) => nameOf(part) === 'LBrace');
  const [open, close] = [parts[from], parts.at(-1)];
  if (open === undefined || close === undefined || isNode(open) || isNode(close)) return '';
  // Commas between fields are dropped, their comments stay with the field before.
  const fields = parts.slice(from + 1, -1);
  const commas = new Map<Element, Doc>();
  fields.forEach((part, index) => {
    const field = fields[index - 1];
    if (isComma(part) && field !== undefined) commas.set(field, printer.trivia.commentsOf(part));
  });
  const items = fields.filter((part) => !isComma(part));
  const head = [printParts(printer, parts.slice(0, from)), ' '];
  if (items.length === 0) return [head, braced(printer, open, [], close)];
  const content = rows(printer, items, (item) => [printElement(printer, item), commas.get(item) ?? '']);
  const { trivia } = printer;
  return [head, trivia.print(open), indent(content, trivia.takeLeading(close)), fresh, trivia.printTrailing(close)];
}

function printModule(printer: Printer, node: CstNode): Doc {
  const parts = partsOf(node);
  const from = parts.findIndex((part) => nameOf(part) === 'LBrace');
  const [open, close] = [parts[from], parts.at(-1)];
  if (open === undefined || close === undefined || isNode(open) || isNode(close)) return '';
  const head = parts.slice(0, from);
  const paren = head.findIndex((part) => nameOf(part) === 'LParen');
  const signature =
    paren < 0
      ? printParts(printer, head)
      : [printParts(printer, head.slice(0, paren)), bracketed(printer, head.slice(paren))];
  return [signature, ' ', braced(printer, open, parts.slice(from + 1, -1), close)];
}

/** `(operand operator)* operand`: breaks after operators, where the line rule of parser.ts lets it go on. */
function printExpression(printer: Printer, node: CstNode): Doc {
  const [first, ...rest] = partsOf(node);
  if (first === undefined) return '';
  if (rest.length === 0) return printElement(printer, first);
  const docs = rest.map((part) =>
    isNode(part) ? [line, printElement(printer, part)] : [' ', printElement(printer, part)],
  );
  return group([printElement(printer, first), indent(docs)]);
}

function printOperand(printer: Printer, node: CstNode): Doc {
  return partsOf(node).map((part) => {
    const isNot = nameOf(part) === 'NotKeyword';
    return [printElement(printer, part), isNot ? ' ' : ''];
  });
}

/** A block in an `if` may stay on one line: its lines belong to the group around it. */
function printBlock(printer: Printer, node: CstNode): Doc {
  const { trivia } = printer;
  const parts = partsOf(node);
  const [open, close] = [parts[0], parts.at(-1)];
  if (open === undefined || close === undefined || isNode(open) || isNode(close)) return '';
  const items = parts.slice(1, -1);
  const [only] = items;
  if (items.length === 1 && only !== undefined && !trivia.hasCommentBetween(open, close)) {
    return [trivia.print(open), indent(line, printElement(printer, only)), line, trivia.printTrailing(close)];
  }
  return braced(printer, open, items, close);
}

function printBody(printer: Printer, node: CstNode): Doc {
  const [first, value] = partsOf(node);
  if (first === undefined) return '';
  if (!isNode(first)) {
    return group([printElement(printer, first), indent(line, value === undefined ? '' : printElement(printer, value))]);
  }
  const parts = partsOf(first);
  const [open, close] = [parts[0], parts.at(-1)];
  if (open === undefined || close === undefined || isNode(open) || isNode(close)) return '';
  return braced(printer, open, parts.slice(1, -1), close);
}

function printDims(printer: Printer, node: CstNode): Doc {
  const [keyword, first, ...rest] = partsOf(node);
  if (keyword === undefined || first === undefined) return '';
  const docs: Doc[] = [];
  for (const part of rest) {
    if (isComma(part)) docs.push(printer.trivia.commentsOf(part));
    else docs.push(',', line, printElement(printer, part));
  }
  return group([printElement(printer, keyword), ' ', printElement(printer, first), indent(docs)]);
}

function printConfigField(printer: Printer, node: CstNode): Doc {
  const parts = partsOf(node);
  const from = parts.findIndex((part) => nameOf(part) === 'FromWord');
  if (from < 1) return printParts(printer, parts);
  return group([printParts(printer, parts.slice(0, from)), indent(line, printParts(printer, parts.slice(from)))]);
}

/** `freeze: "a", "b"`: values under the name when they do not fit beside it. */
function printSetting(printer: Printer, node: CstNode): Doc {
  const [name, colon, first, ...rest] = partsOf(node);
  if (name === undefined || colon === undefined || first === undefined) return '';
  const values: Doc[] = [printElement(printer, first)];
  for (const part of rest)
    values.push(isComma(part) ? [',', printer.trivia.commentsOf(part), line] : printElement(printer, part));
  const head = [printElement(printer, name), printElement(printer, colon)];
  if (rest.length === 0) return [head, ' ', values];
  return group([head, indent(line, values)]);
}

function printPrimary(printer: Printer, node: CstNode): Doc {
  const parts = partsOf(node);
  const [first] = parts;
  return first !== undefined && !isNode(first) && parts.length > 1 && nameOf(first) !== 'Identifier'
    ? nameOf(first) === 'LParen'
      ? printParenthesis(printer, parts)
      : bracketed(printer, parts)
    : parts.map((part) => printElement(printer, part));
}

/** As `bracketed`, without the comma that would make no sense. */
function printParenthesis(printer: Printer, parts: readonly Element[]): Doc {
  const { trivia } = printer;
  const [open, inner, close] = parts;
  if (open === undefined || inner === undefined || close === undefined || isNode(open) || isNode(close)) return '';
  const content = indent(softline, printElement(printer, inner), trivia.takeLeading(close));
  return group([trivia.print(open), content, softline, trivia.printTrailing(close)], {
    isBroken: trivia.hasCommentBetween(open, close),
  });
}

const row = (printer: Printer, node: CstNode): Doc => partsOf(node).map((part) => printElement(printer, part));

/** Style of each rule; rules that are not here are rows of words. */
const printers: Readonly<Record<string, (printer: Printer, node: CstNode) => Doc>> = {
  importDeclaration: (printer, node) => withList(printer, node, 'LBrace', 'RBrace', { padded: true }),
  dimDeclaration: printDims,
  configDeclaration: printConfig,
  configField: printConfigField,
  configKey: row,
  moduleDeclaration: printModule,
  useBlock: printConfig,
  useSetting: printSetting,
  functionParameters: (printer, node) => bracketed(printer, partsOf(node)),
  entryResults: (printer, node) => withList(printer, node, 'LBrace', 'RBrace', { padded: true }),
  tensorType: (printer, node) => withList(printer, node, 'LBracket', 'RBracket'),
  body: printBody,
  block: printBlock,
  letStatement: (printer, node) => withList(printer, node, 'LBracket', 'RBracket'),
  expression: printExpression,
  operand: printOperand,
  postfix: row,
  callArguments: (printer, node) => bracketed(printer, partsOf(node)),
  indexItems: (printer, node) => bracketed(printer, partsOf(node)),
  indexItem: row,
  primary: printPrimary,
  record: (printer, node) => bracketed(printer, partsOf(node), { padded: true }),
  modifiers: (printer, node) => bracketed(printer, partsOf(node), { padded: true }),
  lambdaParameters: (printer, node) => withList(printer, node, 'LParen', 'RParen'),
  ifExpression: (printer, node) => group([printParts(printer, partsOf(node))]),
};

/** Declarations that stay together when nothing separates them in the text. */
const compact: ReadonlySet<string> = new Set(['importDeclaration', 'dimDeclaration']);

function printFile(printer: Printer, root: CstNode): Doc {
  const declarations = partsOf(root);
  const docs = declarations.map((declaration, index): Doc => {
    const previous = declarations[index - 1];
    const first = firstToken(printer, declaration);
    const isClose =
      previous !== undefined && nameOf(previous) === nameOf(declaration) && compact.has(nameOf(declaration));
    const hasBlank = first !== undefined && printer.trivia.hasBlankBefore(first);
    return [isClose && !hasBlank ? fresh : blank, printElement(printer, declaration)];
  });
  return [docs, printer.trivia.hasBlankAtEnd ? blank : fresh, printer.trivia.atEnd];
}

/** The file in the one style; its own text, with the mistakes, when it has any. */
export function formatSource(file: SourceFile): Stage<string> {
  const parsed = parseConcrete(file);
  const { root, tokens, comments } = parsed;
  const { diagnostics } = buildParsed(file, parsed);
  if (root === undefined || hasErrors(diagnostics)) return { value: file.text, diagnostics };
  const printer: Printer = {
    trivia: attachComments(tokens, comments),
    tokenAt: new Map(tokens.map((token) => [token.startOffset, token])),
  };
  return { value: printDoc(printFile(printer, root), width, indentWidth), diagnostics };
}
