/**
 * From cells to the inputs of an entry: each field reads columns of a row and puts the samples of a batch side by side.
 */
import type { InputTensor } from '../runtime/inputs.ts';
import type { SoraError } from '../support/error.ts';
import { faultAt, type Row, type TensorValue } from './datasets/dataset.ts';
import { numberIn } from './datasets/values.ts';
import type { LabelMap } from './labels.ts';

/** What draws of a batch depend on. */
export interface BatchContext {
  readonly seed: number;
  readonly epoch: number;
  /** Rows of the dataset, by their place in the batch. */
  readonly rows: ArrayLike<number>;
}

export type NamedInputs = readonly (readonly [string, InputTensor])[];

export interface Field {
  /** Names of the inputs that it gives. */
  readonly inputs: readonly string[];
  readonly columns: readonly string[];
  /** Whether samples have different lengths, so that putting near ones together saves padding. */
  readonly isPadded: boolean;
  /**
   * @param where for messages
   * @errors SORA7039 for a cell that does not fit, SORA7043 for an unknown label
   */
  read(row: Row, where: string): TensorValue;
  collate(samples: readonly TensorValue[], context: BatchContext): NamedInputs;
}

/** How long a batch is along the axis that is padded: as its longest sample unless said otherwise. */
export interface PaddingOptions {
  /** Rounded up to a multiple of this. */
  readonly multipleOf?: number;
  /** At least this long. */
  readonly least?: number;
  /** Always this long. */
  readonly length?: number;
}

/** As PyTorch's losses have it: positions with this target do not count. */
export const ignoredLabel = -100;

/** Class ids i32[B] of a column of labels. */
export function labelField(options: {
  readonly column: string;
  readonly labels: LabelMap;
  /** `labels` unless said otherwise. */
  readonly name?: string;
}): Field {
  const { column, labels, name = 'labels' } = options;
  return {
    inputs: [name],
    columns: [column],
    isPadded: false,
    read(row, where) {
      const label = row.get(column);
      if (typeof label === 'string' || typeof label === 'number') {
        return { shape: [], data: Int32Array.of(labels.idOf(label, where)) };
      }
      throw unfit(where, column, 'a word or a whole number');
    },
    collate: (samples) => [[name, stack(samples, [])]],
  };
}

export interface TensorFieldOptions extends PaddingOptions {
  readonly column: string;
  /** Name of the input; the column's unless said otherwise. */
  readonly name?: string;
  readonly dtype: 'f32' | 'i32';
  /**
   * Of one sample; undefined for any length. Axes of length 1 come and go: [28, 28] takes an image [1, 28, 28]. Without it,
   * all samples must have the shape of the first of their batch, but for the first axis when `padValue` is given.
   */
  readonly shape?: readonly (number | undefined)[];
  /** Fills the first axis of shorter samples. */
  readonly padValue?: number;
  /** Longer samples are cut; with `padValue` only. */
  readonly maxLength?: number;
  /** Name of a mask i32[B, T] of what is no padding; with `padValue` only. */
  readonly mask?: string;
}

/** Numbers, lists, images or sounds: f32 or i32 [B, …]. */
export function tensorField(options: TensorFieldOptions): Field {
  const { column, name = column, dtype, padValue, mask = null } = options;
  return {
    inputs: mask === null ? [name] : [name, mask],
    columns: [column],
    isPadded: padValue !== undefined && options.length === undefined,
    read(row, where) {
      const cell = row.get(column);
      const number = numberIn(cell);
      const value = number === undefined ? cell : { shape: [], data: [number] };
      if (typeof value !== 'object') throw unfit(where, column, 'a number or a list of numbers');
      const fault = (what: string): SoraError => faultAt('SORA7039', where, `\`${column}\` ${what}`);
      const sample = { shape: fitShape(value.shape, options.shape, fault), data: elementsOf(value.data, dtype, fault) };
      return padValue === undefined ? sample : cut(sample, options.maxLength ?? Number.POSITIVE_INFINITY);
    },
    collate(samples, { rows }) {
      if (padValue !== undefined) return padded(samples, { ids: name, mask, padValue, padding: options });
      const shape = samples[0]?.shape ?? [];
      const odd = samples.findIndex((sample) => sample.shape.join() !== shape.join());
      if (odd < 0) return [[name, stack(samples, shape)]];
      const shapes = `[${samples[odd]?.shape.join(', ')}] in row ${(rows[odd] ?? 0) + 1}, [${shape.join(', ')}] in row ${(rows[0] ?? 0) + 1}`;
      throw faultAt('SORA7039', `\`${column}\``, `different shapes in one batch: ${shapes}`, {
        help: 'scale images to one size, or pad lists',
      });
    },
  };
}

export function unfit(where: string, column: string, needed: string): SoraError {
  return faultAt('SORA7039', where, `\`${column}\` is empty or of another kind: ${needed} is needed`);
}

export function vector(data: Int32Array): TensorValue {
  return { shape: [data.length], data };
}

/** Numbers as they are computed with; `fault` for those that are none there. */
export function elementsOf(
  data: ArrayLike<number>,
  dtype: 'f32' | 'i32',
  fault: (what: string) => SoraError,
): Float32Array | Int32Array {
  const elements = dtype === 'f32' ? new Float32Array(data) : new Int32Array(data);
  for (let at = 0; at < data.length; at++) {
    const fits = dtype === 'f32' ? Number.isFinite(elements[at]) : elements[at] === data[at];
    if (!fits) throw fault(`has ${data[at]}, which is no ${dtype}`);
  }
  return elements;
}

function fitShape(
  shape: readonly number[],
  wanted: readonly (number | undefined)[] | undefined,
  fault: (what: string) => SoraError,
): readonly number[] {
  if (wanted === undefined) return shape;
  const fits = (given: readonly number[]): boolean =>
    given.length === wanted.length && wanted.every((dim, axis) => dim === undefined || dim === given[axis]);
  if (fits(shape)) return shape;
  const rest = shape.filter((dim) => dim !== 1);
  const long = [...rest];
  // Axes of length 1 are put where they are wanted, all others must follow one after the other.
  const moved = wanted.map((dim) => (dim === 1 ? 1 : (long.shift() ?? 1)));
  if (long.length === 0 && fits(moved)) return moved;
  const text = wanted.map((dim) => dim ?? '…').join(', ');
  throw fault(`has the shape [${shape.join(', ')}] in place of [${text}]`);
}

function cut({ shape, data }: TensorValue, maxLength: number): TensorValue {
  const [length = 1, ...rest] = shape;
  if (length <= maxLength) return { shape: [length, ...rest], data };
  const item = rest.reduce((product, dim) => product * dim, 1);
  return { shape: [maxLength, ...rest], data: data.slice(0, maxLength * item) };
}

/** Samples of one shape, side by side. */
function stack(samples: readonly TensorValue[], shape: readonly number[]): InputTensor {
  const size = shape.reduce((product, dim) => product * dim, 1);
  const data = emptyAs(samples[0], samples.length * size);
  samples.forEach((sample, at) => {
    data.set(sample.data, at * size);
  });
  return { shape: [samples.length, ...shape], data };
}

function emptyAs(sample: TensorValue | undefined, length: number): Float32Array | Int32Array {
  return sample?.data instanceof Float32Array ? new Float32Array(length) : new Int32Array(length);
}

export interface Padding {
  readonly ids: string;
  readonly mask: string | null;
  readonly padValue: number;
  readonly padding: PaddingOptions;
}

/** Samples side by side, filled along their first axis. */
export function padded(samples: readonly TensorValue[], { ids, mask, padValue, padding }: Padding): NamedInputs {
  const { multipleOf = 1, least = 1 } = padding;
  const rest = samples[0]?.shape.slice(1) ?? [];
  const item = rest.reduce((product, dim) => product * dim, 1);
  const longest = samples.reduce((most, sample) => Math.max(most, sample.shape[0] ?? 0), least);
  const length = padding.length ?? Math.ceil(longest / multipleOf) * multipleOf;
  const data = emptyAs(samples[0], samples.length * length * item).fill(padValue);
  const visible = new Int32Array(samples.length * length);
  samples.forEach((sample, at) => {
    if (sample.shape.slice(1).join() !== rest.join()) {
      const shapes = `[${sample.shape.join(', ')}] beside [${samples[0]?.shape.join(', ')}]`;
      throw faultAt('SORA7039', `\`${ids}\``, `different shapes in one batch: ${shapes}`);
    }
    const kept = Math.min(length, sample.shape[0] ?? 0);
    data.set(sample.data.subarray(0, kept * item), at * length * item);
    visible.fill(1, at * length, at * length + kept);
  });
  const values: InputTensor = { shape: [samples.length, length, ...rest], data };
  return mask === null
    ? [[ids, values]]
    : [
        [ids, values],
        [mask, { shape: [samples.length, length], data: visible }],
      ];
}
