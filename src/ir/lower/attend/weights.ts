/**
 * How scores become weights, and which of them training drops: `normalize`, `sinks`, `dropout`.
 */
import type { RecordField } from '../../../parser/ast.ts';
import { describe, numberOf } from '../binding.ts';
import { report } from '../context.ts';
import { probability } from '../dropout.ts';
import { evaluate } from '../expressions.ts';
import { lookup } from '../scope.ts';
import type { Building } from './building.ts';
import { perHead } from './fitting.ts';

/** `softmax`, `entmax(1.5)`, `entmax(alpha)` with a number or f32[heads]. */
export function applyNormalize(building: Building, field: RecordField): boolean {
  const { context, scope } = building;
  const { value } = field;
  if (value.kind === 'name' && value.name === 'softmax') return true;
  const isEntmax =
    value.kind === 'call' &&
    value.callee.kind === 'name' &&
    value.callee.name === 'entmax' &&
    value.arguments.length === 1 &&
    lookup(scope, 'entmax') === undefined;
  const argument = isEntmax ? value.arguments[0] : undefined;
  if (argument === undefined) {
    report(context, 'SORA2115', '`normalize` takes `softmax`, `entmax(1.5)` or `entmax(alpha)`', value.span);
    return false;
  }
  const { span } = argument.value;
  const binding = evaluate(context, argument.value, scope);
  const number = numberOf(binding);
  if (number !== undefined && !(number > 1 && number <= 2)) {
    report(context, 'SORA2204', `alpha is above 1 and at most 2, found ${describe(binding)}`, span, {
      ...(number === 1 ? { help: 'alpha 1 is `softmax`' } : {}),
    });
    return false;
  }
  if (number === 1.5) {
    building.normalize = 'entmax15';
    return true;
  }
  const alpha = perHead(building, 'entmax', { binding, span });
  if (alpha === undefined) return false;
  building.normalize = 'entmax';
  building.extras.push({ role: 'alpha', value: alpha, span });
  return true;
}

/** One more score per head that only the sum sees. */
export function applySinks(building: Building, field: RecordField): boolean {
  const { context, scope } = building;
  const { span } = field.value;
  if (building.normalize !== 'softmax') {
    report(context, 'SORA2116', '`sinks` need `softmax`: entmax has zeros of its own', field.name.span);
    return false;
  }
  const sinks = perHead(building, 'sinks', { binding: evaluate(context, field.value, scope), span });
  if (sinks) building.extras.push({ role: 'sinks', value: sinks, span });
  return sinks !== undefined;
}

/** Training drops weights with this probability, after the softmax, and scales the others. */
export function applyDropout(building: Building, field: RecordField): boolean {
  const { context, scope } = building;
  const p = probability(context, { binding: evaluate(context, field.value, scope), span: field.value.span });
  building.dropout = p ?? 0;
  return p !== undefined;
}
