/**
 * Sums of products with an n:m weight. A lane reads the numbers of a group for four outputs, and their places.
 *
 * The numbers of a group are spread out over its steps and multiplied as those of a dense one, for all rows of the tile: what is saved are
 * loads. Looking for the factor of each number instead saves products and loses more: on lavapipe one row takes as long as two rows this way.
 */
import { constantDim } from '../../ir/symbolic.ts';
import { components, range } from './columns.ts';
import type { Product } from './contraction.ts';
import { bindPacked } from './packed.ts';
import { leftAt, type PackedSums, packedRight, weightOnRight, writePackedSums } from './packed-sums.ts';
import type { SparseAccess } from './sparse.ts';
import type { BufferAccess } from './values.ts';
import { readWords } from './writer.ts';

export interface SparseRight {
  readonly buffer: BufferAccess;
  readonly access: SparseAccess;
}

/** The n:m weight that a product's right operand is, output for column and input for step. */
export function sparseRight(product: Product): SparseRight | undefined {
  const buffer = weightOnRight(product, ({ sparse }) => sparse);
  return buffer?.sparse && { buffer, access: buffer.sparse };
}

/** Adds the whole sum to the accumulators. */
function writeSparseSums(product: Product, { buffer, access }: SparseRight, sums: PackedSums): void {
  const { draft, depth } = product;
  const { writer, walker } = draft;
  const { format, places } = access;
  const { keep, of } = format;
  const { rows, columns, slices } = sums;
  const name = bindPacked(walker, buffer);
  // A block is a group, or as many small ones as there are in four steps of the sum.
  const steps = Math.max(of, 4);
  const perBlock = steps / of;
  const blocks = places.groups / perBlock;
  const placeBits = Math.log2(of);
  const panels = Math.ceil(places.rows / 32);
  const place = sums.places.map((text, c) => writer.let(`panel_place_${c}`, `min(${text}, ${panels * 8 - 1}u)`));
  const starts = (what: string, start: number, count: number) =>
    place.map((at, c) => writer.let(`${what}_${c}`, `${at} / 8u * ${count * 8}u + ${at} % 8u + ${start / 4}u`));
  const numbersAt = starts('numbers_at', 0, places.groups * keep);
  const placesAt = starts('places_at', places.places, places.words);
  const counter = writer.fresh('k');
  if (slices)
    writer.open(`for (var ${counter} = ${slices.first}; ${counter} < ${blocks}u; ${counter} += ${slices.count}u)`);
  else
    writer.open(`for (var ${counter} = 0u; ${counter} < ${writer.unrolledNever(constantDim(blocks))}; ${counter}++)`);
  const k = writer.variable(counter, constantDim(blocks));
  const left = rows.map((row) =>
    range(steps / 4).flatMap((at) => {
      const four = leftAt(product, sums.batch, row, k, steps / 4, at, depth);
      return components.map((part) => `${four}.${part}`);
    }),
  );
  const splat = (value: string) => `vec4<u32>(${value})`;
  for (const c of columns.keys()) {
    for (const own of range(perBlock)) {
      const group = perBlock === 1 ? counter : writer.let('group', `${counter} * ${perBlock}u + ${own}u`);
      const isShared = places.perWord > 1;
      const word = readWords(name, `${placesAt[c]} + ${isShared ? `${group} / ${places.perWord}u` : group} * 8u`);
      const first = writer.let('first', isShared ? `${group} % ${places.perWord}u * ${places.bits}u` : '0u');
      const spots = writer.let('spots', isShared ? `${word} >> ${splat(first)}` : word);
      const numbers = range(keep).map((at) =>
        writer.let(
          'number',
          `bitcast<vec4<f32>>(${readWords(name, `${numbersAt[c]} + (${group} * ${keep}u + ${at}u) * 8u`)})`,
        ),
      );
      const factors = left.map((scalars) => scalars.slice(own * of, (own + 1) * of));
      const spotOf = numbers.map((_, at) =>
        writer.let('spot', `(${spots} >> ${splat(`${at * placeBits}u`)}) & ${splat(`${of - 1}u`)}`),
      );
      for (const step of range(of)) {
        // Places rise, so that a number has some before it and some behind.
        const spread = numbers.reduce((text, number, at) => {
          const isPossible = at <= step && step - at <= of - keep;
          return isPossible ? `select(${text}, ${number}, ${spotOf[at]} == ${splat(`${step}u`)})` : text;
        }, 'vec4<f32>(0)');
        const b = writer.let('b', spread);
        for (const r of rows.keys()) {
          writer.line(`${sums.sum(r, c)} = fma(vec4<f32>(${factors[r]?.[step] ?? '0'}), ${b}, ${sums.sum(r, c)});`);
        }
      }
    }
  }
  writer.close();
}

/** Adds the whole sum where the weight has a form of its own, n:m or packed; whether it has. */
export function writeFormedSums(product: Product, sums: PackedSums): boolean {
  const sparse = sparseRight(product);
  const packed = sparse ? undefined : packedRight(product);
  if (sparse) writeSparseSums(product, sparse, sums);
  else if (packed) writePackedSums(product, packed, sums);
  return sparse !== undefined || packed !== undefined;
}
