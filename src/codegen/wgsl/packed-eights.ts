/**
 * Sums of one row with a packed weight, 32 steps at a time: eight vectors of the row, which eight lanes can read for each other where the
 * device has subgroups of eight (src/runtime/eight-lanes.ts).
 *
 * A loop takes all steps for four outputs before it goes on to the next four, so that a sum stays in registers from a word to the next. On lavapipe
 * this order saves a twentieth of the time, and the lanes that read for each other a fifth: a vector of the row at the same place for all lanes is
 * loaded for each of them.
 */
import { constantDim, constantValue } from '../../ir/symbolic.ts';
import type { PackedFormat } from '../../runtime/artifact.ts';
import { components, isMultiple, range } from './columns.ts';
import type { Product } from './contraction.ts';
import { addIndices, constantIndex, type Index, scaleIndex, variableIndex } from './index-algebra.ts';
import { probe } from './kernel.ts';
import { numbersAt, powerOfTwo, wordHelper } from './packed-words.ts';
import { fourth } from './values.ts';
import { readWords } from './writer.ts';

/** Vectors of four steps that are read together. */
export const EIGHT = 8;
const STEPS = 4 * EIGHT;

/** Four neighbours along the sum, the `step`th of the row. */
function leftText(product: Product, batch: Index, row: Index, step: Index): string {
  const along = addIndices(scaleIndex(step, 4), fourth);
  return product.draft.walker.as(product.left(batch, row, along), 4).text;
}

/** Whether the sum comes in whole eights, a group of scales too, and the row is plainly read: what is computed is better computed once. */
export function takesEights(product: Product, { group }: PackedFormat): boolean {
  const { depth, draft } = product;
  if (draft.request.profile !== 'software' || !isMultiple(depth, STEPS)) return false;
  if (group !== undefined && group % STEPS !== 0) return false;
  // A staged row lies in workgroup memory.
  if (draft.request.staged) return true;
  const asked = product.inDraft(probe(draft.request));
  const [row, step] = [variableIndex('probe_row', product.rows), variableIndex('probe_step', constantDim(EIGHT))];
  return /^\w+\[[\w. +*]+\]$/.test(leftText(asked, constantIndex(0), row, step));
}

export interface EightSums {
  readonly batch: Index;
  readonly row: Index;
  /** Name of the weight's buffer. */
  readonly words: string;
  readonly perWord: number;
  /** Vectors of words of a panel beside each other. */
  readonly quarters: number;
  /** For each four outputs where its words begin. */
  readonly starts: readonly string[];
  /** Subtracted from numbers word by word; undefined: from sums, by `settle`. */
  readonly offset: number | undefined;
  /** Takes in what 32 steps in a group of scales have come to for four outputs, and the sum of the row there. */
  settle(output: number, part: string, leftSum: string, group: string): void;
  readonly groupSize: number | undefined;
}

/** Adds the sum over all steps to the accumulators. */
export function writeEightSums(product: Product, sums: EightSums): void {
  const { writer } = product.draft;
  const { batch, row, words, perWord, quarters, starts, offset, groupSize } = sums;
  const count = (constantValue(product.depth) ?? 0) / STEPS;
  const perEight = STEPS / perWord;
  const vectors = perWord / 4;
  const counter = writer.fresh('k');
  writer.open(`for (var ${counter} = 0u; ${counter} < ${writer.unrolledNever(constantDim(count))}; ${counter}++)`);
  const first = scaleIndex(writer.variable(counter, constantDim(count)), EIGHT);
  const own = leftText(product, batch, row, addIndices(first, writer.variable('lane', constantDim(EIGHT))));
  const left = range(EIGHT).map((at) => {
    const text = leftText(product, batch, row, addIndices(first, constantIndex(at)));
    return writer.letOfLane('left', text, own, at);
  });
  const totals = range(perEight).map((word) => {
    const fours = left.slice(word * vectors, (word + 1) * vectors);
    return fours.map((four) => `((${four}.x + ${four}.y) + (${four}.z + ${four}.w))`).join(' + ');
  });
  const byWord = offset !== undefined;
  const corrections = byWord ? totals.map((total) => writer.let('correction', `-${offset}.0f * ${total}`)) : [];
  const leftSum = byWord ? '' : writer.let('left_sum', totals.map((total) => `(${total})`).join(' + '));
  const helper = wordHelper(perWord);
  writer.use([helper]);
  const scaled = left.map((four, at) => {
    const factors = components.map((_, part) => powerOfTwo(-numbersAt('', (at % vectors) * 4 + part, perWord).excess));
    return factors.every((factor) => factor === powerOfTwo(0))
      ? four
      : writer.let('a', `${four} * vec4<f32>(${factors.join(', ')})`);
  });
  const group = groupSize === undefined ? '0u' : groupOf(counter, groupSize);
  for (const [c, start] of starts.entries()) {
    const part = writer.fresh('part');
    writer.line(`var ${part} = vec4<f32>(0);`);
    for (const word of range(perEight)) {
      if (byWord) writer.line(`${part} += vec4<f32>(${corrections[word]});`);
      const at = `${start} + ${counter} * ${quarters * perEight}u${word === 0 ? '' : ` + ${word * EIGHT}u`}`;
      const factors = scaled.slice(word * vectors, (word + 1) * vectors);
      writer.line(`${part} = ${helper}(${[part, readWords(words, at), ...factors].join(', ')});`);
    }
    sums.settle(c, part, leftSum, group);
  }
  writer.close();
}

function groupOf(counter: string, size: number): string {
  return size === STEPS ? counter : `${counter} / ${size / STEPS}u`;
}
