/**
 * A step of generation as one kernel: before a workgroup mixes, it computes the query of its heads and writes their new keys and values
 * behind those that the states hold. Nobody else reads or writes these columns in the same dispatch, so no workgroup waits for another.
 *
 *   state[b, offsets[b], columns of the group] = rows[b, 0, columns of the group]
 */
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { constantDim, constantValue } from '../../ir/symbolic.ts';
import type { Geometry } from './attention-shape.ts';
import type { Split, SplitWork } from './attention-splits.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import type { Draft } from './kernel.ts';
import { operandOf, UnsupportedOp } from './regions.ts';
import { fourth } from './values.ts';

/** Results of a region that are states with new rows, by their number. */
export function updatedResults(region: Graph): readonly number[] {
  return region.results.flatMap(({ value }, at) => (value.node.op === 'append' ? [at] : []));
}

/** Vectors of workgroup memory that the query takes: its place there is its place in the row. */
function queryVectors({ heads, width }: Geometry): number {
  return (heads * width) / 4;
}

/**
 * @param vectors of workgroup memory that are left
 * @errors UnsupportedOp where several workgroups read the columns that one writes, or there are several queries
 */
export function checkUpdates(node: Node, { queries, heads, geometry }: Split, vectors: number): void {
  const isWhole = geometry.width % 4 === 0 && geometry.valueWidth % 4 === 0;
  if (queries !== 1 || heads !== geometry.headsPerGroup || !isWhole || queryVectors(geometry) > vectors)
    throw new UnsupportedOp(node, 'attention that keeps its own keys');
}

/** Columns of one group of heads in a row of `row`, by four: opens the loop of the lanes, and gives the column. */
function openColumns(draft: Draft, perGroup: number, group: Index, lanes: number): Index {
  const { writer } = draft;
  const name = writer.fresh('own_column4');
  writer.open(`for (var ${name} = lane; ${name} < ${perGroup / 4}u; ${name} += ${lanes}u)`);
  const column4 = writer.variable(name, constantDim(perGroup / 4));
  return addIndices(scaleIndex(group, perGroup), scaleIndex(column4, 4), fourth);
}

/** Writes the rows of all states and the query; what is read of them later is what was written. */
export function writeUpdates(draft: Draft, node: Node, { geometry }: Split, work: SplitWork, lanes: number): void {
  const { writer, walker, region } = draft;
  const { batch, group } = work;
  const groups = geometry.heads / geometry.headsPerGroup;
  for (const result of updatedResults(region)) {
    const update = region.results[result]?.value.node;
    if (!update) continue;
    const [state, rows, offsets] = [0, 1, 2].map((at) => operandOf(update, at)) as [Value, Value, Value];
    const width = constantValue(rows.type.shape.at(-1) ?? constantDim(1)) ?? 0;
    const isFloat = state.type.dtype === 'f32' || state.type.dtype === 'f16';
    if (!isFloat || width % (4 * groups) !== 0) throw new UnsupportedOp(update, 'rows that are not columns of heads');
    const room = state.type.shape.at(-2) ?? constantDim(1);
    const row = writer.variable(writer.fresh('row'), room, `u32(${walker.at(offsets, batch).text})`);
    writer.open(`if (${writer.index(row)} < ${writer.dim(room)})`);
    const column = openColumns(draft, width / groups, group, lanes);
    draft.store(result, [...batch, row, column], walker.at(rows, [...batch, constantIndex(0), column]));
    writer.close();
    writer.close();
  }
  const query = operandOf(node, 0);
  const tile = writer.workgroupVariable('query', `array<vec4f, ${queryVectors(geometry)}>`);
  const column = openColumns(draft, geometry.width * geometry.headsPerGroup, group, lanes);
  const place = walker.alignedFour(column) ?? column;
  const value = walker.at(query, [...batch, work.query, column]);
  writer.line(`${tile}[${writer.index(place)}] = ${walker.as(value, 4).text};`);
  writer.close();
  // The states are memory of their own, the query is not.
  writer.line('storageBarrier();');
  writer.line('workgroupBarrier();');
  walker.addOverride((asked, index) => {
    if (asked.node.op === 'append') return { value: operandOf(asked.node, 0), index };
    if (asked !== query) return undefined;
    const at = walker.alignedFour(index.at(-1) ?? constantIndex(0));
    if (at === undefined) throw new UnsupportedOp(node, 'a query that is not read by four');
    return { expression: { text: `${tile}[${writer.index(at)}]`, lanes: 4, dtype: 'f32' } };
  });
}
