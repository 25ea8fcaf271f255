/**
 * Concrete to abstract syntax, blocks about the use of a model: `train`, `quantize`, `prune`, `adapter`, `generate`,
 * `golden`. One shape for all of them; which words each block knows is decided when lowering.
 */
import type { CstNode } from 'chevrotain';
import type { Span } from '../support/source.ts';
import type { UseBlock, UseItem, UseValue, UseWord } from './ast.ts';
import { buildExpression, buildTensorType } from './build-expressions.ts';
import type { Builder } from './cst.ts';
import { unescapeString } from './lex.ts';
import { useWords } from './tokens.ts';

function isUseWord(text: string): text is UseWord {
  return useWords.includes(text);
}

function buildValue(builder: Builder, node: CstNode | undefined, near: Span): UseValue {
  if (node === undefined) return { isKept: false, value: builder.missing(near), by: undefined, span: near };
  const span = builder.span(node, near);
  return {
    isKept: builder.token(node, 'KeepWord') !== undefined,
    value: buildExpression(builder, builder.node(node, 'expression'), span),
    by: builder.identifier(node, 'Identifier'),
    span,
  };
}

function buildItem(builder: Builder, node: CstNode): UseItem | undefined {
  const span = builder.span(node, builder.whole);
  const target = builder.node(node, 'useTarget');
  if (target) {
    const name = builder.identifier(target, 'Identifier');
    const type = buildTensorType(builder, builder.node(target, 'tensorType'));
    return name === undefined || type === undefined ? undefined : { kind: 'target', name, type, span };
  }
  const read = builder.node(node, 'useRead');
  if (read) {
    const name = builder.identifier(read, 'Identifier');
    const value = buildExpression(builder, builder.node(read, 'expression'), span);
    return name === undefined ? undefined : { kind: 'read', name, value, span };
  }
  const rule = builder.node(node, 'useRule');
  if (rule) {
    const globs = builder.tokens(rule, 'StringLiteral').map((token) => ({
      text: unescapeString(token.image).text,
      span: builder.tokenSpan(token),
    }));
    const value = buildValue(builder, builder.node(rule, 'useValue'), span);
    return { kind: 'rule', about: builder.identifier(rule, 'Identifier'), globs, value, span };
  }
  const setting = builder.node(node, 'useSetting');
  const name = setting && builder.identifier(setting, 'Identifier');
  if (setting === undefined || name === undefined) return undefined;
  const values = builder.nodes(setting, 'useValue').map((value) => buildValue(builder, value, span));
  return { kind: 'setting', name, values, span };
}

export function buildUse(builder: Builder, node: CstNode): UseBlock | undefined {
  const word = builder.token(node, 'UseKeyword');
  const model = builder.identifier(node, 'Identifier');
  if (word === undefined || model === undefined || !isUseWord(word.image)) return undefined;
  const span = builder.span(node, model.span);
  const items = builder.nodes(node, 'useItem');
  builder.requireCommas(items, 'items', 'lines');
  return {
    use: word.image,
    useSpan: builder.tokenSpan(word),
    model,
    entry: builder.identifier(node, 'entry'),
    items: items.flatMap((item) => buildItem(builder, item) ?? []),
    doc: builder.doc(span.start),
    span,
  };
}
