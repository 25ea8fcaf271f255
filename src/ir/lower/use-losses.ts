/**
 * The `loss` of a `train` block: known losses of the results, parameters and targets of an entry, and sums of them.
 *
 * Operands are ordinary expressions: `cross_entropy(logits[:, :-1], ids[:, 1:])`. They are elaborated into a graph of their
 * own, so their shapes are checked like those of any other code.
 */
import type { Expression, UseBlock } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import { type Entry, GraphBuilder } from '../graph.ts';
import { isFloat, sameShape, type TensorType } from '../types.ts';
import { matchArguments } from './arguments.ts';
import { poison, tensorBinding } from './binding.ts';
import { report } from './context.ts';
import { evaluate } from './expressions.ts';
import { clashingDims, originLabels, writtenType } from './origin.ts';
import { childScope } from './scope.ts';
import { asTensor } from './tensors.ts';
import { resolveType } from './typing.ts';
import { checkValue, type UseSite, type ValueKind, wrongValue } from './use-methods.ts';

interface Loss {
  readonly operands: readonly [string, string];
  /** `classes`: the target has one integer where the first operand has a row of scores. */
  readonly target: 'classes' | 'same';
  readonly options: readonly { readonly name: string; readonly value: ValueKind }[];
}

const losses: Readonly<Record<string, Loss>> = {
  cross_entropy: {
    operands: ['logits', 'target'],
    target: 'classes',
    options: [
      { name: 'ignore', value: { kind: 'number' } },
      { name: 'smoothing', value: { kind: 'number', minimum: 0, below: 1 } },
    ],
  },
  binary_cross_entropy: { operands: ['logits', 'target'], target: 'same', options: [] },
  mse: { operands: ['prediction', 'target'], target: 'same', options: [] },
  mae: { operands: ['prediction', 'target'], target: 'same', options: [] },
};

type Call = Extract<Expression, { kind: 'call' }>;

function checkTypes(site: UseSite, loss: Loss, call: Call, types: readonly TensorType[]): void {
  const [scores, target] = types;
  const [first, second] = loss.operands;
  const [left, right] = call.arguments;
  if (scores === undefined || target === undefined || left === undefined || right === undefined) return;
  if (!isFloat(scores.dtype)) {
    wrongValue(site, `\`${first}\` is a float tensor, found \`${writtenType(scores)}\``, left.value.span);
    return;
  }
  const shape = loss.target === 'classes' ? scores.shape.slice(0, -1) : scores.shape;
  const dtype = loss.target === 'classes' ? 'i32' : scores.dtype;
  if (target.dtype === dtype && sameShape(target.shape, shape)) return;
  report(
    site.context,
    'SORA2304',
    `\`${second}\` must be \`${writtenType({ dtype, shape })}\`, found \`${writtenType(target)}\``,
    right.value.span,
    {
      labels: [
        { span: left.value.span, text: `this is \`${writtenType(scores)}\`` },
        ...originLabels(clashingDims(shape, target.shape), [left.value.span, right.value.span]),
      ],
    },
  );
}

function checkLoss(site: UseSite, expression: Expression): void {
  if (expression.kind === 'binary' && ['+', '-', '*', '/'].includes(expression.operator)) {
    for (const side of [expression.left, expression.right]) checkLoss(site, side);
    return;
  }
  if (expression.kind === 'number' || expression.kind === 'missing') return;
  const names = Object.keys(losses);
  const list = names.map((name) => `\`${name}\``).join(', ');
  if (expression.kind !== 'call' || expression.callee.kind !== 'name') {
    wrongValue(site, 'a loss is a known loss of tensors, or a sum of such', expression.span, `there is ${list}`);
    return;
  }
  const { callee } = expression;
  const loss = Object.hasOwn(losses, callee.name) ? losses[callee.name] : undefined;
  if (loss === undefined) {
    const guess = closest(callee.name, names);
    report(site.context, 'SORA2303', `unknown loss \`${callee.name}\``, callee.span, {
      help: guess === undefined ? `there is ${list}` : `did you mean \`${guess}\`?`,
      ...(guess === undefined
        ? {}
        : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span: callee.span, text: guess }] }] }),
    });
    return;
  }
  const parameters = [
    ...loss.operands.map((name) => ({ name, required: true })),
    ...loss.options.map(({ name }) => ({ name, required: false })),
  ];
  const given = expression.arguments.map(({ name, value }) => ({ name, binding: poison, span: value.span }));
  const matched = matchArguments(site.context, { name: callee.name, parameters, span: undefined }, given, callee.span);
  if (matched === undefined) return;
  const valueAt = (at: number): Expression | undefined =>
    expression.arguments.find(({ value }) => value.span === matched[at]?.span)?.value;
  const types = loss.operands.flatMap((_, at): TensorType[] => {
    const value = valueAt(at);
    if (value === undefined) return [];
    const binding = evaluate(site.context, value, site.scope);
    const tensor = asTensor(site.context, { binding, span: value.span });
    return tensor === undefined ? [] : [tensor.type];
  });
  for (const [at, option] of loss.options.entries()) {
    const value = valueAt(loss.operands.length + at);
    if (value) checkValue(site, option.value, value, `\`${option.name}\` of \`${callee.name}\``);
  }
  if (types.length === 2) checkTypes(site, loss, expression, types);
}

/** The loss and the targets of a `train` block against the entry that it trains. */
export function checkTraining(site: UseSite, block: UseBlock, entry: Entry | undefined): void {
  const { context } = site;
  const scope = childScope(site.scope);
  const builder = new GraphBuilder();
  const seen = new Map<string, (typeof block.items)[number]>();
  const declare = (name: string, type: TensorType | undefined, span = block.model.span): void => {
    const binding = type === undefined ? poison : tensorBinding(builder.input(name, type));
    scope.names.set(name, { binding, span, declaration: undefined });
  };
  for (const { name, type } of [...(entry?.parameters ?? []), ...(entry?.results ?? [])]) declare(name, type);
  for (const item of block.items) {
    if (item.kind !== 'target') continue;
    const { text, span } = item.name;
    const earlier = seen.get(text);
    if (earlier || scope.names.has(text)) {
      const message = earlier ? `\`${text}\` is declared twice` : `\`${text}\` is a name of the entry already`;
      report(context, 'SORA2002', message, span, {
        labels: earlier ? [{ span: earlier.span, text: 'first here' }] : [],
      });
      continue;
    }
    seen.set(text, item);
    declare(text, resolveType(context, item.type, site.scope), span);
  }
  if (entry === undefined) return;
  context.site = { builder, weights: new Map(), nodes: 0 };
  for (const item of block.items) {
    if (item.kind !== 'setting' || item.name.text !== 'loss') continue;
    for (const { value } of item.values) checkLoss({ context, scope }, value);
  }
  context.site = undefined;
}
