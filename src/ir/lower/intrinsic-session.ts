/**
 * Built-in functions of entries that go on where the last call ended: `positions`, `last`. Without states every call starts
 * at position 0 and all its positions are real.
 */
import type { Value } from '../graph.ts';
import { constantDim, type Dim, multiplyDims, productOfDims, subtractDims } from '../symbolic.ts';
import { describe, poison } from './binding.ts';
import { type Context, report } from './context.ts';
import { hiddenInput } from './entry-session.ts';
import { argument, type Call, type Intrinsic, wrap } from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { withOrigin, writtenType } from './origin.ts';
import { asTensor, broadcastTo, emitTogether, reshapeTo } from './tensors.ts';

/** Argument `at` as a dim; undefined when it is none (reported). */
function dimArgument(context: Context, call: Call, at: number): Dim | undefined {
  const { binding, span } = argument(call, at);
  if (binding.kind === 'poison') return undefined;
  if (binding.kind === 'int') return withOrigin(binding.dim, binding.origin ?? { text: binding.dim.key, span });
  report(context, 'SORA2006', `\`${call.name}\` needs a dim, found ${describe(binding)}`, span);
  return undefined;
}

/** `positions(B, T)`, i32[B, T]: the place of each position in its row, counted from its first one in the session. */
export const positions: Intrinsic = {
  parameters: ['batch', 'length'],
  apply(context, call) {
    const [batch, length] = [dimArgument(context, call, 0), dimArgument(context, call, 1)];
    if (batch === undefined || length === undefined) return poison;
    if (context.site === undefined) {
      report(context, 'SORA2203', '`positions` makes a tensor, which cannot stand here', call.span);
      return poison;
    }
    const { span } = call;
    const index = emitNode(context, 'iota', [], { length, dtype: 'i32' }, span);
    if (index === undefined) return poison;
    const past = hiddenInput(context, 'past', batch);
    if (past === undefined) return wrap(broadcastTo(context, index, [batch, length], span));
    const message = '`positions` counts in the rows of the states';
    context.site.session?.expectations.push({ dim: batch, of: 'batch', message, span: argument(call, 0).span });
    const first = reshapeTo(context, past, [batch, constantDim(1)], span);
    return first === undefined ? poison : wrap(emitTogether(context, 'add', [first, index], span, 'positions'));
  },
};

/** `last(x)`: [B, T, …] at the last real position of each row, [B, …]. */
export const last: Intrinsic = {
  parameters: ['x'],
  apply(context, call) {
    const operand = argument(call, 0);
    const x = asTensor(context, operand);
    if (x === undefined) return poison;
    const [batch, length, ...inner] = x.type.shape;
    if (batch === undefined || length === undefined) {
      const message = `\`last\` needs [batch, T, …], found \`${writtenType(x.type)}\``;
      report(context, 'SORA2102', message, operand.span);
      return poison;
    }
    const { span } = call;
    const lengths = hiddenInput(context, 'lengths', batch);
    if (lengths === undefined) {
      const end = subtractDims(length, constantDim(1));
      const row = emitNode(context, 'slice', [x], { axis: 1, start: end, size: constantDim(1) }, span, [operand.span]);
      return row === undefined ? poison : wrap(reshapeTo(context, row, [batch, ...inner], span));
    }
    const expectations = context.site?.session?.expectations;
    expectations?.push({ dim: batch, of: 'batch', message: '`last` looks along the rows of the states', span });
    expectations?.push({ dim: length, of: 'steps', message: '`last` looks along the positions of the call', span });
    const place = lastPlaces(context, lengths, batch, length, span);
    const rows = reshapeTo(context, x, [multiplyDims(batch, length), productOfDims(inner)], span);
    const found = place && rows && emitNode(context, 'gather', [rows, place], {}, span);
    return found === undefined ? poison : wrap(reshapeTo(context, found, [batch, ...inner], span));
  },
};

/** `b * T + clamp(lengths[b] - 1, 0, T - 1)`, i32[B]: of calls of one position it is known that it is `b`. */
function lastPlaces(context: Context, lengths: Value, batch: Dim, length: Dim, span: Call['span']): Value | undefined {
  const row = emitNode(context, 'iota', [], { length: batch, dtype: 'i32' }, span);
  const number = (value: Value | undefined) => value && broadcastTo(context, value, [batch], span);
  const constant = (value: number) =>
    number(emitNode(context, 'constant', [], { values: [value], dtype: 'i32', shape: [] }, span));
  const dim = (value: Dim) => number(emitNode(context, 'dim_value', [], { value }, span));
  const binary = (op: string, left: Value | undefined, right: Value | undefined) =>
    left && right && emitNode(context, op, [left, right], {}, span);
  const wanted = binary('max', binary('sub', lengths, constant(1)), constant(0));
  const place = binary('min', wanted, dim(subtractDims(length, constantDim(1))));
  return binary('add', binary('mul', row, dim(length)), place);
}
