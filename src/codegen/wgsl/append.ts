/**
 * The append skeleton: writes the new rows of a state behind those that it holds, in place. It takes one region: whatever
 * makes the rows (rotary positions, casts) is computed where they are stored. States that get rows of one shape, such as
 * keys and values, may share a kernel.
 *
 *   state[b, offsets[b] + t, w] = new[b, t, w]
 */

import type { Value } from '../../ir/graph.ts';
import { constantDim, constantValue, divideDim } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { addIndices, constantIndex, scaleIndex } from './index-algebra.ts';
import {
  type Draft,
  elementIndex,
  elements,
  type Kernel,
  type KernelRequest,
  type Written,
  writeKernel,
} from './kernel.ts';
import { workgroups, writesFour } from './map.ts';
import { operandOf, UnsupportedOp } from './regions.ts';
import { fourth } from './values.ts';

/** How many neighbours an invocation writes: four, two where two share a word, else one. */
function neighbours(draft: Draft, rows: Value): 1 | 2 | 4 {
  if (writesFour(draft.region, rows)) return 4;
  if (rows.type.dtype !== 'f16') return 1;
  const width = constantValue(rows.type.shape.at(-1) ?? constantDim(1));
  if (width !== undefined && width % 2 === 0) return 2;
  throw new UnsupportedOp(rows.node, '`f16` rows of an odd width');
}

interface Update {
  readonly result: number;
  readonly state: Value;
  readonly rows: Value;
  readonly offsets: Value;
}

/** What the region writes: rows of one type, into one state or several. */
function updatesOf(draft: Draft): readonly [Update, ...Update[]] {
  const [first, ...others] = draft.region.results.map(({ value: { node } }, result) => ({
    result,
    state: operandOf(node, 0),
    rows: operandOf(node, 1),
    offsets: operandOf(node, 2),
  }));
  return first ? [first, ...others] : unreachable('a region without a result');
}

function writeAppend(draft: Draft): Written {
  const { walker, writer } = draft;
  const updates = updatesOf(draft);
  const shape = updates[0].rows.type.shape;
  const workgroup = workgroups[draft.request.profile];
  const count = updates.map(({ rows }) => neighbours(draft, rows)).reduce((few, next) => (next < few ? next : few));
  const all = elements(shape);
  const size = divideDim(all, constantDim(count)) ?? all;
  const element = elementIndex(draft, count === 1 ? 'element' : count === 2 ? 'pair' : 'four', size, workgroup);
  const position = count === 4 ? addIndices(scaleIndex(element, 4), fourth) : scaleIndex(element, count);
  const index = walker.algebra.delinearize(position, shape);
  const batch = index.slice(0, -2);
  const [step = constantIndex(0), column = constantIndex(0)] = index.slice(-2);
  for (const { result, state, rows, offsets } of updates) {
    const room = state.type.shape.at(-2) ?? constantDim(1);
    const wanted = `u32(${walker.at(offsets, batch).text}) + ${writer.index(step)}`;
    const row = writer.variable('row', room, wanted);
    writer.open(`if (${writer.index(row)} < ${writer.dim(room)})`);
    const place = [...batch, row, column];
    if (count === 2) {
      const next = [...index.slice(0, -1), addIndices(column, constantIndex(1))];
      draft.storePair(result, place, walker.at(rows, index), walker.at(rows, next));
    } else draft.store(result, place, walker.at(rows, index));
    writer.close();
  }
  writer.close();
  const note = count === 1 ? 'one element per invocation' : `${count} neighbours per invocation`;
  return { workgroup, groups: { factors: [{ size, divisor: workgroup }] }, note: `append: ${note}` };
}

export function appendKernels(request: KernelRequest): readonly Kernel[] {
  return [writeKernel(request, writeAppend)];
}
