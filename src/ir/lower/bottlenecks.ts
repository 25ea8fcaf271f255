/**
 * Bottleneck adapters: behind a part of the model its output y becomes y + U act(D y + b) + c, with a few columns in between.
 *
 * They are no matrices beside others, so nothing can be merged: their weights are weights of the model, below the part that they
 * stand behind, and every entry has them. What is added is 0 at first, as U and c begin with zeros.
 *
 * Source: Houlsby et al. 2019, figure 2. Which parts: use-bottlenecks.ts.
 */
import type { Span } from '../../support/source.ts';
import { createEmitter } from '../emit.ts';
import type { Initializer, Value, Weight } from '../graph.ts';
import type { Emitter } from '../op.ts';
import { calculus } from '../ops/calculus.ts';
import { constantDim, constantValue, type Dim } from '../symbolic.ts';
import { type Binding, describe, poison, tensorBinding } from './binding.ts';
import { type Context, currentLabel, report } from './context.ts';
import { writtenType } from './origin.ts';
import { tensorOf } from './tensors.ts';

export const activations = ['gelu', 'relu', 'silu', 'tanh'] as const;
export type Activation = (typeof activations)[number];

/** What stands behind a part, by the part's path in `Context.bottlenecks`. */
export interface Bottleneck {
  readonly size: number;
  readonly activation: Activation;
  /** The rule that asks for it. */
  readonly span: Span;
  /** Made at the first call of the part. */
  weights: readonly Weight[] | undefined;
}

/** Paths of all that bottlenecks have made. */
export function bottleneckWeights(context: Context): readonly Weight[] {
  return [...context.bottlenecks.values()].flatMap(({ weights }) => weights ?? []);
}

function activated(emitter: Emitter, activation: Activation, x: Value): Value {
  const c = calculus(emitter);
  if (activation === 'tanh') return c.apply('tanh', x);
  if (activation === 'relu') return emitter.emit('max', [x, c.fill(0, x)]);
  if (activation === 'silu') return c.div(x, c.add(c.fill(1, x), c.apply('exp', c.apply('neg', x))));
  return c.mul(c.scale(x, 0.5), c.add(c.fill(1, x), c.apply('erf', c.scale(x, Math.SQRT1_2))));
}

/** The weights below a part whose output has so many columns; undefined when one of the names is taken (reported). */
function makeWeights(context: Context, path: string, own: Bottleneck, width: Dim): readonly Weight[] | undefined {
  const zeros: Initializer = { kind: 'constant', value: 0 };
  const bound = 1 / Math.sqrt(constantValue(width) ?? 1);
  const size = constantDim(own.size);
  const named = (name: string, shape: readonly Dim[], initial: Initializer): Weight => ({
    path: `${path}.${name}`,
    type: { dtype: 'f32', shape },
    span: own.span,
    doc: undefined,
    initial,
  });
  const weights = [
    named('adapter_down.weight', [size, width], { kind: 'uniform', low: -bound, high: bound }),
    named('adapter_down.bias', [size], zeros),
    named('adapter_up.weight', [width, size], zeros),
    named('adapter_up.bias', [width], zeros),
  ];
  const taken = weights.find((weight) => context.weights.has(weight.path));
  if (taken) {
    const field = context.weights.get(taken.path)?.field;
    report(context, 'SORA2009', `two weights are named \`${taken.path}\` in the checkpoint`, own.span, {
      labels: field ? [{ span: field, text: 'first here' }] : [],
    });
    return undefined;
  }
  for (const weight of weights) context.weights.set(weight.path, { weight, field: own.span });
  return weights;
}

/** What a call of the part at hand gives, with the bottleneck that stands behind it. */
export function behindPart(context: Context, result: Binding, span: Span): Binding {
  const path = currentLabel(context);
  const own = path === undefined ? undefined : context.bottlenecks.get(path);
  const { site } = context;
  if (path === undefined || own === undefined || site === undefined || result.kind === 'poison') return result;
  const y = tensorOf(context, result);
  const width = y?.type.shape.at(-1);
  if (y?.type.dtype !== 'f32' || width === undefined || constantValue(width) === undefined) {
    const found = y ? `\`${writtenType(y.type)}\`` : describe(result);
    report(
      context,
      'SORA2304',
      `a bottleneck stands behind f32 rows of a known length; \`${path}\` gives ${found}`,
      own.span,
    );
    return poison;
  }
  own.weights ??= makeWeights(context, path, own, width);
  const emitter = createEmitter(site.builder, { ranges: context.ranges }, { span, label: path });
  const leaves = (own.weights ?? []).map((weight): Value => {
    const known = site.weights.get(weight.path);
    if (known) return known;
    const options = { attributes: { paths: [weight.path] }, span: own.span, label: weight.path };
    const [leaf = y] = site.builder.add('weight', [], [weight.type], options).outputs;
    site.weights.set(weight.path, leaf);
    return leaf;
  });
  const [down, offset, up, shift] = leaves;
  if (!down || !offset || !up || !shift) return poison;
  if (constantValue(down.type.shape[1] ?? width) !== constantValue(width)) {
    const text = `\`${path}\` gives rows of ${constantValue(width)} here, and of ${constantValue(down.type.shape[1] ?? width)} elsewhere`;
    report(context, 'SORA2304', text, own.span);
    return poison;
  }
  const low = activated(emitter, own.activation, emitter.emit('linear', [y, down, offset]));
  const added = emitter.emit('linear', [low, up, shift]);
  return tensorBinding(emitter.emit('add', [y, added]));
}
