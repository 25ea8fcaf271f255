/**
 * The row skeleton: softmax, norms, means. The region reduces one set of axes of one shape; a row is what is reduced
 * together. Reductions that do not need each other share a loop; a reduction of a reduction's row gets the next loop;
 * the last loop writes the full-size results.
 *
 * Software drivers: one invocation per row, by four where the row lies by four (no barriers). GPUs: a workgroup per row,
 * each lane takes every 64th element, then a tree in workgroup memory.
 *
 * Regions that are no rows (reductions over different axes) go to the map skeleton.
 */
import type { Graph, Node } from '../../ir/graph.ts';
import { hasTrait, opNamed } from '../../ir/ops/index.ts';
import { constantDim, constantValue, divideDim, sameDim } from '../../ir/symbolic.ts';
import type { Shape } from '../../ir/types.ts';
import { sameShape } from '../../ir/types.ts';
import { addIndices, type Index, scaleIndex } from './index-algebra.ts';
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
import { mapKernels } from './map.ts';
import { fullToOuter, operandOf, reducedAxes } from './regions.ts';
import { keyOf } from './results.ts';
import { foldLanes, lanesPerRow, startTotal, type Total, writeIterated } from './row-totals.ts';
import { type Expression, fourth, type IndexVector } from './values.ts';
import { reshapeIndex } from './views.ts';

export interface RowShape {
  readonly shape: Shape;
  readonly axes: readonly number[];
  /** Reductions in the order of their loops. */
  readonly stages: readonly (readonly Node[])[];
}

const rowsPerGroup = 8;

/** The common shape of the region's reductions; undefined when they differ. */
export function rowShape(region: Graph): RowShape | undefined {
  const reductions = region.nodes.filter((node) => hasTrait(node, 'reduction'));
  const [first] = reductions;
  if (!first) return undefined;
  const { shape } = operandOf(first, 0).type;
  const axes = [...reducedAxes(first)].sort((a, b) => a - b);
  const sameRow = (node: Node) =>
    sameShape(operandOf(node, 0).type.shape, shape) &&
    [...reducedAxes(node)].sort((a, b) => a - b).join() === axes.join();
  if (!reductions.every(sameRow)) return undefined;
  const levels = new Map<Node, number>();
  for (const node of region.nodes) {
    const below = Math.max(0, ...node.inputs.map((value) => levels.get(value.node) ?? 0));
    levels.set(node, hasTrait(node, 'reduction') ? below + 1 : below);
  }
  const stages: Node[][] = [];
  for (const node of reductions) {
    const stage = (levels.get(node) ?? 1) - 1;
    stages[stage] = [...(stages[stage] ?? []), node];
  }
  return { shape, axes, stages };
}

/** `full`: an element per element of the row; `outer`: one per row; `other`: neither. */
function resultKind(row: RowShape, shape: Shape): 'full' | 'outer' | 'other' {
  if (sameDim(elements(shape), elements(row.shape))) return 'full';
  const outer = row.shape.filter((_, axis) => !row.axes.includes(axis));
  return sameDim(elements(shape), elements(outer)) ? 'outer' : 'other';
}

export function rowKernels(request: KernelRequest): readonly Kernel[] {
  const region = regionOf(request.node);
  const row = rowShape(region);
  if (!row) return mapKernels(request);
  const kinds = region.results.map((result) => resultKind(row, result.value.type.shape));
  const rowResults = [...kinds.keys()].filter((at) => kinds[at] !== 'other');
  const others = [...kinds.keys()].filter((at) => kinds[at] === 'other');
  return [
    ...(rowResults.length === 0 ? [] : [writeKernel(request, (draft) => writeRows(draft, row, rowResults))]),
    ...(others.length === 0 ? [] : mapKernels(request, others)),
  ];
}

function writeRows(draft: Draft, row: RowShape, results: readonly number[]): Written {
  const { writer, walker, region } = draft;
  const gpu = draft.request.profile === 'gpu';
  const outerShape = row.shape.map((dim, axis) => (row.axes.includes(axis) ? constantDim(1) : dim));
  const rows = elements(outerShape);
  const length = elements(row.axes.map((axis) => row.shape[axis] ?? constantDim(1)));
  let rowIndex: Index;
  if (gpu) {
    rowIndex = writer.variable('row', rows, 'group');
    writer.open(`if (group < ${writer.dim(rows)})`);
  } else rowIndex = elementIndex(draft, 'row', rows, rowsPerGroup);
  const outer = walker.algebra.delinearize(rowIndex, outerShape);
  const width = rowWidth(row);
  const fullIndex = (inRow: Index): IndexVector => {
    const parts = walker.algebra.delinearize(
      inRow,
      row.axes.map((axis) => row.shape[axis] ?? constantDim(1)),
    );
    return outer.map((part, axis) => parts[row.axes.indexOf(axis)] ?? part);
  };
  /** Opens the loop over the row; the index of the element, or of four neighbours. */
  const openLoop = (): IndexVector => {
    const count = width === 4 ? (divideDim(length, constantDim(4)) ?? length) : length;
    const name = writer.fresh('k');
    const [start, step] = gpu ? ['lane', `${name} += ${lanesPerRow}u`] : ['0u', `${name}++`];
    const end = gpu ? writer.dim(count) : writer.unrolledNever(count);
    writer.open(`for (var ${name} = ${start}; ${name} < ${end}; ${step})`);
    const at = writer.variable(name, count);
    return fullIndex(width === 4 ? addIndices(scaleIndex(at, 4), fourth) : at);
  };

  writeReductions(draft, row, { openLoop, outer, width, fold: gpu ? (total) => foldLanes(draft, total) : undefined });

  const kind = (at: number) => resultKind(row, region.results[at]?.value.type.shape ?? []);
  const resultValue = (at: number) => region.results[at]?.value;
  const full = results.filter((at) => kind(at) === 'full');
  if (full.length > 0) {
    const index = openLoop();
    for (const at of full) {
      const value = resultValue(at);
      if (!value) continue;
      const place = reshapeIndex(walker.algebra, index, row.shape, value.type.shape);
      draft.store(at, place, walker.at(value, place));
    }
    writer.close();
  }
  const single = results.filter((at) => kind(at) === 'outer' && !full.includes(at));
  if (single.length > 0) {
    if (gpu) writer.open('if (lane == 0u)');
    for (const at of single) {
      const value = resultValue(at);
      if (!value) continue;
      const place = reshapeIndex(walker.algebra, outer, outerShape, value.type.shape);
      draft.store(at, place, walker.at(value, place));
    }
    if (gpu) writer.close();
  }
  writer.close();
  return gpu
    ? {
        workgroup: lanesPerRow,
        groups: { factors: [{ size: rows, divisor: 1 }] },
        note: `row: ${lanesPerRow} lanes per row`,
      }
    : {
        workgroup: rowsPerGroup,
        groups: { factors: [{ size: rows, divisor: rowsPerGroup }] },
        note: 'row: one invocation per row',
      };
}

/** How a kernel walks over a row. */
export interface RowWalk {
  /** Opens the loop over the row; the index of the element, or of four neighbours. */
  openLoop(): IndexVector;
  /** Index of the row, 0 along the reduced axes. */
  readonly outer: IndexVector;
  readonly width: 1 | 4;
  /** Adds up what the lanes have that share a row; undefined: each has one of its own. */
  readonly fold: ((total: Total) => string) | undefined;
}

/** Writes the reductions of a row, one loop per stage; whoever asks for them later finds them. */
export function writeReductions(draft: Draft, row: RowShape, walk: RowWalk): void {
  const { writer, walker } = draft;
  const { openLoop, outer, width, fold } = walk;
  const known = new Map<Node, { index: string; expression: Expression }>();
  walker.addOverride((value, index) => {
    const found = known.get(value.node);
    return found && found.index === keyOf(index) ? { expression: found.expression } : undefined;
  });
  const outerKey = (node: Node) => keyOf(fullToOuter(node, outer));

  for (const nodes of row.stages) {
    for (const node of nodes) {
      const { iterated } = opNamed(node.op);
      if (iterated) {
        const parameters = node.inputs.slice(1).map((input) => walker.at(input, fullToOuter(node, outer)).text);
        const text = writeIterated(draft, node, iterated, { openLoop, parameters, width });
        known.set(node, { index: outerKey(node), expression: { text, lanes: 1, dtype: 'f32' } });
      }
    }
    const stage = nodes.filter((node) => opNamed(node.op).iterated === undefined);
    if (stage.length === 0) continue;
    const totals = stage.map((node) => startTotal(draft, node));
    const index = openLoop();
    stage.forEach((node, at) => {
      const total = totals[at];
      const value = walker.at(operandOf(node, 0), index);
      if (!total) return;
      if (value.lanes === 4 && !total.vector) {
        const name = walker.named(value, 'part').text;
        const pair = (left: string, right: string) => `(${total.reducer.combine(left, right)})`;
        const folded = pair(pair(`${name}.x`, `${name}.y`), pair(`${name}.z`, `${name}.w`));
        writer.line(`${total.name} = ${total.reducer.combine(total.name, folded)};`);
        return;
      }
      // A value that is the same for four neighbours counts four times.
      const repeats = width === 4 && value.lanes === 1 ? 4 : 1;
      for (let time = 0; time < repeats; time++) {
        writer.line(`${total.name} = ${total.reducer.combine(total.name, value.text)};`);
      }
    });
    writer.close();
    stage.forEach((node, at) => {
      const total = totals[at];
      if (!total) return;
      const text = fold ? fold(total) : total.name;
      known.set(node, { index: outerKey(node), expression: { text, lanes: 1, dtype: total.dtype } });
    });
  }
}

/** Rows are read by four when the innermost axis is reduced and a static multiple of four. */
function rowWidth(row: RowShape): 1 | 4 {
  const last = row.shape.length - 1;
  const size = row.shape[last] && constantValue(row.shape[last]);
  return row.axes.includes(last) && size !== undefined && size % 4 === 0 ? 4 : 1;
}
