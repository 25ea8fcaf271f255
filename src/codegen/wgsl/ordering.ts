/**
 * The ordering skeleton: the order that sorts a list of integers. For each element the elements that stand before it in the
 * sorted list are counted, and its place is written there: no two have the same count, so every place is written once.
 *
 * That is a comparison per pair: a thousand ids cost a million, less than one layer of a model does to them. An invocation
 * counts for four neighbours, so an element is loaded once for four comparisons.
 */
import { constantDim, subtractDims } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { type Draft, type Kernel, type KernelRequest, regionOf, type Written, writeKernel } from './kernel.ts';
import { workgroups } from './map.ts';
import { operandOf } from './regions.ts';
import { anchorOf, finisher } from './results.ts';

const ownFour = [0, 1, 2, 3] as const;

function writeOrdering(draft: Draft): Written {
  const { writer, walker, request } = draft;
  const { anchor, targets } = anchorOf(regionOf(request.node), 'ordering');
  const list = operandOf(anchor, 0);
  const count = list.type.shape[0] ?? unreachable('a list has a length');
  const workgroup = workgroups[request.profile];
  const finish = finisher(draft, anchor, targets);
  const first = writer.let('first', `4u * (group * ${workgroup}u + lane)`);
  writer.open(`if (${first} < ${writer.dim(count)})`);
  const last = writer.dim(subtractDims(count, constantDim(1)));
  const own = ownFour.map((at) => {
    const place = writer.variable(writer.fresh(`place_${at}`), count, `min(${first} + ${at}u, ${last})`);
    return walker.at(list, [place]).text;
  });
  const { dtype } = list.type;
  const owns = writer.let('own', `vec4<${dtype}>(${own.join(', ')})`);
  const places = writer.let('places', `vec4u(${first}) + vec4u(0u, 1u, 2u, 3u)`);
  const ranks = writer.fresh('ranks');
  writer.line(`var ${ranks} = vec4u(0u);`);
  /** Equal elements stand in the order of their places. */
  const countOver = (start: string, end: string, isBefore: (other: string, place: string) => string): void => {
    const name = writer.fresh('at');
    writer.open(`for (var ${name} = ${start}; ${name} < ${end}; ${name}++)`);
    const other = writer.let('other', `vec4<${dtype}>(${walker.at(list, [writer.variable(name, count)]).text})`);
    writer.line(`${ranks} += select(vec4u(0u), vec4u(1u), ${isBefore(other, name)});`);
    writer.close();
  };
  const end = writer.let('end', `min(${first} + 4u, ${writer.dim(count)})`);
  countOver('0u', first, (other) => `${other} <= ${owns}`);
  countOver(
    first,
    end,
    (other, place) => `(${other} < ${owns}) | ((${other} == ${owns}) & (vec4u(${place}) < ${places}))`,
  );
  countOver(end, writer.dim(count), (other) => `${other} < ${owns}`);
  for (const at of ownFour) {
    writer.open(`if (${first} + ${at}u < ${writer.dim(count)})`);
    const rank = writer.variable(writer.fresh('rank'), count, `${ranks}[${at}]`);
    finish([rank], { text: `i32(${first} + ${at}u)`, lanes: 1, dtype: 'i32' });
    writer.close();
  }
  writer.close();
  return {
    workgroup,
    groups: { factors: [{ size: count, divisor: 4 * workgroup }] },
    note: 'ordering: four elements per invocation',
  };
}

export function orderingKernels(request: KernelRequest): readonly Kernel[] {
  return [writeKernel(request, writeOrdering)];
}
