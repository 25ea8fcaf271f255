/**
 * The modifier of what attention gives: `gate`.
 */
import type { RecordField } from '../../../parser/ast.ts';
import type { Value } from '../../graph.ts';
import { constantDim, divideDim } from '../../symbolic.ts';
import { evaluate } from '../expressions.ts';
import { emitNode } from '../nodes.ts';
import { broadcastTo, convert, reshapeTo } from '../tensors.ts';
import { type Building, geometryOf } from './building.ts';
import { fitting } from './fitting.ts';

/** One factor per head, [batch…, T, heads], or per element, [batch…, T, heads*E]. */
export function applyGate(building: Building, field: RecordField, result: Value): Value | undefined {
  const { context, scope } = building;
  const { span } = field.value;
  const { batch, heads, queries } = geometryOf(building);
  const whole = result.type.shape;
  const given = { binding: evaluate(context, field.value, scope), span };
  const fits = fitting(building, 'gate', given, [[...batch, queries, heads], whole]);
  const gate = fits && convert(context, fits, result.type.dtype, span);
  if (gate === undefined) return undefined;
  if (gate.type.shape.at(-1)?.key === whole.at(-1)?.key) return emitNode(context, 'mul', [result, gate], {}, span);
  const width = divideDim(whole.at(-1) ?? constantDim(0), heads);
  const split = width && [...batch, queries, heads, width];
  const byHead = split && reshapeTo(context, result, split, span);
  const column = byHead && reshapeTo(context, gate, [...batch, queries, heads, constantDim(1)], span);
  const wide = column && broadcastTo(context, column, byHead.type.shape, span);
  const product = wide && emitNode(context, 'mul', [byHead, wide], {}, span);
  return product && reshapeTo(context, product, whole, span);
}
