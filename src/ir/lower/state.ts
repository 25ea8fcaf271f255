/**
 * `state kv = KVCache(batch, heads, positions, width)`: what an entry leaves for the next call. Its sizes are checked here;
 * who writes it stands in cache.ts.
 */
import type { StateField } from '../../parser/ast.ts';
import { limits } from '../../support/limits.ts';
import { closest } from '../../support/suggest.ts';
import { constantValue, type Dim, dimBounds } from '../symbolic.ts';
import { evaluateArguments, matchArguments } from './arguments.ts';
import { type Binding, describe, type Instance, poison, type StateBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { withOrigin } from './origin.ts';

const stateKinds: readonly string[] = ['KVCache'];
const parameters = [
  ...['batch', 'heads', 'positions', 'width'].map((name) => ({ name, required: true })),
  { name: 'value_width', required: false },
];

export function stateBinding(context: Context, field: StateField, instance: Instance): Binding {
  const { text, span } = field.type;
  if (!stateKinds.includes(text)) {
    const guess = closest(text, stateKinds);
    report(context, 'SORA2001', `unknown kind of state \`${text}\``, span, {
      help: guess === undefined ? 'there is `KVCache(batch, heads, positions, width)`' : `did you mean \`${guess}\`?`,
      ...(guess === undefined ? {} : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span, text: guess }] }] }),
    });
    return poison;
  }
  const given = evaluateArguments(context, field.arguments, instance.scope);
  const matched = matchArguments(context, { name: text, parameters, span: undefined }, given, field.span);
  if (matched === undefined || given.some((argument) => argument.binding.kind === 'poison')) return poison;
  const shape: Dim[] = [];
  for (const [at, argument] of matched.entries()) {
    const name = parameters[at]?.name;
    if (argument === undefined) continue;
    const { binding } = argument;
    if (binding.kind !== 'int') {
      report(
        context,
        'SORA2006',
        `\`${name}\` of \`${text}\` is an integer, found ${describe(binding)}`,
        argument.span,
      );
      return poison;
    }
    // One batch lives in the state; everything else decides how much memory it takes.
    if (at > 0 && constantValue(binding.dim) === undefined) {
      report(context, 'SORA2203', `\`${name}\` of \`${text}\` must be known when compiling`, argument.span);
      return poison;
    }
    if (dimBounds(binding.dim, context.ranges).minimum < 1) {
      report(context, 'SORA2204', `\`${name}\` of \`${text}\` is at least 1, found ${binding.dim.key}`, argument.span);
      return poison;
    }
    const most = constantValue(binding.dim) ?? 1;
    if (most > limits.dim) {
      const message = `\`${name}\` of \`${text}\` is ${most}, more than ${limits.dim}`;
      report(context, 'SORA5002', message, argument.span);
      return poison;
    }
    shape.push(binding.origin ? withOrigin(binding.dim, binding.origin) : binding.dim);
  }
  const path = [...instance.path, field.name.text].join('.');
  const [batch, heads, positions, width, valueWidth = width] = shape;
  if (!batch || !heads || !positions || !width || !valueWidth) return poison;
  const sizes = [heads, positions, width, valueWidth].map((dim) => constantValue(dim) ?? 0);
  const [count = 0, most = 0, keyWidth = 0, wide = 0] = sizes;
  const least = dimBounds(batch, context.ranges).minimum;
  const elements = least * count * most * Math.max(keyWidth, wide);
  if (elements > limits.elements) {
    const message = `a state has at most ${limits.elements} elements of keys or values, this has ${elements} or more`;
    report(context, 'SORA5002', message, field.span);
    return poison;
  }
  const state: StateBinding = {
    kind: 'state',
    field,
    path,
    batch,
    heads: count,
    positions: most,
    width: keyWidth,
    valueWidth: wide,
    dtype: 'f32',
  };
  context.states.set(path, state);
  return state;
}
