/**
 * Concrete to abstract syntax, expressions: precedence, postfix chains, literals. Declarations are build-ast.ts.
 *
 * Precedence, loosest first: `or`, `and`, `not`, comparisons (which do not chain), `+ -`, `* / %`, unary `-`, `**` (right
 * to left); calls, indices and `.name` bind tightest. What recovery left out becomes a `missing` expression.
 */
import type { CstNode, IToken } from 'chevrotain';
import { diagnose } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import { joinSpans, type Span, spanText } from '../support/source.ts';
import type {
  Argument,
  BinaryOperator,
  EllipsisSyntax,
  Expression,
  IndexItem,
  Let,
  RecordField,
  TensorTypeSyntax,
} from './ast.ts';
import type { Builder } from './cst.ts';
import { unescapeString } from './lex.ts';
import { isVirtual } from './structure.ts';

/** Binding power of each binary operator; `not` stands between `and` and the comparisons. */
const powers: Readonly<Record<BinaryOperator, number>> = {
  or: 1,
  and: 2,
  '==': 4,
  '!=': 4,
  '<': 4,
  '<=': 4,
  '>': 4,
  '>=': 4,
  '+': 5,
  '-': 5,
  '*': 6,
  '/': 6,
  '%': 6,
  '**': 8,
};
const notPower = 3;
const comparisonPower = 4;
const negatePower = 7;

type Piece =
  | { readonly kind: 'operand'; readonly node: CstNode }
  | { readonly kind: 'prefix'; readonly token: IToken }
  | { readonly kind: 'binary'; readonly token: IToken };

/** Takes `pieces` from the front by precedence climbing (Richards 1979). */
function climb(builder: Builder, pieces: readonly Piece[], fallback: Span): Expression {
  let at = 0;

  const parseOperand = (): Expression => {
    const piece = pieces[at];
    if (piece === undefined || piece.kind === 'binary') return builder.missing(fallback);
    at++;
    if (piece.kind === 'operand') return buildOperand(builder, piece.node);
    const isNot = piece.token.image === 'not';
    const operand = parseAbove(isNot ? notPower : negatePower);
    const span = joinSpans(builder.tokenSpan(piece.token), operand.span);
    return builder.grown({ kind: 'unary', operator: isNot ? 'not' : '-', operand, span }, [operand]);
  };

  const parseAbove = (minimum: number): Expression => {
    let left = parseOperand();
    let compared: IToken | undefined;
    for (;;) {
      const piece = pieces[at];
      if (piece?.kind !== 'binary') return left;
      const operator = piece.token.image as BinaryOperator;
      const power = powers[operator];
      if (power < minimum) return left;
      at++;
      if (power === comparisonPower) {
        if (compared !== undefined) {
          builder.report(
            diagnose('SORA1002', 'comparisons do not chain', builder.tokenSpan(piece.token), {
              labels: [{ span: builder.tokenSpan(compared), text: 'the first comparison' }],
              help: 'write `a < b and b < c`',
            }),
          );
        }
        compared = piece.token;
      }
      // `**` is right associative; its right side may carry a minus: `2 ** -1`.
      const right = parseAbove(operator === '**' ? power : power + 1);
      const span = joinSpans(left.span, right.span);
      const operatorSpan = builder.tokenSpan(piece.token);
      left = builder.grown({ kind: 'binary', operator, operatorSpan, left, right, span }, [left, right]);
    }
  };

  return parseAbove(0);
}

export function buildExpression(builder: Builder, node: CstNode | undefined, near: Span): Expression {
  if (node === undefined) return builder.missing(near);
  const operands = builder.nodes(node, 'operand');
  const operators = builder.tokens(node, 'BinaryOperator');
  if (operands.length > limits.expressionDepth) {
    const message = `this expression has more than ${limits.expressionDepth} operands`;
    builder.report(diagnose('SORA1008', message, builder.span(node, near), { help: 'name parts of it with `let`' }));
    return builder.missing(builder.span(node, near));
  }
  const pieces: Piece[] = [];
  operands.forEach((operand, index) => {
    const operator = operators[index - 1];
    if (operator !== undefined) pieces.push({ kind: 'binary', token: operator });
    const prefixes = builder.tokens(operand, 'PrefixOperator');
    if (prefixes.length > limits.nesting) {
      builder.report(diagnose('SORA1008', 'too many prefix operators in a row', builder.span(operand, near)));
    } else {
      for (const token of prefixes) pieces.push({ kind: 'prefix', token });
    }
    pieces.push({ kind: 'operand', node: operand });
  });
  return climb(builder, pieces, near);
}

function buildOperand(builder: Builder, node: CstNode): Expression {
  const near = builder.span(node, builder.whole);
  let value = buildPrimary(builder, builder.node(node, 'primary'), near);
  for (const postfix of builder.nodes(node, 'postfix')) {
    value = buildPostfix(builder, value, postfix);
    if (value.kind === 'missing') break;
  }
  return value;
}

function buildPostfix(builder: Builder, object: Expression, node: CstNode): Expression {
  const span = joinSpans(object.span, builder.span(node, object.span));
  const call = builder.node(node, 'callArguments');
  if (call) {
    const args = buildArguments(builder, call);
    return builder.grown({ kind: 'call', callee: object, arguments: args, span }, [
      object,
      ...args.map((arg) => arg.value),
    ]);
  }
  const index = builder.node(node, 'indexItems');
  if (index) {
    const items = buildIndexItems(builder, index);
    return builder.grown({ kind: 'index', object, items, span }, [object]);
  }
  const member = builder.identifier(node, 'Identifier');
  return member === undefined ? object : builder.grown({ kind: 'member', object, member, span }, [object]);
}

export function buildArguments(builder: Builder, node: CstNode): Argument[] {
  const near = builder.span(node, builder.whole);
  const items = builder.nodes(node, 'argument');
  builder.requireCommas(items, 'arguments');
  return items.map((item) => ({
    name: builder.identifier(item, 'Identifier'),
    value: buildExpression(builder, builder.node(item, 'expression'), builder.span(item, near)),
  }));
}

function buildIndexItems(builder: Builder, node: CstNode): IndexItem[] {
  const near = builder.span(node, builder.whole);
  const items = builder.nodes(node, 'indexItem');
  builder.requireCommas(items, 'indices');
  if (items.length === 0) {
    builder.report(diagnose('SORA1002', 'an index is missing', near, { help: 'write an index, `:`, `new` or `...`' }));
  }
  return items.map((item): IndexItem => {
    const span = builder.span(item, near);
    if (builder.token(item, 'Ellipsis')) return { kind: 'ellipsis', span };
    if (builder.token(item, 'NewKeyword')) return { kind: 'new', span };
    const start = builder.node(item, 'start');
    const end = builder.node(item, 'end');
    if (builder.token(item, 'Colon')) {
      return {
        kind: 'slice',
        start: start && buildExpression(builder, start, span),
        end: end && buildExpression(builder, end, span),
        span,
      };
    }
    return { kind: 'at', index: buildExpression(builder, start, span), span };
  });
}

export function buildRecordFields(builder: Builder, node: CstNode): RecordField[] {
  const items = builder.nodes(node, 'recordField');
  builder.requireCommas(items, 'fields', 'lines');
  return items.flatMap((item) => {
    const name = builder.identifier(item, 'Identifier');
    const span = builder.span(item, builder.whole);
    return name === undefined
      ? []
      : [{ name, value: buildExpression(builder, builder.node(item, 'expression'), span), span }];
  });
}

function buildPrimary(builder: Builder, node: CstNode | undefined, near: Span): Expression {
  if (node === undefined) return builder.missing(near);
  const span = builder.span(node, near);
  const number = builder.token(node, 'NumberLiteral');
  if (number) {
    const value = Number(number.image);
    // A malformed or too large number was reported by lex.ts.
    if (!Number.isFinite(value)) return builder.missing(span);
    return { kind: 'number', value, isInteger: /^[0-9]+$/.test(number.image), span };
  }
  const string = builder.token(node, 'StringLiteral');
  if (string) return { kind: 'string', value: unescapeString(string.image).text, span };
  if (builder.token(node, 'TrueKeyword')) return { kind: 'boolean', value: true, span };
  if (builder.token(node, 'FalseKeyword')) return { kind: 'boolean', value: false, span };
  const name = builder.token(node, 'Identifier');
  if (name) return { kind: 'name', name: name.image, span };
  if (builder.token(node, 'LBracket')) {
    const nodes = builder.nodes(node, 'item');
    builder.requireCommas(nodes, 'items');
    const items = nodes.map((item) => buildExpression(builder, item, span));
    return builder.grown({ kind: 'list', items, span }, items);
  }
  const record = builder.node(node, 'record');
  if (record) {
    const fields = buildRecordFields(builder, record);
    if (fields.length === 0 && builder.isWhole(record)) {
      builder.report(diagnose('SORA1002', 'expected an expression or the fields of a record inside `{ }`', span));
      return builder.missing(span);
    }
    return builder.grown(
      { kind: 'record', fields, span },
      fields.map((field) => field.value),
    );
  }
  const condition = builder.node(node, 'ifExpression');
  if (condition) return buildIf(builder, condition);
  const attend = builder.node(node, 'attend');
  if (attend) return buildAttend(builder, attend);
  const inner = buildExpression(builder, builder.node(node, 'expression'), span);
  // The parentheses belong to the span: what is underlined must be balanced.
  return inner.kind === 'missing' ? inner : builder.grown({ ...inner, span }, [inner]);
}

function buildIf(builder: Builder, node: CstNode): Expression {
  const span = builder.span(node, builder.whole);
  const branches = builder.nodes(node, 'ifBranch');
  if (branches.length > limits.nesting) {
    builder.report(diagnose('SORA1008', `more than ${limits.nesting} branches in one \`if\``, span));
    return builder.missing(span);
  }
  const last = builder.node(node, 'block');
  let otherwise = last && buildBlock(builder, last, span);
  for (const branch of branches.toReversed()) {
    const near = builder.span(branch, span);
    const condition = buildExpression(builder, builder.node(branch, 'expression'), near);
    const then = buildBlock(builder, builder.node(branch, 'block'), near);
    const children = otherwise === undefined ? [condition, then] : [condition, then, otherwise];
    const whole: Span = { file: near.file, start: near.start, end: span.end };
    otherwise = builder.grown({ kind: 'if', condition, then, otherwise, span: whole }, children);
  }
  return otherwise ?? builder.missing(span);
}

function buildAttend(builder: Builder, node: CstNode): Expression {
  const span = builder.span(node, builder.whole);
  const call = builder.node(node, 'callArguments');
  const args = call === undefined ? [] : buildArguments(builder, call);
  const keyword = builder.token(node, 'AttendKeyword');
  const place = keyword === undefined ? span : builder.tokenSpan(keyword);
  const named = args.find((arg) => arg.name !== undefined);
  const modifiersHelp = 'write `attend(query, key, value) { heads: …, mask: … }`';
  if (named?.name !== undefined) {
    builder.report(
      diagnose('SORA1002', '`attend` takes its modifiers in `{ }`', named.name.span, { help: modifiersHelp }),
    );
  } else if (args.length !== 3 && call !== undefined && builder.isWhole(call)) {
    const message = `\`attend\` takes query, key and value, found ${args.length} arguments`;
    builder.report(diagnose('SORA1002', message, place, { help: modifiersHelp }));
  }
  const [query, key, value] = [0, 1, 2].map((index) => args[index]?.value ?? builder.missing(place));
  const record = builder.node(node, 'modifiers');
  const modifiers = record === undefined ? [] : buildModifiers(builder, record);
  if (query === undefined || key === undefined || value === undefined) return builder.missing(span);
  const children = [query, key, value, ...modifiers.map((modifier) => modifier.value)];
  return builder.grown({ kind: 'attend', query, key, value, modifiers, span }, children);
}

function buildModifiers(builder: Builder, node: CstNode): RecordField[] {
  const items = builder.nodes(node, 'modifier');
  builder.requireCommas(items, 'fields', 'lines');
  return items.flatMap((item) => {
    const name = builder.identifier(item, 'Identifier');
    if (name === undefined) return [];
    const span = builder.span(item, builder.whole);
    const body = buildExpression(builder, builder.node(item, 'expression'), span);
    const head = builder.node(item, 'lambdaParameters');
    return [{ name, value: head === undefined ? body : buildLambda(builder, head, body), span }];
  });
}

function buildLambda(builder: Builder, head: CstNode, body: Expression): Expression {
  const parameters = builder.tokens(head, 'Identifier').map((token) => ({
    text: token.image,
    span: builder.tokenSpan(token),
  }));
  builder.requireCommasBetween(
    parameters.map((parameter) => parameter.span),
    'parameters',
  );
  const span = joinSpans(builder.span(head, body.span), body.span);
  return builder.grown({ kind: 'lambda', parameters, body, span }, [body]);
}

export function buildBlock(builder: Builder, node: CstNode | undefined, near: Span): Expression {
  if (node === undefined) return builder.missing(near);
  const span = builder.span(node, near);
  const lets = builder.nodes(node, 'letStatement').map((item) => buildLet(builder, item));
  const values = builder.nodes(node, 'expression').map((item) => buildExpression(builder, item, span));
  // Where the brace is missing too, the file ends before its time.
  const closer = builder.token(node, 'RBrace');
  if (builder.isWhole(node) && closer !== undefined && !isVirtual(closer)) checkBlock(builder, span, lets, values);
  const result = values.at(-1) ?? builder.missing(span);
  return builder.grown({ kind: 'block', lets, result, span }, [...lets.map((item) => item.value), result]);
}

/** A block gives one expression, its last part. */
function checkBlock(builder: Builder, span: Span, lets: readonly Let[], values: readonly Expression[]): void {
  const last = values.at(-1);
  const lastLet = lets.at(-1);
  if (last === undefined || (lastLet !== undefined && lastLet.span.start > last.span.start && values.length === 1)) {
    const place = last?.span ?? { file: span.file, start: span.end - 1, end: span.end };
    const message = last === undefined ? 'this block gives nothing' : 'the result of a block stands last';
    builder.report(diagnose('SORA1002', message, place, { help: 'end the block with an expression, without `let`' }));
    return;
  }
  const [first, second] = values;
  if (first === undefined || second === undefined) return;
  if (first.kind === 'name' && first.name === 'return') {
    builder.report(diagnose('SORA1002', 'a block gives its last expression, without `return`', first.span));
    return;
  }
  const startsNew = /^[([{-]/.test(spanText(second.span));
  const isSameLine = !/[\n\r]/.test(span.file.text.slice(first.span.end, second.span.start));
  builder.report(
    diagnose(
      'SORA1002',
      isSameLine ? 'expected an operator or the end of the line' : 'a block gives one expression',
      second.span,
      {
        labels: [{ span: first.span, text: 'the expression before it' }],
        ...(startsNew ? { notes: ['a line that starts with `(`, `[`, `{` or `-` begins a new expression'] } : {}),
        help: 'name the first one with `let`, or join the two',
      },
    ),
  );
}

function buildLet(builder: Builder, node: CstNode): Let {
  const span = builder.span(node, builder.whole);
  const isList = builder.token(node, 'LBracket') !== undefined;
  const tokens = builder.tokens(node, 'Identifier');
  if (isList)
    builder.requireCommasBetween(
      tokens.map((token) => builder.tokenSpan(token)),
      'names',
    );
  const names = tokens.map((token) => ({ text: token.image, span: builder.tokenSpan(token) }));
  return { names, isList, value: buildExpression(builder, builder.node(node, 'expression'), span), span };
}

export function buildTensorType(builder: Builder, node: CstNode | undefined): TensorTypeSyntax | undefined {
  const dtype = node && builder.identifier(node, 'Identifier');
  if (node === undefined || dtype === undefined) return undefined;
  const span = builder.span(node, dtype.span);
  // Two lists of children: their order in the text is the order of the dims.
  const ellipses = builder
    .tokens(node, 'Ellipsis')
    .map((token): EllipsisSyntax => ({ kind: 'ellipsis', span: builder.tokenSpan(token) }));
  const expressions = builder.nodes(node, 'expression').map((dim) => buildExpression(builder, dim, span));
  const dims = [...ellipses, ...expressions].sort((left, right) => left.span.start - right.span.start);
  builder.requireCommasBetween(
    dims.map((dim) => dim.span),
    'dims',
  );
  return { kind: 'tensor-type', dtype, dims, span };
}
