/**
 * Totals of a row kernel: sums and the like that one walk over the row gives, and values that are found by several walks.
 */
import { type Node, onlyOutput } from '../../ir/graph.ts';
import type { IteratedReduction } from '../../ir/op.ts';
import type { DType } from '../../ir/types.ts';
import type { Draft } from './kernel.ts';
import { operandOf, reducerOf } from './regions.ts';
import { type Reducer, reducers } from './scalars.ts';
import type { IndexVector } from './values.ts';

/** Lanes that share a row on GPUs. */
export const lanesPerRow = 64;

export interface Total {
  readonly name: string;
  readonly dtype: DType;
  readonly reducer: Reducer;
  readonly vector: boolean;
}

export function startTotal(draft: Draft, node: Node): Total {
  const { dtype } = onlyOutput(node).type;
  const reducer = reducerOf(node);
  const name = draft.writer.fresh(`row_${String(node.attributes.kind)}`);
  draft.writer.line(`var ${name} = ${reducer.start(dtype)};`);
  return { name, dtype, reducer, vector: false };
}

/** Adds up what the lanes of a workgroup have, a power of two; every lane gets the whole. */
export function foldLanes(draft: Draft, total: Omit<Total, 'vector'>, lanes = lanesPerRow): string {
  const { writer } = draft;
  const shared = writer.workgroupVariable(`${total.name}_lanes`, `array<${total.dtype}, ${lanes}>`);
  writer.line(`${shared}[lane] = ${total.name};`);
  writer.line('workgroupBarrier();');
  writer.open(`for (var half = ${lanes / 2}u; half > 0u; half = half >> 1u)`);
  writer.open('if (lane < half)');
  writer.line(`${shared}[lane] = ${total.reducer.combine(`${shared}[lane]`, `${shared}[lane + half]`)};`);
  writer.close();
  writer.line('workgroupBarrier();');
  writer.close();
  return writer.let(`${total.name}_all`, `${shared}[0]`);
}

interface Walks {
  /** Opens the loop over the row; the index of the element, or of four neighbours. */
  readonly openLoop: () => IndexVector;
  /** The operands after the first, one number per row. */
  readonly parameters: readonly string[];
  readonly width: 1 | 4;
}

/** The value of a reduction that takes steps; its name. */
export function writeIterated(draft: Draft, node: Node, iterated: IteratedReduction, walks: Walks): string {
  const { writer, walker } = draft;
  const gpu = draft.request.profile === 'gpu';
  const { parameters } = walks;
  const value = writer.fresh('found');
  const reducer = reducers.sum as Reducer;
  writer.line(`var ${value} = ${iterated.start};`);
  const round = writer.fresh('round');
  writer.open(`for (var ${round} = 0u; ${round} < ${iterated.rounds}u; ${round}++)`);
  const names = iterated.sums('0.0f', value, parameters).map((_, at) => writer.fresh(`part_${at}`));
  for (const name of names) writer.line(`var ${name} = 0.0f;`);
  const index = walks.openLoop();
  const element = walker.named(walker.at(operandOf(node, 0), index), 'element');
  const lanes = walks.width === 4 ? [0, 1, 2, 3] : [0];
  for (const lane of lanes) {
    const text = element.lanes === 4 ? `${element.text}[${lane}]` : element.text;
    iterated.sums(text, value, parameters).forEach((sum, at) => {
      writer.line(`${names[at]} += ${sum};`);
    });
  }
  writer.close();
  const sums = gpu ? names.map((name) => foldLanes(draft, { name, dtype: 'f32', reducer })) : names;
  const step = writer.let('step', iterated.step(sums));
  writer.line(`${value} += ${step};`);
  // Lanes of a workgroup that share a row must all reach its barriers, so only lanes with rows of their own stop early.
  if (gpu) writer.line('workgroupBarrier();');
  else writer.line(`if (${step} < ${iterated.closeEnough}) { break; }`);
  writer.close();
  return value;
}
