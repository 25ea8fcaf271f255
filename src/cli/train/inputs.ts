/**
 * From what a `train` block says about its inputs to the fields that make them of rows.
 */
import type { ReadMethod, TrainBlock, TrainRead } from '../../ir/graph.ts';
import { constantValue, type Dim, type DimRange, dimBounds } from '../../ir/symbolic.ts';
import { printType } from '../../ir/types.ts';
import { SoraError } from '../../support/error.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { PaddingOptions } from '../../training/fields.ts';
import {
  type Field,
  type ImageOptions,
  type LabelMap,
  labelField,
  maskedTextField,
  tensorField,
  textField,
} from '../../training/index.ts';
import { vectorField } from '../../training/vector-field.ts';
import { optional } from '../command.ts';

export interface InputContext {
  readonly reads: readonly TrainRead[];
  readonly ranges: ReadonlyMap<string, DimRange>;
  readonly tokenizer: Tokenizer | undefined;
  /** By column. */
  readonly labels: ReadonlyMap<string, LabelMap>;
}

/** What a step needs and nothing says how to read. */
export function unread(
  block: Pick<TrainBlock, 'reads' | 'targets'>,
  parameters: readonly { readonly name: string; readonly initial: number | undefined; readonly role?: unknown }[],
): readonly string[] {
  const known = new Set(block.reads.map(({ name }) => name));
  const needed = parameters.filter(({ initial, role }) => initial === undefined && role === undefined);
  return [...needed, ...block.targets].flatMap(({ name }) => (known.has(name) ? [] : [name]));
}

/** A number among the options of a read. */
export function numberAt(read: TrainRead, name: string): number | undefined {
  const value = read.options[name];
  return typeof value === 'number' ? value : undefined;
}

function numbersAt(read: TrainRead, name: string): readonly number[] | undefined {
  const value = read.options[name];
  return typeof value === 'number' ? [value] : value;
}

/** How long batches may be along an axis. */
function paddingOf(dim: Dim | undefined, ranges: InputContext['ranges']): PaddingOptions & { readonly most: number } {
  if (dim === undefined) return { most: Number.MAX_SAFE_INTEGER };
  const { minimum, maximum } = dimBounds(dim, ranges);
  if (minimum === maximum) return { length: maximum, most: maximum };
  const multipleOf = [...ranges].find(([name]) => name === dim.key)?.[1].multiple ?? 1;
  return { least: Math.max(1, minimum), multipleOf, most: maximum };
}

type Maker = (read: TrainRead, context: InputContext) => Field;

const columnOf = (read: TrainRead): string => read.columns[0] ?? '';

/** The read of a method that follows an input. */
function follower(read: TrainRead, method: ReadMethod, { reads }: InputContext): TrainRead | undefined {
  return reads.find((other) => other.method === method && other.of === read.name);
}

function makeText(read: TrainRead, context: InputContext): Field {
  const { most, ...padding } = paddingOf(read.type.shape[1], context.ranges);
  const hidden = follower(read, 'masked', context);
  const options = {
    ...padding,
    column: columnOf(read),
    ...optional('pair', read.columns[1]),
    ...optional('tokenizer', context.tokenizer),
    maxLength: Math.min(most, numberAt(read, 'max') ?? most),
    padId: numberAt(read, 'pad') ?? 0,
    ids: read.name,
    mask: follower(read, 'mask', context)?.name ?? null,
    ...optional('segments', follower(read, 'segments', context)?.name),
  };
  if (hidden === undefined) return textField(options);
  return maskedTextField({
    ...options,
    labels: hidden.name,
    maskId: numberAt(hidden, 'mask') ?? 0,
    ...optional('probability', numberAt(hidden, 'share')),
  });
}

function sizesOf(read: TrainRead): readonly (number | undefined)[] {
  return read.type.shape.slice(1).map((dim) => constantValue(dim));
}

/** Methods that make an input of their own; the others belong to the field that they follow. */
const makers: Readonly<Partial<Record<ReadMethod, Maker>>> = {
  tokens: makeText,
  label: (read, { labels }) => {
    const map = labels.get(columnOf(read));
    if (!map) throw new RangeError(`no labels of \`${columnOf(read)}\``);
    return labelField({ column: columnOf(read), labels: map, name: read.name });
  },
  labels: (read, context) => {
    const { most, ...padding } = paddingOf(read.type.shape[1], context.ranges);
    const padValue = numberAt(read, 'pad') ?? -100;
    return tensorField({
      ...padding,
      column: columnOf(read),
      name: read.name,
      dtype: 'i32',
      padValue,
      maxLength: most,
      ...optional('mask', follower(read, 'mask', context)?.name),
    });
  },
  number: (read) => tensorField({ column: columnOf(read), name: read.name, dtype: 'f32', shape: [] }),
  vector: (read) => vectorField({ columns: read.columns, name: read.name, ...optional('length', sizesOf(read)[0]) }),
  image: (read) => tensorField({ column: columnOf(read), name: read.name, dtype: 'f32', shape: sizesOf(read) }),
  audio: (read, context) => {
    const { most, ...padding } = paddingOf(read.type.shape[1], context.ranges);
    const maxLength = Math.min(most, numberAt(read, 'max') ?? most);
    const mask = follower(read, 'mask', context)?.name;
    const options = { column: columnOf(read), name: read.name, dtype: 'f32', padValue: 0, maxLength } as const;
    return tensorField({ ...padding, ...options, ...optional('mask', mask) });
  },
};

/** @errors SORA7060 when the tokens of one input have more than two columns */
export function fieldsOf(context: InputContext): readonly Field[] {
  return context.reads.flatMap((read) => {
    if (read.method === 'tokens' && read.columns.length > 2)
      throw new SoraError('SORA7060', `\`${read.name}\` is read from ${read.columns.length} columns`, {
        help: 'a text has one column, a pair of texts two',
      });
    const make = makers[read.method];
    return make === undefined ? [] : [make(read, context)];
  });
}

/** How images of a dataset are to be decoded; all inputs of one dataset get the same. */
export function imageOptionsOf(reads: readonly TrainRead[]): ImageOptions | undefined {
  const images = reads.filter(({ method }) => method === 'image');
  const [first] = images;
  if (!first) return undefined;
  const texts = images.map(({ type, options }) => JSON.stringify([printType(type), options]));
  if (new Set(texts).size > 1)
    throw new SoraError('SORA7060', 'images are read in two ways', {
      help: 'all images of a dataset are decoded alike',
    });
  const [channels, height, width] = sizesOf(first);
  if (channels !== 1 && channels !== 3)
    throw new SoraError('SORA7060', `\`${first.name}\` has ${channels ?? 'any number of'} channels`, {
      help: 'images have 1 or 3',
    });
  return {
    channels,
    ...(height === undefined || width === undefined ? {} : { size: [height, width] as const }),
    ...optional('mean', numbersAt(first, 'mean')),
    ...optional('std', numbersAt(first, 'std')),
  };
}

/** What fills an input where it is shorter than others of its batch. */
export function padValueOf({ method, options }: TrainRead): number {
  if (method === 'masked') return -100;
  if (method === 'labels') return typeof options.pad === 'number' ? options.pad : -100;
  return method === 'tokens' && typeof options.pad === 'number' ? options.pad : 0;
}
