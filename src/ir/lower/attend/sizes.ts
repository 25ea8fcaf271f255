/**
 * `heads`, `kv_heads` and `scale`: how the widths of query, key and value divide.
 */
import type { RecordField } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import { constantDim, constantValue, type Dim, divideDim } from '../../symbolic.ts';
import { describe, numberOf } from '../binding.ts';
import { type Context, report } from '../context.ts';
import { evaluate } from '../expressions.ts';
import { dimWithNumber, originLabels, writtenType } from '../origin.ts';
import type { Scope } from '../scope.ts';
import { fitsFloat } from '../tensors.ts';

export function headCount(
  context: Context,
  modifier: RecordField | undefined,
  fallback: number,
  scope: Scope,
): number | undefined {
  if (modifier === undefined) return fallback;
  const binding = evaluate(context, modifier.value, scope);
  if (binding.kind === 'poison') return undefined;
  const count = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (count !== undefined && count >= 1) return count;
  report(
    context,
    'SORA2204',
    `\`${modifier.name.text}\` must be a positive integer, found ${describe(binding)}`,
    modifier.value.span,
  );
  return undefined;
}

export interface Side {
  readonly name: string;
  readonly value: Value;
  readonly span: Span;
  readonly count: number;
  readonly counted: string;
  /** Where the count was written. */
  readonly countSpan: Span;
}

/** Width of one head; undefined when the count does not divide the last axis (reported). */
export function headWidth(context: Context, side: Side): Dim | undefined {
  const width = side.value.type.shape.at(-1);
  const each = width && divideDim(width, constantDim(side.count));
  if (each || width === undefined) return each;
  report(
    context,
    'SORA2108',
    `${side.count} ${side.counted} do not divide the width of the ${side.name}, ${dimWithNumber(width)}`,
    side.countSpan,
    {
      labels: [
        { span: side.span, text: `the ${side.name} is \`${writtenType(side.value.type)}\`` },
        ...originLabels([width], [side.span]),
      ],
      notes:
        constantValue(width) === undefined
          ? []
          : [`${width.key} / ${side.count} leaves ${Number(width.key) % side.count}`],
    },
  );
  return undefined;
}

export function scaleOf(
  context: Context,
  modifier: RecordField | undefined,
  width: Dim,
  scope: Scope,
  span: Span,
): number | undefined {
  if (modifier) {
    const binding = evaluate(context, modifier.value, scope);
    const value = numberOf(binding);
    if (value === undefined && binding.kind !== 'poison') {
      report(context, 'SORA2006', `\`scale\` must be a known number, found ${describe(binding)}`, modifier.value.span);
    }
    if (value === undefined || fitsFloat(value, 'f32')) return value;
    report(context, 'SORA2204', `${value} does not fit in \`f32\``, modifier.value.span);
    return undefined;
  }
  const known = constantValue(width);
  if (known === undefined) report(context, 'SORA2203', 'the width of a head must be known when compiling', span);
  return known === undefined ? undefined : 1 / Math.sqrt(known);
}
