/**
 * Sums of products with a packed weight. A lane reads a vector of words, four outputs by as many steps of the sum as a word
 * holds, turns numbers into f32 where they stand in the word and multiplies; scales are multiplied to the sums: once to that of a row, or
 * once per group to that of a group.
 *
 * Offsets (128, 8, zero points) are subtracted as multiples of the sum of the other factors: those of int8 word by word, so that nothing large is
 * added up and cancelled at the end, those of int4 group by group.
 *
 * Loops are flat, with a condition at the end of a group: on lavapipe, loops in loops take 1.4 times as long.
 */
import { constantDim, constantValue, type Dim } from '../../ir/symbolic.ts';
import { components, type FourColumns, isMultiple, quarter, range } from './columns.ts';
import type { Product } from './contraction.ts';
import { addIndices, constantIndex, type Index, scaleIndex, variableIndex } from './index-algebra.ts';
import { bindPacked, type PackedAccess, packedIndex, packedOffset, zeroPoints } from './packed.ts';
import { EIGHT, takesEights, writeEightSums } from './packed-eights.ts';
import { numbersAt, powerOfTwo } from './packed-words.ts';
import { type BufferAccess, fourth, type IndexVector } from './values.ts';
import { viewIndex } from './views.ts';
import { readWords } from './writer.ts';

/** The packed weight that a product's right operand is, output for column and input for step. */
export interface PackedRight {
  readonly buffer: BufferAccess;
  readonly access: PackedAccess;
}

/** The weight of a form that a product's right operand is under views, output for column and input for step; sums come in fours. */
export function weightOnRight(
  product: Product,
  formOf: (buffer: BufferAccess) => { readonly format: { readonly transposed?: boolean } } | undefined,
): BufferAccess | undefined {
  const { shape, draft, dtype, batch, columns, depth } = product;
  const { walker } = draft;
  if (dtype !== 'f32' || constantValue(batch) !== 1 || !isMultiple(depth, 4)) return undefined;
  const { algebra } = walker;
  const column = variableIndex('probe_column', columns);
  const step = variableIndex('probe_step', depth);
  let value = shape.right;
  let index: IndexVector = shape.rightIndex(
    [...[...shape.batch, ...shape.rows].map(() => constantIndex(0)), ...algebra.delinearize(column, shape.columns)],
    algebra.delinearize(step, shape.contracted),
  );
  while (value.node.op !== 'input') {
    const moved = viewIndex(algebra, value.node, index);
    const [operand] = value.node.inputs;
    if (moved === undefined || operand === undefined) return undefined;
    value = operand;
    index = moved;
  }
  const buffer = walker.context.inputs[walker.context.inputNodes.indexOf(value.node)];
  const access = buffer && formOf(buffer);
  if (!buffer || !access) return undefined;
  const place = packedIndex(walker, buffer, access, index);
  return place.row.key === column.key && place.column.key === step.key ? buffer : undefined;
}

/** Undefined where the right operand is something else than a packed weight under views, or its words do not hold whole steps. */
export function packedRight(product: Product): PackedRight | undefined {
  const buffer = weightOnRight(product, ({ packed }) => packed);
  const access = buffer?.packed;
  if (!buffer || !access) return undefined;
  const { format, places } = access;
  return format.group !== undefined && format.group % places.perWord !== 0 ? undefined : { buffer, access };
}

export interface PackedSums {
  readonly rows: readonly Index[];
  readonly columns: readonly FourColumns[];
  /** For each of `columns` the number of its first column by four, as WGSL. */
  readonly places: readonly string[];
  readonly batch: Index;
  /** Name of the accumulator of a row and some columns; they exist and are 0. */
  sum(row: number, columns: number): string;
  /** Words of a row between those of one lane: slices of the sum beside each other, beginning with word `first`. */
  readonly slices?: { readonly count: number; readonly first: string };
}

const vector = (text: string, type = 'f32') => `vec4<${type}>(${text})`;

/** Adds the whole sum to the accumulators, scaled. */
export function writePackedSums(product: Product, { buffer, access }: PackedRight, sums: PackedSums): void {
  const { draft, depth } = product;
  const { writer, walker } = draft;
  const { format, places } = access;
  const { perWord } = places;
  const name = bindPacked(walker, buffer);
  const { rows, columns } = sums;
  const isGrouped = places.groups > 1;
  const offset = packedOffset(format);
  const byWord = format.kind === 'int8';
  const all = columns.map((_, c) => c);
  // Where a lane's words begin, in vectors of four words; panels are padded, so that every place up to the last panel's end exists.
  const quarters = places.width / 4;
  const panels = Math.ceil(places.rows / places.width);
  const place = sums.places.map((text, c) => writer.let(`panel_place_${c}`, `min(${text}, ${panels * quarters - 1}u)`));
  const starts = (what: string, start: number, count: number, inPanel: (at: string) => string) =>
    place.map((at, c) =>
      writer.let(`${what}_${c}`, `${at} / ${quarters}u * ${count * quarters}u + ${inPanel(at)} + ${start / 4}u`),
    );
  const side = (at: string) => `${at} % ${quarters}u`;
  // Eight vectors lie beside each other, and behind them the words of the same outputs that follow in a run.
  const isRun = places.run > 1;
  const wordStarts = starts('words_at', 0, places.words, (at) =>
    isRun ? `${side(at)} / ${EIGHT}u * ${EIGHT * places.run}u + ${at} % ${EIGHT}u` : side(at),
  );
  const scaleStarts = starts('scales_at', places.scales, places.groups, side);
  // Four to a word, which is what a vector of words has of the others.
  const zeroStarts = offset === undefined ? starts('zeros_at', 4 * places.zeros, places.groups, side) : [];
  const groupAt = (group: string) => (group === '0u' ? '' : ` + ${group} * ${quarters}u`);
  const scaleOf = (c: number, group: string) =>
    writer.let('scale', `bitcast<vec4<f32>>(${readWords(name, `${scaleStarts[c]}${groupAt(group)}`)})`);
  const zeroOf = (c: number, group: string) => {
    if (offset !== undefined) return `${offset}.0f`;
    const word = writer.let('zero_word', `${zeroStarts[c]}${groupAt(group)}`);
    return writer.let('zero', zeroPoints(`${readWords(name, `${word} / 4u`)}[${word} % 4u]`));
  };
  const [onlyRow] = rows;
  if (rows.length === 1 && onlyRow && !sums.slices && takesEights(product, format)) {
    writeEightSums(product, {
      batch: sums.batch,
      row: onlyRow,
      words: name,
      perWord,
      quarters,
      starts: wordStarts,
      offset: byWord ? offset : undefined,
      groupSize: isGrouped ? format.group : undefined,
      settle(c, part, leftSum, group) {
        const sum = sums.sum(0, c);
        const scale = isGrouped ? scaleOf(c, group) : '';
        const centred = byWord ? part : `${part} - ${zeroOf(c, group)} * ${leftSum}`;
        writer.line(isGrouped ? `${sum} = fma(${centred}, ${scale}, ${sum});` : `${sum} += ${centred};`);
      },
    });
    if (!isGrouped) for (const c of all) writer.line(`${sums.sum(0, c)} *= ${scaleOf(c, '0u')};`);
    return;
  }
  const part = (row: number, c: number) => (isGrouped || !byWord ? `part_${row}_${c}` : sums.sum(row, c));
  const ofRows = rows.map((_, r) => r);
  if (part(0, 0) !== sums.sum(0, 0)) {
    for (const r of ofRows) for (const c of all) writer.line(`var ${part(r, c)} = ${vector('0')};`);
  }
  if (!byWord) for (const r of ofRows) writer.line(`var left_sum_${r} = 0.0f;`);

  /** Scales what a group or row has come to, and begins anew. */
  const settle = (group: string, isLast: boolean): void => {
    for (const c of all) {
      const scale = scaleOf(c, group);
      const zero = zeroOf(c, group);
      for (const r of ofRows) {
        const own = part(r, c);
        const sum = sums.sum(r, c);
        if (own === sum) writer.line(`${sum} = ${sum} * ${scale};`);
        else {
          const centred = byWord ? own : `${own} - ${zero} * left_sum_${r}`;
          writer.line(`${sum} = fma(${centred}, ${scale}, ${sum});`);
          if (!isLast) writer.line(`${own} = ${vector('0')};`);
        }
      }
    }
    if (!byWord && !isLast) for (const r of ofRows) writer.line(`left_sum_${r} = 0.0f;`);
  };

  // Many rows take half a word of int4 at a time: fewer numbers of the left operand at once.
  const steps = rows.length === 1 || perWord === 4 ? perWord : 4;
  const parts = perWord / steps;
  const blocks = Math.ceil(places.columns / steps);
  const counter = writer.fresh('k');
  const { slices } = sums;
  if (slices)
    writer.open(`for (var ${counter} = ${slices.first}; ${counter} < ${blocks}u; ${counter} += ${slices.count}u)`);
  else
    writer.open(`for (var ${counter} = 0u; ${counter} < ${writer.unrolledNever(constantDim(blocks))}; ${counter}++)`);
  const k = writer.variable(counter, constantDim(blocks));
  const left = rows.map((row, r) => {
    const fours = range(steps / 4).map((at) => leftAt(product, sums.batch, row, k, steps / 4, at, depth));
    const total = fours.map((four) => `((${four}.x + ${four}.y) + (${four}.z + ${four}.w))`).join(' + ');
    if (byWord) return { fours, correction: writer.let('correction', `-${offset}.0f * ${total}`) };
    writer.line(`left_sum_${r} += ${total};`);
    return { fours, correction: undefined };
  });
  // The steps of half a word are moved to where those of the lower half are.
  const word = parts === 1 ? counter : `${counter} / ${parts}u`;
  const wordIndex = isRun
    ? writer.let(
        'word_at',
        `${counter} / ${parts * places.run}u * ${quarters * places.run}u + ${word} % ${places.run}u * ${EIGHT}u`,
      )
    : `${word} * ${quarters}u`;
  const scalars = range(steps).map((step) => {
    const { excess } = numbersAt('', step, parts === 1 ? perWord : 8);
    return left.map(({ fours }) => {
      const scalar = `${fours[step >> 2]}.${components[step % 4]}`;
      return excess === 0 ? scalar : writer.let('a', `${scalar} * ${powerOfTwo(-excess)}`);
    });
  });
  for (const c of all) {
    const read = writer.let('words', readWords(name, `${wordStarts[c]} + ${wordIndex}`));
    const words =
      parts === 1 ? read : writer.let('half', `${read} >> ${vector(`${counter} % ${parts}u * 16u`, 'u32')}`);
    if (byWord) {
      for (const [r, { correction }] of left.entries()) writer.line(`${part(r, c)} += ${vector(correction ?? '')};`);
    }
    for (const step of range(steps)) {
      const { text } = numbersAt(words, step, perWord);
      const numbers = rows.length === 1 ? text : writer.let('b', text);
      for (const r of ofRows) {
        writer.line(`${part(r, c)} = fma(${vector(scalars[step]?.[r] ?? '')}, ${numbers}, ${part(r, c)});`);
      }
    }
  }
  if (isGrouped) {
    const perGroup = (format.group ?? places.columns) / steps;
    const last = blocks % perGroup === 0 ? '' : ` || ${counter} == ${blocks - 1}u`;
    // A slice takes every so many words, so that each stands for itself.
    if (slices) settle(`${counter} / ${perGroup}u`, false);
    else {
      writer.open(`if (${counter} % ${perGroup}u == ${perGroup - 1}u${last})`);
      settle(`${counter} / ${perGroup}u`, false);
      writer.close();
    }
  }
  writer.close();
  if (!isGrouped) settle('0u', true);
}

/** Four numbers of a row of the left operand; 0 where a word reaches past the end of the sum. */
export function leftAt(
  product: Product,
  batch: Index,
  row: Index,
  k: Index,
  perBlock: number,
  at: number,
  depth: Dim,
): string {
  const { writer, walker } = product.draft;
  const step = addIndices(scaleIndex(k, perBlock), constantIndex(at));
  const count = quarter(depth);
  const isWhole = isMultiple(depth, 4 * perBlock) || at === 0;
  if (isWhole) {
    const along = addIndices(scaleIndex(step, 4), fourth);
    return walker.named(walker.as(product.left(batch, row, along), 4), 'left').text;
  }
  const wanted = writer.let('left_step', writer.index(step));
  const bounded = writer.variable(writer.fresh('left_at'), count, `min(${wanted}, ${writer.dim(count)} - 1u)`);
  const along = addIndices(scaleIndex(bounded, 4), fourth);
  const four = walker.as(product.left(batch, row, along), 4).text;
  return writer.let('left', `select(${vector('0')}, ${four}, ${wanted} < ${writer.dim(count)})`);
}
