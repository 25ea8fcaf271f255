/**
 * The methods that use blocks name (`adamw(…)`, `int4(…)`, `lora(…)`): which there are, what they take, and the check of one
 * such value. What the methods do is not decided here.
 */
import type { Expression, UseValue } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import { closest } from '../../support/suggest.ts';
import { constantValue } from '../symbolic.ts';
import { matchArguments } from './arguments.ts';
import { type Binding, describe, numberOf, poison } from './binding.ts';
import { activations } from './bottlenecks.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import type { Scope } from './scope.ts';

/** What a value must be. Bounds belong to the range, except those that are named `above` and `below`. */
export type ValueKind =
  | { readonly kind: 'number'; readonly minimum?: number; readonly above?: number; readonly below?: number }
  | { readonly kind: 'int'; readonly minimum: number }
  | { readonly kind: 'bool' }
  /** One of these names, as it is written. */
  | { readonly kind: 'word'; readonly words: readonly string[] }
  /** A number, or a method of `methods` that gives one. */
  | { readonly kind: 'schedule' };

interface MethodParameter {
  readonly name: string;
  readonly required: boolean;
  readonly value: ValueKind;
}

export interface Method {
  readonly parameters: readonly MethodParameter[];
}

export type Methods = Readonly<Record<string, Method>>;

const number: ValueKind = { kind: 'number' };
const share: ValueKind = { kind: 'number', minimum: 0, below: 1 };
const notNegative: ValueKind = { kind: 'number', minimum: 0 };
const positive: ValueKind = { kind: 'number', above: 0 };
const count: ValueKind = { kind: 'int', minimum: 1 };

const needs = (name: string, value: ValueKind): MethodParameter => ({ name, required: true, value });
const takes = (name: string, value: ValueKind): MethodParameter => ({ name, required: false, value });

/** Learning rates over the steps; `warmup` is a share of all steps. */
export const schedules: Methods = {
  constant: { parameters: [needs('peak', positive), takes('warmup', share)] },
  linear: { parameters: [needs('peak', positive), takes('warmup', share), takes('final', notNegative)] },
  cosine: { parameters: [needs('peak', positive), takes('warmup', share), takes('final', notNegative)] },
  step: {
    parameters: [
      needs('peak', positive),
      needs('every', count),
      takes('factor', { kind: 'number', above: 0, below: 1 }),
      takes('warmup', share),
    ],
  },
};

const rate: ValueKind = { kind: 'schedule' };
const adam = [
  needs('lr', rate),
  takes('beta1', share),
  takes('beta2', share),
  takes('eps', positive),
  takes('weight_decay', notNegative),
];

export const optimizers: Methods = {
  sgd: {
    parameters: [
      needs('lr', rate),
      takes('momentum', share),
      takes('weight_decay', notNegative),
      takes('nesterov', { kind: 'bool' }),
    ],
  },
  adam: { parameters: adam },
  adamw: { parameters: adam },
  lion: {
    parameters: [needs('lr', rate), takes('beta1', share), takes('beta2', share), takes('weight_decay', notNegative)],
  },
};

/** What a rule of a `train` block says of weights: a factor of the learning rate, or a weight decay of their own. */
export const trainingRules: Methods = {
  lr: { parameters: [needs('factor', notNegative)] },
  decay: { parameters: [needs('weight_decay', notNegative)] },
};

/** How `sorac compress` chooses scales and integers: src/compression/calibrate.ts. */
export const calibrations = ['minmax', 'mse', 'percentile', 'gptq'] as const;

const calibrated = [
  takes('group', count),
  takes('calibrate', { kind: 'word', words: calibrations }),
  takes('share', { kind: 'number', above: 0.5, below: 1 }),
];

export const weightFormats: Methods = {
  int8: { parameters: calibrated },
  int4: { parameters: [...calibrated, takes('symmetric', { kind: 'bool' })] },
  f16: { parameters: [] },
  f32: { parameters: [] },
};

export const stateFormats: Methods = { f16: { parameters: [] }, f32: { parameters: [] }, int8: { parameters: [] } };

/** Beside weights; `full` is none: the weight itself trains, as new heads must. */
export const adapters: Methods = {
  lora: { parameters: [needs('rank', count), takes('alpha', number), takes('dropout', share)] },
  full: { parameters: [] },
};

/** Behind parts. */
export const bottlenecks: Methods = {
  bottleneck: { parameters: [needs('size', count), takes('activation', { kind: 'word', words: activations })] },
};

export interface UseSite {
  readonly context: Context;
  /** Where names of values are looked up: the fields and parameters of the model. */
  readonly scope: Scope;
}

export function wrongValue(site: UseSite, message: string, span: Span, help?: string): void {
  report(site.context, 'SORA2304', message, span, help === undefined ? {} : { help });
}

function wanted(kind: ValueKind): string {
  if (kind.kind === 'bool') return 'true or false';
  if (kind.kind === 'word') return `one of ${kind.words.map((word) => `\`${word}\``).join(', ')}`;
  if (kind.kind === 'int') return `an integer of at least ${kind.minimum}`;
  if (kind.kind === 'schedule') return 'a number above 0 or a schedule';
  const { minimum, above, below } = kind;
  const low = minimum !== undefined ? `of at least ${minimum}` : above !== undefined ? `above ${above}` : '';
  const high = below === undefined ? '' : `${low === '' ? '' : ' and '}below ${below}`;
  return `a number ${low}${high}`.trim();
}

function fits(kind: ValueKind, binding: Binding): boolean {
  if (kind.kind === 'bool') return binding.kind === 'bool';
  if (kind.kind === 'word') return false;
  if (kind.kind === 'int') {
    const value = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
    return value !== undefined && value >= kind.minimum;
  }
  const value = numberOf(binding);
  if (value === undefined) return false;
  if (kind.kind === 'schedule') return value > 0;
  const { minimum, above, below } = kind;
  return (
    (minimum === undefined || value >= minimum) &&
    (above === undefined || value > above) &&
    (below === undefined || value < below)
  );
}

/** One plain value; undefined when it is not of the kind (reported). */
export function checkValue(site: UseSite, kind: ValueKind, expression: Expression, what: string): Binding | undefined {
  if (kind.kind === 'schedule' && expression.kind === 'call') {
    checkMethod(site, schedules, expression, 'schedule');
    return undefined;
  }
  if (kind.kind === 'word') return checkWord(site, kind.words, expression, what);
  const binding = evaluate(site.context, expression, site.scope);
  if (binding.kind === 'poison') return undefined;
  if (fits(kind, binding)) return binding;
  wrongValue(site, `${what} is ${wanted(kind)}, found ${describe(binding)}`, expression.span);
  return undefined;
}

function checkWord(site: UseSite, words: readonly string[], expression: Expression, what: string): Binding | undefined {
  if (expression.kind === 'missing') return undefined;
  if (expression.kind === 'name' && words.includes(expression.name)) return { kind: 'string', value: expression.name };
  const guess = expression.kind === 'name' ? closest(expression.name, words) : undefined;
  const list = wanted({ kind: 'word', words });
  wrongValue(
    site,
    `${what} is ${list}`,
    expression.span,
    guess === undefined ? undefined : `did you mean \`${guess}\`?`,
  );
  return undefined;
}

/** The arguments of a known method by name, as far as they are right; undefined for anything else (reported). */
export function checkMethod(
  site: UseSite,
  methods: Methods,
  expression: Expression,
  what: string,
): { readonly name: string; readonly values: ReadonlyMap<string, Binding> } | undefined {
  const callee = expression.kind === 'call' ? expression.callee : expression;
  const names = Object.keys(methods);
  const list = names.map((name) => `\`${name}\``).join(', ');
  if (expression.kind === 'missing') return undefined;
  if (callee.kind !== 'name') {
    wrongValue(site, `expected a known ${what}`, expression.span, `there is ${list}`);
    return undefined;
  }
  const method = Object.hasOwn(methods, callee.name) ? methods[callee.name] : undefined;
  if (method === undefined) {
    const guess = closest(callee.name, names);
    report(site.context, 'SORA2303', `unknown ${what} \`${callee.name}\``, callee.span, {
      help: guess === undefined ? `there is ${list}` : `did you mean \`${guess}\`?`,
      ...(guess === undefined
        ? {}
        : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span: callee.span, text: guess }] }] }),
    });
    return undefined;
  }
  const written = expression.kind === 'call' ? expression.arguments : [];
  const given = written.map(({ name, value }) => ({ name, binding: poison, span: value.span }));
  const signature = { name: callee.name, parameters: method.parameters, span: undefined };
  const matched = matchArguments(site.context, signature, given, expression.span);
  const values = new Map<string, Binding>();
  for (const [at, argument] of (matched ?? []).entries()) {
    const parameter = method.parameters[at];
    const value = written.find((candidate) => candidate.value.span === argument?.span)?.value;
    if (parameter === undefined || value === undefined) continue;
    const binding = checkValue(site, parameter.value, value, `\`${parameter.name}\` of \`${callee.name}\``);
    if (binding) values.set(parameter.name, binding);
  }
  return { name: callee.name, values };
}

/** `keep` and `by` belong to `prune` only; false where one stands (reported). */
export function checkPlain(site: UseSite, value: UseValue, use: string): boolean {
  if (value.isKept) wrongValue(site, `\`keep\` has no meaning in \`${use}\``, value.span);
  else if (value.by) wrongValue(site, `\`by\` has no meaning in \`${use}\``, value.by.span);
  return !value.isKept && value.by === undefined;
}
