/**
 * Rules of `adapter` blocks for weights: low-rank matrices beside them, or the weights themselves. Those behind parts are read in
 * use-bottlenecks.ts, before entries are lowered.
 */
import type { Expression, UseRule } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import type { Adapter, TrainBlock, Weight } from '../graph.ts';
import { type Binding, numberOf, poison } from './binding.ts';
import { bottleneckWeights } from './bottlenecks.ts';
import type { Context } from './context.ts';
import { adapters, checkMethod, type UseSite, wrongValue } from './use-methods.ts';

/** By weight; undefined: it trains itself. A later rule overrides an earlier one. */
export type Adapters = Map<string, Adapter | undefined>;

function adapterOf(values: ReadonlyMap<string, Binding>, path: string, span: Span): Adapter {
  const number = (name: string) => numberOf(values.get(name) ?? poison);
  const rank = number('rank') ?? 1;
  // As in peft: without alpha the matrices count as they are.
  return { path, rank, alpha: number('alpha') ?? rank, dropout: number('dropout') ?? 0, span };
}

function nameOf(expression: Expression): string | undefined {
  const callee = expression.kind === 'call' ? expression.callee : expression;
  return callee.kind === 'name' ? callee.name : undefined;
}

/** @param selected what the rule's globs select */
export function readAdapterRule(
  site: UseSite,
  rule: UseRule,
  selected: readonly Weight[],
  isModel: boolean,
  chosen: Adapters,
): void {
  const { about } = rule;
  const { value } = rule.value;
  if (about) {
    if (!isModel) wrongValue(site, '`after` is about parts of the whole model', about.span);
    return;
  }
  if (nameOf(value) === 'bottleneck') {
    const help = 'write `after "encoder.layer.*": bottleneck(size: 64)`';
    wrongValue(site, 'a bottleneck stands behind a part of the model, not beside weights', value.span, help);
    return;
  }
  const found = checkMethod(site, adapters, value, 'adapter');
  if (found?.name === 'full') {
    for (const { path } of selected) chosen.set(path, undefined);
    return;
  }
  const matrices = selected.filter(({ type }) => type.shape.length === 2);
  if (selected.length > 0 && matrices.length === 0)
    wrongValue(site, 'an adapter belongs to matrices, and none is selected', rule.globs[0]?.span ?? rule.span);
  if (found) for (const { path } of matrices) chosen.set(path, adapterOf(found.values, path, value.span));
}

/** What trains when there are adapters: they, and weights that shall train in full. */
export function trainedBeside(context: Context, chosen: Adapters): Pick<TrainBlock, 'adapters' | 'alone'> {
  const full = [...chosen.keys()].filter((path) => chosen.get(path) === undefined);
  const behind = bottleneckWeights(context).map(({ path }) => path);
  return {
    adapters: [...chosen.values()].filter((each) => each !== undefined),
    alone: chosen.size + behind.length > 0 ? new Set([...full, ...behind]) : undefined,
  };
}
