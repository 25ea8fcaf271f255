/**
 * The map skeleton: every element of a result from the region's value at its index; one element, or four neighbours, per
 * invocation. It takes any region: reductions inside become loops.
 */
import type { Graph, Value } from '../../ir/graph.ts';
import { constantDim, constantValue, divideDim } from '../../ir/symbolic.ts';
import { sameShape } from '../../ir/types.ts';
import { addIndices, scaleIndex } from './index-algebra.ts';
import {
  type Draft,
  elementIndex,
  elements,
  type Kernel,
  type KernelRequest,
  regionOf,
  type Written,
  writeKernel,
} from './kernel.ts';
import { overwrittenInput } from './regions.ts';
import { fourth } from './values.ts';

/** Invocations per workgroup. Software drivers run one subgroup of 8; on GPUs 64 fills a wave everywhere. */
export const workgroups = { software: 32, gpu: 64 } as const;

/** Ops whose vector form is four scalar ones: a vector kernel would only be longer. */
const scalarOps = new Set(['reduce', 'dot_general', 'attention']);

/** Whether rows of `value` come in fours and the region's ops gain from being computed so. */
export function writesFour(region: Graph, value: Value | undefined): boolean {
  const last = value?.type.shape.at(-1);
  const width = last && constantValue(last);
  return width !== undefined && width % 4 === 0 && !region.nodes.some((node) => scalarOps.has(node.op));
}

function writeMap(draft: Draft, results: readonly number[]): Written {
  const { region, walker } = draft;
  const shape = region.results[results[0] ?? 0]?.value.type.shape ?? [];
  const workgroup = workgroups[draft.request.profile];
  const vector = writesFour(region, region.results[results[0] ?? 0]?.value);
  const all = elements(shape);
  const count = vector ? (divideDim(all, constantDim(4)) ?? all) : all;
  const element = elementIndex(draft, vector ? 'four' : 'element', count, workgroup);
  const position = vector ? addIndices(scaleIndex(element, 4), fourth) : element;
  const index = walker.algebra.delinearize(position, shape);
  const values = results.flatMap((at) => {
    const value = region.results[at]?.value;
    if (!value) return [];
    const expression = walker.at(value, index);
    // What is overwritten must be read by all of them before the first is stored.
    if (overwrittenInput(region, value)) return [{ at, expression: walker.named(expression, `new_${at}`) }];
    draft.store(at, index, expression);
    return [];
  });
  for (const { at, expression } of values) draft.store(at, index, expression);
  draft.writer.close();
  const note = vector ? 'four neighbours per invocation' : 'one element per invocation';
  return { workgroup, groups: { factors: [{ size: count, divisor: workgroup }] }, note: `map: ${note}` };
}

/** One kernel for each group of results with equal shapes. */
export function mapKernels(request: KernelRequest, results?: readonly number[]): readonly Kernel[] {
  const region = regionOf(request.node);
  const groups: number[][] = [];
  for (const at of results ?? region.results.keys()) {
    const shape = region.results[at]?.value.type.shape ?? [];
    const same = groups.find((group) => sameShape(region.results[group[0] ?? 0]?.value.type.shape ?? [], shape));
    if (same) same.push(at);
    else groups.push([at]);
  }
  return groups.map((group) => writeKernel(request, (draft) => writeMap(draft, group)));
}
