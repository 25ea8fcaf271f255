/**
 * Elements at computed places of a table: `gather` and `take_along`.
 */

import type { Value } from '../../ir/graph.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim, type Dim, subtractDims } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { type Index, mentions } from './index-algebra.ts';
import { literal } from './scalars.ts';
import { type Expression, FOURTH, type IndexVector, type ValueWalker } from './values.ts';

/** `table[indices[i…], d…]`; an index outside of the table gives 0. */
export function gathered(walker: ValueWalker, value: Value, index: IndexVector): Expression {
  const [table, indices] = value.node.inputs;
  if (!table || !indices) return unreachable('a gather without operands');
  const rank = indices.type.shape.length;
  // Neighbours in a row of the table share the row; neighbours among the indices do not.
  if (index.slice(0, rank).some((part) => mentions(part, FOURTH)))
    return walker.perLane(value, index, (at) => gathered(walker, value, at));
  const wanted = walker.at(indices, index.slice(0, rank));
  return looked(walker, table, wanted, table.type.shape[0], (place) => [place, ...index.slice(rank)]);
}

/** `table[i…, indices[i…, j, k…], k…]`; an index outside of the axis gives 0. */
export function takenAlong(walker: ValueWalker, value: Value, index: IndexVector): Expression {
  const { node } = value;
  const [table, indices] = node.inputs;
  if (!table || !indices) return unreachable('a lookup without operands');
  if (index.some((part) => mentions(part, FOURTH)))
    return walker.perLane(value, index, (at) => takenAlong(walker, value, at));
  const given = numberOf(node.attributes, 'axis');
  const axis = given < 0 ? given + index.length : given;
  const wanted = walker.at(indices, index);
  return looked(walker, table, wanted, table.type.shape[axis], (place) =>
    index.map((part, at) => (at === axis ? place : part)),
  );
}

/** The table's element at a wanted place of an axis of so many, or 0 outside of it. */
function looked(
  walker: ValueWalker,
  table: Value,
  wanted: Expression,
  size: Dim | undefined,
  at: (place: Index) => IndexVector,
): Expression {
  const { writer } = walker.context;
  const extent = size ?? constantDim(1);
  const raw = writer.let('wanted', `u32(${wanted.text})`);
  const inside = writer.let('inside', `${raw} < ${writer.dim(extent)}`);
  const place = writer.variable('place', extent, `min(${raw}, ${writer.dim(subtractDims(extent, constantDim(1)))})`);
  const found = walker.at(table, at(place));
  const { dtype } = table.type;
  const nothing = walker.as({ text: literal(dtype, 0), lanes: 1, dtype }, found.lanes);
  return { text: `select(${nothing.text}, ${found.text}, ${inside})`, lanes: found.lanes, dtype };
}
