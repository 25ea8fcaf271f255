/**
 * The `loss` of a `train` block: known losses of the results, parameters and targets of an entry, and sums of them.
 *
 * Operands are ordinary expressions: `cross_entropy(logits[:, :-1], ids[:, 1:])`. They are elaborated into a graph of their
 * own, so their shapes are checked like those of any other code; src/passes/training joins it to the graph of the entry.
 */
import type { Expression } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import type { ClassRange, Scored, Value } from '../graph.ts';
import type { Emitter } from '../op.ts';
import { hasTrait } from '../ops/index.ts';
import { constantDim, constantValue } from '../symbolic.ts';
import { isFloat, sameType } from '../types.ts';
import { matchArguments } from './arguments.ts';
import { numberOf, poison } from './binding.ts';
import { report } from './context.ts';
import { evaluate } from './expressions.ts';
import { type Loss, losses } from './loss-table.ts';
import { clashingDims, originLabels, writtenType } from './origin.ts';
import { asTensor, isTensor } from './tensors.ts';
import { checkValue, type UseSite, wrongValue } from './use-methods.ts';

interface Given {
  readonly name: string;
  readonly written: Expression;
  readonly value: Value;
}

/** Whether the first operand is one, and the others are what it asks for; says what is wrong otherwise. */
function checkTypes(site: UseSite, loss: Loss, given: readonly Given[]): boolean {
  const [first, ...others] = given;
  if (first === undefined) return false;
  const { type } = first.value;
  const { rank } = loss.first;
  if (!isFloat(type.dtype) || (rank !== undefined && type.shape.length !== rank) || type.shape.length === 0) {
    const axes = rank === undefined ? '' : ` of ${rank} axes`;
    const found = `\`${writtenType(type)}\``;
    wrongValue(site, `\`${first.name}\` is a float tensor${axes}, found ${found}`, first.written.span);
    return false;
  }
  return others.every(({ name, written, value }) => {
    const wanted = loss.operands.find((operand) => operand.name === name)?.wanted(type, value.type);
    if (wanted === undefined || sameType(wanted, value.type)) return true;
    const message = `\`${name}\` must be \`${writtenType(wanted)}\`, found \`${writtenType(value.type)}\``;
    const clash = clashingDims(wanted.shape, value.type.shape);
    report(site.context, 'SORA2304', message, written.span, {
      labels: [
        { span: first.written.span, text: `this is \`${writtenType(type)}\`` },
        ...originLabels(clash, [first.written.span, written.span]),
      ],
    });
    return false;
  });
}

/** Told what the losses compare. */
export interface LossNotes {
  scored(pair: Scored): void;
  /** An input of the loss holds numbers of classes. */
  classes(input: string, range: ClassRange): void;
}

/** Says which input the classes of a loss come from, as they are or in part, and how many there are. */
function noteClasses(notes: LossNotes, scores: Value, target: Value, ignore: number | undefined): void {
  const count = constantValue(scores.type.shape.at(-1) ?? constantDim(1));
  let source = target;
  while (source.node.inputs[0] && hasTrait(source.node, 'view')) source = source.node.inputs[0];
  const { name } = source.node.attributes;
  if (count !== undefined && source.node.op === 'input' && typeof name === 'string')
    notes.classes(name, { count, ignore });
}

/** A sum, difference, product or quotient of losses and numbers. */
function lowerBinary(
  site: UseSite,
  emitter: Emitter,
  expression: Extract<Expression, { kind: 'binary' }>,
  notes: LossNotes,
): Value | undefined {
  const op = operators[expression.operator];
  const sides = [expression.left, expression.right].map((side) => lowerLoss(site, emitter, side, notes));
  const [left, right] = sides;
  return op && left && right ? emitter.emit(op, [left, right]) : undefined;
}

const operators: Readonly<Partial<Record<string, string>>> = { '+': 'add', '-': 'sub', '*': 'mul', '/': 'div' };

/** The loss as a scalar f32[]; undefined when something is wrong (reported). */
export function lowerLoss(
  site: UseSite,
  emitter: Emitter,
  expression: Expression,
  notes: LossNotes,
): Value | undefined {
  if (expression.kind === 'missing') return undefined;
  if (expression.kind === 'binary' && operators[expression.operator] !== undefined)
    return lowerBinary(site, emitter, expression, notes);
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
  const operands = [{ name: loss.first.name, required: true }, ...loss.operands];
  const parameters = [
    ...operands.map(({ name, required }) => ({ name, required })),
    ...loss.options.map(({ name }) => ({ name, required: false })),
  ];
  const written = expression.arguments.map(({ name, value }) => ({ name, binding: poison, span: value.span }));
  const signature = { name: callee.name, parameters, span: undefined };
  const matched = matchArguments(site.context, signature, written, callee.span);
  if (matched === undefined) return undefined;
  const valueAt = (at: number): Expression | undefined =>
    expression.arguments.find(({ value }) => value.span === matched[at]?.span)?.value;
  let isWhole = true;
  const given = operands.flatMap(({ name }, at): Given[] => {
    const own = valueAt(at);
    if (own === undefined) return [];
    const binding = evaluate(site.context, own, site.scope);
    const value = asTensor(site.context, { binding, span: own.span }, isTensor(binding) ? undefined : 'f32');
    isWhole &&= value !== undefined;
    return value === undefined ? [] : [{ name, written: own, value }];
  });
  const options: Record<string, number> = {};
  for (const [at, option] of loss.options.entries()) {
    const value = valueAt(operands.length + at);
    const binding = value && checkValue(site, option.value, value, `\`${option.name}\` of \`${callee.name}\``);
    const number = binding && numberOf(binding);
    if (number !== undefined) options[option.name] = number;
  }
  const [first, second] = given;
  if (!isWhole || !first || !checkTypes(site, loss, given)) return undefined;
  if (loss.scored && first.written.kind === 'name' && second?.written.kind === 'name') {
    const [scores, target] = [first.written.name, second.written.name];
    notes.scored({ scores, target, kind: loss.scored, ignore: options.ignore });
  }
  if (second && loss.scored === 'classes') noteClasses(notes, first.value, second.value, options.ignore);
  const values = Object.fromEntries(given.slice(1).map(({ name, value }) => [name, value]));
  return loss.build(emitter, first.value, values, options);
}
