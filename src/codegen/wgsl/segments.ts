/**
 * The segments skeleton: sums of rows with one index. A workgroup takes a row of the result, finds the first and the last of
 * its updates in the sorted order, and each of its lanes adds up some columns, in the order in which the updates came: no
 * atomics, so the same bits every time. Rows without updates are written as zeros and cost a search.
 */
import { constantDim, constantValue, type Dim, divideDim } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { addIndices, scaleIndex } from './index-algebra.ts';
import {
  type Draft,
  elements,
  type Kernel,
  type KernelRequest,
  regionOf,
  type Written,
  writeKernel,
} from './kernel.ts';
import { writesFour } from './map.ts';
import { operandOf } from './regions.ts';
import { anchorOf, finisher } from './results.ts';
import { wgslType } from './scalars.ts';
import { fourth } from './values.ts';

/** Invocations per row, at most: one subgroup of a software driver, a wave of a GPU. */
const lanesOf = { software: 8, gpu: 64 } as const;

/** Fewer lanes for narrow rows, but never less than a subgroup. */
function lanesFor(columns: Dim, profile: KernelRequest['profile']): number {
  const known = constantValue(columns) ?? Number.POSITIVE_INFINITY;
  let lanes: number = lanesOf[profile];
  while (lanes > lanesOf.software && lanes / 2 >= known) lanes /= 2;
  return lanes;
}

function writeSegments(draft: Draft): Written {
  const { writer, walker, request, region } = draft;
  const { anchor, targets } = anchorOf(regionOf(request.node), 'segments');
  const [indices, order, updates] = [0, 1, 2].map((at) => operandOf(anchor, at));
  if (!indices || !order || !updates) return unreachable('sums without operands');
  const count = indices.type.shape[0] ?? constantDim(1);
  const inner = updates.type.shape.slice(1);
  const rows = anchor.outputs[0]?.type.shape[0] ?? constantDim(1);
  const byFour = writesFour(region, updates);
  const width = elements(inner);
  const columns = byFour ? (divideDim(width, constantDim(4)) ?? width) : width;
  const lanes = lanesFor(columns, request.profile);
  const finish = finisher(draft, anchor, targets);

  const row = writer.variable('row', rows, 'group');
  writer.open(`if (group < ${writer.dim(rows)})`);
  const wanted = writer.let('wanted', `${indices.type.dtype}(${writer.index(row)})`);
  /** The index of the update at a place of the sorted list. */
  const indexAt = (text: string): string => {
    const place = writer.variable(writer.fresh('at'), count, text);
    const update = writer.variable(writer.fresh('update'), count, `u32(${walker.at(order, [place]).text})`);
    return writer.let('found', walker.at(indices, [update]).text);
  };
  const [first, limit, end] = [writer.fresh('first'), writer.fresh('limit'), writer.fresh('end')];
  writer.line(`var ${first} = 0u;`);
  writer.line(`var ${limit} = ${writer.dim(count)};`);
  writer.open(`while (${first} < ${limit})`);
  const middle = writer.let('middle', `(${first} + ${limit}) / 2u`);
  const isBefore = writer.let('is_before', `${indexAt(middle)} < ${wanted}`);
  writer.line(`${first} = select(${first}, ${middle} + 1u, ${isBefore});`);
  writer.line(`${limit} = select(${middle}, ${limit}, ${isBefore});`);
  writer.close();
  writer.line(`var ${end} = ${first};`);
  writer.open(`while (${end} < ${writer.dim(count)})`);
  writer.line(`if (${indexAt(end)} != ${wanted}) { break; }`);
  writer.line(`${end} += 1u;`);
  writer.close();

  const name = writer.fresh('column');
  writer.open(`for (var ${name} = lane; ${name} < ${writer.dim(columns)}; ${name} += ${lanes}u)`);
  const column = writer.variable(name, columns);
  const position = byFour ? addIndices(scaleIndex(column, 4), fourth) : column;
  const inRow = walker.algebra.delinearize(position, inner);
  const sum = writer.fresh('sum');
  const { dtype } = updates.type;
  writer.line(`var ${sum} = ${wgslType(dtype, byFour ? 4 : 1)}(0);`);
  const step = writer.fresh('step');
  writer.open(`for (var ${step} = ${first}; ${step} < ${end}; ${step}++)`);
  const at = writer.variable(
    writer.let('update', `u32(${walker.at(order, [writer.variable(step, count)]).text})`),
    count,
  );
  writer.line(`${sum} += ${walker.as(walker.at(updates, [at, ...inRow]), byFour ? 4 : 1).text};`);
  writer.close();
  finish([row, ...inRow], { text: sum, lanes: byFour ? 4 : 1, dtype });
  writer.close();
  writer.close();
  return {
    workgroup: lanes,
    groups: { factors: [{ size: rows, divisor: 1 }] },
    note: `segments: ${lanes} lanes per row, in the order of the updates`,
  };
}

export function segmentKernels(request: KernelRequest): readonly Kernel[] {
  return [writeKernel(request, writeSegments)];
}
