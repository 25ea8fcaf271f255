/**
 * Columns of numbers side by side: f32 [B, N].
 */
import { faultAt, type TensorValue } from './datasets/dataset.ts';
import { numberIn } from './datasets/values.ts';
import { elementsOf, type Field, unfit } from './fields.ts';

/**
 * Numbers and lists of numbers, in the order of the columns.
 *
 * @errors per row SORA7039 for a cell that is neither, or when there are not `length` numbers
 */
export function vectorField(options: {
  readonly columns: readonly string[];
  readonly name: string;
  /** How many numbers there are; as many as in the first row of the batch unless given. */
  readonly length?: number;
}): Field {
  const { columns, name, length } = options;
  return {
    inputs: [name],
    columns,
    isPadded: false,
    read(row, where): TensorValue {
      const numbers: number[] = [];
      for (const column of columns) {
        const cell = row.get(column);
        const number = numberIn(cell);
        const own = number === undefined ? typeof cell === 'object' && cell.data : [number];
        if (!own) throw unfit(where, column, 'a number or a list of numbers');
        numbers.push(...elementsOf(own, 'f32', (what) => faultAt('SORA7039', where, `\`${column}\` ${what}`)));
      }
      if (length !== undefined && numbers.length !== length)
        throw faultAt('SORA7039', where, `\`${name}\` takes ${length} numbers, the row has ${numbers.length}`);
      return { shape: [numbers.length], data: Float32Array.from(numbers) };
    },
    collate(samples, { rows }) {
      const width = samples[0]?.shape[0] ?? 0;
      const data = new Float32Array(samples.length * width);
      samples.forEach((sample, at) => {
        if (sample.data.length !== width)
          throw faultAt(
            'SORA7039',
            `\`${name}\``,
            `row ${(rows[at] ?? 0) + 1} has ${sample.data.length} numbers, not ${width}`,
          );
        data.set(sample.data, at * width);
      });
      return [[name, { shape: [samples.length, width], data }]];
    },
  };
}
