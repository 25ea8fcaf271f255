/**
 * `init` clauses: how a tensor begins that no checkpoint gives.
 *
 * The words (`zeros`, `normal`, …) mean something only there; their arguments are ordinary expressions of numbers that are
 * known when compiling, and an `if` chooses between initializers. Every word comes down to one of the three kinds of
 * `Initializer` in graph.ts, so nothing but numbers reaches the artifact.
 *
 * Source: torch.nn.init; Glorot and Bengio 2010 (xavier), He et al. 2015 (kaiming).
 */
import type { Argument, Expression, InitClause, SubmoduleField } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import type { Initializer } from '../graph.ts';
import type { DType, TensorType } from '../types.ts';
import { evaluateArguments, matchArguments } from './arguments.ts';
import { describe, numberOf } from './binding.ts';
import { type Context, report } from './context.ts';
import { conditionValue, enterBlock } from './expressions.ts';
import { nearMember } from './names.ts';
import type { Scope } from './scope.ts';
import { fitsFloat } from './tensors.ts';
import { touchLets, touchNames } from './touch.ts';

type Numbers = Readonly<Record<string, number | undefined>>;

interface Word {
  /** A name ending in `?` is optional. */
  readonly parameters: readonly string[];
  /** The initializer, or what is wrong with the numbers. Those that are not optional are there. */
  make(numbers: Numbers): Initializer | string;
}

const constant = (value: number): Initializer => ({ kind: 'constant', value });

function symmetric(bound: number): Initializer {
  return bound === 0 ? constant(0) : { kind: 'uniform', low: -bound, high: bound };
}

function normal(std: number, mean: number, truncated: boolean): Initializer | string {
  if (std < 0) return `\`std\` is at least 0, found ${std}`;
  if (std === 0) return constant(mean);
  return { kind: 'normal', mean, std, ...(truncated ? { truncated } : {}) };
}

function uniform({ bound, low, high }: Numbers): Initializer | string {
  if (bound !== undefined) {
    if (low !== undefined || high !== undefined) return '`bound` stands for both `low` and `high`';
    return bound < 0 ? `\`bound\` is at least 0, found ${bound}` : symmetric(bound);
  }
  if (low === undefined || high === undefined) return '`uniform` needs `bound`, or `low` and `high`';
  if (low > high) return `\`low\` is at most \`high\`, found ${low} and ${high}`;
  return low === high ? constant(low) : { kind: 'uniform', low, high };
}

/** The variance that keeps the size of what flows: `of` over a number of inputs, outputs or both. */
function scaled(
  parameters: readonly string[],
  variance: (numbers: Numbers) => number,
  make: (std: number) => Initializer | string,
): Word {
  return {
    parameters,
    make(numbers) {
      const small = ['fan_in', 'fan_out'].find((name) => (numbers[name] ?? 1) < 1);
      if (small !== undefined) return `\`${small}\` is at least 1, found ${numbers[small]}`;
      return make(Math.sqrt(variance(numbers)));
    },
  };
}

const kaiming = ({ fan_in = 1, slope = 0 }: Numbers) => 2 / ((1 + slope ** 2) * fan_in);
const xavier = ({ fan_in = 1, fan_out = 1, gain = 1 }: Numbers) => (2 * gain ** 2) / (fan_in + fan_out);
/** The numbers from -bound to bound have the standard deviation bound / sqrt(3). */
const asUniform = (std: number) => symmetric(std * Math.sqrt(3));
const asNormal = (std: number) => normal(std, 0, false);

const words: Readonly<Record<string, Word>> = {
  zeros: { parameters: [], make: () => constant(0) },
  ones: { parameters: [], make: () => constant(1) },
  constant: { parameters: ['value'], make: ({ value = 0 }) => constant(value) },
  uniform: { parameters: ['bound?', 'low?', 'high?'], make: uniform },
  normal: { parameters: ['std', 'mean?'], make: ({ std = 0, mean = 0 }) => normal(std, mean, false) },
  truncated_normal: { parameters: ['std', 'mean?'], make: ({ std = 0, mean = 0 }) => normal(std, mean, true) },
  kaiming_uniform: scaled(['fan_in', 'slope?'], kaiming, asUniform),
  kaiming_normal: scaled(['fan_in', 'slope?'], kaiming, asNormal),
  xavier_uniform: scaled(['fan_in', 'fan_out', 'gain?'], xavier, asUniform),
  xavier_normal: scaled(['fan_in', 'fan_out', 'gain?'], xavier, asNormal),
};

/** Parameters of every initializer, in the order of the table; a name ending in `?` is optional. For the reference. */
export function initializerParameters(): ReadonlyMap<string, readonly string[]> {
  return new Map(Object.entries(words).map(([name, { parameters }]) => [name, parameters]));
}

interface WordCall {
  readonly name: string;
  readonly nameSpan: Span;
  readonly arguments: readonly Argument[];
}

/** `zeros` and `normal(std: 0.02)`; undefined for anything else. */
function wordCall(expression: Expression): WordCall | undefined {
  const callee = expression.kind === 'call' ? expression.callee : expression;
  if (callee.kind !== 'name') return undefined;
  return {
    name: callee.name,
    nameSpan: callee.span,
    arguments: expression.kind === 'call' ? expression.arguments : [],
  };
}

/** The word that is meant, or undefined (reported). */
function wordOf(
  context: Context,
  expression: Expression,
): { readonly word: Word; readonly call: WordCall } | undefined {
  const call = wordCall(expression);
  const word = call && Object.hasOwn(words, call.name) ? words[call.name] : undefined;
  if (call !== undefined && word !== undefined) return { word, call };
  if (call !== undefined) {
    const near = nearMember({ text: call.name, span: call.nameSpan }, Object.keys(words));
    report(context, 'SORA2118', `there is no initializer \`${call.name}\``, call.nameSpan, near);
  } else if (expression.kind !== 'missing') {
    const help = expression.kind === 'number' ? `write \`constant(${expression.value})\`` : 'as `normal(std: 0.02)`';
    report(context, 'SORA2118', 'this is no initializer', expression.span, { help });
  }
  return undefined;
}

/** The integers that an element type holds. */
const integers: Readonly<Record<Exclude<DType, 'f32' | 'f16'>, readonly [number, number]>> = {
  i32: [-2147483648, 2147483647],
  u32: [0, 4294967295],
  bool: [0, 1],
};

/** Why the tensor cannot begin like this; undefined when it can. */
function misfit(initial: Initializer, { dtype }: TensorType): string | undefined {
  if (dtype !== 'f32' && dtype !== 'f16') {
    if (initial.kind !== 'constant') return `only a float tensor begins with random numbers, not one of \`${dtype}\``;
    const [least, most] = integers[dtype];
    const { value } = initial;
    return Number.isInteger(value) && value >= least && value <= most ? undefined : `${value} is no \`${dtype}\``;
  }
  const numbers = Object.values(initial).filter((value) => typeof value === 'number');
  const wide = numbers.find((value) => !fitsFloat(value, dtype));
  return wide === undefined ? undefined : `${wide} does not fit in \`${dtype}\``;
}

function applyWord(context: Context, expression: Expression, type: TensorType, scope: Scope): Initializer | undefined {
  const found = wordOf(context, expression);
  if (found === undefined) return undefined;
  const { word, call } = found;
  const given = evaluateArguments(context, call.arguments, scope);
  const parameters = word.parameters.map((name) => ({ name: name.replace(/\?$/, ''), required: !name.endsWith('?') }));
  const matched = matchArguments(context, { name: call.name, parameters, span: undefined }, given, expression.span);
  if (matched === undefined) return undefined;
  const numbers: Record<string, number> = {};
  for (const [at, argument] of matched.entries()) {
    if (argument === undefined) continue;
    const value = numberOf(argument.binding);
    if (value === undefined) {
      if (argument.binding.kind !== 'poison') {
        const message = `expected a number that is known when compiling, found ${describe(argument.binding)}`;
        report(context, 'SORA2006', message, argument.span);
      }
      return undefined;
    }
    numbers[parameters[at]?.name ?? ''] = value;
  }
  const made = word.make(numbers);
  const problem = typeof made === 'string' ? made : misfit(made, type);
  if (problem !== undefined) report(context, 'SORA2118', problem, expression.span);
  return typeof made === 'string' || problem !== undefined ? undefined : made;
}

function evaluateInitializer(
  context: Context,
  expression: Expression,
  type: TensorType,
  scope: Scope,
): Initializer | undefined {
  if (expression.kind === 'block') {
    return evaluateInitializer(context, expression.result, type, enterBlock(context, expression.lets, scope));
  }
  if (expression.kind !== 'if') return applyWord(context, expression, type, scope);
  const condition = conditionValue(context, expression.condition, scope);
  const { then, otherwise } = expression;
  const taken = condition === undefined ? undefined : condition ? then : otherwise;
  for (const branch of [then, otherwise]) if (branch && branch !== taken) touchInitializer(context, branch, scope);
  // Without an `else` the tensor has no beginning of its own: the checkpoint must give it.
  return taken && evaluateInitializer(context, taken, type, scope);
}

/** What an `init` clause says for a tensor of this type; undefined when it says nothing, or nothing right (reported). */
export function initializerOf(
  context: Context,
  clause: InitClause,
  type: TensorType,
  scope: Scope,
): Initializer | undefined {
  return evaluateInitializer(context, clause.value, type, scope);
}

/** Looks up the names of a clause that is not evaluated. */
export function touchInitializer(context: Context, expression: Expression, scope: Scope): void {
  if (expression.kind === 'block') {
    touchInitializer(context, expression.result, touchLets(context, expression.lets, scope));
  } else if (expression.kind === 'if') {
    touchNames(context, expression.condition, scope);
    for (const branch of [expression.then, expression.otherwise]) if (branch) touchInitializer(context, branch, scope);
  } else {
    const found = wordOf(context, expression);
    for (const { value } of found?.call.arguments ?? []) touchNames(context, value, scope);
  }
}

/** `init` at a submodule, whose tensors begin each in its own way. */
export function refuseInit(context: Context, field: SubmoduleField, span: Span): void {
  report(context, 'SORA2118', `\`${field.name.text}\` is a submodule: only a tensor begins with numbers`, span, {
    help: `write \`init\` at the tensors of \`${field.module.text}\``,
  });
}
