/**
 * A `train` block against the entry that it trains: its targets, its loss as a graph, the optimizer and what is frozen.
 */
import type { Expression, UseBlock, UseSetting } from '../../parser/ast.ts';
import { createEmitter } from '../emit.ts';
import {
  type ClassRange,
  type Entry,
  type EntryParameter,
  GraphBuilder,
  type Optimizer,
  resultInput,
  type Schedule,
  type Scored,
  type TrainBlock,
} from '../graph.ts';
import type { TensorType } from '../types.ts';
import { type Binding, numberOf, poison, tensorBinding } from './binding.ts';
import { report } from './context.ts';
import { evaluate } from './expressions.ts';
import { childScope } from './scope.ts';
import { resolveType } from './typing.ts';
import { matchesGlob } from './use-globs.ts';
import { lowerLoss } from './use-losses.ts';
import { checkMethod, optimizers, schedules, type UseSite, wrongValue } from './use-methods.ts';
import { readRecompute } from './use-parts.ts';
import { readReads } from './use-reads.ts';

type Values = ReadonlyMap<string, Binding>;

function numberAt(values: Values, name: string, otherwise: number): number {
  return numberOf(values.get(name) ?? poison) ?? otherwise;
}

function scheduleOf(site: UseSite, written: Expression | undefined, plain: number | undefined): Schedule | undefined {
  if (plain !== undefined) return { kind: 'constant', peak: plain, warmup: 0, final: 0 };
  const found = written?.kind === 'call' ? checkMethod(site, schedules, written, 'schedule') : undefined;
  const peak = found && numberOf(found.values.get('peak') ?? poison);
  if (found === undefined || peak === undefined) return undefined;
  const kind = found.name as Schedule['kind'];
  const number = (name: string, otherwise: number) => numberAt(found.values, name, otherwise);
  const common = { kind, peak, warmup: number('warmup', 0), final: number('final', 0) };
  const every = numberOf(found.values.get('every') ?? poison);
  if (kind !== 'step') return common;
  // torch's StepLR has this factor when nothing is said.
  return every === undefined ? undefined : { ...common, every, factor: number('factor', 0.1) };
}

/** The first argument of the method, by place or by name. */
function rateOf(expression: Expression): Expression | undefined {
  if (expression.kind !== 'call') return undefined;
  const { arguments: given } = expression;
  return (given.find(({ name }) => name?.text === 'lr') ?? given.find(({ name }) => name === undefined))?.value;
}

/** The optimizer with torch's defaults; undefined when something is wrong with it (reported). */
function readOptimizer(site: UseSite, expression: Expression): Optimizer | undefined {
  const found = checkMethod(site, optimizers, expression, 'optimizer');
  if (found === undefined) return undefined;
  const { name, values } = found;
  const schedule = scheduleOf(site, rateOf(expression), numberOf(values.get('lr') ?? poison));
  if (schedule === undefined) return undefined;
  if (name === 'sgd') {
    const nesterov = values.get('nesterov');
    const momentum = numberAt(values, 'momentum', 0);
    if (nesterov?.kind === 'bool' && nesterov.value && momentum === 0) {
      wrongValue(site, '`nesterov` needs a momentum', expression.span, 'write `momentum: 0.9` beside it');
      return undefined;
    }
    return {
      name,
      schedule,
      weightDecay: numberAt(values, 'weight_decay', 0),
      momentum,
      nesterov: nesterov?.kind === 'bool' && nesterov.value,
    };
  }
  if (name === 'lion') {
    return {
      name,
      schedule,
      weightDecay: numberAt(values, 'weight_decay', 0),
      beta1: numberAt(values, 'beta1', 0.9),
      beta2: numberAt(values, 'beta2', 0.99),
    };
  }
  return {
    name: name as 'adam' | 'adamw',
    schedule,
    weightDecay: numberAt(values, 'weight_decay', name === 'adamw' ? 0.01 : 0),
    beta1: numberAt(values, 'beta1', 0.9),
    beta2: numberAt(values, 'beta2', 0.999),
    eps: numberAt(values, 'eps', 1e-8),
  };
}

/** Declares parameters, results and targets as inputs of the loss; the targets. */
function declareOperands(
  site: UseSite,
  block: UseBlock,
  entry: Entry | undefined,
  builder: GraphBuilder,
): { readonly site: UseSite; readonly targets: readonly EntryParameter[]; readonly areRight: boolean } {
  const { context } = site;
  const scope = childScope(site.scope);
  const declare = (name: string, input: string, type: TensorType | undefined, span = block.model.span): void => {
    const binding = type === undefined ? poison : tensorBinding(builder.input(input, type));
    scope.names.set(name, { binding, span, declaration: undefined });
  };
  for (const { name, type, role } of entry?.parameters ?? []) if (role === undefined) declare(name, name, type);
  for (const { name, type } of entry?.results ?? []) declare(name, resultInput(name), type);
  const seen = new Map<string, (typeof block.items)[number]>();
  const targets: EntryParameter[] = [];
  let areRight = true;
  for (const item of block.items) {
    if (item.kind !== 'target') continue;
    const { text, span } = item.name;
    const earlier = seen.get(text);
    if (earlier || scope.names.has(text)) {
      const message = earlier ? `\`${text}\` is declared twice` : `\`${text}\` is a name of the entry already`;
      report(context, 'SORA2002', message, span, {
        labels: earlier ? [{ span: earlier.span, text: 'first here' }] : [],
      });
      areRight = false;
      continue;
    }
    seen.set(text, item);
    const type = resolveType(context, item.type, site.scope);
    declare(text, text, type, span);
    if (type) targets.push({ name: text, type, doc: undefined, initial: undefined });
    else areRight = false;
  }
  return { site: { context, scope }, targets, areRight };
}

/** What is wrong with the setting is said in uses.ts. */
function precisionOf(setting: UseSetting | undefined): TrainBlock['precision'] {
  const value = setting?.values[0]?.value;
  return value?.kind === 'name' && value.name === 'f16' ? 'f16' : 'f32';
}

/** Weights of a setting's globs; the globs themselves are checked in uses.ts. */
function selected(setting: UseSetting | undefined, paths: readonly string[]): ReadonlySet<string> {
  const globs = (setting?.values ?? []).flatMap(({ value }) => (value.kind === 'string' ? [value.value] : []));
  return new Set(paths.filter((path) => globs.some((glob) => matchesGlob(glob, path))));
}

/** Checks a block; undefined when something is wrong (reported). `weights` are the paths of the model, `rules` what rules say of them. */
export function readTraining(
  site: UseSite,
  block: UseBlock,
  entry: Entry | undefined,
  weights: readonly string[],
  rules: Pick<TrainBlock, 'rates' | 'decays'>,
): TrainBlock | undefined {
  const { context } = site;
  const builder = new GraphBuilder();
  const operands = declareOperands(site, block, entry, builder);
  const settings = new Map<string, UseSetting>();
  for (const item of block.items) {
    if (item.kind === 'setting' && !settings.has(item.name.text)) settings.set(item.name.text, item);
  }
  if (entry === undefined) return undefined;
  const parameters = entry.parameters.filter(({ role }) => role === undefined);
  const reads = readReads(site, block, { parameters, targets: operands.targets });
  const scored: Scored[] = [];
  const classes = new Map<string, ClassRange>();
  context.site = { builder, weights: new Map(), nodes: 0 };
  const written = settings.get('loss')?.values[0]?.value;
  const loss =
    written &&
    lowerLoss(
      operands.site,
      createEmitter(builder, { ranges: context.ranges }, { span: written.span, label: 'loss' }),
      written,
      { scored: (pair) => scored.push(pair), classes: (input, range) => classes.set(input, range) },
    );
  context.site = undefined;
  const chosen = settings.get('optimizer')?.values[0]?.value;
  const optimizer = chosen && readOptimizer(site, chosen);
  const numberSetting = (name: string): number | undefined => {
    const expression = settings.get(name)?.values[0]?.value;
    return expression && numberOf(evaluate(context, expression, site.scope));
  };
  const results = new Set(entry.results.map(({ name }) => name));
  const recomputed = readRecompute(site, settings.get('recompute'), weights, block.model.text);
  if (
    loss === undefined ||
    optimizer === undefined ||
    recomputed === undefined ||
    reads === undefined ||
    !operands.areRight
  )
    return undefined;
  return {
    entry: entry.name,
    targets: operands.targets.map((target) => {
      const range = classes.get(target.name);
      return range ? { ...target, classes: range } : target;
    }),
    reads,
    scored: scored.filter(({ scores }) => results.has(scores)),
    loss: builder.finish('loss', [{ name: 'loss', value: loss }]),
    optimizer,
    noDecay: selected(settings.get('no_decay'), weights),
    frozen: selected(settings.get('freeze'), weights),
    rates: rules.rates,
    decays: rules.decays,
    clipNorm: numberSetting('clip_norm'),
    precision: precisionOf(settings.get('precision')),
    ema: numberSetting('ema'),
    recomputed,
    microBatches: numberSetting('accumulate') ?? 1,
    seed: numberSetting('seed') ?? 0,
    adapters: [],
    alone: undefined,
    formats: new Map(),
    span: block.useSpan,
  };
}
