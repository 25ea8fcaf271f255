/**
 * Where queries and keys stand: absolute positions as i32 tensors of the rank of the scores.
 */
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import { constantDim, sameDim } from '../../symbolic.ts';
import { report } from '../context.ts';
import { emitNode } from '../nodes.ts';
import { dimWithNumber, originLabels } from '../origin.ts';
import { emitTogether, reshapeTo } from '../tensors.ts';
import { type Building, geometryOf } from './building.ts';

const one = constantDim(1);

/** Positions of the keys, [1…, 1, 1, S]. */
export function keyPositions(building: Building, span: Span): Value | undefined {
  const { batch, keys } = geometryOf(building);
  const index = emitNode(building.context, 'iota', [], { length: keys, dtype: 'i32' }, span);
  return index && reshapeTo(building.context, index, [...batch.map(() => one), one, one, keys], span);
}

/** Positions of the queries: [1…, 1, T, 1], or [batch…, 1, T, 1] when rows start at different positions. */
export function queryPositions(building: Building, span: Span): Value | undefined {
  const { context, offsets } = building;
  const { batch, queries } = geometryOf(building);
  const index = emitNode(context, 'iota', [], { length: queries, dtype: 'i32' }, span);
  const place = index && reshapeTo(context, index, [...batch.map(() => one), one, queries, one], span);
  if (place === undefined || offsets === undefined) return place;
  const start = reshapeTo(context, offsets, [...batch, one, one, one], span);
  return start && emitTogether(context, 'add', [start, place], span, '+');
}

/** Whether the positions of queries and keys have to do with each other; reported when they have not. */
export function positionsMeet(building: Building, word: string, span: Span): boolean {
  const { queries, keys } = geometryOf(building);
  if (building.offsets !== undefined || sameDim(queries, keys)) return true;
  report(
    building.context,
    'SORA2110',
    `\`${word}\` needs as many queries as keys, found ${dimWithNumber(queries)} and ${dimWithNumber(keys)}`,
    span,
    { labels: originLabels([queries, keys], [span]) },
  );
  return false;
}
