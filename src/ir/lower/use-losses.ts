/**
 * The `loss` of a `train` block: known losses of the results, parameters and targets of an entry, and sums of them.
 *
 * Operands are ordinary expressions: `cross_entropy(logits[:, :-1], ids[:, 1:])`. They are elaborated into a graph of their
 * own, so their shapes are checked like those of any other code; src/passes/training joins it to the graph of the entry.
 */
import type { Expression } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import type { Scored, Value } from '../graph.ts';
import { binaryCrossEntropy, crossEntropy, meanAbsoluteError, meanSquaredError, nextToken } from '../losses.ts';
import type { Emitter } from '../op.ts';
import { isFloat, sameShape, type TensorType } from '../types.ts';
import { matchArguments } from './arguments.ts';
import { numberOf, poison } from './binding.ts';
import { report } from './context.ts';
import { evaluate } from './expressions.ts';
import { clashingDims, originLabels, writtenType } from './origin.ts';
import { asTensor } from './tensors.ts';
import { checkValue, type UseSite, type ValueKind, wrongValue } from './use-methods.ts';

interface Loss {
  readonly operands: readonly [string, string];
  /** `classes`: the target has one integer where the first operand has a row of scores. */
  readonly target: 'classes' | 'same';
  /** What a comparison of the operands is good for besides. */
  readonly scored?: Scored['kind'];
  readonly options: readonly { readonly name: string; readonly value: ValueKind }[];
  build(emitter: Emitter, scores: Value, target: Value, options: Readonly<Record<string, number>>): Value;
}

const losses: Readonly<Record<string, Loss>> = {
  cross_entropy: {
    operands: ['logits', 'target'],
    target: 'classes',
    scored: 'classes',
    options: [
      { name: 'ignore', value: { kind: 'number' } },
      { name: 'smoothing', value: { kind: 'number', minimum: 0, below: 1 } },
    ],
    build: (emitter, logits, target, options) => crossEntropy(emitter, { logits, target, ...options }),
  },
  next_token: {
    operands: ['logits', 'tokens'],
    target: 'classes',
    scored: 'next',
    options: [
      { name: 'ignore', value: { kind: 'number' } },
      { name: 'smoothing', value: { kind: 'number', minimum: 0, below: 1 } },
    ],
    build: (emitter, logits, tokens, options) => nextToken(emitter, { logits, tokens, ...options }),
  },
  binary_cross_entropy: {
    operands: ['logits', 'target'],
    target: 'same',
    scored: 'binary',
    options: [{ name: 'positive', value: { kind: 'number', above: 0 } }],
    build: (emitter, logits, target, options) => binaryCrossEntropy(emitter, { logits, target, ...options }),
  },
  mse: {
    operands: ['prediction', 'target'],
    target: 'same',
    options: [],
    build: (emitter, prediction, target) => meanSquaredError(emitter, { prediction, target }),
  },
  mae: {
    operands: ['prediction', 'target'],
    target: 'same',
    options: [],
    build: (emitter, prediction, target) => meanAbsoluteError(emitter, { prediction, target }),
  },
};

type Call = Extract<Expression, { kind: 'call' }>;

function checkTypes(site: UseSite, loss: Loss, call: Call, types: readonly TensorType[]): boolean {
  const [scores, target] = types;
  const [first, second] = loss.operands;
  const [left, right] = call.arguments;
  if (scores === undefined || target === undefined || left === undefined || right === undefined) return false;
  if (!isFloat(scores.dtype)) {
    wrongValue(site, `\`${first}\` is a float tensor, found \`${writtenType(scores)}\``, left.value.span);
    return false;
  }
  const shape = loss.target === 'classes' ? scores.shape.slice(0, -1) : scores.shape;
  const dtype = loss.target === 'classes' ? 'i32' : scores.dtype;
  if (target.dtype === dtype && sameShape(target.shape, shape)) return true;
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
  return false;
}

/** Told what the losses compare. */
type Note = (pair: Scored) => void;

/** A sum, difference, product or quotient of losses and numbers. */
function lowerBinary(
  site: UseSite,
  emitter: Emitter,
  expression: Extract<Expression, { kind: 'binary' }>,
  note: Note,
): Value | undefined {
  const op = operators[expression.operator];
  const sides = [expression.left, expression.right].map((side) => lowerLoss(site, emitter, side, note));
  const [left, right] = sides;
  return op && left && right ? emitter.emit(op, [left, right]) : undefined;
}

const operators: Readonly<Partial<Record<string, string>>> = { '+': 'add', '-': 'sub', '*': 'mul', '/': 'div' };

/** The loss as a scalar f32[]; undefined when something is wrong (reported). */
export function lowerLoss(site: UseSite, emitter: Emitter, expression: Expression, note: Note): Value | undefined {
  if (expression.kind === 'missing') return undefined;
  if (expression.kind === 'binary' && operators[expression.operator] !== undefined)
    return lowerBinary(site, emitter, expression, note);
  if (expression.kind === 'number')
    return emitter.emit('constant', [], { values: [expression.value], dtype: 'f32', shape: [] });
  const names = Object.keys(losses);
  const list = names.map((name) => `\`${name}\``).join(', ');
  if (expression.kind !== 'call' || expression.callee.kind !== 'name') {
    wrongValue(site, 'a loss is a known loss of tensors, or a sum of such', expression.span, `there is ${list}`);
    return undefined;
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
    return undefined;
  }
  const parameters = [
    ...loss.operands.map((name) => ({ name, required: true })),
    ...loss.options.map(({ name }) => ({ name, required: false })),
  ];
  const given = expression.arguments.map(({ name, value }) => ({ name, binding: poison, span: value.span }));
  const matched = matchArguments(site.context, { name: callee.name, parameters, span: undefined }, given, callee.span);
  if (matched === undefined) return undefined;
  const valueAt = (at: number): Expression | undefined =>
    expression.arguments.find(({ value }) => value.span === matched[at]?.span)?.value;
  const operands = loss.operands.flatMap((_, at): Value[] => {
    const value = valueAt(at);
    if (value === undefined) return [];
    const binding = evaluate(site.context, value, site.scope);
    const tensor = asTensor(site.context, { binding, span: value.span });
    return tensor === undefined ? [] : [tensor];
  });
  const options: Record<string, number> = {};
  for (const [at, option] of loss.options.entries()) {
    const value = valueAt(loss.operands.length + at);
    const binding = value && checkValue(site, option.value, value, `\`${option.name}\` of \`${callee.name}\``);
    const number = binding && numberOf(binding);
    if (number !== undefined) options[option.name] = number;
  }
  const [scores, target] = operands;
  if (!scores || !target) return undefined;
  const fits = checkTypes(
    site,
    loss,
    expression,
    operands.map(({ type }) => type),
  );
  const [left, right] = loss.operands.map((_, at) => valueAt(at));
  if (loss.scored && left?.kind === 'name' && right?.kind === 'name')
    note({ scores: left.name, target: right.name, kind: loss.scored, ignore: options.ignore });
  return fits ? loss.build(emitter, scores, target, options) : undefined;
}
